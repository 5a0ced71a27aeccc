#include "attnjit-mlir/Import/ImportFormula.h"

#include "BuildRegions.h"

#include "Expr/Analysis.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;

namespace attnjit::attn {

Type memoryType(MLIRContext *context, DType dtype) {
  Builder builder(context);
  switch (dtype) {
  case DType::F64:
    return builder.getF64Type();
  case DType::F32:
    return builder.getF32Type();
  case DType::BF16:
    return builder.getBF16Type();
  case DType::F16:
    return builder.getF16Type();
  case DType::F8E4M3:
    return Float8E4M3FNType::get(context);
  case DType::F8E5M2:
    return Float8E5M2Type::get(context);
  case DType::Bool:
    return builder.getI1Type();
  case DType::I8:
    return builder.getIntegerType(8);
  case DType::U8:
    return builder.getIntegerType(8, /*isSigned=*/false);
  case DType::I16:
    return builder.getIntegerType(16);
  case DType::I32:
    return builder.getI32Type();
  case DType::I64:
    return builder.getI64Type();
  }
  llvm_unreachable("dtype");
}

std::optional<DType> dtypeOf(Type type) {
  for (int index = 0; index <= static_cast<int>(DType::I64); ++index)
    if (const auto dtype = static_cast<DType>(index); memoryType(type.getContext(), dtype) == type)
      return dtype;
  return std::nullopt;
}

namespace {

class Importer {
public:
  Importer(MLIRContext *context, const expr::Formula &formula, const AttnProblem &problem)
      : builder(context), loc(builder.getUnknownLoc()), formula(formula), problem(problem),
        computeType(problem.qType == DType::F64 ? Type(builder.getF64Type()) : builder.getF32Type()),
        indexType(problem.narrowIndices ? builder.getI32Type() : builder.getI64Type()) {}

  OwningOpRef<ModuleOp> run() {
    OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
    builder.setInsertionPointToEnd(module->getBody());
    auto function = func::FuncOp::create(builder, loc, problem.name, builder.getFunctionType(argumentTypes(), {}));
    Block *entry = function.addEntryBlock();
    builder.setInsertionPointToEnd(entry);
    buildForward(entry->getArguments());
    func::ReturnOp::create(builder, loc);
    if (failed(mlir::verify(*module)))
      return {};
    return module;
  }

private:
  /// A memref whose strides all come at run time, except that the last one is 1 if asked for.
  MemRefType memref(ArrayRef<int64_t> shape, DType dtype, bool contiguous) {
    SmallVector<int64_t> strides(shape.size(), ShapedType::kDynamic);
    if (contiguous)
      strides.back() = 1;
    auto layout = StridedLayoutAttr::get(builder.getContext(), ShapedType::kDynamic, strides);
    return MemRefType::get(shape, memoryType(builder.getContext(), dtype), layout);
  }

  SmallVector<Type> argumentTypes() {
    constexpr int64_t any = ShapedType::kDynamic;
    DType rowType = computeType.isF64() ? DType::F64 : DType::F32;
    SmallVector<Type> types{memref({any, any, any, problem.D}, problem.qType, problem.contiguous),
                            memref({any, any, any, problem.D}, problem.kvType, problem.contiguous),
                            memref({any, any, any, problem.Dv}, problem.kvType, problem.contiguous),
                            memref({any, any, any, problem.Dv}, problem.outType, /*contiguous=*/true), // A12
                            memref({any, any, any}, rowType, false),
                            memref({any, any, any}, rowType, false),
                            computeType};
    if (problem.sinks)
      types.push_back(memref({any}, *problem.sinks, false));
    for (const expr::CaptureDecl &capture : formula.captures)
      types.push_back(memref(SmallVector<int64_t>(capture.rank, any), capture.dtype, false));
    for (const expr::ScalarDecl &scalar : formula.scalars)
      types.push_back(scalar.kind == expr::Kind::Bool  ? Type(builder.getI1Type())
                      : scalar.kind == expr::Kind::Int ? Type(builder.getI64Type())
                                                       : builder.getF64Type());
    if (problem.paged)
      types.push_back(memref({any, any}, DType::I64, true));
    return types;
  }

  void buildForward(ValueRange arguments) {
    const unsigned fixed = problem.sinks ? 8 : 7;
    ValueRange captures = arguments.slice(fixed, formula.captures.size());
    ValueRange scalars = arguments.slice(fixed + formula.captures.size(), formula.scalars.size());
    Value pages = problem.paged ? arguments.back() : Value();
    SmallVector<Attribute> names;
    for (const expr::CaptureDecl &capture : formula.captures)
      names.push_back(builder.getStringAttr(capture.name));
    for (const expr::ScalarDecl &scalar : formula.scalars)
      names.push_back(builder.getStringAttr(scalar.name));
    auto config = ConfigAttr::get(builder.getContext(), problem.tileRows, problem.tileCols, problem.checkedIndices, problem.narrowIndices);
    auto op = ForwardOp::create(builder, loc, arguments[0], arguments[1], arguments[2], pages, arguments[3], arguments[4], arguments[5],
                                arguments[6], problem.sinks ? arguments[7] : Value(), captures, scalars, config,
                                names.empty() ? ArrayAttr() : builder.getArrayAttr(names));
    buildRegions(builder, op, formula, [&](const expr::Function &function) { return fits32(function); });
  }

  /// Which Int nodes provably fit 32 bits, for all positions and scalars that this kernel may see.
  std::vector<std::uint8_t> fits32(const expr::Function &function) {
    constexpr std::int64_t narrowLimit = (std::int64_t(1) << 30) - 1;
    std::int64_t last = problem.narrowIndices ? narrowLimit : INT64_MAX;
    expr::Box box{0, last, 0, last, 0, last, 0, last};
    std::vector<expr::Range> ranges = expr::ranges(formula, function, box, {}, problem.narrowIndices, nullptr);
    std::vector<std::uint8_t> fits(function.nodes.size());
    for (size_t id = 0; id < fits.size(); ++id)
      fits[id] = function.nodes[id].kind == expr::Kind::Int && llvm::isInt<32>(ranges[id].lo) && llvm::isInt<32>(ranges[id].hi);
    return fits;
  }

  OpBuilder builder;
  Location loc;
  const expr::Formula &formula;
  const AttnProblem &problem;
  Type computeType, indexType;
};

} // namespace

OwningOpRef<ModuleOp> importFormula(MLIRContext *context, const expr::Formula &formula, const AttnProblem &problem) {
  return Importer(context, formula, problem).run();
}

} // namespace attnjit::attn
