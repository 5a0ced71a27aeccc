// NAME_args: where every captured value of a formula stands in it, and what C calls it.
#pragma once

#include "Aot/AotAbi.h"
#include "attnjit/Aot.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace attnjit::aot {

struct Field {
  CaptureInfo info;
  std::string cName; ///< info.name, or that with an underscore behind where C or C++ has another use for it
  std::size_t offset = 0;
};

struct AotArguments {
  std::vector<Field> tensors, numbers;
  std::size_t bytes = 0;
  const Field *find(std::string_view name) const;
};

/// The layout for a formula: the same here, in NAME.h and in libattnjit.
AotArguments argumentsOf(const Mod &mod, AotKind kind);

/// A name that C and C++ take for a function or a member.
bool isCIdentifier(std::string_view name);

} // namespace attnjit::aot
