// Matches the captures of a call with those that its formula declares.
#pragma once

#include "Engine/CallCheck.h"

namespace attnjit::engine {

/// Values in the order of the formula's tables.
struct BoundCaptures {
  std::vector<TensorRef> captures;
  std::vector<ScalarArg> scalars;
  expr::Bindings bindings() const { return {captures, scalars}; }
};

/// Errors name the capture.
Result<BoundCaptures> bindCaptures(const std::vector<CaptureArgument> &arguments, const ModImpl &mod, CheckFor purpose);

/// The same values, each by its name, in the order in which `mod` declares them. Error: the first that does not match a declaration.
Result<std::vector<CaptureArgument>> namedCaptures(const std::vector<CaptureArgument> &arguments, const Mod &mod);

/// Adds those of `more` whose names are missing from `into`; all have names. Error: InvalidArgument when a name has two values.
Result<void> joinCaptures(std::vector<CaptureArgument> &into, const std::vector<CaptureArgument> &more);

} // namespace attnjit::engine
