// Every refusal, word for word: errors.txt holds the texts and the messages, the rest is what a text file cannot hold.
#include "ExprTestUtil.h"

#include <fstream>
#include <sstream>

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

namespace {

std::string messageOf(const Result<Formula> &result) {
  if (result)
    return "accepted";
  CHECK(result.error().code == ErrorCode::InvalidFormula);
  return result.error().message;
}

} // namespace

TEST_CASE("an error says its place for editors, too") {
  const auto placeOf = [](const SourceTexts &texts) {
    const Result<Formula> parsed = parseFormula(texts, {});
    REQUIRE(!parsed);
    REQUIRE(parsed.error().place);
    return *parsed.error().place;
  };
  const ErrorPlace score = placeOf({.scoreMod = "score +\n  nothing", .maskMod = {}});
  CHECK(score.text == "score_mod");
  CHECK(score.line == 2);
  CHECK(score.column == 3);
  const ErrorPlace module =
      placeOf({.scoreMod = {}, .maskMod = "f", .module = "def f(b, h, q, kv):\n    return 'é' < q", .moduleName = "mine.py"});
  CHECK(module.text == "mine.py");
  CHECK(module.line == 2);
  const Result<Formula> unreadable = parseFormula({.scoreMod = "\xff", .maskMod = {}}, {});
  REQUIRE(!unreadable);
  CHECK(!unreadable.error().place); // there is no column in what is no text
}

TEST_CASE("the table of errors") {
  std::ifstream file(ATTNJIT_EXPR_TEST_DIR "/errors.txt");
  REQUIRE(file);
  std::string line, role, module, text, message;
  int section = 0, rows = 0;
  const auto finish = [&] {
    if (role.empty())
      return;
    text.pop_back();
    message.pop_back();
    ++rows;
    SourceTexts texts{.scoreMod = {}, .maskMod = {}, .module = module};
    (role == "score" ? texts.scoreMod : role == "prob" ? texts.probMod : texts.maskMod) = text;
    CHECK(messageOf(parseFormula(texts, Captures::infos())) == message);
    module.clear();
    text.clear();
    message.clear();
  };
  while (std::getline(file, line)) {
    if (line.starts_with("=== ")) {
      finish();
      role = line.substr(4);
      section = 1;
    } else if (section == 1 && line.starts_with("-> ")) { // what stands above is a module, this names the mod
      module = std::move(text);
      text = line.substr(3) + '\n';
    } else if (line == "---" && section == 1) {
      section = 2;
    } else if (section) {
      (section == 1 ? text : message) += line + '\n';
    }
  }
  finish();
  CHECK(rows >= 200);
}

TEST_CASE("nesting is bounded in every form and never overflows the stack") {
  const auto repeat = [](std::string_view unit, int count) {
    std::string text;
    for (int i = 0; i < count; ++i)
      text += unit;
    return text;
  };
  const std::string kDeep[] = {repeat("(", 20000) + "score" + repeat(")", 20000),
                               repeat("(", 20000),
                               repeat("[", 20000),
                               repeat("-", 20000) + "score",
                               repeat("not ", 20000) + "score",
                               repeat("exp(", 20000) + "score" + repeat(")", 20000),
                               repeat("slope[", 20000) + "h" + repeat("]", 20000),
                               repeat("2 ** ", 20000) + "score",
                               repeat("1 if b > 0 else ", 20000) + "score",
                               "score" + repeat(".abs()", 20000),
                               "slope" + repeat("[h]", 20000),
                               "score" + repeat(".x", 20000),
                               repeat("score+(", 20000) + "1" + repeat(")", 20000),
                               repeat("lambda: ", 20000) + "1"};
  for (const std::string &text : kDeep) {
    const std::string message = messageOf(parseScore(text));
    CHECK_MESSAGE(message != "accepted", text.substr(0, 30));
    CHECK_MESSAGE(message.size() < 1000, text.substr(0, 30));
  }
  CHECK(messageOf(parseScore(kDeep[0])) ==
        "score_mod:1:201: the expression is nested more than 200 levels deep\n"
        "    ...((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((...\n"
        "                                               ^\n"
        "  give parts of it a name in a def: 'x = ...'");
  CHECK(parseScore(repeat("(", 150) + "score" + repeat(")", 150)));
}

TEST_CASE("long chains are no nesting") {
  std::string sum = "score", logic = "q_idx >= kv_idx", compare = "0";
  for (int i = 0; i < 5000; ++i) {
    sum += " + slope[h]";
    logic += i % 2 ? " or q_idx == 3" : " and kv_idx > 1";
    compare += " <= q_idx";
  }
  CHECK(parseScore(sum));
  CHECK(parseMask(logic));
  CHECK(parseMask(compare));
  CHECK(dumpAst({sum, logic}));
}

TEST_CASE("size: text, operations, expansion of helpers") {
  CHECK(messageOf(parseScore(std::string((1 << 20) + 1, ' '))) == "accepted"); // blank is the default
  CHECK(messageOf(parseScore("score" + std::string(10 << 20, ' '))) ==
        "score_mod: the text has 10485765 bytes; a formula may have at most 1048576");
  std::string large = "score";
  for (int i = 0; i < 30000; ++i)
    large.append("+").append(std::to_string(i)).append("*slope[h]");
  CHECK(messageOf(parseScore(large)).find("operations\n") != std::string::npos);

  std::string bomb = "def f0(x): return x + 1\n";
  for (int i = 1; i < 60; ++i)
    bomb += "def f" + std::to_string(i) + "(x): return f" + std::to_string(i - 1) + "(f" + std::to_string(i - 1) + "(x))\n";
  CHECK(messageOf(parseScore(bomb + "def m(s, b, h, q, k): return f59(s)"))
            .find("the formula is too large once its helper functions are written out") != std::string::npos);

  std::string chain = "def f0(x): return x\n";
  for (int i = 1; i < 20000; ++i)
    chain += "def f" + std::to_string(i) + "(x): return f" + std::to_string(i - 1) + "(x)\n";
  CHECK(messageOf(parseScore(chain + "def m(s, b, h, q, k): return f19999(s)")).find("calls of helper functions are nested too deeply") !=
        std::string::npos);
}

TEST_CASE("what a short text may ask for is bounded in work and memory") {
  const auto refused = [](const std::string &text, const std::string &module = {}) {
    const Result<Formula> formula = parseFormula({text, "", module}, Captures::infos());
    REQUIRE(!formula);
    return formula.error().message;
  };
  const std::string large = "the formula is too large once its helper functions are written out";
  CHECK(refused("score + len(range(10 ** 12))").find(large) != std::string::npos);
  CHECK(refused("score + len((1, 2, 3) * 10 ** 12)").find(large) != std::string::npos);
  CHECK(refused("def f(s, b, h, q, k):\n  t = (1,)\n  while True:\n    t = t + t\n  return s").find(large) != std::string::npos);
  CHECK(refused("def f(s, b, h, q, k):\n  t = 'x'\n  while True:\n    t = f'{t}{t}'\n  return s").find(large) != std::string::npos);
  CHECK(
      refused("def f(s, b, h, q, k):\n  for i in range(100):\n    for j in range(100):\n      for l in range(1000): s = s + i\n  return s")
          .find(large) != std::string::npos);

  for (const char *use : {"t == u", "str(t) == ''", "{t: 1} == {}", "sorted([t, u]) == []", "t in [u]", "t is u or f'{t}' == ''"})
    for (const char *grow : {"t, u = (t,), (u,)", "t, u = (t, t), (u, u)", "t, u = [t], [u]"}) {
      const std::string text = std::string("def f(s, b, h, q, k):\n  t, u = (1,), (1,)\n  for i in range(20000):\n    ") + grow +
                               "\n  return s if " + use + " else 0.0";
      const std::string message = refused(text);
      CHECK_MESSAGE((message.find(large) != std::string::npos || message.find("nested more than 200 levels") != std::string::npos ||
                     message.find("cannot be a key") != std::string::npos),
                    text, message);
    }
  CHECK(refused("def f(s, b, h, q, k):\n  t = []\n  t.append(t)\n  return s if str(t) else 0.0").find("nested more than 200 levels") !=
        std::string::npos);
  CHECK(refused("score + len('x' * 10 ** 12)").find(large) != std::string::npos);
  CHECK(refused("score + len('%1001d' % 3)").find("is no format") != std::string::npos);

  std::string unknown = "def mod(s, b, h, q, k): return s\n", branches = "def f(s, b, h, q, k):\n";
  for (int i = 0; i < 30000; ++i)
    unknown += "x" + std::to_string(i) + " = unknown.thing()\n";
  CHECK(refused("mod", unknown).find("unknown name 'unknown'") != std::string::npos);
  CHECK(refused("def g(s, b, h, q, k): return s", unknown).find("unknown name 'unknown'") != std::string::npos);
  CHECK(refused(unknown + "def g(s, b, h, q, k): return s").find("unknown name 'unknown'") != std::string::npos);
  CHECK(refused("x = range(10 ** 9)\ndef g(s, b, h, q, k): return s").find(large) != std::string::npos);
  // A call that stands alone in a module may be the program; the mods are wanted all the same.
  CHECK(parseFormula({"mod", "", "def main():\n    for i in range(10 ** 9): pass\nmain()\ndef mod(s, b, h, q, k): return s"},
                     Captures::infos()));
  for (int i = 0; i < 8000; ++i)
    branches += "  if q > " + std::to_string(i) + ": x" + std::to_string(i) + " = 1\n";
  CHECK(refused(branches + "  return s + x7").find(large) != std::string::npos);
}

TEST_CASE("text that is not UTF-8") {
  for (const char *text :
       {"score + \xFF", "score + \xC0\xAF", "score + \xED\xA0\x80", "score + \xF5\x80\x80\x80", "score + \xE2\x82", "score # \x80"}) {
    const std::string message = messageOf(parseScore(text));
    CHECK_MESSAGE(message.find("is not UTF-8; save the text as UTF-8") != std::string::npos, message);
  }
  CHECK(messageOf(parseScore("score + \xFF")) == "score_mod: byte 8 (0xFF) is not UTF-8; save the text as UTF-8");
  CHECK(parseScore("score  # \xC3\xA9t\xC3\xA9, \xE2\x82\xAC, \xF0\x9F\x98\x80"));
}

TEST_CASE("control characters are shown harmlessly") {
  const std::string message = messageOf(parseScore("score + \x1B[31m 1"));
  CHECK(message == "score_mod:1:9: unexpected character U+001B\n    score + ?[31m 1\n            ^\n  formulas are written with Python's "
                   "operators, names, numbers and brackets");
  CHECK(messageOf(parseScore(std::string_view("score\0 + 1", 10))).starts_with("score_mod:1:6: unexpected character U+0000\n"));
}

TEST_CASE("captures with bad names, ranks, or given twice") {
  const auto refused = [](std::vector<CaptureInfo> captures) {
    const Result<Formula> result = parseFormula({"score", ""}, captures);
    REQUIRE(!result);
    CHECK(result.error().code == ErrorCode::InvalidArgument);
    return result.error().message;
  };
  CHECK(refused({{"1x", DType::F32, 1}}) == "capture '1x': not a name; use letters, digits and _, e.g. slope");
  CHECK(refused({{"", DType::F32, 1}}) == "capture '': not a name; use letters, digits and _, e.g. slope");
  CHECK(refused({{"x", DType::F32, 1}, {"x", DType::F64, -1}}) == "capture 'x' is given twice");
  CHECK(refused({{"x", DType::F32, 7}}) == "capture 'x' has rank 7; 0 to 6 are accepted");
}

TEST_CASE("a bare name that is both an argument and a capture is refused, not guessed") {
  const CaptureInfo h{"h", DType::F32, 1};
  const Result<Formula> result = parseFormula({"score + h", ""}, {&h, 1});
  REQUIRE(!result);
  CHECK(result.error().message == "score_mod:1:9: 'h' is both an argument and a captured name\n    score + h\n            ^\n"
                                  "  rename the capture, or use a lambda with other argument names");
  CHECK(parseFormula({"lambda s, i, j, q, k: s + h[j]", ""}, {&h, 1}));
}

TEST_CASE("the syntax tree as text") {
  const Result<std::string> tree = dumpAst({"lambda s, b, h, q, k: s.clamp(min=-1) if 0 <= q < k else slope[h]", ""});
  REQUIRE(tree);
  CHECK(*tree == R"(score_mod
  Lambda (s, b, h, q, k) [0, 65)
    Conditional [22, 65)
      Call [22, 37)
        Attribute clamp [22, 29)
          Name s [22, 23)
        min=Unary - [34, 36)
          Int 1 [35, 36)
      Compare <= < [41, 51)
        Int 0 [41, 42)
        Name q [46, 47)
        Name k [50, 51)
      Subscript [57, 65)
        Name slope [57, 62)
        Name h [63, 64)
mask_mod
  default
)");
  const Result<std::string> broken = dumpAst({"", "q_idx >="});
  REQUIRE(!broken);
  CHECK(broken.error().message.starts_with("mask_mod:1:9: expected a value, found the end of the text\n"));
}
