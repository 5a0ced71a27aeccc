// A function of torch.aten ops on tensors of rank 0, as text of the formula language.
#pragma once

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

#include <string>

namespace attnjit::attn {

/// The name of an op without torch's prefix; empty for an op of another dialect.
llvm::StringRef torchName(mlir::Operation *op);

/// What an op of torch.constant holds; null for others.
mlir::Attribute torchConstant(mlir::Value value);

/// A `def` named `name` whose arguments are called `arguments`. Fails with a diagnostic at the op that the language has no word for.
mlir::FailureOr<std::string> formulaText(mlir::FunctionOpInterface function, llvm::StringRef name,
                                         llvm::ArrayRef<llvm::StringRef> arguments);

} // namespace attnjit::attn
