// Kernels of pipelines that the embedder registered: its builder is called, and what it answers is looked at before anything runs.
#include "Engine/EngineImpl.h"
#include "Engine/Launch.h"

#include <fmt/format.h>

namespace attnjit::inline v0 {

using namespace engine;

Result<KernelPtr> EngineImpl::buildRegistered(const Candidate &candidate, const compiler::KernelSpec &spec, const Problem &problem,
                                              const Mod &mod) {
  const OverridePipeline &pipeline = *candidate.pipeline;
  const PipelineContext context{mod, [&]() -> Result<std::string> {
                                  Result<compiler::CompilerInterface *> compiler = findCompiler();
                                  if (!compiler)
                                    return compiler.error();
                                  compiler::KernelSpec attn = spec;
                                  attn.backend = SDPBackend::Math; // the attn stage is the same for every backend; MATH takes all
                                  std::string text;
                                  compiler::CompileOptions options;
                                  options.stopAfter = compiler::Stage::Attn;
                                  options.onStage = [&](compiler::Stage, std::string_view stage) { text = stage; };
                                  if (Result<KernelImage> compiled = (*compiler)->compile(attn, options); !compiled)
                                    return compiled.error();
                                  return text;
                                }};

  auto fail = [&](std::string_view why) {
    return Error{ErrorCode::Internal, fmt::format("pipeline '{}': its builder {}", pipeline.name, why)};
  };
  std::optional<Result<BuiltPipeline>> built;
  try {
    built = pipeline.build(problem, context);
  } catch (const std::exception &exception) {
    return fail(fmt::format("threw an exception: {}", exception.what()));
  } catch (...) {
    return fail("threw an exception");
  }
  if (!*built)
    return built->error();

  auto kernel = std::make_shared<KernelImpl>();
  if (const auto *image = std::get_if<Kernel>(&**built)) {
    *kernel = image->impl();
    if (Result<void> fits = checkFits(*kernel, problem); !fits)
      return fail("answered with a kernel of another problem: " + fits.error().message);
    if (!kernel->host && !sameCaptures(kernel->meta, mod.impl().formula))
      return fail("answered with a kernel of a formula with other captures");
  } else {
    kernel->host = std::get<HostKernel>(**built);
    if (!kernel->host)
      return fail("answered with an empty host callable");
    kernel->meta.qType = problem.qType;
    kernel->meta.kvType = problem.kvType;
    kernel->meta.outType = problem.outType;
    kernel->meta.D = problem.D;
    kernel->meta.Dv = problem.Dv;
    kernel->meta.contiguous = problem.contiguous;
    kernel->meta.paged = problem.paged;
    kernel->meta.narrowIndices = problem.narrowIndices;
    kernel->meta.sinks = problem.sinks;
    kernel->meta.checkedIndices = problem.checkedIndices;
    kernel->meta.problemText = compiler::print(spec);
  }
  kernel->backend = candidate.report.backend;
  kernel->pipeline = pipeline.name;
  kernel->mod = mod;
  kernel->launcher = site.launcher;
  if (kernel->program) { // of another engine, maybe, and loaded onto another GPU
    const std::span<const std::byte> ptx = kernel->program->ptx();
    kernel->program = programOf({kernel->meta, {ptx.begin(), ptx.end()}});
    kernel->gpu = site.gpu;
  }
  kernel->threads = site.threads;
  return KernelPtr(std::move(kernel));
}

} // namespace attnjit::inline v0
