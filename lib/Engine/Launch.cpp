#include "Engine/Launch.h"

#include "Engine/GpuLaunch.h"
#include "Engine/MaskedCall.h"
#include "Expr/Table.h"

#include <algorithm>
#include <exception>
#include <fmt/format.h>

namespace attnjit::engine {

namespace {

using Clock = std::chrono::steady_clock;

CaptureArg captureArg(const TensorRef &tensor) {
  CaptureArg arg{tensor.data, {}, {}};
  for (int dim = 0; dim < tensor.rank; ++dim) {
    arg.sizes[dim] = tensor.sizes[dim];
    arg.strides[dim] = tensor.strides[dim];
  }
  return arg;
}

std::string positionText(const runtime::StatusPosition &at) {
  return fmt::format("b = {}, h = {}, q_idx = {}, kv_idx = {}", at.b, at.h, at.q, at.kv);
}

/// One block of the kernel's own loop sees the whole row of keys anyway: a plan could not leave anything out. A kernel from an edited stage
/// may compute another mask than its formula says: no plan may leave anything out.
bool planPays(const KernelImpl &kernel, const ModImpl &mod, const Problem &problem) {
  return mod.wantsHostPlan && kernel.meta.followsFormula() && problem.N > kernel.meta.tileCols;
}

Result<void> runHostKernel(PreparedCall &prepared) {
  const KernelImpl &kernel = *prepared.kernel;
  const Clock::time_point start = Clock::now();
  Result<void> ran;
  try {
    ran = kernel.host(*prepared.call);
  } catch (const std::exception &exception) {
    return Error{ErrorCode::Internal, fmt::format("pipeline '{}' threw an exception: {}", kernel.pipeline, exception.what())};
  } catch (...) {
    return Error{ErrorCode::Internal, fmt::format("pipeline '{}' threw an exception", kernel.pipeline)};
  }
  prepared.report.runNs = nanosecondsSince(start);
  prepared.report.workers = 1;
  return ran;
}

/// The units of a launch, and a guess of its work: `pairs` visible pairs.
runtime::LaunchShape launchShape(const ImageMetadata &meta, const Problem &problem, double pairs) {
  const double columns = static_cast<double>(problem.D + problem.Dv);
  runtime::LaunchShape shape;
  shape.workspaceBytes = meta.workspaceBytes;
  shape.flops = 2 * pairs * columns;
  if (meta.stateRowBytes == 0) {
    shape.heads = problem.B * problem.Hq;
    shape.tilesPerHead = (problem.M + meta.tileRows - 1) / meta.tileRows;
    return shape;
  }
  const std::int64_t rows = problem.M * (problem.Hq / problem.Hkv);
  shape.heads = problem.B * problem.Hkv;
  shape.tilesPerHead = (rows + meta.tileRows - 1) / meta.tileRows;
  shape.keysPerPart = runtime::keysPerPart(problem.N, rows, meta.tileCols);
  shape.parts = std::max<std::int64_t>(1, (problem.N + shape.keysPerPart - 1) / shape.keysPerPart);
  shape.rounds = static_cast<int>(shape.parts > 1 ? meta.rounds : 1);
  shape.stateBytes = static_cast<std::size_t>(std::min(rows, meta.tileRows)) * meta.stateRowBytes;
  // Few rows are bound by memory, not by arithmetic: a byte of K and V takes as long as several operations.
  constexpr double kFlopsPerByte = 4;
  const double bytes = pairs / static_cast<double>(rows) * columns * static_cast<double>(sizeInBytes(meta.kvType));
  shape.flops = std::max(shape.flops, kFlopsPerByte * bytes);
  return shape;
}

Result<void> checkLaunchable(const KernelImpl &kernel) {
  if (kernel.program)
    return {};
  if (Result<void> cpu = kernel.unmapped.empty() ? Result<void>() : checkCpu(kernel.meta); !cpu)
    return cpu;
  if (!kernel.mapping)
    return Error{ErrorCode::InvalidArgument, "the kernel has no code: its compilation was told to stop early"};
  return {};
}

} // namespace

Error outOfRangeError(std::int64_t status, const KernelArgs &args, std::string_view captures) {
  return {ErrorCode::IndexOutOfRange, fmt::format("a formula indexes a captured tensor ({}) outside its sizes; the first such position is "
                                                  "{} (A10). The output is not usable. Clamp the index in the "
                                                  "formula, or capture a larger tensor.",
                                                  captures, positionText(runtime::decodeStatus(status, args)))};
}

void addReport(ForwardReport &total, const ForwardReport &one) {
  if (one.pipeline.empty())
    return;
  if (total.pipeline.empty()) {
    total = one;
    return;
  }
  const bool isNamed = total.pipeline == one.pipeline || // the usual case, asked for every call of a large group
                       fmt::format(", {},", total.pipeline).find(fmt::format(", {},", one.pipeline)) != std::string::npos;
  if (!isNamed)
    total.pipeline += ", " + one.pipeline;
  total.source = std::min(total.source, one.source); // Compiled before Memory before Disk
  if (total.awaited.empty())
    total.awaited = one.awaited;
  total.lookupNs += one.lookupNs;
  total.compileNs += one.compileNs;
  total.loadNs += one.loadNs;
  total.planNs += one.planNs;
  total.runNs += one.runNs;
  total.workers = std::max(total.workers, one.workers);
  total.launches.insert(total.launches.end(), one.launches.begin(), one.launches.end());
  total.plan.hostPlan |= one.plan.hostPlan;
  total.plan.visibleBlocks += one.plan.visibleBlocks;
  total.plan.fullBlocks += one.plan.fullBlocks;
  total.plan.totalBlocks += one.plan.totalBlocks;
  total.plan.elementsEvaluated += one.plan.elementsEvaluated;
}

Result<void> checkHooks(const Hooks &hooks) {
  if (static_cast<bool>(hooks.memory.allocate) != static_cast<bool>(hooks.memory.free))
    return Error{ErrorCode::InvalidArgument, "hooks.memory: set both allocate and free, or neither"};
  if (static_cast<bool>(hooks.deviceMemory.allocate) != static_cast<bool>(hooks.deviceMemory.free))
    return Error{ErrorCode::InvalidArgument, "hooks.deviceMemory: set both allocate and free, or neither"};
  return {};
}

Result<void> checkFits(const KernelImpl &kernel, const Problem &problem) {
  const ImageMetadata &meta = kernel.meta;
  auto refuse = [](std::string_view what, auto compiled, auto given) {
    return Error{ErrorCode::InvalidArgument, fmt::format("the kernel was compiled for {} {}, the call has {}", what, compiled, given)};
  };
  if (meta.qType != problem.qType)
    return refuse("q of dtype", name(meta.qType), name(problem.qType));
  if (meta.kvType != problem.kvType)
    return refuse("k and v of dtype", name(meta.kvType), name(problem.kvType));
  if (meta.outType != problem.outType)
    return refuse("out of dtype", name(meta.outType), name(problem.outType));
  if (meta.D != problem.D)
    return refuse("D =", meta.D, problem.D);
  if (meta.Dv != problem.Dv)
    return refuse("Dv =", meta.Dv, problem.Dv);
  const auto sinksText = [](std::optional<DType> sinks) { return sinks ? fmt::format("sinks of dtype {}", name(*sinks)) : "no sinks"; };
  if (meta.sinks != problem.sinks)
    return Error{ErrorCode::InvalidArgument,
                 fmt::format("the kernel was compiled for {}, the call has {}", sinksText(meta.sinks), sinksText(problem.sinks))};
  // The wider class serves the narrower: only these directions are refused.
  if (meta.contiguous && !problem.contiguous)
    return Error{ErrorCode::InvalidArgument, "the kernel was compiled for q, k and v whose last stride is 1, the call has other strides"};
  if (meta.qBoxRows > 0 && !problem.aligned)
    return Error{ErrorCode::InvalidArgument,
                 "the kernel was compiled for q, k and v whose addresses and strides are multiples of 16 bytes, with one batch of "
                 "k and v for each of q, the call has others. Prepare it with them"};
  if (meta.paged != problem.paged)
    return refuse("k and v", meta.paged ? "in pages" : "in one piece", problem.paged ? "them in pages" : "them in one piece");
  if (meta.narrowIndices && !problem.narrowIndices)
    return Error{ErrorCode::InvalidArgument, "the kernel was compiled for sizes and integers within +-2^30, the call has larger ones"};
  if (!meta.checkedIndices && problem.checkedIndices)
    return Error{ErrorCode::InvalidArgument, "the kernel was compiled without checks of captured indices, because they were proved in "
                                             "bounds for the sizes it was prepared with; for "
                                             "this call they could leave the tensor. Prepare it with these sizes"};
  return {};
}

Result<PreparedCall> prepareLaunch(const KernelImpl &kernel, const ModImpl &mod, CheckedCall checked, const ForwardCall &call) {
  const Problem &problem = checked.problem;
  PreparedCall prepared{&kernel, &mod, &call, {}, std::move(checked.scalars), std::move(checked.pages), {}, true, {}, nullptr, {}};
  ForwardReport &report = prepared.report;
  report.backend = kernel.backend;
  report.pipeline = kernel.pipeline;
  prepared.hasRows = problem.B != 0 && problem.Hq != 0 && problem.M != 0;
  if (!prepared.hasRows || kernel.host)
    return prepared;
  if (Result<void> launchable = checkLaunchable(kernel); !launchable)
    return launchable.error();
  report.tileRows = kernel.meta.tileRows;
  report.tileCols = kernel.meta.tileCols;

  std::vector<runtime::MemoryPlace> places; ///< of captures; on a CPU all can be read
  if (kernel.program) {
    Result<std::vector<runtime::MemoryPlace>> found = placesOfCaptures(checked.captures, mod, *kernel.gpu);
    if (!found)
      return found.error();
    places = std::move(*found);
  }
  runtime::LaunchJob &job = prepared.job;
  if (kernel.mapping)
    job.kernel = kernel.mapping->entry();
  job.args = checked.args;
  prepared.captures.reserve(checked.captures.size());
  for (const TensorRef &tensor : checked.captures)
    prepared.captures.push_back(captureArg(tensor));
  job.args.captures = prepared.captures.data();
  job.args.scalars = prepared.scalars.data();

  double pairs = static_cast<double>(problem.B * problem.Hq) * static_cast<double>(problem.M) * static_cast<double>(problem.N);
  if (call.blockMask || (planPays(kernel, mod, problem) && areReadable(places))) {
    const Clock::time_point start = Clock::now();
    const PlanGrid grid = planGrid(kernel.meta, problem);
    plan::Plan &plan = prepared.plan;
    plan = call.blockMask ? planOf(*call.blockMask, problem, grid)
                          : plan::buildPlan(mod.formula, {checked.captures, prepared.scalars},
                                            {problem.B, problem.Hq, problem.M, problem.N, grid.rows, grid.cols});
    if (grid.takes(plan))
      job.args.plan = plan.arg();
    report.planNs = nanosecondsSince(start);
    report.plan = {true, plan.visibleBlocks, plan.fullBlocks, plan.totalBlocks, plan.elementsEvaluated};
    if (plan.totalBlocks > 0)
      pairs *= static_cast<double>(plan.visibleBlocks) / static_cast<double>(plan.totalBlocks);
  }
  if (kernel.program) {
    if (Result<void> packed = packArguments(prepared, checked.captures, places); !packed)
      return packed.error();
    return prepared;
  }
  job.shape = launchShape(kernel.meta, problem, pairs);
  return prepared;
}

Result<ForwardReport> launch(std::span<PreparedCall> calls, runtime::CpuLauncher &launcher, int threads, std::size_t &failed) {
  failed = 0;
  std::vector<runtime::LaunchJob> jobs;
  std::vector<std::size_t> callOfJob;
  jobs.reserve(calls.size());
  callOfJob.reserve(calls.size());
  ForwardReport total;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    PreparedCall &prepared = calls[i];
    if (!prepared.hasRows)
      continue;
    if (prepared.kernel->host) {
      if (Result<void> ran = runHostKernel(prepared); !ran) {
        failed = i;
        return ran.error();
      }
    } else if (prepared.gpu) {
      if (Result<void> enqueued = enqueue(prepared); !enqueued) {
        failed = i;
        return enqueued.error();
      }
    } else {
      jobs.push_back(prepared.job);
      callOfJob.push_back(i);
    }
    addReport(total, prepared.report);
  }
  if (jobs.empty())
    return total;

  const Clock::time_point start = Clock::now();
  Result<int> workers = launcher.launch(jobs, threads);
  if (!workers) {
    failed = callOfJob.front();
    return workers.error();
  }
  total.runNs += nanosecondsSince(start);
  total.workers = std::max(total.workers, *workers);
  for (std::size_t i = 0; i < jobs.size(); ++i)
    if (jobs[i].status != kStatusOk) {
      failed = callOfJob[i];
      return outOfRangeError(jobs[i].status, jobs[i].args, expr::listCaptures(calls[failed].mod->formula));
    }
  return total;
}

} // namespace attnjit::engine
