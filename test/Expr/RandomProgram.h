// Random Python functions over ints with their meaning: statements that nest, loop and return early on conditions of every kind. The text
// goes through the front end; run() walks the same statements for one position, as Python would.
#pragma once

#include "ExprTestUtil.h"

#include <algorithm>
#include <memory>
#include <optional>

namespace attnjit::expr::test {

class RandomProgram {
public:
  explicit RandomProgram(Random &random) : random(random) {
    for (int i = 0; i < kVariables; ++i)
      body.push_back(assignment(i, i % 2 ? argument() : constant()));
    for (std::int64_t i = random.between(3, 7); i > 0; --i)
      body.push_back(statement(0));
    body.push_back(returning());
  }

  std::string text() const {
    std::string out = "def f(score, b, h, q, k):\n";
    for (const Statement &one : body)
      write(one, 1, out);
    return out;
  }

  std::int64_t run(std::int64_t h, std::int64_t q, std::int64_t k) const {
    Memory memory{{}, {}, {h, q, k}};
    return *runBlock(body, memory);
  }

private:
  static constexpr int kVariables = 4, kLoops = 2;

  struct Memory {
    std::int64_t variables[kVariables];
    std::int64_t loops[kLoops];
    std::int64_t arguments[3];
  };

  struct Expression {
    std::string_view op; ///< "": a leaf
    std::string name;    ///< of a leaf
    std::int64_t value = 0;
    int place = -1; ///< of a leaf: 0.. variables, 10.. loops, 20.. arguments, -1 a constant
    std::vector<Expression> operands;
  };

  struct Statement {
    enum class Kind { Assign, If, For, Return } kind = Kind::Assign;
    int target = 0, count = 0;
    Expression value;
    std::vector<Statement> body, orElse;
  };

  // --- drawing ---
  Expression constant() {
    Expression made;
    made.value = random.between(-3, 5);
    made.name = std::to_string(made.value);
    return made;
  }

  Expression argument() {
    static constexpr const char *kArguments[] = {"h", "q", "k"};
    Expression made;
    const int argument = static_cast<int>(random.between(0, 2));
    made.place = 20 + argument;
    made.name = kArguments[argument];
    return made;
  }

  Expression leaf() {
    Expression made;
    const std::int64_t choice = random.between(0, 9);
    if (choice < 2)
      return constant();
    if (choice < 6) {
      made.place = static_cast<int>(random.between(0, kVariables - 1));
      made.name = "x" + std::to_string(made.place);
    } else if (choice < 7 && loopDepth > 0) {
      const int loop = static_cast<int>(random.between(0, loopDepth - 1));
      made.place = 10 + loop;
      made.name = "i" + std::to_string(loop);
    } else {
      return argument();
    }
    return made;
  }

  Expression number(int depth) {
    if (depth == 0 || random.oneIn(3))
      return leaf();
    static constexpr std::string_view kOps[] = {"+", "-", "*", "max", "min", "if"};
    Expression made;
    made.op = random.pick(kOps);
    if (made.op == "if")
      made.operands.push_back(condition(depth - 1));
    made.operands.push_back(number(depth - 1));
    made.operands.push_back(number(depth - 1));
    return made;
  }

  Expression condition(int depth) {
    static constexpr std::string_view kCompare[] = {"<", "<=", "==", "!=", ">"}, kLogic[] = {"and", "or", "not"};
    Expression made;
    if (depth == 0 || random.oneIn(2)) {
      made.op = random.pick(kCompare);
      made.operands = {number(depth), number(depth)};
      return made;
    }
    made.op = random.pick(kLogic);
    made.operands.push_back(condition(depth - 1));
    if (made.op != "not")
      made.operands.push_back(condition(depth - 1));
    return made;
  }

  Statement assignment(int target, Expression value) {
    Statement made;
    made.target = target;
    made.value = std::move(value);
    return made;
  }

  Statement returning() {
    Statement made;
    made.kind = Statement::Kind::Return;
    made.value = number(2);
    return made;
  }

  std::vector<Statement> block(int depth) {
    std::vector<Statement> made;
    for (std::int64_t i = random.between(1, 3); i > 0; --i)
      made.push_back(statement(depth));
    return made;
  }

  Statement statement(int depth) {
    const std::int64_t choice = random.between(0, 9);
    if (depth < 3 && choice < 4) {
      Statement made;
      made.kind = Statement::Kind::If;
      made.value = condition(1);
      made.body = block(depth + 1);
      if (random.oneIn(2))
        made.orElse = block(depth + 1);
      return made;
    }
    if (depth < 2 && choice == 4 && loopDepth < kLoops) {
      Statement made;
      made.kind = Statement::Kind::For;
      made.target = loopDepth++;
      made.count = static_cast<int>(random.between(0, 3));
      made.body = block(depth + 1);
      --loopDepth;
      return made;
    }
    if (depth > 0 && choice == 5)
      return returning();
    return assignment(static_cast<int>(random.between(0, kVariables - 1)), number(2));
  }

  // --- writing ---
  static std::string write(const Expression &e) {
    if (e.op.empty())
      return e.name;
    const auto at = [&](std::size_t i) { return write(e.operands[i]); };
    if (e.op == "if")
      return "(" + at(1) + " if " + at(0) + " else " + at(2) + ")";
    if (e.op == "not")
      return "(not " + at(0) + ")";
    if (e.op == "max" || e.op == "min")
      return std::string(e.op) + "(" + at(0) + ", " + at(1) + ")";
    const std::string plain = "(" + at(0) + " " + std::string(e.op) + " " + at(1) + ")";
    return e.op == "*" ? "(" + plain + " % 97)" : plain;
  }

  static void write(const Statement &s, int indent, std::string &out) {
    const std::string lead(static_cast<std::size_t>(indent) * 2, ' ');
    const auto writeBlock = [&](const std::vector<Statement> &block) {
      for (const Statement &one : block)
        write(one, indent + 1, out);
    };
    switch (s.kind) {
    case Statement::Kind::Assign:
      out += lead + "x" + std::to_string(s.target) + " = " + write(s.value) + "\n";
      break;
    case Statement::Kind::Return:
      out += lead + "return " + write(s.value) + "\n";
      break;
    case Statement::Kind::If:
      out += lead + "if " + write(s.value) + ":\n";
      writeBlock(s.body);
      if (!s.orElse.empty()) {
        out += lead + "else:\n";
        writeBlock(s.orElse);
      }
      break;
    case Statement::Kind::For:
      out += lead + "for i" + std::to_string(s.target) + " in range(" + std::to_string(s.count) + "):\n";
      writeBlock(s.body);
      break;
    }
  }

  // --- running ---
  static std::int64_t value(const Expression &e, const Memory &memory) {
    if (e.op.empty())
      return e.place < 0    ? e.value
             : e.place < 10 ? memory.variables[e.place]
             : e.place < 20 ? memory.loops[e.place - 10]
                            : memory.arguments[e.place - 20];
    if (e.op == "if")
      return value(e.operands[value(e.operands[0], memory) ? 1 : 2], memory);
    const std::int64_t x = value(e.operands[0], memory), y = e.operands.size() > 1 ? value(e.operands[1], memory) : 0;
    if (e.op == "+")
      return x + y;
    if (e.op == "-")
      return x - y;
    if (e.op == "*")
      return ((x * y) % 97 + 97) % 97;
    if (e.op == "max")
      return std::max(x, y);
    if (e.op == "min")
      return std::min(x, y);
    if (e.op == "and")
      return x && y;
    if (e.op == "or")
      return x || y;
    if (e.op == "not")
      return !x;
    return e.op == "<" ? x < y : e.op == "<=" ? x <= y : e.op == ">" ? x > y : e.op == "==" ? x == y : x != y;
  }

  static std::optional<std::int64_t> runBlock(const std::vector<Statement> &block, Memory &memory) {
    for (const Statement &s : block) {
      std::optional<std::int64_t> returned;
      switch (s.kind) {
      case Statement::Kind::Assign:
        memory.variables[s.target] = value(s.value, memory);
        break;
      case Statement::Kind::Return:
        return value(s.value, memory);
      case Statement::Kind::If:
        returned = runBlock(value(s.value, memory) ? s.body : s.orElse, memory);
        break;
      case Statement::Kind::For:
        for (int i = 0; i < s.count && !returned; ++i) {
          memory.loops[s.target] = i;
          returned = runBlock(s.body, memory);
        }
        break;
      }
      if (returned)
        return returned;
    }
    return std::nullopt;
  }

  Random &random;
  int loopDepth = 0;
  std::vector<Statement> body;
};

} // namespace attnjit::expr::test
