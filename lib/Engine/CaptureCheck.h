// Matches the captures of a call with those that its formula declares.
#pragma once

#include "Engine/CallCheck.h"

namespace attnjit::engine {

/// Fills `checked.captures` and `checked.scalars`. Errors name the capture.
Result<void> checkCaptures(const ForwardCall &call, const ModImpl &mod, CheckFor purpose, CheckedCall &checked);

} // namespace attnjit::engine
