#include "AttentionLike.h"

#include "attnjit-mlir/Dialect/Attn/InterfaceModels.h"

#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"

using namespace mlir;
using namespace mlir::bufferization;

namespace attnjit::attn {
namespace {

struct AttentionModel : DstBufferizableOpInterfaceExternalModel<AttentionModel, AttentionOp> {
  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand, const AnalysisState &) const {
    return !cast<DestinationStyleOpInterface>(op).isDpsInit(&operand);
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter, const BufferizationOptions &options, BufferizationState &state) const {
    auto attention = cast<AttentionOp>(op);
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      if (!isa<TensorType>(operand.getType())) {
        operands.push_back(operand);
        continue;
      }
      FailureOr<Value> buffer = getBuffer(rewriter, operand, options, state);
      if (failed(buffer))
        return failure();
      operands.push_back(*buffer);
    }
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPoint(op);
    AttentionOp inBuffers = cloneWith(rewriter, attention, TypeRange(), operands);
    for (Region &region : inBuffers->getRegions())
      if (!region.empty())
        for (auto [argument, type] : llvm::zip(region.getArguments(), inBuffers.getRegionArgumentTypes(region)))
          argument.setType(type);
    SmallVector<Value> results(inBuffers.getOuts());
    replaceOpWithBufferizedValues(rewriter, op, results);
    return success();
  }
};

/// An attn.load in a region follows the region's argument, whose type attn.attention changes.
struct LoadModel : BufferizableOpInterface::ExternalModel<LoadModel, LoadOp> {
  bool bufferizesToMemoryRead(Operation *, OpOperand &, const AnalysisState &) const { return true; }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &, const AnalysisState &) const { return false; }
  AliasingValueList getAliasingValues(Operation *, OpOperand &, const AnalysisState &) const { return {}; }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter, const BufferizationOptions &options, BufferizationState &state) const {
    auto load = cast<LoadOp>(op);
    if (isa<BlockArgument>(load.getCapture()) && isa<AttentionOp>(load.getCapture().getParentBlock()->getParentOp()))
      return success();
    FailureOr<Value> buffer = getBuffer(rewriter, load.getCapture(), options, state);
    if (failed(buffer))
      return failure();
    rewriter.modifyOpInPlace(op, [&] { load.getCaptureMutable().assign(*buffer); });
    return success();
  }
};

} // namespace

void registerBufferizableOpInterfaceExternalModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, AttnDialect *) {
    AttentionOp::attachInterface<AttentionModel>(*context);
    LoadOp::attachInterface<LoadModel>(*context);
  });
}

} // namespace attnjit::attn
