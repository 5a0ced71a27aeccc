#include "Outliner.h"

using namespace mlir;

namespace attnjit::attn {

LogicalResult Outliner::run(BuildFn build) {
  SmallVector<AttentionOp> ops;
  module.walk([&](AttentionOp op) {
    if (SymbolTable::getNearestSymbolTable(op) == module) // a module inside has functions of its own
      ops.push_back(op);
  });
  for (AttentionOp op : ops) {
    if (op.hasTensors())
      return op.emitOpError() << "is on tensors; expected memrefs, which one-shot-bufferize makes of them";
    FailureOr<func::FuncOp> function = functionOf(op, build);
    if (failed(function))
      return failure();
    OpBuilder builder(op);
    func::CallOp::create(builder, op.getLoc(), *function, op->getOperands());
    op.erase();
  }
  return success();
}

FailureOr<func::FuncOp> Outliner::functionOf(AttentionOp op, BuildFn build) {
  FailureOr<KernelSource> source = kernelSourceOf(op);
  if (failed(source))
    return failure();
  std::string key = expr::print(source->formula);
  llvm::raw_string_ostream os(key);
  llvm::interleaveComma(op.getProperties().operandSegmentSizes, os);
  llvm::interleaveComma(op->getOperandTypes(), os);
  func::FuncOp &known = functions[key];
  if (known)
    return known;
  OpBuilder builder(op.getContext());
  auto function = func::FuncOp::create(builder, op.getLoc(), "attention", builder.getFunctionType(op->getOperandTypes(), {}));
  function.setPrivate();
  symbols.insert(function);
  if (failed(build(op, *source, function)))
    return failure();
  return known = function;
}

} // namespace attnjit::attn
