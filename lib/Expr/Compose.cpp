#include "Expr/Compose.h"

#include "Expr/Ops.h"

#include <algorithm>
#include <fmt/format.h>

namespace attnjit::expr {

namespace {

template <typename Decl> int findByName(const std::vector<Decl> &table, const std::string &name) {
  const auto found = std::find_if(table.begin(), table.end(), [&](const Decl &decl) { return decl.name == name; });
  return found == table.end() ? -1 : static_cast<int>(found - table.begin());
}

std::string describe(const CaptureDecl &decl) { return fmt::format("a tensor of {} with rank {}", name(decl.dtype), decl.rank); }
std::string describe(const ScalarDecl &decl) { return fmt::format("a number of kind {}", name(decl.kind)); }

bool isSame(const CaptureDecl &x, const CaptureDecl &y) { return x.dtype == y.dtype && x.rank == y.rank; }
bool isSame(const ScalarDecl &x, const ScalarDecl &y) { return x.kind == y.kind; }

template <typename Decl, typename Other>
Result<void> join(std::vector<Decl> &into, const std::vector<Other> &others, const std::vector<Decl> &from, std::vector<int> &map) {
  const auto clash = [](const std::string &name, const std::string &x, const std::string &y) {
    return Error{ErrorCode::InvalidArgument,
                 fmt::format("capture '{}' is {} in one formula and {} in another; give them different names", name, x, y)};
  };
  for (const Decl &decl : from) {
    if (const int other = findByName(others, decl.name); other >= 0)
      return clash(decl.name, describe(others[other]), describe(decl));
    int index = findByName(into, decl.name);
    if (index >= 0 && !isSame(into[index], decl))
      return clash(decl.name, describe(into[index]), describe(decl));
    if (index < 0) {
      index = static_cast<int>(into.size());
      into.push_back(decl);
    }
    map.push_back(index);
  }
  return {};
}

} // namespace

Result<CaptureMap> joinTables(Formula &into, const Formula &from) {
  CaptureMap map;
  if (Result<void> joined = join(into.captures, into.scalars, from.captures, map.captures); !joined)
    return joined.error();
  if (Result<void> joined = join(into.scalars, into.captures, from.scalars, map.scalars); !joined)
    return joined.error();
  return map;
}

Arguments ownArguments(Builder &builder) {
  return {builder.param(Param::Score), builder.param(Param::B), builder.param(Param::H), builder.param(Param::Q), builder.param(Param::Kv)};
}

ValueId copyInto(Builder &builder, const Function &function, const CaptureMap &map, const Arguments &arguments) {
  std::vector<ValueId> copies;
  std::vector<ValueId> operands;
  for (const Node &node : function.nodes) {
    operands.clear();
    for (const ValueId operand : node.operands)
      operands.push_back(copies[operand]);
    switch (node.op) {
    case Op::Param:
      copies.push_back(arguments[node.imm.i]);
      break;
    case Op::Scalar:
      copies.push_back(builder.scalar(map.scalars[node.imm.i], node.kind, node.range));
      break;
    case Op::Const:
      copies.push_back(node.kind == Kind::Float ? builder.constantFloat(node.imm.f, node.range)
                                                : builder.leaf(Op::Const, node.kind, node.imm.i, node.range));
      break;
    case Op::Load:
      copies.push_back(builder.load(map.captures[node.imm.i], node.kind, operands, node.range));
      break;
    default:
      copies.push_back(builder.op(node.op, operands, node.range));
    }
  }
  return copies[function.result];
}

} // namespace attnjit::expr
