#include "common/GpuStaging.h"

namespace attnjit::tools {

namespace {

/// Smaller captures stay in host memory, where the planner reads them, and travel with the launch.
constexpr std::size_t kMostTravelling = std::size_t{1} << 20;

} // namespace

/// Copies all memory of `tensor`, gaps included, and lets `ref` point to the same element there.
Result<void> GpuStaging::move(const Tensor &tensor, TensorRef &ref) {
  const std::span<std::byte> memory = tensor.memory();
  Result<DeviceBuffer> buffer = DeviceBuffer::allocate(*engine, memory.size());
  if (!buffer)
    return buffer.error();
  if (Result<void> copied = buffer->copyFrom(memory.data()); !copied)
    return copied;
  const std::ptrdiff_t origin = static_cast<std::byte *>(ref.data) - memory.data();
  ref.data = static_cast<std::byte *>(buffer->data()) + origin;
  buffers.push_back(std::move(*buffer));
  return {};
}

Result<GpuStaging> GpuStaging::stage(const Engine &engine, const LoadedProblem &problem) {
  GpuStaging staging(engine);
  ForwardCall &call = staging.call = problem.call;
  call.timeOnDevice = true;
  const Tensor &k = problem.pools ? problem.pools->k : problem.k, &v = problem.pools ? problem.pools->v : problem.v;
  for (const auto &[tensor, ref] : {std::pair{&problem.q, &call.q}, {&k, &call.k}, {&v, &call.v}})
    if (Result<void> moved = staging.move(*tensor, *ref); !moved)
      return moved.error();
  const auto moveResult = [&](const Tensor &tensor, TensorRef &ref) {
    Result<void> moved = staging.move(tensor, ref);
    staging.results.push_back({staging.buffers.size() - 1, tensor});
    return moved;
  };
  if (Result<void> moved = moveResult(problem.out, call.out); !moved)
    return moved.error();
  for (const auto &[tensor, ref] : {std::pair{&problem.lse, &call.lse}, {&problem.max, &call.max}})
    if (*ref)
      if (Result<void> moved = moveResult(**tensor, **ref); !moved)
        return moved.error();
  for (const NamedCapture &capture : problem.captures) {
    const auto *tensor = std::get_if<Tensor>(&capture.value);
    if (!tensor || tensor->memory().size() <= kMostTravelling)
      continue;
    for (CaptureArgument &argument : call.captures)
      if (argument.name == capture.name)
        if (Result<void> moved = staging.move(*tensor, std::get<TensorRef>(argument.value)); !moved)
          return moved.error();
  }
  return staging;
}

Result<ForwardReport> GpuStaging::run(const std::function<Result<ForwardReport>(const ForwardCall &)> &forward) const {
  Result<ForwardReport> report = forward(call);
  if (!report)
    return report;
  if (Result<void> waited = engine->synchronize(call.stream); !waited)
    return waited.error();
  for (const Launch &launch : report->launches) {
    if (Result<void> status = launch.status(); !status)
      return status.error();
    const Result<std::int64_t> ns = launch.deviceNs();
    if (!ns)
      return ns.error();
    report->runNs = *ns;
  }
  return report;
}

Result<void> GpuStaging::fetch() const {
  for (const Fetched &result : results)
    if (Result<void> copied = buffers[result.buffer].copyTo(result.tensor.memory().data()); !copied)
      return copied;
  return {};
}

} // namespace attnjit::tools
