// NumPy's .npy files, versions 1.0 to 3.0, little endian, C and Fortran order.
//
// A file is believed only where it can be checked: the header's sizes must multiply without overflow to exactly what the file holds.
// bfloat16 has no NumPy name; ml_dtypes writes it as '<V2', and some write its bits as '<u2': both are read as bf16, and '<V2' is written.
#pragma once

#include "common/Tensor.h"

namespace attnjit::tools {

/// A tensor from the bytes of a file; `name` is for messages.
Result<Tensor> parseNpy(std::span<const std::byte> bytes, std::string_view name, Placement placement = Placement::Heap);

/// Errors: Io for what cannot be read, InvalidArgument for what is no such file or lies about itself.
Result<Tensor> readNpy(const std::string &path, Placement placement = Placement::Heap);

/// Writes row-major whatever the strides, as writeWholeFile() does: whole or not at all.
Result<void> writeNpy(const std::string &path, const TensorRef &tensor);

} // namespace attnjit::tools
