// Which nodes belong to which reduction. Everything that evaluates, prints or compiles a function walks its loops by these lists.
//
// In sum_i t[i] * (sum_j u[i, j] * w[j]) the inner reduction has level 0 and the outer level 1. w[j] is open at level 0, u[i, j] at both,
// the inner sum and t[i] at level 1 only. A node is computed in the loop of its lowest open level: w[j] and u[i, j] in the inner one,
// although w[j] does not move with i.
#pragma once

#include "Expr/Ir.h"

#include <cstdint>
#include <span>
#include <vector>

namespace attnjit::expr {

/// The levels of the reductions whose index a node moves with, a bit each; `open` holds those of the nodes before it.
std::uint8_t openLevels(const Node &node, std::span<const std::uint8_t> open);
/// Of every node; 0 = computed outside of all loops.
std::vector<std::uint8_t> openLevels(std::span<const Node> nodes);

/// Per node: for a reduction, what each step of its loop computes, in order and without the Iter itself; empty for all other nodes.
std::vector<std::vector<ValueId>> loopBodies(std::span<const Node> nodes);

} // namespace attnjit::expr
