#include "Compiler/Compiler.h"

#include "Compiler/Compilation.h"
#include "Compiler/Reproducer.h"
#include "Target/Cpu/CpuBackend.h"

#include "attnjit/Problem.h"

#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

namespace attnjit::compiler {

KernelCompiler::KernelCompiler() : pool(std::make_unique<ContextPool>()) {}
KernelCompiler::~KernelCompiler() = default;

/// The attn stage of a spec; empty if even that cannot be made.
static std::string attnText(CompileSlot &slot, std::string_view buildId, const KernelSpec &spec) {
  std::string text;
  CompileOptions options;
  options.stopAfter = Stage::Attn;
  options.onStage = [&](Stage, std::string_view stage) { text = stage; };
  (void)Compilation(slot, options, buildId, ErrorCode::Internal).fromSpec(spec);
  return text;
}

Result<KernelImage> KernelCompiler::compile(const KernelSpec &spec, const CompileOptions &options) {
  ContextPool::Lease slot = pool->borrow();
  Result<KernelImage> image = Compilation(*slot, options, buildId(), ErrorCode::Internal).fromSpec(spec);
  if (image || image.error().code != ErrorCode::Internal)
    return image;
  Error error = image.error();
  const std::string path = writeReproducer(error.message, print(spec), attnText(*slot, buildId(), spec));
  error.message += path.empty() ? "\n(no reproducer could be written; set ATTNJIT_REPRODUCER_DIR to a writable directory)"
                                : "\nThis is a bug of attnjit; a reproducer is in " + path;
  return error;
}

/// Whether `text` is what this compiler writes at `stage` for the problem that the text carries. Below attn a formula cannot be read back
/// from the code, but it can be compiled again as far as there: stages are the same to the letter each time.
static bool isUnedited(CompileSlot &slot, std::string_view buildId, Stage stage, std::string_view text) {
  std::string given(text), expected;
  auto stopWith = [stage](std::string &slotText) {
    CompileOptions options;
    options.stopAfter = stage;
    options.onStage = [stage, &slotText](Stage passed, std::string_view passedText) {
      if (passed == stage)
        slotText = passedText;
    };
    return options;
  };
  KernelSpec spec;
  {
    const CompileOptions options = stopWith(given); // MLIR and LLVM IR are printed afresh, so that comments and spaces make no difference
    Compilation reading(slot, options, buildId, ErrorCode::InvalidArgument);
    if (!reading.fromText(stage, text))
      return false;
    spec = reading.spec();
  }
  // A header that an editor has spoilt is no problem to compile.
  if (spec.D < 1 || spec.D > kMaxHeadDim || spec.Dv < 1 || spec.Dv > kMaxHeadDim)
    return false;
  const CompileOptions options = stopWith(expected);
  return Compilation(slot, options, buildId, ErrorCode::InvalidArgument).fromSpec(spec) && given == expected;
}

Result<KernelImage> KernelCompiler::compileFrom(Stage stage, std::string_view text, const CompileOptions &options) {
  ContextPool::Lease slot = pool->borrow();
  Result<KernelImage> image = Compilation(*slot, options, buildId(), ErrorCode::InvalidArgument).fromText(stage, text);
  // At attn the formula was read from the text itself.
  if (image && stage != Stage::Attn && !isUnedited(*slot, buildId(), stage, text))
    image->meta.problemText.insert(0, editedMark(stage));
  return image;
}

Result<std::string> KernelCompiler::compileModule(std::string_view ll, const TargetDesc &target) {
  const auto failure = [](llvm::Error error) {
    return Error{ErrorCode::Internal, "compiling what goes around kernels: " + llvm::toString(std::move(error))};
  };
  const std::unique_ptr<llvm::LLVMContext> context = target::createCpuContext();
  llvm::Expected<target::CpuBackend> backend = target::CpuBackend::create(target);
  if (!backend)
    return failure(backend.takeError());
  llvm::Expected<std::unique_ptr<llvm::Module>> module = target::parseLl(ll, *context);
  if (!module)
    return failure(module.takeError());
  backend->prepare(**module);
  if (llvm::Error error = backend->optimize(**module))
    return failure(std::move(error));
  llvm::Expected<std::string> object = backend->emitObject(**module);
  if (!object)
    return failure(object.takeError());
  return std::move(*object);
}

} // namespace attnjit::compiler
