// What can be known about a formula without running it over every pair. Done once, for every target.
#pragma once

#include "Expr/Interp.h"
#include "Expr/Ir.h"

#include <functional>
#include <vector>

namespace attnjit::expr {

/// What a value depends on; a bit set.
enum Dependence : std::uint8_t { DependsNone = 0, DependsB = 1, DependsH = 2, DependsQ = 4, DependsKv = 8, DependsScore = 16 };

/// One Dependence set per node of `function`.
std::vector<std::uint8_t> dependences(const Function &function);

/// A closed interval of Int, Bool (0..1) or Float values. Floats: `maybeNan` says whether NaN is possible too.
struct Range {
  Kind kind = Kind::Int;
  std::int64_t lo = INT64_MIN, hi = INT64_MAX; ///< Int and Bool
  double flo = 0, fhi = 0;                     ///< Float; -inf .. inf when unknown
  bool maybeNan = true;
};

/// A box of positions, inclusive at both ends, and of scores.
struct Box {
  std::int64_t bLo = 0, bHi = 0, hLo = 0, hHi = 0, qLo = 0, qHi = 0, kvLo = 0, kvHi = 0;
};

/// Range of the elements of capture `index` over the inclusive index box, which stands as the formula computes it: the callee applies
/// Python's wrap and clamps, since it knows the sizes. The planner answers from range tables. May be null: then only the dtype is known.
using CaptureRangeFn = std::function<Range(int index, std::span<const Range> indices)>;

/// Range of every node over a box. Unknown is always a legal answer; the result is sound for every position of the box.
/// `scalars` empty: scalars are unknown within [-2^30, 2^30] if `narrow`, else unknown.
std::vector<Range> ranges(const Formula &formula, const Function &function, const Box &box, std::span<const ScalarArg> scalars, bool narrow,
                          const CaptureRangeFn &captureRange);

/// What a mask does on a box.
enum class TileClass { Empty, Partial, Full };
TileClass classify(const Formula &formula, const Box &box, std::span<const ScalarArg> scalars, const CaptureRangeFn &captureRange);

/// True when every index of every Load of `function` lies inside its tensor for all positions of `box` (A10), given the sizes in
/// `bindings`; used at launch to choose the unchecked kernel.
bool indicesProvedInBounds(const Formula &formula, const Function &function, const Box &box, const Bindings &bindings);

/// The interval extension of mask_mod as code: a function of (b, h, q_lo, q_hi, kv_lo, kv_hi) with two Bool results. Values of
/// this little IR are Nodes too; Params are numbered by BoxParam. Sound: mayBeTrue = false proves the box empty, mayBeFalse =
/// false proves it full. Only scalars, positions and constants occur in it (no Load). It holds for b, h up to 2^30 and q, kv up to 2^40;
/// what it needs to know of scalars it checks itself. Constants of its own lie within 2^30, so it may be compiled to 32 bits where the mask
/// may. `useful` is false when nothing could be decided from run-time scalars and positions alone (e.g. the mask only looks at captured
/// tensors): then no closed form is emitted and a host plan is worth building.
enum class BoxParam : std::uint8_t { B, H, QLo, QHi, KvLo, KvHi };
struct ClosedForm {
  std::vector<Node> nodes; ///< Op::Param nodes carry BoxParam in imm.i
  ValueId mayBeTrue = 0, mayBeFalse = 0;
  bool useful = false;
  bool exact = false; ///< no captured tensor and no unknown was involved: a host plan would add nothing
};
ClosedForm closedForm(const Formula &formula);

/// What a closed form says of one box (one b and one h: bLo and hLo count).
struct BoxVerdict {
  bool mayBeTrue = true, mayBeFalse = true;
};
BoxVerdict evaluate(const ClosedForm &form, const Box &box, std::span<const ScalarArg> scalars);

/// Whether prob(c p, b, h, q, kv) = c prob(p, b, h, q, kv) for every c > 0: proved op by op, "no" is always a legal answer. Then a prob_mod
/// may be applied to any multiple of p, and softmax needs one pass over the keys (A13).
bool isHomogeneous(const Function &prob);

/// True when some row can be left without any visible key although N > 0 (conservative): by the mask, or by a score of -inf or NaN where
/// the dot products are finite.
bool mayHaveEmptyRow(const Formula &formula);

} // namespace attnjit::expr
