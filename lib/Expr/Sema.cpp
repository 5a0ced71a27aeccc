#include "Expr/SemaImpl.h"

#include "Expr/Ops.h"
#include "Expr/Parser.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::expr {

namespace {

/// Helper calls may nest and repeat; these bounds keep a short text from asking for unbounded work.
constexpr int kMaxRecursion = 2 * kMaxNesting;
constexpr std::size_t kMaxSteps = 2'000'000;

using Tag = Denoted::Tag;

std::string describe(Kind kind) { return fmt::format("{} {}", kind == Kind::Int ? "an" : "a", name(kind)); }

} // namespace

Result<Function> Sema::run() {
  const AstFunction &function = ast.functions.back();
  bindArguments(function);
  ValueId result = 0;
  if (!failed())
    result = finishResult(runBody(function), function);
  if (failed())
    return std::move(*error);
  Function finished = lower.builder.finish(result);
  if (finished.nodes.size() > kMaxOperations)
    return source.error(function.head, fmt::format("the formula has {} operations", finished.nodes.size()),
                        fmt::format("at most {} are accepted; put large tables into a captured tensor", kMaxOperations));
  return finished;
}

Denoted Sema::fail(TextRange range, std::string_view message, std::string_view help) {
  if (!error)
    error = source.error(range, message, help);
  return {};
}

Denoted Sema::checked(ValueId value, TextRange range) {
  if (!lower.problem.empty())
    return fail(range, lower.problem, lower.help);
  Denoted denoted;
  denoted.tag = Tag::Value;
  denoted.value = value;
  return denoted;
}

void Sema::bindArguments(const AstFunction &function) {
  static constexpr Param kParams[] = {Param::Score, Param::B, Param::H, Param::Q, Param::Kv};
  const std::size_t first = mod == ModKind::Score ? 0 : 1;
  if (function.form == AstFunction::Form::Bare) {
    static constexpr std::pair<std::string_view, Param> kStandard[] = {{"score", Param::Score}, {"b", Param::B},    {"batch", Param::B},
                                                                       {"h", Param::H},         {"head", Param::H}, {"q_idx", Param::Q},
                                                                       {"kv_idx", Param::Kv}};
    for (const auto &[name, param] : kStandard)
      if (param != Param::Score || mod == ModKind::Score)
        bind(name, lower.builder.param(param));
    isBare = true;
    return;
  }
  const std::size_t expected = 5 - first;
  if (function.parameters.size() != expected) {
    const std::string_view list = mod == ModKind::Score ? "(score, b, h, q_idx, kv_idx)" : "(b, h, q_idx, kv_idx)";
    TextRange where = function.head;
    if (function.parameters.size() > expected)
      where = function.parameters[expected].range;
    fail(where, fmt::format("a {} takes {} arguments, found {}", role(), expected, function.parameters.size()),
         fmt::format("the arguments are {}; their names are free", list));
    return;
  }
  for (std::size_t i = 0; i < expected; ++i)
    bind(function.parameters[i].name, lower.builder.param(kParams[first + i]));
}

void Sema::bind(std::string_view name, ValueId value) {
  Denoted denoted;
  denoted.tag = Tag::Value;
  denoted.value = value;
  scope.insert_or_assign(name, std::move(denoted));
}

Denoted Sema::runBody(const AstFunction &function) {
  for (const AstStatement &statement : function.body) {
    Denoted value = evaluate(statement.value);
    if (failed())
      return {};
    if (statement.isReturn) {
      resultRange = ast[statement.value].range;
      return value;
    }
    scope.insert_or_assign(statement.target, std::move(value));
  }
  return {};
}

ValueId Sema::finishResult(const Denoted &result, const AstFunction &function) {
  const TextRange range = resultRange;
  const ValueId value = asValue(result, range);
  if (failed())
    return 0;
  lower.range = range;
  const Kind kind = lower.kind(value);
  if (mod == ModKind::Mask) {
    if (kind != Kind::Bool)
      fail(range, fmt::format("a mask_mod returns a bool, found {}", describe(kind)),
           "use a comparison, e.g. q_idx >= kv_idx; True keeps the pair");
    return value;
  }
  if (kind == Kind::Bool)
    fail(range, "a score_mod returns a float, found a bool",
         "to hide pairs use mask_mod, or torch.where(condition, score, float(\"-inf\"))");
  return failed() ? 0 : lower.toFloat(value);
}

bool Sema::enter(TextRange range) {
  if (++steps > kMaxSteps)
    fail(range, "the formula is too large once its helper functions are written out",
         "call helpers less often, or assign their results to names");
  else if (depth >= kMaxRecursion)
    fail(range, "calls of helper functions are nested too deeply", "call fewer helpers from within helpers");
  return !failed();
}

Denoted Sema::evaluate(AstId id) {
  const AstNode &node = ast[id];
  if (failed() || !enter(node.range))
    return {};
  ++depth;
  Denoted result = evaluateNode(node);
  --depth;
  return result;
}

Denoted Sema::evaluateNode(const AstNode &node) {
  lower.range = node.range;
  switch (node.kind) {
  case AstKind::Name:
    return lookUp(node);
  case AstKind::Int:
    return checked(lower.integer(node.intValue), node.range);
  case AstKind::Float:
    return checked(lower.number(node.floatValue), node.range);
  case AstKind::Bool:
    return checked(lower.boolean(node.intValue), node.range);
  case AstKind::None:
    return {};
  case AstKind::String: {
    Denoted denoted;
    denoted.tag = Tag::String;
    denoted.text = node.text;
    return denoted;
  }
  case AstKind::Unary:
    return evaluateUnary(node);
  case AstKind::Binary:
  case AstKind::And:
  case AstKind::Or:
    return evaluateChain(node);
  case AstKind::Compare:
    return evaluateCompare(node);
  case AstKind::Conditional:
    return evaluateConditional(node);
  case AstKind::Call:
    return evaluateCall(node);
  case AstKind::Subscript:
    return evaluateSubscript(node);
  case AstKind::Attribute:
    return evaluateAttribute(node);
  }
  return {};
}

ValueId Sema::evaluateValue(AstId id) {
  const Denoted denoted = evaluate(id);
  return failed() ? 0 : asValue(denoted, ast[id].range);
}

ValueId Sema::asValue(const Denoted &denoted, TextRange range) {
  switch (denoted.tag) {
  case Tag::Value:
    return denoted.value;
  case Tag::Tensor:
    return finishLoad(denoted, range);
  case Tag::Nothing:
    fail(range, "expected a number, found None", "every branch needs a value");
    break;
  case Tag::Module:
    fail(range, "expected a number, found a module", "call one of its functions, e.g. torch.exp(x)");
    break;
  case Tag::Function:
  case Tag::Helper:
    fail(range, "expected a number, found a function", "call it: add '(...)'");
    break;
  case Tag::String:
    fail(range, "expected a number, found a string", "strings occur only in float(\"inf\") and the like");
    break;
  case Tag::Dtype:
    fail(range, "expected a number, found a dtype", "dtypes occur only in x.to(torch.float32)");
    break;
  }
  return 0;
}

ValueId Sema::finishLoad(const Denoted &denoted, TextRange range) {
  const CaptureInfo &capture = captures.infos[denoted.index];
  if (static_cast<int>(denoted.indices.size()) != capture.rank) {
    fail(range,
         fmt::format("'{}' has rank {}, found {} {}", capture.name, capture.rank, denoted.indices.size(),
                     denoted.indices.size() == 1 ? "index" : "indices"),
         fmt::format("a formula reads single elements: {}", indexExample(capture)));
    return 0;
  }
  const CaptureDecl decl{capture.name, capture.dtype, capture.rank};
  return lower.builder.load(captures.slots[denoted.index], decl.elementKind(), denoted.indices, range);
}

std::string Sema::indexExample(const CaptureInfo &capture) {
  static constexpr std::string_view kIndices[] = {"h", "q_idx", "kv_idx", "b"};
  std::string text = capture.name;
  for (int dim = 0; dim < capture.rank; ++dim)
    text += fmt::format("{}{}", dim ? ", " : "[", kIndices[dim % 4]);
  return capture.rank ? text + "]" : text;
}

Denoted Sema::lookUp(const AstNode &node) {
  const auto local = scope.find(node.text);
  const auto capture =
      std::find_if(captures.infos.begin(), captures.infos.end(), [&](const CaptureInfo &info) { return info.name == node.text; });
  if (local != scope.end()) {
    if (isBare && capture != captures.infos.end())
      return fail(node.token, fmt::format("'{}' is both an argument and a captured name", node.text),
                  "rename the capture, or use a lambda with other argument names");
    return local->second;
  }
  if (capture != captures.infos.end())
    return denoteCapture(static_cast<std::size_t>(capture - captures.infos.begin()), node);
  for (std::size_t i = 0; i < ast.functions.size(); ++i)
    if (!ast.functions[i].name.empty() && ast.functions[i].form == AstFunction::Form::Def && ast.functions[i].name == node.text) {
      Denoted denoted;
      denoted.tag = Tag::Helper;
      denoted.index = i;
      return denoted;
    }
  return lookUpBuiltin(node);
}

Denoted Sema::denoteCapture(std::size_t index, const AstNode &node) {
  const CaptureInfo &capture = captures.infos[index];
  if (capture.rank < 0) {
    const Kind kind = isFloat(capture.dtype) ? Kind::Float : capture.dtype == DType::Bool ? Kind::Bool : Kind::Int;
    return checked(lower.builder.scalar(captures.slots[index], kind, node.range), node.range);
  }
  Denoted denoted;
  denoted.tag = Tag::Tensor;
  denoted.index = index;
  return denoted;
}

Denoted Sema::lookUpBuiltin(const AstNode &node) {
  Denoted denoted;
  if (node.text == "torch" || node.text == "math" || node.text == "F" || node.text == "np" || node.text == "numpy") {
    denoted.tag = Tag::Module;
    denoted.space = node.text == "math" ? Namespace::Math : Namespace::Torch;
    return denoted;
  }
  if (const Builtin *builtin = findBuiltin(node.text, false)) {
    denoted.tag = Tag::Function;
    denoted.builtin = builtin;
    return denoted;
  }
  if (const auto constant = findConstant(node.text); constant && node.text != "e")
    return checked(lower.number(*constant), node.range);
  return fail(node.token, fmt::format("unknown name '{}'", node.text), suggestName(node.text));
}

std::string Sema::suggestName(std::string_view unknown) const {
  std::vector<std::string_view> visible, all;
  for (const auto &[name, value] : scope)
    visible.push_back(name);
  for (const CaptureInfo &capture : captures.infos)
    visible.push_back(capture.name);
  for (const AstFunction &function : ast.functions)
    if (function.form == AstFunction::Form::Def && &function != &ast.functions.back())
      visible.push_back(function.name);
  all = visible;
  for (const Builtin &builtin : builtins())
    forEachName(builtin, [&](std::string_view name, bool methodOnly) {
      if (!methodOnly)
        all.push_back(name);
    });
  std::string text;
  if (unknown == "score" && mod == ModKind::Mask)
    text = "a mask_mod sees no score; ";
  else if (const auto nearest = nearestName(unknown, all))
    text = fmt::format("did you mean '{}'? ", *nearest);
  return text + fmt::format("the names known here are {}, and the functions of torch and math", listNames(visible));
}

Denoted Sema::evaluateUnary(const AstNode &node) {
  const ValueId operand = evaluateValue(node.children[0]);
  if (failed())
    return {};
  lower.range = node.range;
  if (node.text == "-")
    return checked(lower.negate(operand), node.token);
  if (node.text == "+")
    return checked(operand, node.token);
  if (node.text == "~")
    return checked(lower.invert(operand), node.token);
  if (!lower.isCondition(operand, "'not'"))
    return checked(operand, ast[node.children[0]].range);
  return checked(lower.op(Op::LogicalNot, {operand}), node.token);
}

Denoted Sema::evaluateChain(const AstNode &top) {
  std::vector<const AstNode *> spine{&top};
  const auto isChain = [](const AstNode &node) {
    return node.kind == AstKind::Binary || node.kind == AstKind::And || node.kind == AstKind::Or;
  };
  while (isChain(ast[spine.back()->children[0]]))
    spine.push_back(&ast[spine.back()->children[0]]);
  AstId leftId = spine.back()->children[0];
  ValueId left = evaluateValue(leftId);
  for (; !spine.empty() && !failed(); spine.pop_back()) {
    const AstNode &node = *spine.back();
    const ValueId right = evaluateValue(node.children[1]);
    if (failed() || !enter(node.range))
      return {};
    lower.range = node.range;
    left = applyBinary(node, left, right);
  }
  return failed() ? Denoted() : checked(left, top.range);
}

ValueId Sema::applyBinary(const AstNode &node, ValueId left, ValueId right) {
  if (node.kind == AstKind::Binary) {
    const ValueId result = lower.binary(node.text, left, right);
    checked(result, node.token);
    return result;
  }
  const std::string where = fmt::format("'{}'", node.text);
  for (const auto &[operand, id] : {std::pair(left, node.children[0]), std::pair(right, node.children[1])})
    if (!lower.isCondition(operand, where)) {
      checked(operand, ast[id].range);
      return operand;
    }
  return lower.op(node.kind == AstKind::And ? Op::LogicalAnd : Op::LogicalOr, {left, right});
}

Denoted Sema::evaluateCompare(const AstNode &node) {
  ValueId left = evaluateValue(node.children[0]), all = 0;
  for (std::size_t i = 0; i < node.operators.size() && !failed(); ++i) {
    const ValueId right = evaluateValue(node.children[i + 1]);
    if (failed())
      return {};
    lower.range = node.range;
    const ValueId one = lower.compare(node.operators[i], left, right);
    all = i == 0 ? one : lower.op(Op::LogicalAnd, {all, one});
    left = right;
  }
  return failed() ? Denoted() : checked(all, node.token);
}

Denoted Sema::evaluateConditional(const AstNode &node) {
  const ValueId condition = evaluateValue(node.children[1]);
  if (failed())
    return {};
  if (!lower.isCondition(condition, "'if'"))
    return checked(condition, ast[node.children[1]].range);
  const ValueId yes = evaluateValue(node.children[0]);
  const ValueId no = failed() ? 0 : evaluateValue(node.children[2]);
  if (failed())
    return {};
  lower.range = node.range;
  return checked(lower.select(condition, yes, no), node.token);
}

Denoted Sema::evaluateSubscript(const AstNode &node) {
  Denoted base = evaluate(node.children[0]);
  if (failed())
    return {};
  if (base.tag != Tag::Tensor)
    return fail(node.range, "only captured tensors can be indexed",
                captures.infos.empty() ? "the problem has no captures" : "the captures are " + listCaptures());
  const CaptureInfo &capture = captures.infos[base.index];
  for (std::size_t i = 1; i < node.children.size(); ++i) {
    const AstId indexId = node.children[i];
    const ValueId index = evaluateValue(indexId);
    if (failed())
      return {};
    if (static_cast<int>(base.indices.size()) == capture.rank)
      return fail(ast[indexId].range, fmt::format("too many indices: '{}' has rank {}", capture.name, capture.rank),
                  fmt::format("write {}", indexExample(capture)));
    if (lower.kind(index) != Kind::Int)
      return fail(ast[indexId].range, fmt::format("an index must be an int, found {}", describe(lower.kind(index))),
                  lower.kind(index) == Kind::Float ? "use '//' instead of '/', or convert with .int()" : "convert with .int()");
    base.indices.push_back(index);
  }
  return base;
}

std::string Sema::listCaptures() const {
  std::vector<std::string_view> names;
  for (const CaptureInfo &capture : captures.infos)
    names.push_back(capture.name);
  return listNames(names);
}

Result<Function> analyse(const Ast &ast, const SourceText &source, ModKind mod, const CaptureScope &captures) {
  return Sema(ast, source, mod, captures).run();
}

} // namespace attnjit::expr
