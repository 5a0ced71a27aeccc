// Numbers and tensors that a front door adds to the user's formula: captures that the user neither declares nor gives.
#pragma once

#include "Expr/Rewrite.h"
#include "attnjit/Problem.h"
#include "attnjit/Result.h"

#include <string>
#include <vector>

namespace attnjit::attention {

/// A user's formula about to be rewritten, with what was added to its tables.
class Rewriting {
public:
  explicit Rewriting(const Mod &mod);

  const expr::Formula &original() const { return inner; }
  const expr::Renaming &renaming() const { return names; }

  /// Adds a captured number; answers for its place among the formula's numbers. Error: InvalidArgument when the user has that name.
  Result<int> addNumber(std::string name, expr::Kind kind);
  /// Adds a captured tensor; answers for its place among the formula's tensors.
  Result<int> addTensor(std::string name, DType dtype, int rank);

  /// The Mod of these functions over all captures, the user's first.
  Mod finish(expr::Function score, expr::Function mask, expr::Function prob) &&;

private:
  Result<void> declare(const CaptureInfo &capture);

  const expr::Formula &inner;
  expr::Renaming names;
  expr::Formula formula;
  std::vector<CaptureInfo> captures;
};

/// The user's captures followed by ours, in the user's manner (by name or by position). Error: InvalidArgument when positional ones are too
/// few or too many, since ours would take the wrong places.
Result<std::vector<CaptureArgument>> withHidden(const std::vector<CaptureArgument> &given, const Mod &mod,
                                                std::vector<CaptureArgument> hidden);

} // namespace attnjit::attention
