// A problem of the tools, which make it in host memory, where the engine computes it: there on a CPU; on a GPU its operands are copied, and
// its results copied back.
#pragma once

#include "common/ProblemFlags.h"

#include "attnjit/DeviceBuffer.h"
#include "attnjit/Engine.h"

#include <functional>
#include <vector>

namespace attnjit::tools {

bool isOnGpu(const Engine &engine);

/// Borrows the problem and the engine.
class PlacedProblem {
public:
  using Forward = std::function<Result<ForwardReport>(const ForwardCall &)>;

  /// For a GPU: copies operands, and captures that are too large to travel with each launch. Errors: as DeviceBuffer.
  static Result<PlacedProblem> place(const Engine &engine, const LoadedProblem &problem);

  /// Runs the call, by `forward` if that is given (a kernel's, say), and waits for it. On a GPU, runNs of the report is the time there.
  /// Errors: IndexOutOfRange too.
  Result<ForwardReport> run() const;
  Result<ForwardReport> run(const Forward &forward) const;
  /// Brings out, lse and max back to the problem.
  Result<void> fetch() const;

private:
  explicit PlacedProblem(const Engine &engine, const ForwardCall &call) : engine(&engine), call(call) {}
  Result<void> copyToGpu(const LoadedProblem &problem);
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
