// The engine's seam: no exception of an embedder's code or of the standard library gets past it.
#pragma once

#include "attnjit/Result.h"

#include <exception>
#include <new>
#include <string>

namespace attnjit::engine {

/// body(), a Result, with whatever it throws turned into an Error.
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
