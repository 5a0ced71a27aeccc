#include "Expr/Ast.h"

#include <fmt/format.h>

#include <charconv>

namespace attnjit::expr {

namespace {

std::string_view name(AstKind kind) {
  switch (kind) {
  case AstKind::Name:
    return "Name";
  case AstKind::Int:
    return "Int";
  case AstKind::Float:
    return "Float";
  case AstKind::Bool:
    return "Bool";
  case AstKind::None:
    return "None";
  case AstKind::String:
    return "String";
  case AstKind::Unary:
    return "Unary";
  case AstKind::Binary:
    return "Binary";
  case AstKind::Compare:
    return "Compare";
  case AstKind::And:
    return "And";
  case AstKind::Or:
    return "Or";
  case AstKind::Conditional:
    return "Conditional";
  case AstKind::Call:
    return "Call";
  case AstKind::Subscript:
    return "Subscript";
  case AstKind::Attribute:
    return "Attribute";
  }
  return "?";
}

std::string detail(const AstNode &node) {
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

} // namespace

std::string dump(const Ast &ast) {
  std::string out;
  struct Line {
    AstId id;
    int indent;
    std::string_view label;
  };
  std::vector<Line> stack; // explicit, since operator chains may be long
  const auto dumpTree = [&](AstId root, int indent) {
    stack.push_back({root, indent, {}});
    while (!stack.empty()) {
      const Line line = stack.back();
      stack.pop_back();
      const AstNode &node = ast[line.id];
      const std::string label = line.label.empty() ? "" : fmt::format("{}=", line.label);
      // Long operator chains lean left; their depth is shown as a number past 40 levels, to keep the text readable and of linear size.
      const std::string lead =
          line.indent <= 40 ? std::string(2 * line.indent, ' ') : fmt::format("{}({}) ", std::string(80, ' '), line.indent);
      out += fmt::format("{}{}{}{} [{}, {})\n", lead, label, name(node.kind), detail(node), node.range.begin, node.range.end);
      for (std::size_t i = node.children.size(); i-- > 0;) {
        const bool isKeyword = node.kind == AstKind::Call && i > 0 && !node.keywords[i - 1].empty();
        stack.push_back({node.children[i], line.indent + 1, isKeyword ? node.keywords[i - 1] : std::string_view()});
      }
    }
  };
  for (const AstFunction &function : ast.functions) {
    static constexpr std::string_view kForms[] = {"Bare", "Lambda", "Def"};
    out += fmt::format("  {}{}{}(", kForms[static_cast<int>(function.form)], function.form == AstFunction::Form::Def ? " " : "",
                       function.form == AstFunction::Form::Def ? function.name : "");
    for (std::size_t i = 0; i < function.parameters.size(); ++i)
      out += fmt::format("{}{}", i ? ", " : "", function.parameters[i].name);
    out += ")\n";
    for (const AstStatement &statement : function.body) {
      out += statement.isReturn ? "    Return\n" : fmt::format("    Assign {}\n", statement.target);
      dumpTree(statement.value, 3);
    }
  }
  return out;
}

} // namespace attnjit::expr
