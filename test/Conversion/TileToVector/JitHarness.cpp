#include "JitHarness.h"

#include "Target/Cpu/CpuBackend.h"
#include "Target/Cpu/ImageLinker.h"
#include "attnjit-mlir/Pipelines/Pipelines.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

#include <cmath>
#include <cstring>
#include <sys/mman.h>

using namespace mlir;

namespace attnjit::testing {

JitKernel::~JitKernel() {
  if (memory)
    munmap(memory, mappedBytes);
}

std::unique_ptr<MLIRContext> makeContext(std::string &diagnostics) {
  DialectRegistry registry;
  pipelines::registerDialects(registry);
  auto context = std::make_unique<MLIRContext>(registry, MLIRContext::Threading::DISABLED);
  context->loadAllAvailableDialects();
  context->getDiagEngine().registerHandler([&diagnostics](Diagnostic &diagnostic) {
    diagnostics += diagnostic.str() + "\n";
    return success();
  });
  return context;
}

std::unique_ptr<JitKernel> compileVectorStage(ModuleOp module, const TargetDesc &target, std::string &message) {
  auto kernel = std::unique_ptr<JitKernel>(new JitKernel);
  std::string name;
  for (auto function : module.getOps<func::FuncOp>()) {
    name = function.getSymName().str();
    kernel->workspaceBytes = function->getAttrOfType<IntegerAttr>("attnjit.workspace_bytes").getInt();
  }
  if (failed(pipelines::VectorToLlvm(module.getContext()).run(module)))
    return nullptr;
  auto llvmContext = target::createCpuContext();
  auto llvmModule = pipelines::llvmToLl(module, *llvmContext);
  if (!llvmModule)
    return nullptr;
  auto fail = [&](llvm::Error error) {
    message += llvm::toString(std::move(error));
    return nullptr;
  };
  const bool emulates = target.hasAmx() && !hostTarget()->hasAmx();
  if (emulates)
    emulateTiles(*llvmModule);
  auto backend = target::CpuBackend::create(emulates ? *parseTarget("x86-64-v4+bf16") : target);
  if (!backend)
    return fail(backend.takeError());
  backend->prepare(*llvmModule);
  if (auto error = backend->optimize(*llvmModule))
    return fail(std::move(error));
  auto object = backend->emitObject(*llvmModule);
  if (!object)
    return fail(object.takeError());
  auto code = target::linkImage(*object, name);
  if (!code)
    return fail(code.takeError());

  kernel->mappedBytes = code->bytes.size();
  kernel->memory = mmap(nullptr, kernel->mappedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  std::memcpy(kernel->memory, code->bytes.data(), code->bytes.size());
  mprotect(kernel->memory, kernel->mappedBytes, PROT_READ | PROT_EXEC);
  kernel->function = reinterpret_cast<CpuKernelFn>(static_cast<char *>(kernel->memory) + code->entryOffset);
  return kernel;
}

std::vector<TargetDesc> runnableTargets() {
  std::vector<TargetDesc> targets;
  auto host = hostTarget();
  if (!host)
    return targets;
  targets.push_back(*parseTarget("x86-64-v3"));
  if (host->vectorBits == 512)
    targets.push_back(*parseTarget("x86-64-v4"));
  return targets;
}

std::vector<TargetDesc> bf16Targets() {
  auto host = hostTarget();
  if (!host || !host->hasBf16())
    return {};
  return {*parseTarget("x86-64-v4+bf16"), *parseTarget("x86-64-v4+amx")};
}

namespace {
template <typename T, T (*Function)(T)> void unary(T *x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i)
    x[i] = Function(x[i]);
}
template <typename T, T (*Function)(T, T)> void binary(T *x, const T *y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i)
    x[i] = Function(x[i], y[i]);
}
} // namespace

const FunctionTable &libmTable() {
  static const FunctionTable table = {
#define ATTNJIT_RUNTIME_UNARY(NAME) unary<float, ::NAME##f>, unary<double, ::NAME>,
#define ATTNJIT_RUNTIME_BINARY(NAME) binary<float, ::NAME##f>, binary<double, ::NAME>,
#include "attnjit/RuntimeFns.def"
  };
  return table;
}

} // namespace attnjit::testing
