// Elements between memory and arithmetic: every element type an operand or a captured tensor can have. Private to this room, FLASH included.
#pragma once

#include "Emitter.h"

namespace attnjit::tile {

/// The type in which memory of element type `memory` is loaded: bf16 as i16, i1 as i8, otherwise itself.
mlir::Type rawType(const Emitter &emit, mlir::Type memory);

/// Raw elements (scalar or vector of rawType) as `result`: floats exactly or, f64 to f32, rounded; integers sign extended (ui8: zero extended) or truncated;
/// i1 as byte != 0.
mlir::Value widenElements(const Emitter &emit, mlir::Value raw, mlir::Type memory, mlir::Type result);

/// Floats rounded to nearest even (NaN stays NaN) as rawType(memory).
mlir::Value narrowElements(const Emitter &emit, mlir::Value value, mlir::Type memory);

/// Loads `lanes` consecutive elements (1: a scalar) as floats of type `compute`.
mlir::Value loadFloats(const Emitter &emit, mlir::Value address, mlir::Type memory, mlir::Type compute, int64_t lanes);

/// Rounds and stores a scalar or vector of floats.
void storeFloats(const Emitter &emit, mlir::Value value, mlir::Value address, mlir::Type memory);

} // namespace attnjit::tile
