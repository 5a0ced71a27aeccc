#include "Compiler/Compiler.h"

#include "Compiler/Compilation.h"
#include "Compiler/Reproducer.h"

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

Result<KernelImage> KernelCompiler::compileFrom(Stage stage, std::string_view text, const CompileOptions &options) {
  ContextPool::Lease slot = pool->borrow();
  return Compilation(*slot, options, buildId(), ErrorCode::InvalidArgument).fromText(stage, text);
}

} // namespace attnjit::compiler
