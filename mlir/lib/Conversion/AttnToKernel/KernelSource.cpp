#include "KernelSource.h"

#include "Expr/Analysis.h"
#include "Expr/Rewrite.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"
#include "attnjit-mlir/Import/ExportFormula.h"

using namespace mlir;

namespace attnjit::attn {

static MemRefType memrefOf(Value value) { return cast<MemRefType>(value.getType()); }

/// Makes the regions see the positions of the whole attention: b, h and q become sums with captured numbers.
static void addOffsets(expr::Formula &formula) {
  using expr::Param;
  const int first = static_cast<int>(formula.scalars.size());
  for (const char *name : {"batch_offset", "head_offset", "query_offset"})
    formula.scalars.push_back({.name = name, .kind = expr::Kind::Int});
  for (expr::Function *function : formula.functions()) {
    expr::Builder builder;
    expr::Replacements moved;
    int scalar = first;
    for (const Param param : {Param::B, Param::H, Param::Q})
      moved[param] = builder.op(expr::Op::Add, {builder.param(param), builder.scalar(scalar++, expr::Kind::Int)});
    *function = builder.finish(expr::inlineInto(builder, *function, expr::Renaming::none(formula), moved));
  }
}

/// Whether static sizes prove that no captured tensor is indexed out of range.
static bool indicesProved(AttentionOp op, const expr::Formula &formula) {
  ArrayRef<int64_t> q = memrefOf(op.getQ()).getShape().take_front(3);
  const int64_t keys = memrefOf(op.getK()).getDimSize(2);
  bool isStatic = !ShapedType::isDynamicShape(q) && !ShapedType::isDynamic(keys);
  std::vector<TensorRef> captures;
  for (Value capture : op.getCaptures()) {
    isStatic &= memrefOf(capture).hasStaticShape();
    TensorRef &tensor = captures.emplace_back();
    llvm::copy(memrefOf(capture).getShape(), tensor.sizes.begin());
  }
  const expr::Box box{.bHi = q[0] - 1, .hHi = q[1] - 1, .qHi = q[2] - 1, .kvHi = keys - 1};
  auto proves = [&](const expr::Function *function) {
    auto isLoad = [](const expr::Node &node) { return node.op == expr::Op::Load; };
    return llvm::none_of(function->nodes, isLoad) || (isStatic && expr::indicesProvedInBounds(formula, *function, box, {captures, {}}));
  };
  return llvm::all_of(formula.functions(), proves);
}

static int64_t lastStride(Value value) { return memrefOf(value).getStridesAndOffset().first.back(); }

FailureOr<KernelSource> kernelSourceOf(AttentionOp op) {
  FailureOr<expr::Formula> formula = exportFormula(op);
  if (failed(formula))
    return failure();
  if (!op.getOffsets().empty())
    addOffsets(*formula);
  if (const int64_t stride = lastStride(op.getOut());
      stride != 1 && !ShapedType::isDynamic(stride)) // A12; a dynamic one is checked when it runs
    return op.emitOpError() << "operand out: expected a last stride of 1, got " << stride << "; write to a buffer of its own and copy";

  AttnProblem problem;
  problem.qType = *dtypeOf(memrefOf(op.getQ()).getElementType());
  problem.kvType = *dtypeOf(memrefOf(op.getK()).getElementType());
  problem.outType = *dtypeOf(memrefOf(op.getOut()).getElementType());
  problem.D = memrefOf(op.getQ()).getDimSize(3);
  problem.Dv = memrefOf(op.getV()).getDimSize(3);
  problem.contiguous = llvm::all_of(ArrayRef<Value>{op.getQ(), op.getK(), op.getV()}, [](Value value) { return lastStride(value) == 1; });
  problem.checkedIndices = !indicesProved(op, *formula);
  if (op.getSinks())
    problem.sinks = dtypeOf(memrefOf(op.getSinks()).getElementType());
  return KernelSource{std::move(*formula), problem};
}

} // namespace attnjit::attn
