// Elements between memory and arithmetic: every element type an operand or a captured tensor can have. Private to this room and TileToGPU.
#pragma once

#include "Emitter.h"

namespace attnjit::tile {

/// f8E4M3FN or f8E5M2.
bool isFloat8(mlir::Type memory);

/// The type in which memory of element type `memory` is loaded: bf16 as i16; 8-bit floats and i1 as i8; otherwise itself.
mlir::Type rawType(const Emitter &emit, mlir::Type memory);

/// Raw elements (scalar or vector of rawType) as `result`: floats exactly or, f64 to f32, rounded; integers sign extended (ui8: zero
/// extended) or truncated; i1 as byte != 0.
mlir::Value widenElements(const Emitter &emit, mlir::Value raw, mlir::Type memory, mlir::Type result);

/// Floats rounded once, to nearest even, as rawType(memory). NaN stays NaN; what is too large becomes infinity, in e4m3 NaN, which is what
/// PyTorch makes of it.
mlir::Value narrowElements(const Emitter &emit, mlir::Value value, mlir::Type memory);

/// Loads `lanes` consecutive elements (1: a scalar) as floats of type `compute`.
mlir::Value loadFloats(const Emitter &emit, mlir::Value address, mlir::Type memory, mlir::Type compute, int64_t lanes);

/// Rounds and stores a scalar or vector of floats.
void storeFloats(const Emitter &emit, mlir::Value value, mlir::Value address, mlir::Type memory);

} // namespace attnjit::tile
