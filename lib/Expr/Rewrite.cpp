#include "Expr/Rewrite.h"

#include "Expr/Ops.h"

#include <algorithm>
#include <fmt/format.h>
#include <numeric>

namespace attnjit::expr {

namespace {

std::string text(const CaptureDecl &capture) { return fmt::format("a tensor of {} of rank {}", name(capture.dtype), capture.rank); }
std::string text(const ScalarDecl &scalar) { return fmt::format("a number ({})", name(scalar.kind)); }

bool same(const CaptureDecl &a, const CaptureDecl &b) { return a.dtype == b.dtype && a.rank == b.rank; }
bool same(const ScalarDecl &a, const ScalarDecl &b) { return a.kind == b.kind; }

template <typename Decl> auto find(const std::vector<Decl> &table, const std::string &name) {
  return std::find_if(table.begin(), table.end(), [&](const Decl &decl) { return decl.name == name; });
}

template <typename Decl> Error clash(const Decl &wanted, const std::string &present) {
  return {ErrorCode::InvalidArgument,
          fmt::format("capture '{}' is {} in one formula and {} in another; rename one of them", wanted.name, present, text(wanted))};
}

/// The place of `decl` in `into`, where it is entered unless it stands there already.
template <typename Decl, typename Other> Result<int> adoptOne(std::vector<Decl> &into, const std::vector<Other> &others, const Decl &decl) {
  if (const auto other = find(others, decl.name); other != others.end())
    return clash(decl, text(*other));
  auto found = find(into, decl.name);
  if (found != into.end() && !same(*found, decl))
    return clash(decl, text(*found));
  if (found == into.end())
    found = into.insert(into.end(), decl);
  return static_cast<int>(found - into.begin());
}

/// A tensor of another formula as the tables of `into` know it. Those that a text makes stay apart.
CaptureDecl translated(const CaptureDecl &capture, const Formula &into) {
  CaptureDecl own = capture;
  if (own.isOwn())
    own.name = fmt::format(
        "#t{}", std::count_if(into.captures.begin(), into.captures.end(), [](const CaptureDecl &other) { return other.isOwn(); }));
  return own;
}

/// A number of another formula as the tables of `into` know it. Literals stay apart, each with a value of its own; sizes follow their
/// capture.
ScalarDecl translated(const ScalarDecl &scalar, const Formula &into, const std::vector<int> &captures) {
  switch (scalar.source) {
  case ScalarDecl::Source::Caller:
    return scalar;
  case ScalarDecl::Source::Literal: {
    ScalarDecl literal = scalar;
    const auto isLiteral = [](const ScalarDecl &other) { return other.source == ScalarDecl::Source::Literal; };
    literal.name = fmt::format("#{}", std::count_if(into.scalars.begin(), into.scalars.end(), isLiteral));
    return literal;
  }
  case ScalarDecl::Source::Size: {
    const int capture = captures[scalar.capture];
    return ScalarDecl::size(into.captures[capture].name, capture, scalar.dim);
  }
  }
  return scalar;
}

} // namespace

Renaming Renaming::none(const Formula &formula) {
  Renaming same{std::vector<int>(formula.captures.size()), std::vector<int>(formula.scalars.size())};
  std::iota(same.captures.begin(), same.captures.end(), 0);
  std::iota(same.scalars.begin(), same.scalars.end(), 0);
  return same;
}

Result<Renaming> adopt(Formula &into, const Formula &from) {
  Renaming renaming;
  for (const CaptureDecl &capture : from.captures) {
    Result<int> place = adoptOne(into.captures, into.scalars, translated(capture, into));
    if (!place)
      return place.error();
    renaming.captures.push_back(*place);
  }
  for (const ScalarDecl &scalar : from.scalars) {
    Result<int> place = adoptOne(into.scalars, into.captures, translated(scalar, into, renaming.captures));
    if (!place)
      return place.error();
    renaming.scalars.push_back(*place);
  }
  return renaming;
}

ValueId inlineInto(Builder &builder, const Function &function, const Renaming &renaming, const Replacements &replacements) {
  std::vector<ValueId> renamed(function.nodes.size());
  for (std::size_t i = 0; i < function.nodes.size(); ++i) {
    const Node &node = function.nodes[i];
    std::vector<ValueId> operands(node.operands);
    for (ValueId &operand : operands)
      operand = renamed[operand];
    switch (node.op) {
    case Op::Param: {
      const auto param = static_cast<Param>(node.imm.i);
      renamed[i] = replacements[param] ? *replacements[param] : builder.param(param, node.range);
      break;
    }
    case Op::Scalar:
      renamed[i] = builder.scalar(renaming.scalars[node.imm.i], node.kind, node.range);
      break;
    case Op::Const:
      renamed[i] = node.kind == Kind::Float ? builder.constantFloat(node.imm.f, node.range)
                                            : builder.leaf(Op::Const, node.kind, node.imm.i, node.range);
      break;
    case Op::Load:
      renamed[i] = builder.load(renaming.captures[node.imm.i], node.kind, operands, node.range);
      break;
    case Op::Iter:
      renamed[i] = builder.iter(static_cast<int>(node.imm.i), operands[0], node.range);
      break;
    default:
      renamed[i] = builder.op(node.op, operands, node.range);
    }
  }
  return renamed[function.result];
}

namespace {

Formula only(Function Formula::*mod, const Formula &formula) {
  Formula result = Formula::identity();
  Renaming renaming{std::vector<int>(formula.captures.size(), -1), std::vector<int>(formula.scalars.size(), -1)};
  const auto keepCapture = [&](std::int64_t capture) {
    int &place = renaming.captures[capture];
    if (place >= 0)
      return;
    place = static_cast<int>(result.captures.size());
    result.captures.push_back(translated(formula.captures[capture], result));
  };
  for (const Node &node : (formula.*mod).nodes) {
    if (node.op == Op::Load)
      keepCapture(node.imm.i);
    if (node.op != Op::Scalar || renaming.scalars[node.imm.i] >= 0)
      continue;
    const ScalarDecl &scalar = formula.scalars[node.imm.i];
    if (scalar.source == ScalarDecl::Source::Size)
      keepCapture(scalar.capture);
    renaming.scalars[node.imm.i] = static_cast<int>(result.scalars.size());
    result.scalars.push_back(translated(scalar, result, renaming.captures));
  }
  Builder builder;
  result.*mod = builder.finish(inlineInto(builder, formula.*mod, renaming));
  return result;
}

} // namespace

Formula scoreOnly(const Formula &formula) { return only(&Formula::score, formula); }
Formula maskOnly(const Formula &formula) { return only(&Formula::mask, formula); }
Formula probOnly(const Formula &formula) { return only(&Formula::prob, formula); }

} // namespace attnjit::expr
