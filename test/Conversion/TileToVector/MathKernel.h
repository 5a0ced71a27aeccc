// Kernels that apply one function of the formula language to arrays, on scalars or vectors of a target.
#pragma once

#include "JitHarness.h"
#include "attnjit-mlir/Conversion/TileToVector/FormulaOps.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace attnjit::testing {

/// Emits a function of one or two operands.
using Emit = std::function<mlir::Value(mlir::OpBuilder &, mlir::Location, tile::AbiAccess &, llvm::ArrayRef<mlir::Value>)>;

template <typename T> mlir::Type typeOf(mlir::OpBuilder &builder) {
  if constexpr (std::is_same_v<T, float>)
    return builder.getF32Type();
  else if constexpr (std::is_same_v<T, double>)
    return builder.getF64Type();
  else
    return builder.getIntegerType(8 * sizeof(T));
}

/// A kernel of (args, begin, count, memory): memory[i] = f(memory[i], memory[count + i] ...) for all i in steps of `lanes`. lanes 1:
/// scalars.
template <typename T>
std::unique_ptr<JitKernel> makeMapKernel(mlir::MLIRContext &context, const TargetDesc &target, std::int64_t lanes, int arity,
                                         const Emit &emit, std::string &message) {
  mlir::OpBuilder builder(&context);
  mlir::Location loc = builder.getUnknownLoc();
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(loc);
  builder.setInsertionPointToEnd(module->getBody());
  mlir::Type ptr = mlir::LLVM::LLVMPointerType::get(&context), i64 = builder.getI64Type();
  auto function = mlir::func::FuncOp::create(builder, loc, "map", builder.getFunctionType({ptr, i64, i64, ptr}, {}));
  function->setAttr("attnjit.workspace_bytes", builder.getI64IntegerAttr(0));
  mlir::Block *entry = function.addEntryBlock();
  builder.setInsertionPointToEnd(entry);
  builder.setInsertionPoint(mlir::func::ReturnOp::create(builder, loc));
  mlir::Type element = typeOf<T>(builder), type = lanes == 1 ? element : mlir::VectorType::get({lanes}, element);
  mlir::Value step = mlir::arith::ConstantOp::create(builder, loc, builder.getI64IntegerAttr(lanes));
  auto loop = mlir::scf::ForOp::create(builder, loc, entry->getArgument(1), entry->getArgument(2), step);
  builder.setInsertionPoint(loop.getBody()->getTerminator());
  mlir::Value index = loop.getInductionVar();
  llvm::SmallVector<mlir::Value> operands, addresses;
  for (int i = 0; i < arity; ++i) {
    addresses.push_back(
        mlir::LLVM::GEPOp::create(builder, loc, ptr, element, entry->getArgument(3), llvm::ArrayRef<mlir::LLVM::GEPArg>{index}));
    operands.push_back(mlir::LLVM::LoadOp::create(builder, loc, type, addresses.back(), sizeof(T)));
    index = mlir::arith::AddIOp::create(builder, loc, index, entry->getArgument(2));
  }
  tile::AbiAccess abi(builder, loc, entry->getArgument(0), tile::AbiAccess::Functions::Called);
  mlir::LLVM::StoreOp::create(builder, loc, emit(builder, loc, abi, operands), addresses[0], sizeof(T));
  return compileVectorStage(*module, target, message);
}

inline mlir::Value emitAndErase(mlir::Operation *op, mlir::OpBuilder &builder, mlir::Location loc, tile::AbiAccess &abi,
                                llvm::ArrayRef<mlir::Value> operands) {
  mlir::Value result = tile::emitFormulaOp(builder, loc, abi, *op, operands)[0];
  op->erase();
  return result;
}

/// An op of the math dialect. Where it has no form on vectors of itself, it is made on scalars and emitted on vectors, as the expander of
/// formulas does.
inline Emit mathOp(llvm::StringRef name) {
  return [name](mlir::OpBuilder &builder, mlir::Location loc, tile::AbiAccess &abi, llvm::ArrayRef<mlir::Value> operands) {
    mlir::OperationState state(loc, name);
    state.addOperands(operands);
    state.addTypes(operands[0].getType());
    return emitAndErase(builder.create(state), builder, loc, abi, operands);
  };
}

inline Emit pointwise(attn::PointwiseKind kind) {
  return [kind](mlir::OpBuilder &builder, mlir::Location loc, tile::AbiAccess &abi, llvm::ArrayRef<mlir::Value> operands) {
    auto vector = mlir::dyn_cast<mlir::VectorType>(operands[0].getType());
    mlir::Type element = vector ? vector.getElementType() : operands[0].getType();
    mlir::TypedAttr zero = builder.getZeroAttr(element);
    mlir::Value scalar = mlir::arith::ConstantOp::create(builder, loc, zero);
    llvm::SmallVector<mlir::Value> scalars(operands.size(), scalar);
    return emitAndErase(attn::PointwiseOp::create(builder, loc, element, kind, scalars), builder, loc, abi, operands);
  };
}

template <typename T> void applyTo(const JitKernel &kernel, std::vector<T> &memory, int arity) {
  KernelArgs args{};
  args.functions = &libmTable();
  kernel.entry()(&args, 0, static_cast<std::int64_t>(memory.size()) / arity, memory.data());
}

} // namespace attnjit::testing
