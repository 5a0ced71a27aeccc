#include "Target/Cpu/CpuBackend.h"

#include "Target/Cpu/SpellOut.h"

#include "llvm/Analysis/AssumptionCache.h"
#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/Analysis/TargetTransformInfo.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/PassInstrumentation.h"
#include "llvm/IR/PassManager.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Scalar/EarlyCSE.h"
#include "llvm/Transforms/Utils/Cloning.h"

#include <mutex>

using namespace llvm;

namespace attnjit::target {

namespace {

/// LLVM keeps its targets in a process-wide table; filling it in twice is harmless, racing on it is not.
void initializeTargets() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeAArch64AsmParser();
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
  });
}

llvm::Error failure(const Twine &message) { return createStringError(inconvertibleErrorCode(), message); }

} // namespace

LlvmCpu llvmCpu(const TargetDesc &desc) {
  std::string features = desc.hasBf16() ? "+avx512bf16" : "";
  if (desc.hasAmx())
    features += ",+amx-tile,+amx-bf16";
  return {desc.isAArch64() ? "generic" : desc.cpu.substr(0, desc.cpu.find('+')), features};
}

CpuBackend::CpuBackend(std::unique_ptr<TargetMachine> machine, const TargetDesc &desc) : machine(std::move(machine)), desc(desc) {}
CpuBackend::CpuBackend(CpuBackend &&) = default;
CpuBackend::~CpuBackend() = default;

Expected<CpuBackend> CpuBackend::create(const TargetDesc &desc) {
  initializeTargets();
  std::string message;
  Triple triple(desc.triple);
  const Target *target = TargetRegistry::lookupTarget(triple, message);
  if (!target)
    return failure(message);
  TargetOptions options;
  options.AllowFPOpFusion = FPOpFusion::Standard; // fmuladd may fuse, separate mul and add may not: the lowering decides.
  // Less: as fast as Default on our kernels (measured), 20 % less time to compile. The small code model and PIC leave only PC-relative
  // relocations.
  const LlvmCpu cpu = llvmCpu(desc);
  std::unique_ptr<TargetMachine> machine(
      target->createTargetMachine(triple, cpu.name, cpu.features, options, Reloc::PIC_, CodeModel::Small, CodeGenOptLevel::Less));
  if (!machine)
    return failure("LLVM cannot generate code for " + desc.triple);
  return CpuBackend(std::move(machine), desc);
}

void CpuBackend::prepare(Module &module) const {
  module.setTargetTriple(machine->getTargetTriple());
  module.setDataLayout(machine->createDataLayout());
  const std::string width = std::to_string(desc.vectorBits);
  const LlvmCpu cpu = llvmCpu(desc);
  for (Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", cpu.name);
    if (!cpu.features.empty())
      function.addFnAttr("target-features", cpu.features);
    // x86-64-v4 prefers 256 bits for the sake of the first AVX-512 machines; our kernels are dense enough to gain from 512.
    function.addFnAttr("prefer-vector-width", width);
    function.addFnAttr("min-legal-vector-width", width);
    function.addFnAttr("frame-pointer", "none");
    function.addFnAttr("no-builtins"); // no memset or memcpy out of loops: images have no external symbols
    function.setDoesNotThrow();        // no unwind tables
    if (!desc.hasFma())
      spellOut(function);
  }
}

llvm::Error CpuBackend::optimize(Module &module) const {
  std::string message;
  raw_string_ostream os(message);
  if (verifyModule(module, &os))
    return failure("the module is not valid LLVM IR: " + message);

  // By hand instead of by PassBuilder, which drags all of LLVM's passes into the link and 80 s into the build.
  FunctionAnalysisManager analyses;
  analyses.registerPass([] { return PassInstrumentationAnalysis(); });
  analyses.registerPass([] { return AssumptionAnalysis(); });
  analyses.registerPass([] { return DominatorTreeAnalysis(); });
  analyses.registerPass([] { return TargetLibraryAnalysis(); });
  analyses.registerPass([this] { return machine->getTargetIRAnalysis(); });
  FunctionPassManager passes;
  passes.addPass(EarlyCSEPass());
  for (Function &function : module)
    if (!function.isDeclaration())
      passes.run(function, analyses);
  return llvm::Error::success();
}

Expected<std::string> CpuBackend::emit(Module &module, bool assembly) const {
  SmallString<0> bytes;
  {
    raw_svector_ostream os(bytes);
    legacy::PassManager passes;
    const CodeGenFileType type = assembly ? CodeGenFileType::AssemblyFile : CodeGenFileType::ObjectFile;
    if (machine->addPassesToEmitFile(passes, os, nullptr, type, /*DisableVerify=*/true))
      return failure("LLVM cannot emit this kind of file for " + desc.triple);
    passes.run(module);
  }
  std::string errors = takeDiagnostics(module.getContext());
  if (!errors.empty())
    return failure(StringRef(errors).rtrim());
  return std::string(bytes);
}

Expected<std::string> CpuBackend::emitObject(Module &module) const { return emit(module, /*assembly=*/false); }

Expected<std::string> CpuBackend::emitAssembly(const Module &module) const {
  // Code generation rewrites the module (CodeGenPrepare), and the caller still wants the object of the untouched one.
  return emit(*CloneModule(module), /*assembly=*/true);
}

} // namespace attnjit::target
