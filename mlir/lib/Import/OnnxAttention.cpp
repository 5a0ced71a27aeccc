#include "attnjit-mlir/Import/OnnxAttention.h"

#include "Expr/Frontend.h"
#include "attnjit-mlir/Import/BuildAttention.h"
#include "attnjit-mlir/Import/ImportFormula.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <array>
#include <fmt/format.h>

using namespace mlir;

namespace attnjit::attn {
namespace {

RankedTensorType tensorOf(Value value) { return cast<RankedTensorType>(value.getType()); }

class OnnxBuilder {
public:
  OnnxBuilder(OpBuilder &builder, Location loc, const OnnxAttention &onnx)
      : builder(builder), loc(loc), onnx(onnx), element(tensorOf(onnx.q).getElementType()), compute(computeTypeOf(element)) {}

  FailureOr<OnnxResults> run() {
    OnnxResults results;
    if (failed(checkOperands()) || failed(checkMask()))
      return failure();
    operands.q = headsApart(onnx.q, onnx.qHeads);
    operands.k = headsApart(onnx.k, onnx.kvHeads);
    operands.v = headsApart(onnx.v, onnx.kvHeads);
    if (onnx.pastKey) {
      operands.k = results.presentKey = joined(onnx.pastKey, operands.k);
      operands.v = results.presentValue = joined(onnx.pastValue, operands.v);
    }
    if (onnx.scale)
      operands.scale = number(*onnx.scale);
    operands.wantsLse = onnx.scores == OnnxScores::Probabilities;
    captureAll();
    const std::string score = capped() + addedMask();
    FailureOr<expr::Formula> formula = parse(score, conditions());
    if (failed(formula))
      return failure();
    FailureOr<AttentionOp> op = buildAttention(builder, loc, *formula, operands);
    if (failed(op))
      return failure();
    results.attention = *op;
    results.y = is3D() ? headsTogether(op->getResult(0)) : op->getResult(0);
    if (onnx.scores)
      results.scores = scoresOf(*op, *formula);
    return results;
  }

private:
  bool is3D() const { return tensorOf(onnx.q).getRank() == 3; }

  //===- Checks -----------------------------------------------------------------------------------------------------------===//

  LogicalResult checkOperands() {
    for (auto [name, value, heads] : {std::tuple("q", onnx.q, onnx.qHeads), {"k", onnx.k, onnx.kvHeads}, {"v", onnx.v, onnx.kvHeads}}) {
      const RankedTensorType type = tensorOf(value);
      if (type.getRank() != tensorOf(onnx.q).getRank() || (type.getRank() != 3 && type.getRank() != 4))
        return emitError(loc) << name << ": expected q, k and v of rank 3 or all of rank 4, got " << type;
      if (is3D() != (heads > 0))
        return emitError(loc) << name << ": numbers of heads belong to operands of rank 3, which need both; got " << heads << " and "
                              << type;
      if (type.isDynamicDim(type.getRank() - 1) || (is3D() && type.getDimSize(2) % heads != 0))
        return emitError(loc) << name << ": expected a static number of columns" << (is3D() ? ", a multiple of the heads" : "") << ", got "
                              << type;
    }
    if (!onnx.pastKey != !onnx.pastValue)
      return emitError(loc) << "past_key and past_value belong together";
    if (onnx.keysUsed && (tensorOf(onnx.keysUsed).getRank() != 1 || !tensorOf(onnx.keysUsed).getElementType().isInteger(64)))
      return emitError(loc) << "nonpad_kv_seqlen: expected rank 1 and elements of i64, got " << tensorOf(onnx.keysUsed);
    if (onnx.pastKey && onnx.keysUsed)
      return emitError(loc) << "nonpad_kv_seqlen: a cache that grows within the op has no padding; leave out past_key and past_value";
    const bool headsKnown = is3D() || (tensorOf(onnx.q).getDimSize(1) > 0 && tensorOf(onnx.k).getDimSize(1) > 0);
    if (onnx.scores && !headsKnown)
      return emitError(loc) << "qk_matmul_output: expected a static number of heads, got " << tensorOf(onnx.q) << " and "
                            << tensorOf(onnx.k);
    return success();
  }

  LogicalResult checkMask() {
    if (!onnx.mask)
      return success();
    const RankedTensorType type = tensorOf(onnx.mask);
    const std::optional<DType> dtype = dtypeOf(type.getElementType());
    if (type.getRank() < 1 || type.getRank() > 4 || !dtype || !(*dtype == DType::Bool || isFloat(*dtype)))
      return emitError(loc) << "attn_mask: expected rank 1 to 4 and elements of i1 or floats, got " << type;
    return success();
  }

  //===- Shapes -----------------------------------------------------------------------------------------------------------===//

  Value transposed(Value value, ArrayRef<int64_t> order) {
    const SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, value);
    SmallVector<OpFoldResult> result;
    for (int64_t dim : order)
      result.push_back(sizes[static_cast<size_t>(dim)]);
    Value empty = tensor::EmptyOp::create(builder, loc, result, tensorOf(value).getElementType());
    return linalg::TransposeOp::create(builder, loc, value, empty, order)->getResult(0);
  }

  /// [B, rows, heads * columns] -> [B, heads, rows, columns]. Of rank 4: as it is.
  Value headsApart(Value value, int64_t heads) {
    const RankedTensorType type = tensorOf(value);
    if (type.getRank() == 4)
      return value;
    const int64_t columns = type.getDimSize(2) / heads;
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, value);
    sizes[2] = builder.getIndexAttr(heads);
    sizes.push_back(builder.getIndexAttr(columns));
    auto apart = RankedTensorType::get({type.getDimSize(0), type.getDimSize(1), heads, columns}, type.getElementType());
    Value split = tensor::ExpandShapeOp::create(builder, loc, apart, value, ArrayRef<ReassociationIndices>{{0}, {1}, {2, 3}}, sizes);
    return transposed(split, {0, 2, 1, 3});
  }

  Value headsTogether(Value value) {
    return tensor::CollapseShapeOp::create(builder, loc, transposed(value, {0, 2, 1, 3}), ArrayRef<ReassociationIndices>{{0}, {1}, {2, 3}});
  }

  Value joined(Value past, Value rows) { return tensor::ConcatOp::create(builder, loc, /*dim=*/2, ValueRange{past, rows}); }

  //===- The formula ------------------------------------------------------------------------------------------------------===//

  void captureTensor(const char *name, Value value) {
    const RankedTensorType type = tensorOf(value);
    captures.push_back({name, *dtypeOf(type.getElementType()), static_cast<int>(type.getRank())});
    operands.captures.push_back(value);
  }
  /// The size of a dimension, as a number.
  void captureSize(const char *name, Value of, int64_t dim) {
    Value size = tensor::DimOp::create(builder, loc, of, dim);
    captures.push_back({name, DType::I64, -1});
    operands.scalars.push_back(arith::IndexCastOp::create(builder, loc, builder.getI64Type(), size));
  }
  bool usesPositions() const { return onnx.isCausal || onnx.leftWindow >= 0 || onnx.rightWindow >= 0; }

  void captureAll() {
    if (onnx.mask)
      captureTensor("mask", onnx.mask);
    if (onnx.keysUsed)
      captureTensor("used", onnx.keysUsed);
    if (onnx.pastKey && usesPositions())
      captureSize("past", onnx.pastKey, 2);
    if (onnx.keysUsed && usesPositions())
      captureSize("rows", operands.q, 2);
  }

  FailureOr<expr::Formula> parse(const std::string &score, const std::string &mask) {
    Result<expr::Formula> formula = expr::parseFormula({score, mask}, captures);
    if (!formula)
      return emitError(loc) << formula.error().message;
    return *formula;
  }

  std::string capped() const { return onnx.softcap == 0 ? "score" : fmt::format("torch.tanh(score / {0:.17g}) * {0:.17g}", onnx.softcap); }

  bool isAdded() const { return onnx.mask && !tensorOf(onnx.mask).getElementType().isInteger(1); }
  /// Keys may lie past the end of the mask.
  bool maskMayEnd() const {
    const int64_t size = tensorOf(onnx.mask).getShape().back(), keys = tensorOf(operands.k).getDimSize(2);
    return size != keys || ShapedType::isDynamic(size);
  }

  /// The element for a pair, whose key is `key`.
  std::string maskElement(const std::string &key) const {
    const ArrayRef<int64_t> sizes = tensorOf(onnx.mask).getShape();
    const std::array<std::string, 4> positions = {"b", "h", "q_idx", key};
    std::string indices;
    for (size_t dim = 0; dim < sizes.size(); ++dim) {
      const bool repeats = sizes[dim] == 1 && dim + 1 < sizes.size();
      indices += fmt::format("{}{}", dim == 0 ? "" : ", ", repeats ? "0" : positions[4 - sizes.size() + dim]);
    }
    return "mask[" + indices + "]";
  }

  /// Where the mask ends no score is looked at.
  std::string addedMask() const { return isAdded() ? " + " + maskElement("kv_idx") : ""; }

  std::string conditions() const {
    std::vector<std::string> all;
    if (onnx.mask && maskMayEnd())
      all.push_back("kv_idx < mask.size(-1)");
    if (onnx.mask && !isAdded())
      all.push_back(maskElement(maskMayEnd() ? "torch.minimum(kv_idx, mask.size(-1) - 1)" : "kv_idx"));
    if (onnx.keysUsed)
      all.push_back("kv_idx < used[b]");
    const std::string position = onnx.pastKey ? "q_idx + past" : onnx.keysUsed && usesPositions() ? "q_idx + used[b] - rows" : "q_idx";
    if (onnx.isCausal)
      all.push_back(fmt::format("kv_idx <= {}", position));
    if (onnx.leftWindow >= 0)
      all.push_back(fmt::format("{} - kv_idx <= {}", position, onnx.leftWindow));
    if (onnx.rightWindow >= 0)
      all.push_back(fmt::format("kv_idx - ({}) <= {}", position, onnx.rightWindow));
    std::string mask;
    for (const std::string &condition : all)
      mask += fmt::format("{}({})", mask.empty() ? "" : " & ", condition);
    return mask;
  }

  //===- Scores as an output ------------------------------------------------------------------------------------------------===//

  Value number(double value) { return arith::ConstantOp::create(builder, loc, builder.getFloatAttr(compute, value)); }
  Value widened(OpBuilder &b, Value value) {
    return value.getType() == compute ? value : arith::ExtFOp::create(b, loc, compute, value).getResult();
  }
  AffineMap pairs(std::initializer_list<unsigned> dims, unsigned of) {
    return AffineMap::getMultiDimMapWithTargets(of, SmallVector<unsigned>(dims), builder.getContext());
  }

  /// <q, k> of every pair: [B, Hq, M, keys] in the type of scores.
  Value products(ArrayRef<OpFoldResult> sizes) {
    Value init =
        linalg::FillOp::create(builder, loc, number(0), tensor::EmptyOp::create(builder, loc, sizes, compute).getResult()).getResult(0);
    const int64_t group = tensorOf(operands.q).getDimSize(1) / tensorOf(operands.k).getDimSize(1);
    AffineExpr b, h, i, j, d;
    bindDims(builder.getContext(), b, h, i, j, d);
    const AffineMap maps[] = {pairs({0, 1, 2, 4}, 5), AffineMap::get(5, 0, {b, h.floorDiv(group), j, d}, builder.getContext()),
                              pairs({0, 1, 2, 3}, 5)};
    using utils::IteratorType;
    const IteratorType kinds[] = {IteratorType::parallel, IteratorType::parallel, IteratorType::parallel, IteratorType::parallel,
                                  IteratorType::reduction};
    return linalg::GenericOp::create(builder, loc, init.getType(), ValueRange{operands.q, operands.k}, init, maps, kinds,
                                     [&](OpBuilder &body, Location, ValueRange in) {
                                       Value product = arith::MulFOp::create(body, loc, widened(body, in[0]), widened(body, in[1]));
                                       linalg::YieldOp::create(body, loc, arith::AddFOp::create(body, loc, in[2], product).getResult());
                                     })
        .getResult(0);
  }

  /// attn.load has its place in the regions of our ops; indices here are within the tensor, or the value is not used.
  void replaceLoads(Block &block) {
    for (LoadOp load : llvm::make_early_inc_range(block.getOps<LoadOp>())) {
      OpBuilder at(load);
      SmallVector<Value> indices;
      for (auto [dim, index] : llvm::enumerate(load.getIndices())) {
        Value place = arith::IndexCastOp::create(at, loc, at.getIndexType(), index);
        Value size = tensor::DimOp::create(at, loc, load.getCapture(), static_cast<int64_t>(dim));
        Value last = arith::SubIOp::create(at, loc, size, arith::ConstantIndexOp::create(at, loc, 1));
        indices.push_back(arith::MinSIOp::create(at, loc, place, last));
      }
      Value loaded = tensor::ExtractOp::create(at, loc, load.getCapture(), indices);
      if (isa<FloatType>(loaded.getType()))
        loaded = widened(at, loaded);
      load.replaceAllUsesWith(loaded);
      load.erase();
    }
  }

  /// One function of a formula in the body of a linalg op over [b, h, q_idx, kv_idx].
  Value apply(OpBuilder &body, AttentionOp op, const expr::Formula &formula, const expr::Function &function, Value score) {
    auto leaf = [&](const expr::Node &node) -> Value {
      if (node.op == expr::Op::Scalar)
        return op.getScalars()[static_cast<unsigned>(node.imm.i)];
      if (static_cast<expr::Param>(node.imm.i) == expr::Param::Score)
        return score;
      Value index = linalg::IndexOp::create(body, loc, node.imm.i - static_cast<int64_t>(expr::Param::B));
      return arith::IndexCastOp::create(body, loc, body.getI64Type(), index);
    };
    const std::array<expr::ValueId, 1> roots{function.result};
    return emitNodes(body, loc, function.nodes, roots, {compute, leaf, op.getCaptures(), {}})[0];
  }

  /// What one pair's output is, of its scaled score.
  Value scoreOf(OpBuilder &body, AttentionOp op, const expr::Formula &formula, Value score, Value lse) {
    if (*onnx.scores == OnnxScores::Raw)
      return score;
    if (*onnx.scores == OnnxScores::Capped) {
      FailureOr<expr::Formula> withoutMask = parse(capped(), "");
      return apply(body, op, *withoutMask, withoutMask->score, score);
    }
    const auto constant = [&](double value) { return arith::ConstantOp::create(body, loc, body.getFloatAttr(compute, value)).getResult(); };
    Value hidden = constant(-std::numeric_limits<double>::infinity());
    Value masked = arith::SelectOp::create(body, loc, apply(body, op, formula, formula.mask, score),
                                           apply(body, op, formula, formula.score, score), hidden);
    if (*onnx.scores == OnnxScores::Masked)
      return masked;
    Value isHidden = arith::CmpFOp::create(body, loc, arith::CmpFPredicate::OEQ, masked, hidden);
    Value probability = math::ExpOp::create(body, loc, arith::SubFOp::create(body, loc, masked, lse));
    return arith::SelectOp::create(body, loc, isHidden, constant(0), probability);
  }

  Value scoresOf(AttentionOp op, const expr::Formula &formula) {
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, operands.q);
    sizes[3] = tensor::getMixedSize(builder, loc, operands.k, 2);
    Value scale = operands.scale ? operands.scale : number(1 / std::sqrt(static_cast<double>(tensorOf(operands.q).getDimSize(3))));
    SmallVector<Value> inputs{products(sizes)};
    SmallVector<AffineMap> maps{pairs({0, 1, 2, 3}, 4)};
    if (operands.wantsLse) {
      inputs.push_back(op.getResult(1));
      maps.push_back(pairs({0, 1, 2}, 4));
    }
    maps.push_back(pairs({0, 1, 2, 3}, 4));
    Value init = tensor::EmptyOp::create(builder, loc, sizes, element);
    const SmallVector<utils::IteratorType> kinds(4, utils::IteratorType::parallel);
    auto generic =
        linalg::GenericOp::create(builder, loc, init.getType(), inputs, init, maps, kinds, [&](OpBuilder &body, Location, ValueRange in) {
          Value scaled = arith::MulFOp::create(body, loc, in[0], scale);
          Value score = scoreOf(body, op, formula, scaled, in[1]);
          if (element != compute)
            score = arith::TruncFOp::create(body, loc, element, score);
          linalg::YieldOp::create(body, loc, score);
        });
    replaceLoads(*generic.getBody());
    return generic.getResult(0);
  }

  OpBuilder &builder;
  Location loc;
  const OnnxAttention &onnx;
  Type element, compute;
  AttentionOperands operands;
  std::vector<expr::CaptureInfo> captures;
};

} // namespace

FailureOr<OnnxResults> buildOnnxAttention(OpBuilder &builder, Location loc, const OnnxAttention &attention) {
  return OnnxBuilder(builder, loc, attention).run();
}

} // namespace attnjit::attn
