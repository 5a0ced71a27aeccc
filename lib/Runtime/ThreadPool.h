// Threads for one parallel region: the embedder's hook, or oneTBB, or plain threads where oneTBB cannot be had.
#pragma once

#include "attnjit/Hooks.h"
#include "attnjit/Result.h"

#include <functional>

namespace attnjit::runtime {

/// Processors that this process may run on (its affinity mask, not the machine's count); at least 1.
int usableProcessors();

/// Runs body(worker) once for each worker of [0, workers) and returns when all have returned. `hook`, if set, decides how; an exception
/// that leaves the hook, and a hook that skips or repeats workers, come back as an Error. The body itself must not throw.
///
/// Without a hook the calling thread takes part, oneTBB's workers help, and other tasks of the caller are never run meanwhile (isolation).
/// oneTBB does not survive fork(): its workers exist in the parent only. A child of fork() therefore gets threads of its own for each
/// region.
Result<void> parallelFor(const ParallelForHook &hook, int workers, const std::function<void(int worker)> &body);

} // namespace attnjit::runtime
