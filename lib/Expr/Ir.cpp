#include "Expr/Ir.h"

#include "Expr/Builder.h"
#include "Expr/Loops.h"
#include "Expr/Ops.h"
#include "Expr/Rewrite.h"
#include "Expr/Table.h"

#include <fmt/format.h>

#include <array>
#include <bit>

namespace attnjit::expr {

Formula Formula::identity() {
  Formula formula;
  Builder score, mask, prob;
  formula.score = score.finish(score.param(Param::Score));
  formula.mask = mask.finish(mask.constantBool(true));
  formula.prob = prob.finish(prob.param(Param::Score));
  return formula;
}

static bool isIdentity(const Function &function) {
  const Node &node = function[function.result];
  return node.op == Op::Param && node.imm.i == static_cast<std::int64_t>(Param::Score);
}

bool Formula::scoreIsIdentity() const { return isIdentity(score); }
bool Formula::probIsIdentity() const { return isIdentity(prob); }

bool Formula::maskIsTrue() const {
  const Node &node = mask[mask.result];
  return node.op == Op::Const && node.imm.i != 0;
}

ScalarDecl ScalarDecl::literal(Kind kind, ScalarArg value) { return {"#", kind, Source::Literal, value, 0, 0}; }

ScalarDecl ScalarDecl::size(const std::string &captureName, int capture, int dim) {
  return {fmt::format("{}.size({})", captureName, dim), Kind::Int, Source::Size, {}, capture, dim};
}

std::optional<ScalarDecl> ScalarDecl::named(std::string name, Kind kind, std::span<const CaptureDecl> captures) {
  const std::size_t dot = name.find(".size(");
  if (dot == std::string::npos) {
    const Source source = name.starts_with('#') ? Source::Literal : Source::Caller;
    return ScalarDecl{std::move(name), kind, source, {}, 0, 0};
  }
  for (std::size_t i = 0; i < captures.size(); ++i)
    for (int dim = 0; captures[i].name == std::string_view(name).substr(0, dot) && dim < captures[i].rank; ++dim)
      if (ScalarDecl decl = size(captures[i].name, static_cast<int>(i), dim); decl.name == name && kind == Kind::Int)
        return decl;
  return std::nullopt;
}

namespace {

/// The rows of a table that stay: those of the caller, and those of the formula's own that are used, renumbered as they are met.
template <typename Decl> class Adoption {
public:
  Adoption(std::vector<Decl> &all, std::size_t first)
      : all(all), kept(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(first)), place(all.size(), -1), first(first) {}

  /// The new number of a row; `meet` sees it when it is met first.
  template <typename Meet> void renumber(std::int64_t &index, Meet meet) {
    if (index < static_cast<std::int64_t>(first))
      return;
    std::int64_t &here = place[static_cast<std::size_t>(index)];
    if (here < 0) {
      here = static_cast<std::int64_t>(kept.size());
      kept.push_back(all[static_cast<std::size_t>(index)]);
      meet(kept.back());
    }
    index = here;
  }
  void finish() { all = std::move(kept); }

private:
  std::vector<Decl> &all;
  std::vector<Decl> kept;
  std::vector<std::int64_t> place;
  std::size_t first;
};

} // namespace

void Formula::adoptOwn(std::size_t firstCapture, std::size_t firstScalar) {
  Adoption<CaptureDecl> adoptedCaptures(captures, firstCapture);
  Adoption<ScalarDecl> adoptedScalars(scalars, firstScalar);
  int tables = 0, literals = 0;
  for (Function *function : functions())
    for (Node &node : function->nodes) {
      if (node.op == Op::Load)
        adoptedCaptures.renumber(node.imm.i, [&](CaptureDecl &table) { table.name = fmt::format("#t{}", tables++); });
      if (node.op == Op::Scalar)
        adoptedScalars.renumber(node.imm.i, [&](ScalarDecl &scalar) {
          if (scalar.source == ScalarDecl::Source::Literal)
            scalar.name = fmt::format("#{}", literals++);
        });
    }
  adoptedCaptures.finish();
  adoptedScalars.finish();
}

void bindOwnTensors(const Formula &formula, std::span<TensorRef> captures) {
  for (std::size_t i = 0; i < formula.captures.size(); ++i)
    if (const CaptureDecl &decl = formula.captures[i]; decl.table)
      captures[i] = tensorOf(decl);
}

void bindOwnScalars(const Formula &formula, std::span<const TensorRef> captures, std::span<ScalarArg> scalars) {
  for (std::size_t i = 0; i < formula.scalars.size(); ++i) {
    const ScalarDecl &decl = formula.scalars[i];
    if (decl.source == ScalarDecl::Source::Literal)
      scalars[i] = decl.value;
    else if (decl.source == ScalarDecl::Source::Size)
      scalars[i].i = captures[static_cast<std::size_t>(decl.capture)].sizes[static_cast<std::size_t>(decl.dim)];
  }
}

std::string withoutLiteralValues(std::string_view text) {
  std::string kept;
  kept.reserve(text.size());
  bool inHead = true;
  for (std::size_t begin = 0; begin < text.size() && inHead;) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    if (line.starts_with("score(")) // literals and tables are declared before it
      break;
    if (line.starts_with("scalar #") || line.starts_with("capture #"))
      line = line.substr(0, line.find(" = "));
    kept.append(line).append("\n");
    begin = end + 1;
    text.remove_prefix(std::min(begin, text.size()));
    begin = 0;
  }
  return kept.append(text);
}

namespace {

Error invalid(std::string_view function, std::size_t id, std::string_view what) {
  return {ErrorCode::InvalidFormula, fmt::format("invalid IR: {} node {}: {}", function, id, what)};
}

Result<void> verifyLeaf(const Formula &formula, const Function &function, std::string_view name, std::size_t id) {
  const Node &node = function.nodes[id];
  if (node.op != Op::Load && !node.operands.empty())
    return invalid(name, id, "a leaf has operands");
  switch (node.op) {
  case Op::Param: {
    const std::int64_t first = name == "mask" ? static_cast<std::int64_t>(Param::B) : 0;
    if (node.imm.i < first || node.imm.i > static_cast<std::int64_t>(Param::Kv))
      return invalid(name, id, "no such argument");
    return node.kind == kindOf(static_cast<Param>(node.imm.i)) ? Result<void>() : invalid(name, id, "the argument has another kind");
  }
  case Op::Scalar:
    if (node.imm.i < 0 || static_cast<std::size_t>(node.imm.i) >= formula.scalars.size())
      return invalid(name, id, "no such captured number");
    return node.kind == formula.scalars[node.imm.i].kind ? Result<void>() : invalid(name, id, "the captured number has another kind");
  case Op::Const:
    return node.kind == Kind::Bool && node.imm.i != 0 && node.imm.i != 1 ? invalid(name, id, "a bool must be 0 or 1") : Result<void>();
  default:
    break;
  }
  if (node.imm.i < 0 || static_cast<std::size_t>(node.imm.i) >= formula.captures.size())
    return invalid(name, id, "no such captured tensor");
  const CaptureDecl &capture = formula.captures[node.imm.i];
  if (static_cast<int>(node.operands.size()) != capture.rank)
    return invalid(name, id, fmt::format("{} indices for a captured tensor of rank {}", node.operands.size(), capture.rank));
  for (ValueId operand : node.operands)
    if (function.nodes[operand].kind != Kind::Int)
      return invalid(name, id, "an index is not an int");
  return node.kind == capture.elementKind() ? Result<void>() : invalid(name, id, "the load has another kind than its tensor");
}

/// That loops nest: the innermost has the lowest level, at each place a level belongs to one Iter, and the result is outside of all.
class LoopCheck {
public:
  explicit LoopCheck(const Function &function, std::string_view name)
      : function(function), name(name), open(openLevels(function.nodes)), iters(function.nodes.size()), depends(function.nodes.size()) {}

  /// Nodes in order, their operands sound.
  Result<void> check(std::size_t id) {
    const Node &node = function.nodes[id];
    depends[id] = node.op == Op::Param;
    for (const ValueId operand : node.operands) {
      depends[id] |= depends[operand];
      for (int level = 0; level < kMaxLevels; ++level) {
        if (!(open[operand] >> level & 1))
          continue;
        ValueId &iter = iters[id][level];
        if (iter != kNone && iter != iters[operand][level])
          return invalid(name, id, fmt::format("two indices of level {} meet", level));
        iter = iters[operand][level];
      }
    }
    if (node.op == Op::Iter) {
      if (open[node.operands[0]] || depends[id])
        return invalid(name, id, "the length of a reduction moves with the position or another index");
      iters[id][node.imm.i] = static_cast<ValueId>(id);
    }
    if (!isReduction(node.op))
      return {};
    if (function[node.operands[0]].op != Op::Iter)
      return invalid(name, id, "the first operand of a reduction is no iter");
    const int level = std::countr_zero(open[node.operands[0]]);
    if (open[id] & ((1u << level) - 1))
      return invalid(name, id, "an index of a lower level is open here: levels count from the inside");
    iters[id][level] = kNone;
    return {};
  }
  bool isOpen(ValueId id) const { return open[id] != 0; }

private:
  static constexpr ValueId kNone = 0; ///< an Iter has an operand before it
  const Function &function;
  const std::string_view name;
  const std::vector<std::uint8_t> open;
  std::vector<std::array<ValueId, kMaxLevels>> iters; ///< per node and level: the Iter that is open
  std::vector<std::uint8_t> depends;                  ///< on an argument
};

Result<void> verifyFunction(const Formula &formula, const Function &function, std::string_view name, Kind kind) {
  for (std::size_t id = 0; id < function.nodes.size(); ++id) {
    const Node &node = function.nodes[id];
    for (ValueId operand : node.operands)
      if (operand >= id)
        return invalid(name, id, "an operand does not come before its user");
    if (node.op == Op::Iter && (node.imm.i < 0 || node.imm.i >= kMaxLevels))
      return invalid(name, id, fmt::format("level {}, expected 0 to {}", node.imm.i, kMaxLevels - 1));
    if (info(node.op).types == OpTypes::Leaf) {
      if (Result<void> ok = verifyLeaf(formula, function, name, id); !ok)
        return ok;
      continue;
    }
    if (static_cast<int>(node.operands.size()) != arity(node.op))
      return invalid(name, id, fmt::format("{} takes {} operands, got {}", spelling(node.op), arity(node.op), node.operands.size()));
    Kind kinds[3] = {};
    for (std::size_t i = 0; i < node.operands.size(); ++i)
      kinds[i] = function.nodes[node.operands[i]].kind;
    if (resultKind(node.op, {kinds, node.operands.size()}) != node.kind)
      return invalid(name, id, fmt::format("{} does not take operands of these kinds, or yields another kind", spelling(node.op)));
  }
  if (function.result >= function.nodes.size())
    return invalid(name, function.result, "the result does not exist");
  LoopCheck loops(function, name);
  for (std::size_t id = 0; id < function.nodes.size(); ++id)
    if (Result<void> ok = loops.check(id); !ok)
      return ok;
  if (loops.isOpen(function.result))
    return invalid(name, function.result, "the result is the index of a reduction, or moves with one");
  if (function[function.result].kind != kind)
    return invalid(name, function.result, fmt::format("the result must be a {}", expr::name(kind)));
  return {};
}

} // namespace

Result<void> verify(const Formula &formula) {
  for (const CaptureDecl &capture : formula.captures)
    if (capture.rank < 0 || capture.rank > kMaxRank)
      return Error{ErrorCode::InvalidFormula,
                   fmt::format("invalid IR: captured tensor {}: rank {}, expected 0 to {}", capture.name, capture.rank, kMaxRank)};
  if (Result<void> ok = verifyFunction(formula, formula.score, "score", Kind::Float); !ok)
    return ok;
  if (Result<void> ok = verifyFunction(formula, formula.mask, "mask", Kind::Bool); !ok)
    return ok;
  return verifyFunction(formula, formula.prob, "prob", Kind::Float);
}

void simplify(Formula &formula) {
  // Building anew is simplifying: the builder folds.
  for (Function *function : formula.functions()) {
    Builder builder;
    *function = builder.finish(inlineInto(builder, *function, Renaming::none(formula)));
  }
}

} // namespace attnjit::expr
