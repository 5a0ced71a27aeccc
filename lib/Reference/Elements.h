// Reading, rounding and writing floating-point elements of any dtype, without hardware support for anything narrower than f32.
#pragma once

#include "attnjit/Types.h"

#include <cstdint>

namespace attnjit::reference {

/// Element `offset` (in elements, signed) of an array of float dtype, exactly.
double loadFloat(const void *data, DType dtype, std::int64_t offset);

/// `value` rounded once, to nearest even, to a float dtype; overflow gives an infinity (NaN where there is none: F8E4M3), NaN stays NaN.
double roundTo(DType dtype, double value);

/// Rounds `value` to a float dtype and stores it at `offset`.
void storeFloat(void *data, DType dtype, std::int64_t offset, double value);

/// Half the distance from 1 to the next number of a float dtype: 2^-24 for F32.
double unitRoundoff(DType dtype);

} // namespace attnjit::reference
