// expr -> attn: a module with one attn.forward from a formula and what is compiled in.
//
// Integers of the formula are 64 bits wide; an operation becomes 32 bits wide where expr::ranges proves that its operands and its result
// fit (A2), so that a vector holds twice as many positions. Floats get the compute type. NaN semantics are kept: Min and
// Max are arith.minimumf and arith.maximumf, and no fast-math flag is ever set.
#pragma once

#include "Expr/Ir.h"
#include "attnjit/Types.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/STLFunctionalExtras.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace mlir {
class OpBuilder;
}

namespace attnjit::attn {

/// What is compiled into a kernel besides the formula.
struct AttnProblem {
  std::string name = "attention"; ///< symbol of the function, later of the kernel
  DType qType = DType::F32, kvType = DType::F32, outType = DType::F32;
  std::int64_t D = 64, Dv = 64;
  bool contiguous = true;      ///< last strides of q, k and v are 1
  bool paged = false;          ///< k and v are pools of pages, behind a page table
  bool checkedIndices = false; ///< captured loads must be checked and reported (A10)
  bool narrowIndices = true;   ///< positions and integer scalars lie within +-2^30
  std::int64_t tileRows = 64, tileCols = 64;
  std::optional<DType> sinks = {}; ///< element type of the sinks; empty: there are none
};

/// The type of an element in memory. u8 is ui8, bool is i1, other integers are signless.
mlir::Type memoryType(mlir::MLIRContext *context, DType dtype);
/// The inverse of memoryType(); nothing for a type that no dtype has.
std::optional<DType> dtypeOf(mlir::Type type);

/// Builds `func.func @name(q, k, v, out, lse, max, scale, sinks if there are any, captures..., scalars..., pages if paged)` around one
/// attn.forward. The dialects attn, func, memref, arith and math must be loaded in `context`. Null, with an error on the context, if the
/// result does not verify.
mlir::OwningOpRef<mlir::ModuleOp> importFormula(mlir::MLIRContext *context, const expr::Formula &formula, const AttnProblem &problem);

/// Where the leaves of a list of nodes come from, and which integers may be narrow.
struct NodeLeaves {
  mlir::Type computeType;                                   ///< of Float nodes
  llvm::function_ref<mlir::Value(const expr::Node &)> leaf; ///< value of a Param or Scalar node
  mlir::ValueRange captures;                                ///< of Load nodes
  /// Per node: its value provably fits 32 bits. Empty: nothing is known.
  std::span<const std::uint8_t> fits32;
};

/// Emits what `roots` need of topologically ordered nodes as arith, math and attn ops; returns the roots' values.
llvm::SmallVector<mlir::Value> emitNodes(mlir::OpBuilder &builder, mlir::Location loc, std::span<const expr::Node> nodes,
                                         std::span<const expr::ValueId> roots, const NodeLeaves &leaves);

} // namespace attnjit::attn
