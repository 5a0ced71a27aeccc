// The last step of a call: plan, launch, and what came of it.
#pragma once

#include "Engine/CallCheck.h"
#include "Engine/KernelImpl.h"

#include <chrono>
#include <exception>
#include <new>
#include <string>

namespace attnjit::engine {

/// Whether a kernel was compiled for problems of this class. Error: InvalidArgument with the first difference.
Result<void> checkFits(const KernelImpl &kernel, const Problem &problem);

/// Builds the host plan if the mask wants one and computes the call. `mod` is the formula that the captures of `checked` are bound to. source and the times before the
/// plan are left to the caller.
Result<ForwardReport> launch(const KernelImpl &kernel, const ModImpl &mod, const CheckedCall &checked, const ForwardCall &call);

/// Both functions of the memory hook or neither.
Result<void> checkHooks(const Hooks &hooks);

inline std::int64_t nanosecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count();
}

/// The engine's seam: no exception of an embedder's code or of the standard library gets past it.
template <typename Body> auto guarded(Body &&body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc &) {
    return Error{ErrorCode::Unsupported, "out of memory"};
  } catch (const std::exception &exception) {
    return Error{ErrorCode::Internal, std::string("unexpected exception: ") + exception.what()};
  } catch (...) {
    return Error{ErrorCode::Internal, "unexpected exception of an unknown type"};
  }
}

} // namespace attnjit::engine
