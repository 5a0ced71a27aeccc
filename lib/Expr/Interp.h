// Evaluates a Function for one position: the executable meaning of the IR, shared by the f64 reference and the planner.
#pragma once

#include "Expr/Steps.h"

namespace attnjit::expr {

/// Reusable evaluator: holds scratch for one Function so that a call allocates nothing. What does not depend on kv or the score is
/// remembered from call to call, so walk kv innermost. One thread at a time.
class Interp {
public:
  Interp(const Formula &formula, const Function &function, const Bindings &bindings, Floats floats = Floats::F64);

  /// Evaluates at one position. `outOfRange` is set (never cleared) when a captured index, after Python's negative wrap, left its tensor;
  /// the load then reads element 0 of that dimension (or 0 for an empty tensor).
  Value evaluate(double score, const Position &position, bool &outOfRange);

private:
  /// When a node has to be computed anew: never, for a new (b, h), for a new (b, h, q), always.
  enum Stage { Uniform, PerHead, PerQuery, PerPair, StageCount };

  void run(Stage stage, double score, const Position &position);

  ValueId result;
  ScalarSteps values;
  std::vector<Step> steps[StageCount];
  bool stageOutOfRange[StageCount] = {};
  Position last;
  bool hasLast = false;
};

} // namespace attnjit::expr
