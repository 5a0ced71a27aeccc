#include "attnjit-mlir/Conversion/TorchToAttn/TorchToAttn.h"

#include "Expr/Frontend.h"
#include "FormulaText.h"
#include "attnjit-mlir/Import/BuildAttention.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;

namespace attnjit::attn {

#define GEN_PASS_DECL_CONVERTTORCHTOATTNPASS
#define GEN_PASS_DEF_CONVERTTORCHTOATTNPASS
#include "attnjit-mlir/Conversion/TorchToAttn/TorchToAttn.h.inc"

namespace {

constexpr StringRef kOp = "torch.hop_flex_attention";
constexpr StringRef kToBuiltin = "torch_c.to_builtin_tensor", kFromBuiltin = "torch_c.from_builtin_tensor";

/// The builtin type of `!torch.vtensor<[4,8,?,64],f32>`, read off what it prints: its class is torch-mlir's. Null without sizes or element
/// type.
RankedTensorType builtinType(Type type) {
  std::string printed;
  llvm::raw_string_ostream(printed) << type;
  StringRef text = printed;
  if (!text.consume_front("!torch.vtensor<[") || !text.consume_back(">"))
    return {};
  auto [sizes, element] = text.split("],");
  SmallVector<StringRef> parts;
  sizes.split(parts, ',', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  SmallVector<int64_t> shape;
  for (StringRef part : parts) {
    int64_t size = ShapedType::kDynamic;
    if (part.trim() != "?" && part.trim().getAsInteger(10, size))
      return {};
    shape.push_back(size);
  }
  ScopedDiagnosticHandler quiet(type.getContext(), [](Diagnostic &) { return success(); });
  Type parsed = parseType(element, type.getContext());
  return parsed && RankedTensorType::isValidElementType(parsed) ? RankedTensorType::get(shape, parsed) : RankedTensorType();
}

/// One torch.hop_flex_attention: query, key, value, scale, return_lse, return_max_scores -> output, logsumexp, max_scores.
class Conversion {
public:
  explicit Conversion(Operation *op) : op(op), builder(op) {}

  LogicalResult run() {
    if (op->getNumOperands() < 4 || op->getNumResults() != 3)
      return op->emitError("expected query, key, value and scale, and three results");
    if (!op->getResult(2).use_empty())
      return op->emitError("max_scores is used, which attn.attention does not return");
    SmallVector<Value> tensors;
    for (Value tensor : op->getOperands().take_front(3)) {
      Value builtin = toBuiltin(tensor);
      if (!builtin)
        return failure();
      tensors.push_back(builtin);
    }
    AttentionOperands operands{tensors[0], tensors[1], tensors[2]};
    if (failed(addScale(operands)))
      return failure();
    operands.wantsLse = !op->getResult(1).use_empty();

    FailureOr<expr::Formula> formula = readFormula();
    if (failed(formula))
      return failure();
    FailureOr<AttentionOp> attention = buildAttention(builder, op->getLoc(), *formula, operands);
    if (failed(attention))
      return failure();
    for (OpResult result : attention->getOperation()->getResults())
      op->getResult(result.getResultNumber())
          .replaceAllUsesWith(cast(kFromBuiltin, result, op->getResult(result.getResultNumber()).getType()));
    op->erase();
    return success();
  }

private:
  Value toBuiltin(Value value) {
    RankedTensorType type = builtinType(value.getType());
    if (!type || type.getRank() != 4)
      return op->emitError("expected !torch.vtensor<[batch,heads,rows,columns],element>, got ") << value.getType(), Value();
    return cast(kToBuiltin, value, type);
  }

  /// A conversion between the two kinds of tensors.
  Value cast(StringRef name, Value value, Type type) {
    OperationState state(op->getLoc(), name, value, type);
    return builder.create(state)->getResult(0);
  }

  LogicalResult addScale(AttentionOperands &operands) {
    Value scale = op->getOperand(3);
    Type compute = computeTypeOf(llvm::cast<RankedTensorType>(operands.q.getType()).getElementType());
    if (auto number = dyn_cast_or_null<FloatAttr>(torchConstant(scale)))
      operands.scale = arith::ConstantOp::create(builder, op->getLoc(), builder.getFloatAttr(compute, number.getValueAsDouble()));
    else if (Operation *source = scale.getDefiningOp(); !source || torchName(source) != "constant.none")
      return op->emitError("expected a scale that torch.constant.float or torch.constant.none gives");
    return success();
  }

  FailureOr<expr::Formula> readFormula() {
    FailureOr<std::string> score = textOf("score_mod_fn", "score_mod", {"score", "b", "h", "q_idx", "kv_idx"});
    FailureOr<std::string> mask = textOf("mask_mod_fn", "mask_mod", {"b", "h", "q_idx", "kv_idx"});
    if (failed(score) || failed(mask))
      return failure();
    Result<expr::Formula> formula = expr::parseFormula({*score, *mask}, {});
    if (!formula)
      return op->emitError(formula.error().message);
    return std::move(*formula);
  }

  /// Empty if the op names no such function.
  FailureOr<std::string> textOf(StringRef attribute, StringRef name, ArrayRef<StringRef> arguments) {
    auto symbol = op->getAttrOfType<SymbolRefAttr>(attribute);
    if (!symbol)
      return std::string();
    auto function = SymbolTable::lookupNearestSymbolFrom<FunctionOpInterface>(op, symbol);
    if (!function)
      return op->emitError() << symbol << " is no function of this module";
    return formulaText(function, name, arguments);
  }

  Operation *op;
  OpBuilder builder;
};

struct ConvertTorchToAttnPass : impl::ConvertTorchToAttnPassBase<ConvertTorchToAttnPass> {
  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (op->getName().getStringRef() == kOp)
        ops.push_back(op);
    });
    llvm::SetVector<Operation *> functions;
    for (Operation *op : ops) {
      for (StringRef attribute : {"score_mod_fn", "mask_mod_fn"})
        if (auto symbol = op->getAttrOfType<SymbolRefAttr>(attribute))
          if (Operation *function = SymbolTable::lookupNearestSymbolFrom(op, symbol))
            functions.insert(function);
      if (!canConvert(op) || failed(Conversion(op).run()))
        return signalPassFailure();
    }
    for (Operation *function : functions)
      if (SymbolTable::getSymbolVisibility(function) == SymbolTable::Visibility::Private &&
          SymbolTable::symbolKnownUseEmpty(function, getOperation()))
        function->erase();
  }

private:
  /// MLIR aborts on an op of a dialect that it does not know.
  static bool canConvert(Operation *op) {
    MLIRContext *context = op->getContext();
    for (StringRef name : {kToBuiltin, kFromBuiltin})
      if (!context->allowsUnregisteredDialects() && !context->isOperationRegistered(name))
        return op->emitError("converting it makes ") << name << ", which is not registered: load torch-mlir's dialect torch_c", false;
    return true;
  }
};

} // namespace

void registerConvertTorchToAttnPass() {
  registerPass([] { return createConvertTorchToAttnPass(); });
}

} // namespace attnjit::attn
