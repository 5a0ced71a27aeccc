#include "Runtime/FunctionTable.h"

#include <cmath>

namespace attnjit::runtime {

namespace {

// One overload set per row: std::NAME picks the f32 or the f64 function by its argument.
#define ATTNJIT_RUNTIME_UNARY(NAME)                                                                                                        \
  template <typename T> void NAME##Loop(T *x, std::int64_t n) {                                                                            \
    for (std::int64_t i = 0; i < n; ++i)                                                                                                   \
      x[i] = std::NAME(x[i]);                                                                                                              \
  }
#define ATTNJIT_RUNTIME_BINARY(NAME)                                                                                                       \
  template <typename T> void NAME##Loop(T *x, const T *y, std::int64_t n) {                                                                \
    for (std::int64_t i = 0; i < n; ++i)                                                                                                   \
      x[i] = std::NAME(x[i], y[i]);                                                                                                        \
  }
#include "attnjit/RuntimeFns.def"

} // namespace

const FunctionTable &functionTable() {
  static constexpr FunctionTable table = {
#define ATTNJIT_RUNTIME_UNARY(NAME) NAME##Loop<float>, NAME##Loop<double>,
#define ATTNJIT_RUNTIME_BINARY(NAME) NAME##Loop<float>, NAME##Loop<double>,
#include "attnjit/RuntimeFns.def"
  };
  return table;
}

} // namespace attnjit::runtime
