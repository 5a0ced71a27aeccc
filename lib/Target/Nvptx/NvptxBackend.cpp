#include "Target/Nvptx/NvptxBackend.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/Analysis/AssumptionCache.h"
#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/Analysis/TargetTransformInfo.h"
#include "llvm/IR/DiagnosticHandler.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/LLVMContext.h"
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

#include <mutex>

using namespace llvm;

namespace attnjit::target {

namespace {

/// LLVM keeps its targets in a process-wide table; filling it in twice is harmless, racing on it is not.
void initializeNvptx() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
  });
}

/// Keeps errors for the caller. Returning true tells LLVM that the diagnostic is dealt with: otherwise it prints, and exits on errors.
struct CollectingHandler final : DiagnosticHandler {
  explicit CollectingHandler(std::string &errors) : errors(errors) {}
  std::string &errors;

  bool handleDiagnostics(const DiagnosticInfo &info) override {
    if (info.getSeverity() != DS_Error)
      return true;
    raw_string_ostream os(errors);
    DiagnosticPrinterRawOStream printer(os);
    info.print(printer);
    os << '\n';
    return true;
  }
};

llvm::Error failure(const Twine &message) { return createStringError(inconvertibleErrorCode(), message); }

/// The oldest PTX version that knows the architecture and all that our schedules use: the older it is, the older the driver may be.
StringRef ptxFeature(StringRef chip) {
  if (chip.starts_with("sm_10"))
    return "+ptx86";
  if (chip.starts_with("sm_12"))
    return "+ptx87";
  return "+ptx80";
}

/// PTX is linked with nothing, so a body that is missing now will be missing for ever.
llvm::Error checkSelfContained(const Module &module) {
  for (const Function &function : module)
    if (function.isDeclaration() && !function.isIntrinsic() && !function.use_empty())
      return failure("the kernel calls '" + function.getName() + "', which no GPU library provides");
  return llvm::Error::success();
}

} // namespace

NvptxBackend::NvptxBackend(std::unique_ptr<TargetMachine> machine) : machine(std::move(machine)) {}
NvptxBackend::NvptxBackend(NvptxBackend &&) = default;
NvptxBackend::~NvptxBackend() = default;

Expected<NvptxBackend> NvptxBackend::create(const TargetDesc &desc) {
  initializeNvptx();
  std::string message;
  Triple triple(desc.triple);
  const Target *target = TargetRegistry::lookupTarget(triple, message);
  if (!target)
    return failure(message);
  TargetOptions options;
  options.AllowFPOpFusion = FPOpFusion::Standard; // fmuladd may fuse, separate mul and add may not: the lowering decides.
  std::unique_ptr<TargetMachine> machine(
      target->createTargetMachine(triple, desc.cpu, ptxFeature(desc.cpu), options, std::nullopt, std::nullopt, CodeGenOptLevel::Default));
  if (!machine)
    return failure("LLVM cannot generate code for " + desc.triple);
  return NvptxBackend(std::move(machine));
}

void NvptxBackend::prepare(Module &module) const {
  module.setTargetTriple(machine->getTargetTriple());
  module.setDataLayout(machine->createDataLayout());
  // Inline PTX waits for other threads (barriers, warpgroup products): no pass may make it depend on another condition.
  for (Function &function : module)
    for (Instruction &instruction : instructions(function))
      if (auto *call = dyn_cast<CallBase>(&instruction); call && call->isInlineAsm())
        call->setConvergent();
}

llvm::Error NvptxBackend::optimize(Module &module) const {
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

Expected<std::string> NvptxBackend::emitPtx(Module &module) const {
  if (llvm::Error error = checkSelfContained(module))
    return error;
  LLVMContext &context = module.getContext();
  std::string errors;
  std::unique_ptr<DiagnosticHandler> outer = context.getDiagnosticHandler();
  context.setDiagnosticHandler(std::make_unique<CollectingHandler>(errors));
  scope_exit restore([&] { context.setDiagnosticHandler(std::move(outer)); });
  SmallString<0> text;
  {
    raw_svector_ostream os(text);
    legacy::PassManager passes;
    if (machine->addPassesToEmitFile(passes, os, nullptr, CodeGenFileType::AssemblyFile, /*DisableVerify=*/true))
      return failure("LLVM cannot emit PTX for " + machine->getTargetCPU());
    passes.run(module);
  }
  if (!errors.empty())
    return failure(StringRef(errors).rtrim());
  return std::string(text);
}

} // namespace attnjit::target
