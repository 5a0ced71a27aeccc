// docs/examples/mlir_layer.cpp: a compiler that has attention among its own operations: a projection, attention, a projection, as one
// function.
#include "attnjit-mlir/Conversion/AttnToKernel/AttnToKernel.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"
#include "attnjit-mlir/InitAll.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/ExecutionEngine/CRunnerUtils.h"
#include "mlir/ExecutionEngine/ExecutionEngine.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/TargetSelect.h"

#include <cmath>
#include <cstdio>
#include <vector>

using namespace mlir;
using namespace attnjit;

namespace {

constexpr int64_t kTokens = 100, kWidth = 48, kHeads = 4, kHeadDim = 16, kWindow = 32;

/// Writes  out = attention(x Wq, x Wk, x Wv) Wo  into a module.
class LayerWriter {
public:
  explicit LayerWriter(MLIRContext *context) : builder(context), loc(builder.getUnknownLoc()), f32(builder.getF32Type()) {}

  OwningOpRef<ModuleOp> write() {
    OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
    builder.setInsertionPointToEnd(module->getBody());
    constexpr int64_t inner = kHeads * kHeadDim;
    const Type types[] = {buffer(kTokens, kWidth), buffer(kWidth, inner), buffer(kWidth, inner),
                          buffer(kWidth, inner),   buffer(inner, kWidth), buffer(kTokens, kWidth)};
    auto function = func::FuncOp::create(builder, loc, "layer", builder.getFunctionType(types, {}));
    function->setAttr(LLVM::LLVMDialect::getEmitCWrapperAttrName(), builder.getUnitAttr());
    Block *entry = function.addEntryBlock();
    builder.setInsertionPointToStart(entry);
    std::vector<Value> in;
    for (BlockArgument argument : entry->getArguments().drop_back()) {
      auto type = cast<MemRefType>(argument.getType());
      in.push_back(
          bufferization::ToTensorOp::create(builder, loc, RankedTensorType::get(type.getShape(), f32), argument, /*restrict=*/true));
    }
    Value attended = attention(heads(matmul(in[0], in[1])), heads(matmul(in[0], in[2])), heads(matmul(in[0], in[3])));
    auto store = bufferization::MaterializeInDestinationOp::create(builder, loc, Type(), matmul(tokens(attended), in[4]),
                                                                   entry->getArguments().back());
    store.setRestrict(true);
    store.setWritable(true);
    func::ReturnOp::create(builder, loc);
    return module;
  }

private:
  Type buffer(int64_t rows, int64_t columns) { return MemRefType::get({rows, columns}, f32); }
  Value empty(ArrayRef<int64_t> shape) { return tensor::EmptyOp::create(builder, loc, shape, f32); }

  Value matmul(Value a, Value b) {
    Value zero = arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(0));
    const int64_t rows = cast<ShapedType>(a.getType()).getDimSize(0), columns = cast<ShapedType>(b.getType()).getDimSize(1);
    Value init = linalg::FillOp::create(builder, loc, zero, empty({rows, columns})).getResult(0);
    return linalg::MatmulOp::create(builder, loc, init.getType(), ValueRange{a, b}, ValueRange{init}).getResult(0);
  }

  /// [tokens, heads * dim] -> [1, heads, tokens, dim]
  Value heads(Value x) {
    auto split = RankedTensorType::get({1, kTokens, kHeads, kHeadDim}, f32);
    Value s = tensor::ExpandShapeOp::create(builder, loc, split, x, ArrayRef<ReassociationIndices>{{0, 1}, {2, 3}});
    return linalg::TransposeOp::create(builder, loc, s, empty({1, kHeads, kTokens, kHeadDim}), ArrayRef<int64_t>{0, 2, 1, 3})
        .getResult()[0];
  }
  Value tokens(Value x) {
    Value t =
        linalg::TransposeOp::create(builder, loc, x, empty({1, kTokens, kHeads, kHeadDim}), ArrayRef<int64_t>{0, 2, 1, 3}).getResult()[0];
    return tensor::CollapseShapeOp::create(builder, loc, t, ArrayRef<ReassociationIndices>{{0, 1}, {2, 3}});
  }

  /// Causal, within a window: kv <= q and q - kv < kWindow.
  Value attention(Value q, Value k, Value v) {
    auto op = attn::AttentionOp::create(builder, loc, TypeRange{q.getType()}, q, k, v, ValueRange{empty({1, kHeads, kTokens, kHeadDim})},
                                        /*scale=*/Value(), /*sinks=*/Value(), /*captures=*/ValueRange(), /*scalars=*/ValueRange(),
                                        /*offsets=*/ValueRange(), /*names=*/ArrayAttr());
    OpBuilder::InsertionGuard guard(builder);
    SmallVector<Type> types = op.getRegionArgumentTypes(op.getMask());
    Block *mask = builder.createBlock(&op.getMask(), {}, types, SmallVector<Location>(types.size(), loc));
    Value query = mask->getArgument(2), key = mask->getArgument(3);
    Value window = arith::ConstantOp::create(builder, loc, builder.getI64IntegerAttr(kWindow));
    Value past = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::sle, key, query);
    Value near = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, arith::SubIOp::create(builder, loc, query, key), window);
    attn::YieldOp::create(builder, loc, arith::AndIOp::create(builder, loc, past, near));
    return op.getResult(0);
  }

  OpBuilder builder;
  Location loc;
  Type f32;
};

struct Matrix {
  int64_t rows, columns;
  std::vector<float> values;

  Matrix(int64_t rows, int64_t columns, int seed = 0) : rows(rows), columns(columns), values(static_cast<size_t>(rows * columns)) {
    for (size_t i = 0; seed != 0 && i < values.size(); ++i)
      values[i] = static_cast<float>((i * 7919 + static_cast<size_t>(seed)) % 1009) / 504.5f - 1;
  }
  float &at(int64_t row, int64_t column) { return values[static_cast<size_t>(row * columns + column)]; }
  StridedMemRefType<float, 2> descriptor() { return {values.data(), values.data(), 0, {rows, columns}, {columns, 1}}; }
};

Matrix product(Matrix &a, Matrix &b) {
  Matrix c(a.rows, b.columns);
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < b.columns; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < a.columns; ++k)
        sum += double(a.at(i, k)) * b.at(k, j);
      c.at(i, j) = static_cast<float>(sum);
    }
  return c;
}

/// The same layer, as one would write it down.
Matrix expected(Matrix &x, Matrix &wq, Matrix &wk, Matrix &wv, Matrix &wo) {
  Matrix q = product(x, wq), k = product(x, wk), v = product(x, wv), attended(kTokens, kHeads * kHeadDim);
  for (int64_t h = 0; h < kHeads * kHeadDim; h += kHeadDim)
    for (int64_t i = 0; i < kTokens; ++i) {
      const int64_t first = std::max<int64_t>(0, i - kWindow + 1);
      std::vector<double> p;
      double most = -HUGE_VAL, sum = 0;
      for (int64_t j = first; j <= i; ++j) {
        double dot = 0;
        for (int64_t d = 0; d < kHeadDim; ++d)
          dot += double(q.at(i, h + d)) * k.at(j, h + d);
        p.push_back(dot / std::sqrt(double(kHeadDim)));
        most = std::max(most, p.back());
      }
      for (double &score : p)
        sum += score = std::exp(score - most);
      for (int64_t d = 0; d < kHeadDim; ++d) {
        double value = 0;
        for (size_t j = 0; j < p.size(); ++j)
          value += p[j] / sum * v.at(first + static_cast<int64_t>(j), h + d);
        attended.at(i, h + d) = static_cast<float>(value);
      }
    }
  return product(attended, wo);
}

} // namespace

int main() {
  auto fail = [](llvm::Error error) {
    std::fprintf(stderr, "%s\n", llvm::toString(std::move(error)).c_str());
    return 1;
  };
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  DialectRegistry registry;
  registerAllDialects(registry);               // attn, and what it does for bufferization and tiling
  attn::registerLowerToLlvmDialects(registry); // the others on the way
  MLIRContext context(registry);
  context.loadAllAvailableDialects();

  OwningOpRef<ModuleOp> module = LayerWriter(&context).write();
  PassManager passes(&context);
  attn::buildLowerToLlvm(passes);
  if (failed(verify(*module)) || failed(passes.run(*module)))
    return 1; // MLIR has said why
  ExecutionEngineOptions options;
  options.jitCodeGenOptLevel = llvm::CodeGenOptLevel::Default;
  llvm::Expected<std::unique_ptr<ExecutionEngine>> engine = ExecutionEngine::create(*module, options);
  if (!engine)
    return fail(engine.takeError());

  Matrix x(kTokens, kWidth, 1), wq(kWidth, kHeads * kHeadDim, 2), wk(kWidth, kHeads * kHeadDim, 3), wv(kWidth, kHeads * kHeadDim, 4),
      wo(kHeads * kHeadDim, kWidth, 5), out(kTokens, kWidth);
  StridedMemRefType<float, 2> views[] = {x.descriptor(),  wq.descriptor(), wk.descriptor(),
                                         wv.descriptor(), wo.descriptor(), out.descriptor()};
  if (llvm::Error error = (*engine)->invoke("layer", &views[0], &views[1], &views[2], &views[3], &views[4], &views[5]))
    return fail(std::move(error));

  Matrix reference = expected(x, wq, wk, wv, wo);
  double worst = 0;
  for (size_t i = 0; i < out.values.size(); ++i)
    worst = std::max(worst, std::abs(double(out.values[i]) - reference.values[i]));
  std::printf("largest difference to the layer written down: %.1e\n", worst);
  return worst < 1e-3 ? 0 : 2;
}
