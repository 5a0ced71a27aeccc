// The attn dialect: what attention computes. Definitions and documentation: Attn.td.
#pragma once

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace attnjit::attn {

/// True for a memref, tensor or CaptureTypeInterface type of rank 0 to 6 whose element type a formula may read.
bool isCaptured(mlir::Type type);
/// A float type that an operand or a captured tensor may have in memory: f64, f32, bf16, f16, f8E4M3FN or f8E5M2.
bool isMemoryFloat(mlir::Type type);
/// The type of scores and of floats in regions for q of `element`: f64 if that is f64, else f32.
mlir::Type computeTypeOf(mlir::Type element);
/// Element type and rank of a captured tensor's type; isCaptured(type) must hold.
mlir::Type captureElementType(mlir::Type type);
int64_t captureRank(mlir::Type type);

/// f32 or f64 for a float element, i1 for i1, and for other integers `intType`: the kind in which a formula sees an element.
mlir::Type loadedType(mlir::Type elementType, mlir::Type computeType, mlir::Type intType);

/// Type in a region of a captured number: i1 stays, integers get `indexType`, floats `computeType`.
mlir::Type scalarRegionType(mlir::Type type, mlir::Type computeType, mlir::Type indexType);

/// True for the ops that a formula region may hold: pure scalar ops of arith and math, attn.load and attn.pointwise.
bool isFormulaOp(mlir::Operation *op);

/// Checks a formula region in place: argument types, one block, formula ops only, and that it ends with the op `yield`, whose operands have
/// exactly the types `results`. `what` names the region in diagnostics, which `owner` carries.
mlir::LogicalResult verifyFormulaRegion(mlir::Operation *owner, mlir::Region &region, llvm::StringRef what, mlir::TypeRange arguments,
                                        mlir::TypeRange results, llvm::StringRef yield);

} // namespace attnjit::attn

#include "attnjit-mlir/Dialect/Attn/AttnDialect.h.inc"
#include "attnjit-mlir/Dialect/Attn/AttnEnums.h.inc"
#include "attnjit-mlir/Dialect/Attn/AttnInterfaces.h.inc"
#define GET_ATTRDEF_CLASSES
#include "attnjit-mlir/Dialect/Attn/AttnAttrs.h.inc"
#define GET_OP_CLASSES
#include "attnjit-mlir/Dialect/Attn/AttnOps.h.inc"
