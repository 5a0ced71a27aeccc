#include "Expr/Builder.h"

#include "Expr/Loops.h"
#include "Expr/Ops.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>

namespace attnjit::expr {

namespace {

std::uint64_t bits(const Node &node) {
  std::uint64_t raw;
  std::memcpy(&raw, &node.imm, sizeof raw);
  return raw;
}

std::uint64_t hashOf(const Node &node) {
  std::uint64_t h = (static_cast<std::uint64_t>(node.op) << 8 | static_cast<std::uint64_t>(node.kind)) * 0x9E3779B97F4A7C15u;
  auto mix = [&h](std::uint64_t v) {
    h = (h ^ v) * 0xD6E8FEB86659FD93u;
    h ^= h >> 32;
  };
  mix(bits(node));
  for (ValueId operand : node.operands)
    mix(operand);
  return h;
}

bool sameNode(const Node &a, const Node &b) { return a.op == b.op && a.kind == b.kind && bits(a) == bits(b) && a.operands == b.operands; }

} // namespace

ValueId Builder::make(Node node) {
  const auto id = static_cast<ValueId>(nodes.size());
  if (folding) {
    const std::uint64_t key = hashOf(node);
    auto [first, last] = known.equal_range(key);
    for (auto it = first; it != last; ++it)
      if (sameNode(nodes[it->second], node))
        return it->second;
    known.emplace(key, id);
  }
  open.push_back(openLevels(node, open));
  moves.push_back(node.op == Op::Param ||
                  std::any_of(node.operands.begin(), node.operands.end(), [&](ValueId operand) { return moves[operand]; }));
  nodes.push_back(std::move(node));
  return id;
}

ValueId Builder::leaf(Op op, Kind kind, std::int64_t immediate, TextRange range) {
  Node node{op, kind, {}, {}, range};
  node.imm.i = immediate;
  return make(std::move(node));
}

ValueId Builder::param(Param param, TextRange range) { return leaf(Op::Param, kindOf(param), static_cast<std::int64_t>(param), range); }

ValueId Builder::constantFloat(double value, TextRange range) {
  Node node{Op::Const, Kind::Float, {}, {}, range};
  // One NaN only: its payload must not split hashes.
  node.imm.f = std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value;
  return make(std::move(node));
}

ValueId Builder::load(int capture, Kind elementKind, std::span<const ValueId> indices, TextRange range) {
  Node node{Op::Load, elementKind, {indices.begin(), indices.end()}, {}, range};
  node.imm.i = capture;
  return make(std::move(node));
}

ValueId Builder::iter(int level, ValueId length, TextRange range) {
  Node node{Op::Iter, Kind::Int, {length}, {}, range};
  node.imm.i = level;
  return make(std::move(node));
}

ValueId Builder::op(Op op, std::span<const ValueId> operands, TextRange range) {
  ValueId folded;
  if (folding && fold(op, operands, range, folded))
    return folded;
  Kind kinds[3] = {};
  assert(operands.size() <= 3);
  for (std::size_t i = 0; i < operands.size(); ++i)
    kinds[i] = nodes[operands[i]].kind;
  const auto kind = resultKind(op, {kinds, operands.size()});
  assert(kind && "operands of a kind that the op does not take");
  return make(Node{op, *kind, {operands.begin(), operands.end()}, {}, range});
}

std::vector<Node> inPostOrder(std::span<const Node> nodes, std::span<ValueId> roots) {
  constexpr ValueId kUnseen = ~ValueId{0};
  std::vector<ValueId> renumbered(nodes.size(), kUnseen);
  std::vector<Node> taken;
  struct Visit {
    ValueId id;
    std::size_t nextOperand;
  };
  std::vector<Visit> stack; // explicit: formulas may be deeper than the call stack
  for (ValueId &root : roots) {
    stack.push_back({root, 0});
    while (!stack.empty()) {
      Visit &visit = stack.back();
      const Node &node = nodes[visit.id];
      if (renumbered[visit.id] != kUnseen) {
        stack.pop_back();
      } else if (visit.nextOperand < node.operands.size()) {
        const ValueId operand = node.operands[visit.nextOperand++];
        stack.push_back({operand, 0});
      } else {
        Node copy = node;
        for (ValueId &operand : copy.operands)
          operand = renumbered[operand];
        renumbered[visit.id] = static_cast<ValueId>(taken.size());
        taken.push_back(std::move(copy));
        stack.pop_back();
      }
    }
    root = renumbered[root];
  }
  return taken;
}

Function Builder::finish(ValueId result) const {
  Function function;
  function.nodes = take({&result, 1});
  function.result = result;
  return function;
}

} // namespace attnjit::expr
