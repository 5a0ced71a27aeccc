#include "FormulaText.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>
#include <fmt/format.h>

using namespace mlir;

namespace attnjit::attn {

StringRef torchName(Operation *op) {
  StringRef name = op->getName().getStringRef();
  return name.consume_front("torch.") ? name : StringRef();
}

Attribute torchConstant(Value value) {
  Operation *op = value.getDefiningOp();
  return op && torchName(op).starts_with("constant.") ? op->getAttr("value") : Attribute();
}

namespace {

std::string numberText(double value) {
  if (std::isnan(value))
    return "float(\"nan\")";
  if (std::isinf(value))
    return value > 0 ? "float(\"inf\")" : "(-float(\"inf\"))";
  std::string text = fmt::format("{:.17g}", value);
  return text.find_first_of(".e") == std::string::npos ? fmt::format("({}.0)", text) : fmt::format("({})", text);
}

FailureOr<std::string> attributeText(Attribute value) {
  if (auto number = dyn_cast<FloatAttr>(value))
    return numberText(number.getValueAsDouble());
  if (auto flag = dyn_cast<BoolAttr>(value))
    return std::string(flag.getValue() ? "True" : "False");
  if (auto number = dyn_cast<IntegerAttr>(value)) {
    const llvm::APInt bits = number.getValue();
    return fmt::format("({})", number.getType().isUnsignedInteger() ? int64_t(bits.getZExtValue()) : bits.getSExtValue());
  }
  if (auto text = dyn_cast<StringAttr>(value))
    return fmt::format("\"{}\"", text.getValue().str());
  if (auto elements = dyn_cast<DenseElementsAttr>(value); elements && elements.isSplat())
    return attributeText(elements.getSplatValue<Attribute>());
  return failure();
}

/// What the language calls the dtypes that PyTorch numbers so (c10/core/ScalarType.h); floats of a formula have one width.
StringRef dtypeText(int64_t code) {
  constexpr StringRef kFloat = "torch.float32", kInt = "torch.int64";
  switch (code) {
  case 0:
    return "torch.uint8";
  case 1:
    return "torch.int8";
  case 2:
    return "torch.int16";
  case 3:
    return "torch.int32";
  case 4:
    return kInt;
  case 5:
  case 6:
  case 7:
  case 15:
    return kFloat;
  case 11:
    return "torch.bool";
  default:
    return "";
  }
}

/// Writes one function, a line for each op that computes.
class Writer {
public:
  FailureOr<std::string> write(FunctionOpInterface function, StringRef name, ArrayRef<StringRef> arguments) {
    Block &body = function.getFunctionBody().front();
    for (auto [argument, called] : llvm::zip_equal(body.getArguments(), arguments))
      names[argument] = called.str();
    text = fmt::format("def {}({}):\n", name.str(), llvm::join(arguments, ", "));
    for (Operation &op : body.without_terminator())
      if (failed(add(&op)))
        return failure();
    Operation *end = body.getTerminator();
    if (end->getNumOperands() != 1)
      return end->emitError("expected a function that returns one value");
    text += fmt::format("    return {}\n", names.lookup(end->getOperand(0)));
    return text;
  }

private:
  LogicalResult add(Operation *op) {
    StringRef name = torchName(op);
    if (op->getNumResults() != 1 || name.empty())
      return unknown(op);
    if (name == "constant.none" || name == "constant.device")
      return call(op, "None");
    if (name.starts_with("constant.") || name == "vtensor.literal") {
      Attribute value = op->getAttr("value");
      FailureOr<std::string> literal = value ? attributeText(value) : FailureOr<std::string>();
      return failed(literal) ? unknown(op) : call(op, *literal);
    }
    if (name == "prims.convert_element_type")
      return convert(op);
    if (!name.consume_front("aten."))
      return unknown(op);
    return addAten(op, name.split('.').first, name.split('.').second);
  }

  LogicalResult addAten(Operation *op, StringRef name, StringRef overload) {
    if (name == "to" || name == "_to_copy")
      return overload.empty() || overload == "dtype" ? convert(op) : unknown(op);
    if (name == "clone" || name == "detach" || name == "alias" || name == "lift_fresh_copy")
      return call(op, names.lookup(op->getOperand(0)));
    StringRef word = llvm::StringSwitch<StringRef>(name)
                         .Case("__and__", "bitwise_and")
                         .Case("__or__", "bitwise_or")
                         .Case("__xor__", "bitwise_xor")
                         .Default(name);
    // PyTorch takes these by name only.
    StringRef keyword = name == "add" || name == "sub" || name == "rsub" ? "alpha=" : name == "div" ? "rounding_mode=" : "";
    std::string arguments;
    for (auto [place, operand] : llvm::enumerate(op->getOperands()))
      arguments += fmt::format("{}{}{}", place == 0 ? "" : ", ", place == 2 ? keyword.str() : "", names.lookup(operand));
    return line(op, fmt::format("torch.{}({})", word.str(), arguments));
  }

  /// The dtype is the second operand, a number that is known.
  LogicalResult convert(Operation *op) {
    auto code = op->getNumOperands() > 1 ? dyn_cast_or_null<IntegerAttr>(torchConstant(op->getOperand(1))) : IntegerAttr();
    StringRef dtype = code ? dtypeText(code.getInt()) : "";
    return dtype.empty() ? unknown(op) : line(op, fmt::format("{}.to({})", names.lookup(op->getOperand(0)), dtype.str()));
  }

  LogicalResult line(Operation *op, const std::string &value) {
    const std::string name = fmt::format("v{}", ++count);
    text += fmt::format("    {} = {}\n", name, value);
    return call(op, name);
  }

  LogicalResult call(Operation *op, std::string value) {
    names[op->getResult(0)] = std::move(value);
    return success();
  }

  LogicalResult unknown(Operation *op) {
    return op->emitError("formulas have no '")
           << op->getName() << "': expected torch.aten functions of numbers (docs/functions.md), constants and conversions";
  }

  DenseMap<Value, std::string> names;
  std::string text;
  int count = 0;
};

} // namespace

FailureOr<std::string> formulaText(FunctionOpInterface function, StringRef name, ArrayRef<StringRef> arguments) {
  if (function.isExternal() || !function.getFunctionBody().hasOneBlock())
    return function.emitError("expected a function of one block");
  if (function.getNumArguments() != arguments.size())
    return function.emitError("expected the arguments ")
           << llvm::join(arguments, ", ") << " of a " << name << ": the op has no operands for tensors that the function captured";
  return Writer().write(function, name, arguments);
}

} // namespace attnjit::attn
