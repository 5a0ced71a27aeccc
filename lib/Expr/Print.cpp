#include "Expr/Ir.h"
#include "Expr/Ops.h"
#include "Expr/Table.h"

#include <fmt/format.h>

// Header-only: the library would be one more run-time dependency for one function.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace attnjit::expr {

namespace {

class Printer {
public:
  /// `named` = false writes captures by number: what hash() digests.
  explicit Printer(const Formula &formula, bool named) : formula(formula), named(named) {}

  std::string print() {
    for (std::size_t i = 0; i < formula.captures.size(); ++i)
      out += fmt::format("capture {} : {} rank {}{}\n", captureName(i), name(formula.captures[i].dtype), formula.captures[i].rank,
                         origin(formula.captures[i]));
    for (std::size_t i = 0; i < formula.scalars.size(); ++i)
      out += fmt::format("scalar {} : {}{}\n", scalarName(i), name(formula.scalars[i].kind), origin(formula.scalars[i]));
    out += "score(%score: float, %b: int, %h: int, %q: int, %kv: int)\n";
    printBody(formula.score, "score");
    out += "mask(%b: int, %h: int, %q: int, %kv: int)\n";
    printBody(formula.mask, "");
    if (!formula.probIsIdentity()) {
      out += "prob(%p: float, %b: int, %h: int, %q: int, %kv: int)\n";
      printBody(formula.prob, "p");
    }
    return std::move(out);
  }

private:
  /// What the name does not say: the value of a literal; where no names are printed, whose number it is.
  std::string origin(const ScalarDecl &decl) const {
    if (decl.source == ScalarDecl::Source::Caller)
      return "";
    if (decl.source == ScalarDecl::Source::Size)
      return named ? "" : fmt::format(" size {} {}", decl.capture, decl.dim);
    if (!named)
      return " literal";
    return decl.kind == Kind::Float ? fmt::format(" = {}", floatText(decl.value.f)) : fmt::format(" = {}", decl.value.i);
  }

  /// The elements of a tensor that the text makes.
  std::string origin(const CaptureDecl &decl) const {
    if (!decl.isOwn())
      return "";
    return named ? fmt::format(" = {}", decl.table ? tableText(decl) : "") : " table";
  }

  std::string captureName(std::size_t index) const { return named ? formula.captures[index].name : fmt::format("@{}", index); }
  std::string scalarName(std::size_t index) const { return named ? formula.scalars[index].name : fmt::format("@{}", index); }

  /// `mapped`: what the function calls the value that it maps.
  void printBody(const Function &function, std::string_view mapped) {
    std::vector<std::string> names(function.nodes.size());
    std::size_t next = 0;
    for (std::size_t id = 0; id < function.nodes.size(); ++id) {
      const Node &node = function.nodes[id];
      if (node.op == Op::Param) {
        const auto param = static_cast<Param>(node.imm.i);
        names[id] = fmt::format("%{}", param == Param::Score ? mapped : name(param));
        continue;
      }
      names[id] = fmt::format("%{}", next++);
      out += fmt::format("  {} = {}", names[id], spelling(node.op));
      printOperands(node, names);
      out += fmt::format(" : {}\n", name(node.kind));
    }
    out += fmt::format("  return {}\n", names[function.result]);
  }

  void printOperands(const Node &node, const std::vector<std::string> &names) {
    if (node.op == Op::Const) {
      out += ' ';
      out += node.kind == Kind::Float  ? floatText(node.imm.f)
             : node.kind == Kind::Bool ? (node.imm.i ? "true" : "false")
                                       : fmt::format("{}", node.imm.i);
      return;
    }
    if (node.op == Op::Scalar) {
      out += ' ' + scalarName(node.imm.i);
      return;
    }
    std::string separator = " ";
    if (node.op == Op::Iter)
      out += fmt::format(" {}", node.imm.i);
    if (node.op == Op::Load) {
      out += ' ' + captureName(node.imm.i) + '[';
      separator.clear();
    }
    for (ValueId operand : node.operands) {
      out += separator + names[operand];
      separator = ", ";
    }
    if (node.op == Op::Load)
      out += ']';
  }

  const Formula &formula;
  const bool named;
  std::string out;
};

} // namespace

std::string print(const Formula &formula) { return Printer(formula, true).print(); }

Hash128 hash(const Formula &formula) {
  const std::string text = Printer(formula, false).print();
  const XXH128_hash_t digest = XXH3_128bits(text.data(), text.size());
  return {digest.high64, digest.low64};
}

} // namespace attnjit::expr
