// Builds the nodes of one Function. Folding is done here, when a node is made: equal nodes are shared, constants are
// folded and exact identities applied. The front end, simplify() and the closed form all build through it, so a simplified formula is a
// fixed point by construction.
#pragma once

#include "Expr/Ir.h"

#include <initializer_list>
#include <span>
#include <unordered_map>

namespace attnjit::expr {

/// The nodes that `roots` need, in depth-first post order of the operands (so that equal meaning of structure prints alike); updates
/// `roots`.
std::vector<Node> inPostOrder(std::span<const Node> nodes, std::span<ValueId> roots);

class Builder {
public:
  /// `fold` = false keeps every node as asked for (tests that compare raw and simplified formulas).
  explicit Builder(bool fold = true) : folding(fold) {}

  ValueId param(Param param, TextRange range = {});
  /// A leaf of any op with an integer immediate (Param of another numbering, Scalar).
  ValueId leaf(Op op, Kind kind, std::int64_t immediate, TextRange range = {});
  ValueId scalar(int index, Kind kind, TextRange range = {}) { return leaf(Op::Scalar, kind, index, range); }
  ValueId constantInt(std::int64_t value, TextRange range = {}) { return leaf(Op::Const, Kind::Int, value, range); }
  ValueId constantBool(bool value, TextRange range = {}) { return leaf(Op::Const, Kind::Bool, value, range); }
  ValueId constantFloat(double value, TextRange range = {});
  ValueId load(int capture, Kind elementKind, std::span<const ValueId> indices, TextRange range = {});
  /// The index of a reduction of that level.
  ValueId iter(int level, ValueId length, TextRange range = {});
  /// An op of the table, or a reduction, on operands of the kinds it takes (resultKind() must answer).
  ValueId op(Op op, std::span<const ValueId> operands, TextRange range = {});
  ValueId op(Op op, std::initializer_list<ValueId> operands, TextRange range = {}) {
    return this->op(op, std::span<const ValueId>(operands.begin(), operands.size()), range);
  }

  const Node &operator[](ValueId id) const { return nodes[id]; }
  Kind kind(ValueId id) const { return nodes[id].kind; }
  bool isConst(ValueId id) const { return nodes[id].op == Op::Const; }
  std::size_t size() const { return nodes.size(); }
  /// Whether a value moves with the index of a reduction of that level.
  bool isOpen(ValueId id, int level) const { return open[id] >> level & 1; }
  /// Whether an argument (score, b, h, q, kv) enters a value.
  bool usesArguments(ValueId id) const { return moves[id]; }

  /// What `roots` need, in post order; updates `roots`.
  std::vector<Node> take(std::span<ValueId> roots) const { return inPostOrder(nodes, roots); }
  Function finish(ValueId result) const;

private:
  ValueId make(Node node);
  /// Rules of Fold.cpp; each returns an existing or simpler value.
  bool fold(Op op, std::span<const ValueId> operands, TextRange range, ValueId &result);
  bool foldConstants(Op op, std::span<const ValueId> operands, TextRange range, ValueId &result);
  bool foldInt(Op op, ValueId x, ValueId y, TextRange range, ValueId &result);
  bool foldFloat(Op op, ValueId x, ValueId y, TextRange range, ValueId &result);
  bool foldBool(Op op, ValueId x, ValueId y, TextRange range, ValueId &result);
  bool foldSelect(ValueId condition, ValueId x, ValueId y, TextRange range, ValueId &result);
  bool foldUnary(Op op, ValueId x, TextRange range, ValueId &result);
  bool foldReduction(Op op, ValueId iter, ValueId body, TextRange range, ValueId &result);

  std::vector<Node> nodes;
  std::vector<std::uint8_t> open; ///< of each node: the levels it moves with
  std::vector<bool> moves;        ///< of each node: whether an argument enters it
  std::unordered_multimap<std::uint64_t, ValueId> known;
  bool folding;
};

} // namespace attnjit::expr
