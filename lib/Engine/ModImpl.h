// What a Mod holds: the formula, its text, and what launches keep asking about it, found out once.
#pragma once

#include "Expr/Interp.h"
#include "Expr/Ir.h"
#include "Support/ForkMutex.h"
#include "attnjit/Mod.h"

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace attnjit::inline v0 {

struct ModImpl {
  /// Where CaptureInfo i went: a tensor slot of formula.captures or a number slot of formula.scalars.
  struct Slot {
    bool tensor = false;
    int index = 0;
  };

  expr::Formula formula;
  std::vector<CaptureInfo> captures;
  std::vector<Slot> slots;
  std::string canonicalText;
  expr::Hash128 textHash; ///< of canonicalText, names of captures included, values of literals left out
  expr::Hash128 maskHash; ///< of the mask with the captures that it reads, names and literals included: equal for equal mask_mods
  bool hasMask = false;
  bool scoreIsIdentity = true;
  bool probIsIdentity = true;
  bool probIsHomogeneous = true;
  bool hasLoads = false;      ///< some captured tensor is read
  bool wantsHostPlan = false; ///< the mask is not decided exactly by its closed form

  /// Whether every captured index of all mods is proved in bounds for these sizes and numbers (A10). Remembers the last question, because
  /// the same sizes come again and again.
  bool indicesProved(std::int64_t B, std::int64_t Hq, std::int64_t M, std::int64_t N, const expr::Bindings &bindings) const;

private:
  mutable ForkMutex proofMutex;
  mutable std::vector<std::int64_t> provedFor; ///< sizes and numbers of the last question
  mutable bool lastProof = false;
  mutable bool hasLastProof = false;
};

/// A Mod of an already checked formula; `captures` name its tables, in the order of positional arguments.
std::shared_ptr<const ModImpl> makeModImpl(expr::Formula formula, std::vector<CaptureInfo> captures);
/// The same with the captures in the order of the formula's tables: tensors, then numbers.
std::shared_ptr<const ModImpl> makeModImpl(expr::Formula formula);

} // namespace attnjit::inline v0
