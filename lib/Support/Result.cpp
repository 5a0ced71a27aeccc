#include "attnjit/Result.h"

namespace attnjit::inline v0 {

const char *name(ErrorCode code) {
  switch (code) {
  case ErrorCode::InvalidFormula:
    return "invalid-formula";
  case ErrorCode::InvalidArgument:
    return "invalid-argument";
  case ErrorCode::NoBackend:
    return "no-backend";
  case ErrorCode::IndexOutOfRange:
    return "index-out-of-range";
  case ErrorCode::Io:
    return "io";
  case ErrorCode::Unsupported:
    return "unsupported";
  case ErrorCode::Internal:
    return "internal";
  }
  return "unknown";
}

} // namespace attnjit::inline v0
