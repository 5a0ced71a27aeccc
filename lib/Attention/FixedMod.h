// Formulas of this room's own, as text.
#pragma once

#include "attnjit/Mod.h"

#include <cassert>
#include <string_view>
#include <vector>

namespace attnjit::attention {

/// A Mod of a text that is known to parse.
inline Mod fixedMod(std::string_view score, std::string_view mask, std::vector<CaptureInfo> captures = {}) {
  Result<Mod> mod = Mod::parse(score, mask, std::move(captures));
  assert(mod && "a formula of ours must parse");
  return *mod;
}

} // namespace attnjit::attention
