#include "Expr/Loops.h"

#include <algorithm>
#include <bit>

namespace attnjit::expr {

std::uint8_t openLevels(const Node &node, std::span<const std::uint8_t> open) {
  if (node.op == Op::Iter)
    return static_cast<std::uint8_t>(1u << node.imm.i);
  std::uint8_t levels = 0;
  for (const ValueId operand : node.operands)
    levels |= open[operand];
  if (isReduction(node.op))
    levels &= static_cast<std::uint8_t>(~open[node.operands[0]]);
  return levels;
}

std::vector<std::uint8_t> openLevels(std::span<const Node> nodes) {
  std::vector<std::uint8_t> open;
  open.reserve(nodes.size());
  for (const Node &node : nodes)
    open.push_back(openLevels(node, open));
  return open;
}

std::vector<std::vector<ValueId>> loopBodies(std::span<const Node> nodes) {
  std::vector<std::vector<ValueId>> bodies(nodes.size());
  if (std::none_of(nodes.begin(), nodes.end(), [](const Node &node) { return isReduction(node.op); }))
    return bodies;
  const std::vector<std::uint8_t> open = openLevels(nodes);
  std::vector<ValueId> seenBy(nodes.size(), ~ValueId{0}), stack;
  for (ValueId id = 0; id < nodes.size(); ++id) {
    if (!isReduction(nodes[id].op))
      continue;
    const int level = std::countr_zero(open[nodes[id].operands[0]]);
    stack.assign(1, nodes[id].operands[1]);
    while (!stack.empty()) {
      const ValueId inner = stack.back();
      stack.pop_back();
      // What does not move with this loop holds nothing that does, except inside of loops of its own.
      if (seenBy[inner] == id || !(open[inner] >> level & 1))
        continue;
      seenBy[inner] = id;
      if (std::countr_zero(open[inner]) == level && nodes[inner].op != Op::Iter)
        bodies[id].push_back(inner);
      stack.insert(stack.end(), nodes[inner].operands.begin(), nodes[inner].operands.end());
    }
    std::sort(bodies[id].begin(), bodies[id].end());
  }
  return bodies;
}

} // namespace attnjit::expr
