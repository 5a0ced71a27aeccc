// The nodes of a function as evaluators walk them, and their values at a single position: what Interp and LaneInterp share.
#pragma once

#include "Expr/Ir.h"
#include "attnjit/KernelAbi.h"

#include <span>
#include <vector>

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

/// What floats are computed in: F32 rounds every value that a node gives, as plain f32 code does.
enum class Floats { F64, F32 };

struct Step {
  const Node *node;
  ValueId id;
  Kind operandKind;       ///< of the first operand, of the second for Select, of the node itself if it has none
  std::vector<Step> body; ///< of a reduction: what each step of its loop computes
};

/// `bodies`: loopBodies of the function.
Step stepOf(const Function &function, ValueId id, std::span<const std::vector<ValueId>> bodies);

/// One value for each node.
class ScalarSteps {
public:
  /// `function` and what `bindings` refers to must outlive this.
  ScalarSteps(const Function &function, const Bindings &bindings, Floats floats);

  /// Computes a step from the values before it. True when a captured index, after Python's negative wrap, left its tensor; the load then
  /// reads element 0 of that dimension (or 0 for an empty tensor).
  bool run(const Step &step, double score, const Position &position);

  Value &operator[](ValueId id) { return values[id]; }
  const Value &operator[](ValueId id) const { return values[id]; }

private:
  Value compute(const Step &step, double score, const Position &position, bool &outOfRange);
  Value reduce(const Step &step, double score, const Position &position, bool &outOfRange);
  void round(Value &value) const {
    if (floats == Floats::F32)
      value.f = static_cast<float>(value.f);
  }

  const Function &function;
  Bindings bindings;
  Floats floats;
  std::vector<Value> values;
};

/// Reads element `offset` (in elements, signed) of a captured tensor as Value of its kind.
Value loadElement(const void *data, DType dtype, std::int64_t offset);

/// Reads the element at `indices` (one per dimension, negative ones count from the end). An index outside sets `outOfRange` and reads
/// element 0 of that dimension, or 0 for an empty tensor.
Value loadAt(const TensorRef &tensor, std::span<const std::int64_t> indices, bool &outOfRange);

} // namespace attnjit::expr
