// What the flash and the efficient schedule do to the state of a row: its maximum and its sum of exponentials. Scalars and vectors alike.
// Private to this room.
#pragma once

#include "Emitter.h"
#include "attnjit-mlir/Conversion/TileToVector/SoftmaxEnd.h"

namespace attnjit::tile {

/// What a walk over the keys is for. A prob_mod that needs the normalised p takes two walks: one for the state, one for the output.
enum class Pass { Whole, State, Output };

/// The arithmetic of one kernel.
class OnlineSoftmax {
public:
  using Value = mlir::Value;
  OnlineSoftmax(mlir::OpBuilder &builder, mlir::Location loc) : emit(builder, loc) {}

  bool scoresAreLog2 = false; ///< log2 e is folded into Q: there is no score map

  /// The larger one; a NaN candidate changes nothing (it reaches the output through its exponential). One instruction on x86.
  Value maximum(Value candidate, Value current) const;
  /// What scores of a row with this maximum are taken relative to. While every score is -inf it is 0: -inf - 0 is -inf, and its exponential
  /// 0 (A5).
  Value reference(Value max) const;
  /// The reference that follows `old` at this maximum, which it stays at most `slack` below.
  Value raised(Value old, Value max, double slack) const;
  /// e^(score - reference), at most 1 but for rounding and the slack.
  Value exponential(Value score, Value reference) const;
  /// Its logarithm to the base 2.
  Value exponent(Value score, Value reference) const;

  /// The maximum when all scores are in: NaN where a visible score is.
  Value finishedMax(Value max, Value sum) const;
  /// A maximum as the caller gets it: in natural units.
  Value natural(Value max) const;
  SoftmaxEnd finish(AbiAccess &abi, Value finishedMax, Value sum, Value sink) const;

private:
  Value times(Value value, double factor) const { return emit.mulF(value, emit.constFloat(value.getType(), factor)); }

  Emitter emit;
};

} // namespace attnjit::tile
