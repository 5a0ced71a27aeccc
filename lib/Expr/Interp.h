// Evaluates a Function for one position: the executable meaning of the IR, shared by the f64 reference and the planner.
#pragma once

#include "Expr/Ir.h"
#include "attnjit/KernelAbi.h"

#include <span>

namespace attnjit::expr {

/// Run-time values of captures and scalars, in the order of the Formula's tables.
struct Bindings {
  std::span<const TensorRef> captures;
  std::span<const ScalarArg> scalars;
};

struct Position {
  std::int64_t b = 0, h = 0, q = 0, kv = 0;
};

/// A value of any kind; Bool and Int live in i, Float in f.
struct Value {
  std::int64_t i = 0;
  double f = 0;
};

/// Reusable evaluator: holds scratch for one Function so that a call allocates nothing. Floats are computed in f64. What does not depend on
/// kv or the score is remembered from call to call, so walk kv innermost. One thread at a time.
class Interp {
public:
  Interp(const Formula &formula, const Function &function, const Bindings &bindings);

  /// Evaluates at one position. `outOfRange` is set (never cleared) when a captured index, after Python's negative wrap, left its tensor;
  /// the load then reads element 0 of that dimension (or 0 for an empty tensor).
  Value evaluate(double score, const Position &position, bool &outOfRange);

private:
  /// When a node has to be computed anew: never, for a new (b, h), for a new (b, h, q), always.
  enum Stage { Uniform, PerHead, PerQuery, PerPair, StageCount };

  struct Step {
    const Node *node;
    ValueId result;
    Kind operandKind;
    std::vector<Step> body; ///< of a reduction: what each step of its loop computes
  };

  Step stepOf(ValueId id, std::span<const std::vector<ValueId>> bodies) const;
  void run(Stage stage, double score, const Position &position);
  void run(const std::vector<Step> &steps, double score, const Position &position, bool &outOfRange);
  void reduce(const Step &step, double score, const Position &position, bool &outOfRange);

  const Function &function;
  Bindings bindings;
  std::vector<Value> values;
  std::vector<Step> steps[StageCount];
  bool stageOutOfRange[StageCount] = {};
  Position last;
  bool hasLast = false;
};

/// Reads element `offset` (in elements, signed) of a captured tensor as Value of its kind.
Value loadElement(const void *data, DType dtype, std::int64_t offset);

/// Reads the element at `indices` (one per dimension, negative ones count from the end). An index outside sets `outOfRange` and reads
/// element 0 of that dimension, or 0 for an empty tensor.
Value loadAt(const TensorRef &tensor, std::span<const std::int64_t> indices, bool &outOfRange);

} // namespace attnjit::expr
