#include "Expr/Ast.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>

namespace attnjit::expr {

namespace {

std::string_view name(AstKind kind) {
  static constexpr std::string_view kNames[] = {"Name",    "Int",           "Float",     "Bool",    "None",      "Ellipsis", "String",
                                                "FString", "Unary",         "Binary",    "Compare", "And",       "Or",       "Conditional",
                                                "Call",    "Starred",       "Subscript", "Slice",   "Attribute", "Lambda",   "Tuple",
                                                "List",    "Comprehension", "Dict",      "Set",     "Named"};
  return kNames[static_cast<std::size_t>(kind)];
}

class Dumper {
public:
  explicit Dumper(const Ast &ast) : ast(ast) {}

  std::string run() {
    if (ast.expression != kNoNode)
      dumpTree(ast.expression, 1);
    dumpBlock(ast.body, 1);
    return std::move(out);
  }

private:
  void line(int indent, std::string_view text) {
    out.append(2 * static_cast<std::size_t>(indent), ' ');
    out.append(text).append("\n");
  }

  std::string detail(const AstNode &node) const {
    switch (node.kind) {
    case AstKind::Int:
      return fmt::format(" {}", node.intValue);
    case AstKind::Float: {
      char buffer[40];
      return fmt::format(" {}", std::string_view(buffer, std::to_chars(buffer, buffer + sizeof buffer, node.floatValue).ptr - buffer));
    }
    case AstKind::Bool:
      return node.intValue ? " True" : " False";
    case AstKind::String:
      return fmt::format(" \"{}\"", node.text);
    case AstKind::Lambda:
      return fmt::format(" ({})", parameters(ast.functions[static_cast<std::size_t>(node.intValue)]));
    case AstKind::Compare: {
      std::string text;
      for (std::string_view spelling : node.operators)
        text += fmt::format(" {}", spelling);
      return text;
    }
    default:
      return node.text.empty() ? "" : fmt::format(" {}", node.text);
    }
  }

  static std::string parameters(const AstFunction &function) {
    std::string text;
    for (const AstParameter &parameter : function.parameters)
      text += fmt::format("{}{}{}{}", text.empty() ? "" : ", ",
                          parameter.isDictionary ? "**"
                          : parameter.isStarred  ? "*"
                                                 : "",
                          parameter.name, parameter.defaultValue != kNoNode ? "=" : "");
    return text;
  }

  void dumpTree(AstId root, int indent) {
    struct Line {
      AstId id;
      int indent;
      std::string_view label;
    };
    std::vector<Line> stack{{root, indent, {}}}; // explicit, since operator chains may be long
    while (!stack.empty()) {
      const Line here = stack.back();
      stack.pop_back();
      const AstNode &node = ast[here.id];
      const std::string label = here.label.empty() ? "" : fmt::format("{}=", here.label);
      // Long operator chains lean left; their depth is shown as a number past 40 levels, to keep the text readable and of linear size.
      const std::string lead =
          here.indent <= 40 ? std::string(2 * here.indent, ' ') : fmt::format("{}({}) ", std::string(80, ' '), here.indent);
      out += fmt::format("{}{}{}{} [{}, {})\n", lead, label, name(node.kind), detail(node), node.range.begin, node.range.end);
      for (std::size_t i = node.children.size(); i-- > 0;) {
        const bool isKeyword = node.kind == AstKind::Call && i > 0 && !node.keywords[i - 1].empty();
        stack.push_back({node.children[i], here.indent + 1, isKeyword ? node.keywords[i - 1] : std::string_view()});
      }
    }
  }

  void dumpBlock(const std::vector<StatementId> &block, int indent) {
    for (StatementId id : block)
      dumpStatement(ast.statements[id], indent);
  }

  void dumpStatement(const AstStatement &statement, int indent) {
    static constexpr std::string_view kNames[] = {"Expression", "Assign", "Return", "If",     "For",      "While",  "Def",
                                                  "Assert",     "Raise",  "Try",    "Match",  "Pass",     "Break",  "Continue",
                                                  "Import",     "With",   "Delete", "Global", "Nonlocal", "Refused"};
    const std::string_view kind = kNames[static_cast<std::size_t>(statement.kind)];
    if (statement.kind == AstStatementKind::Def) {
      const AstFunction &function = ast.functions[statement.function];
      for (AstId decorator : function.decorators) {
        line(indent, "Decorator");
        dumpTree(decorator, indent + 1);
      }
      line(indent, fmt::format("Def {}({})", function.name, parameters(function)));
      dumpBlock(function.body, indent + 1);
      return;
    }
    line(indent, statement.names.empty() ? std::string(kind) : fmt::format("{} {}", kind, fmt::join(statement.names, " ")));
    for (AstId target : statement.targets)
      dumpTree(target, indent + 1);
    for (AstId value : {statement.value, statement.message})
      if (value != kNoNode)
        dumpTree(value, indent + 1);
    dumpBlock(statement.body, indent + 1);
    for (const AstArm &arm : statement.arms) {
      const std::string named = arm.name.empty() ? "" : fmt::format(" as {}", arm.name);
      line(indent, (statement.kind == AstStatementKind::Try ? "Except" : "Case") + named);
      for (AstId part : {arm.what, arm.guard})
        if (part != kNoNode)
          dumpTree(part, indent + 1);
      dumpBlock(arm.body, indent + 1);
    }
    for (const auto &[label, block] : {std::pair("Else", &statement.orElse), std::pair("Finally", &statement.finally)})
      if (!block->empty()) {
        line(indent, label);
        dumpBlock(*block, indent + 1);
      }
  }

  const Ast &ast;
  std::string out;
};

} // namespace

std::string dump(const Ast &ast) { return Dumper(ast).run(); }

} // namespace attnjit::expr
