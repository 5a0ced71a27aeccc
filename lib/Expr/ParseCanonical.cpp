// Reads the canonical text back. It is line based and strict: the text was written by print(), perhaps edited by hand.
#include "Expr/Builder.h"
#include "Expr/Ir.h"
#include "Expr/Ops.h"
#include "Expr/Table.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <unordered_map>

namespace attnjit::expr {

namespace {

class CanonicalParser {
public:
  explicit CanonicalParser(std::string_view text) : rest(text) {}

  Result<Formula> parse() {
    while (advance() && !line.starts_with("score("))
      if (!parseDeclaration())
        return failure();
    if (!expectLine("score(%score: float, %b: int, %h: int, %q: int, %kv: int)") || !parseBody(formula.score, "score"))
      return failure();
    advance();
    if (!expectLine("mask(%b: int, %h: int, %q: int, %kv: int)") || !parseBody(formula.mask, ""))
      return failure();
    if (advance()) { // left out where it is the identity
      if (!expectLine("prob(%p: float, %b: int, %h: int, %q: int, %kv: int)") || !parseBody(formula.prob, "p"))
        return failure();
      if (advance())
        return fail("the end of the text"), failure();
    }
    if (Result<void> ok = verify(formula); !ok)
      return ok.error();
    // Arguments have no line of their own; this puts them where the builder has them.
    for (Function *function : formula.functions())
      function->nodes = inPostOrder(function->nodes, {&function->result, 1});
    return std::move(formula);
  }

private:
  /// Moves to the next line that is not blank; false at the end.
  bool advance() {
    while (!rest.empty()) {
      const std::size_t end = rest.find('\n');
      line = rest.substr(0, end);
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
      ++lineNumber;
      while (!line.empty() && (line.back() == ' ' || line.back() == '\r' || line.back() == '\t'))
        line.remove_suffix(1);
      while (!line.empty() && (line.front() == ' ' || line.front() == '\t'))
        line.remove_prefix(1);
      whole = line;
      if (!line.empty())
        return true;
    }
    line = whole = {};
    return false;
  }

  bool fail(std::string_view expected) {
    if (message.empty())
      message = fmt::format("canonical formula: line {}: expected {}\n    {}", lineNumber, expected, whole.substr(0, 120));
    return false;
  }
  Error failure() const { return {ErrorCode::InvalidFormula, message}; }

  bool expectLine(std::string_view text) { return line == text || fail(fmt::format("'{}'", text)); }

  bool eat(std::string_view token) {
    if (!line.starts_with(token))
      return false;
    line.remove_prefix(token.size());
    return true;
  }
  bool expect(std::string_view token) { return eat(token) || fail(fmt::format("'{}'", token)); }

  /// Everything up to a separator of the format.
  std::string_view word() {
    const std::size_t end = std::min(line.find_first_of(" ,[]"), line.size());
    const std::string_view text = line.substr(0, end);
    line.remove_prefix(end);
    return text;
  }

  template <typename T> bool number(T &value) {
    const std::string_view text = word();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return (error == std::errc() && end == text.data() + text.size() && !text.empty()) || fail("a number");
  }

  bool parseKind(Kind &kind) {
    const std::string_view text = word();
    for (Kind candidate : {Kind::Bool, Kind::Int, Kind::Float})
      if (name(candidate) == text)
        return kind = candidate, true;
    return fail("bool, int or float");
  }

  bool parseDeclaration() {
    const bool isTensor = eat("capture ");
    if (!isTensor && !eat("scalar "))
      return fail("'capture', 'scalar' or 'score('");
    const std::string declared(word());
    if (declared.empty() || !names.emplace(declared, isTensor ? formula.captures.size() : formula.scalars.size()).second)
      return fail("a new name");
    if (!expect(" : "))
      return false;
    if (!isTensor) {
      Kind kind = Kind::Float;
      if (!parseKind(kind))
        return false;
      std::optional<ScalarDecl> decl = ScalarDecl::named(declared, kind, formula.captures);
      if (!decl)
        return fail("the size of a capture that is declared above, e.g. doc.size(0)");
      if (eat(" = ")) { // the value of a literal; without one it is 0
        Node value;
        value.kind = kind;
        if (decl->source != ScalarDecl::Source::Literal || !parseConstant(word(), value))
          return fail("a value for a literal only");
        (kind == Kind::Float ? decl->value.f = value.imm.f : decl->value.i = value.imm.i);
      }
      formula.scalars.push_back(std::move(*decl));
    } else {
      CaptureDecl decl{declared, DType::F32, 0};
      const auto dtype = parseDType(word());
      if (!dtype)
        return fail("a dtype such as f32");
      decl.dtype = *dtype;
      if (!expect(" rank ") || !number(decl.rank))
        return false;
      if (decl.isOwn() && (!expect(" = ") || !parseTable(decl)))
        return false;
      formula.captures.push_back(std::move(decl));
    }
    return line.empty() || fail("the end of the line");
  }

  /// The elements of a tensor that the text makes; they take the rest of the line.
  bool parseTable(CaptureDecl &decl) {
    decl.table = tableFromText(line, decl.dtype, decl.rank, kMaxTableElements - ownElements);
    if (!decl.table)
      return fail("the sizes of a tensor and its elements, e.g. [2, 2] 1 2 3 4");
    ownElements += tableElements(*decl.table);
    line = {};
    return true;
  }

  /// `mapped`: what the function calls the value that it maps; empty if it has none.
  bool parseBody(Function &function, std::string_view mapped) {
    function = {};
    values.clear();
    while (advance()) {
      if (eat("return "))
        return operand(function, mapped, function.result) && (line.empty() || fail("the end of the line"));
      if (!parseNode(function, mapped))
        return false;
    }
    return fail("'return'");
  }

  bool parseNode(Function &function, std::string_view mapped) {
    const std::string defined(word());
    if (defined.size() < 2 || defined[0] != '%' || values.count(defined))
      return fail("a new value such as %7");
    if (!expect(" = "))
      return false;
    const auto op = parseOp(word());
    if (!op || *op == Op::Param)
      return fail("an operation");
    Node node;
    node.op = *op;
    if (!expect(" "))
      return false;
    std::string_view constant;
    if (*op == Op::Const) {
      constant = word();
    } else if (*op == Op::Scalar) {
      if (!nameIndex(node.imm.i))
        return false;
    } else if (*op == Op::Load) {
      if (!nameIndex(node.imm.i) || !expect("["))
        return false;
      while (!eat("]"))
        if ((!node.operands.empty() && !expect(", ")) || !operand(function, mapped, node.operands.emplace_back()))
          return false;
    } else {
      if (*op == Op::Iter && (!number(node.imm.i) || !expect(" ")))
        return false;
      do {
        if (!operand(function, mapped, node.operands.emplace_back()))
          return false;
      } while (eat(", "));
    }
    if (!expect(" : ") || !parseKind(node.kind) || (*op == Op::Const && !parseConstant(constant, node)))
      return false;
    if (!line.empty())
      return fail("the end of the line");
    values.emplace(defined, static_cast<ValueId>(function.nodes.size()));
    function.nodes.push_back(std::move(node));
    return true;
  }

  bool nameIndex(std::int64_t &index) {
    const auto found = names.find(std::string(word()));
    if (found == names.end())
      return fail("a declared capture");
    index = static_cast<std::int64_t>(found->second);
    return true;
  }

  bool parseConstant(std::string_view text, Node &node) {
    if (node.kind == Kind::Bool) {
      node.imm.i = text == "true";
      return text == "true" || text == "false" || fail("true or false");
    }
    const char *end = text.data() + text.size();
    if (node.kind == Kind::Int) {
      const auto parsed = std::from_chars(text.data(), end, node.imm.i);
      return (parsed.ec == std::errc() && parsed.ptr == end && !text.empty()) || fail("an integer of 64 bits");
    }
    const auto parsed = std::from_chars(text.data(), end, node.imm.f);
    if (parsed.ec != std::errc() || parsed.ptr != end || text.empty())
      return fail("a number, inf or nan");
    if (std::isnan(node.imm.f))
      node.imm.f = std::numeric_limits<double>::quiet_NaN();
    return true;
  }

  /// A value written before, or an argument, which becomes a node at its first use.
  bool operand(Function &function, std::string_view mapped, ValueId &value) {
    const std::string used(word());
    if (const auto found = values.find(used); found != values.end())
      return value = found->second, true;
    for (Param param : {Param::Score, Param::B, Param::H, Param::Q, Param::Kv}) {
      const std::string_view known = param == Param::Score ? mapped : name(param);
      if (known.empty() || used.empty() || used.substr(1) != known)
        continue;
      Node node{Op::Param, kindOf(param), {}, {}, {}};
      node.imm.i = static_cast<std::int64_t>(param);
      value = static_cast<ValueId>(function.nodes.size());
      function.nodes.push_back(std::move(node));
      values.emplace(used, value);
      return true;
    }
    return fail("a value that is defined above");
  }

  std::string_view rest, line, whole;
  std::size_t lineNumber = 0;
  std::size_t ownElements = 0;
  std::string message;
  Formula formula = Formula::identity();
  std::unordered_map<std::string, std::size_t> names;
  std::unordered_map<std::string, ValueId> values;
};

} // namespace

Result<Formula> parseCanonical(std::string_view text) { return CanonicalParser(text).parse(); }

} // namespace attnjit::expr
