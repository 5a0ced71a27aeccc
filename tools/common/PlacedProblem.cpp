#include "common/PlacedProblem.h"

namespace attnjit::tools {

namespace {

/// Smaller captures stay in host memory, where the planner reads them, and travel with the launch.
constexpr std::size_t kMostTravelling = std::size_t{1} << 20;

} // namespace

bool isOnGpu(const Engine &engine) { return engine.target().starts_with("sm_"); }

/// Copies all memory of `tensor`, gaps included, and lets `ref` point to the same element there.
Result<void> PlacedProblem::move(const Tensor &tensor, TensorRef &ref) {
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

Result<PlacedProblem> PlacedProblem::place(const Engine &engine, const LoadedProblem &problem) {
  PlacedProblem placed(engine, problem.call);
  if (isOnGpu(engine))
    if (Result<void> copied = placed.copyToGpu(problem); !copied)
      return copied.error();
  return placed;
}

Result<void> PlacedProblem::copyToGpu(const LoadedProblem &problem) {
  call.timeOnDevice = true;
  const Tensor &k = problem.pools ? problem.pools->k : problem.k, &v = problem.pools ? problem.pools->v : problem.v;
  for (const auto &[tensor, ref] : {std::pair{&problem.q, &call.q}, {&k, &call.k}, {&v, &call.v}})
    if (Result<void> moved = move(*tensor, *ref); !moved)
      return moved;
  const auto moveResult = [&](const Tensor &tensor, TensorRef &ref) {
    Result<void> moved = move(tensor, ref);
    results.push_back({buffers.size() - 1, tensor});
    return moved;
  };
  if (Result<void> moved = moveResult(problem.out, call.out); !moved)
    return moved;
  for (const auto &[tensor, ref] : {std::pair{&problem.lse, &call.lse}, {&problem.max, &call.max}})
    if (*ref)
      if (Result<void> moved = moveResult(**tensor, **ref); !moved)
        return moved;
  for (const NamedCapture &capture : problem.captures) {
    const auto *tensor = std::get_if<Tensor>(&capture.value);
    if (!tensor || tensor->memory().size() <= kMostTravelling)
      continue;
    for (CaptureArgument &argument : call.captures)
      if (argument.name == capture.name)
        if (Result<void> moved = move(*tensor, std::get<TensorRef>(argument.value)); !moved)
          return moved;
  }
  return {};
}

Result<ForwardReport> PlacedProblem::run() const {
  return run([&](const ForwardCall &one) { return engine->forward(one); });
}

Result<ForwardReport> PlacedProblem::run(const Forward &forward) const {
  Result<ForwardReport> report = forward(call);
  if (!report || !isOnGpu(*engine))
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

Result<void> PlacedProblem::fetch() const {
  for (const Fetched &result : results)
    if (Result<void> copied = buffers[result.buffer].copyTo(result.tensor.memory().data()); !copied)
      return copied;
  return {};
}

} // namespace attnjit::tools
