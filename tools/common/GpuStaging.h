// A problem of the tools, which live in host memory, on the GPU of an engine: operands there, the call that reads them, results back.
#pragma once

#include "common/ProblemFlags.h"

#include "attnjit/DeviceBuffer.h"
#include "attnjit/Engine.h"

#include <functional>
#include <vector>

namespace attnjit::tools {

/// Borrows the problem and the engine.
class GpuStaging {
public:
  /// Copies operands, and captures that are too large to travel with each launch. Errors: as DeviceBuffer.
  static Result<GpuStaging> stage(const Engine &engine, const LoadedProblem &problem);

  /// Runs the staged call by `forward` and waits for it: runNs of the report is the time on the GPU. Errors: IndexOutOfRange too.
  Result<ForwardReport> run(const std::function<Result<ForwardReport>(const ForwardCall &)> &forward) const;
  /// Brings out, lse and max back to the problem.
  Result<void> fetch() const;

private:
  explicit GpuStaging(const Engine &engine) : engine(&engine) {}
  Result<void> move(const Tensor &tensor, TensorRef &ref);

  struct Fetched {
    std::size_t buffer;
    Tensor tensor;
  };
  const Engine *engine;
  ForwardCall call;
  std::vector<DeviceBuffer> buffers;
  std::vector<Fetched> results;
};

} // namespace attnjit::tools
