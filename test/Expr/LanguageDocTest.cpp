// docs/language.md tells the truth: every formula of it parses, and every function of the language is in it.
#include "Expr/SemaImpl.h"
#include "ExprTestUtil.h"

#include <fstream>
#include <sstream>

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

namespace {

std::string readDoc() {
  std::ifstream file(ATTNJIT_LANGUAGE_DOC);
  REQUIRE(file);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The contents of fenced blocks whose info string is `kind`.
std::vector<std::string> blocks(const std::string &doc, const std::string &kind) {
  std::vector<std::string> found;
  const std::string open = "```" + kind + "\n";
  for (std::size_t at = doc.find(open); at != std::string::npos; at = doc.find(open, at)) {
    const std::size_t begin = at + open.size(), end = doc.find("```", begin);
    REQUIRE(end != std::string::npos);
    found.push_back(doc.substr(begin, end - begin));
    at = end + 3;
  }
  return found;
}

/// What the examples of the page capture; the page lists the same.
std::vector<CaptureInfo> docCaptures() {
  return {{"slope", DType::F32, 1},   {"bias", DType::F32, 2}, {"doc", DType::I32, 2}, {"offset", DType::I64, 1},
          {"keep", DType::Bool, 1},   {"qr", DType::F32, 4},   {"kr", DType::F32, 3},  {"window", DType::I64, -1},
          {"prefix", DType::I64, -1}, {"cap", DType::F64, -1}};
}

} // namespace

TEST_CASE("every formula block parses, as the kind of mod that it says or can only be") {
  const std::string doc = readDoc();
  const std::vector<std::string> formulas = blocks(doc, "formula"), modules = blocks(doc, "module");
  CHECK(formulas.size() >= 30);
  REQUIRE(modules.size() == 2);
  const std::string module = modules[0] + modules[1];
  const std::vector<CaptureInfo> captures = docCaptures();
  for (const std::string &text : formulas) {
    const Result<Formula> asScore = parseFormula({text, "", module}, captures), asMask = parseFormula({"", text, module}, captures);
    CHECK_MESSAGE((asScore || asMask), text, "\nas score_mod: ", (asScore ? "" : asScore.error().message),
                  "\nas mask_mod: ", (asMask ? "" : asMask.error().message));
  }
}

TEST_CASE("every error block shows what the library says") {
  const std::vector<std::string> errors = blocks(readDoc(), "error");
  CHECK(errors.size() >= 3);
  const std::vector<CaptureInfo> captures = docCaptures();
  for (const std::string &message : errors) {
    // The second line of a message is the user's text.
    const std::size_t lineBegin = message.find('\n') + 1;
    const std::string line = message.substr(lineBegin + 4, message.find('\n', lineBegin) - lineBegin - 4);
    const bool isScore = message.starts_with("score_mod");
    const Result<Formula> result = parseFormula({isScore ? line : "", isScore ? "" : line}, captures);
    REQUIRE_MESSAGE(!result, line);
    CHECK(result.error().message + "\n" == message);
  }
}

TEST_CASE("an error inside a module") {
  const std::string doc = readDoc();
  const std::vector<std::string> errors = blocks(doc, "error-module");
  REQUIRE(errors.size() == 1);
  const Result<Formula> result = parseFormula({"", "sliding_window(-1)", blocks(doc, "module")[0]}, docCaptures());
  REQUIRE(!result);
  CHECK(result.error().message + "\n" == errors[0]);
}

TEST_CASE("every function is listed under every name") {
  const std::string doc = readDoc();
  const auto isListed = [&](std::string_view name, bool) {
    std::string plain("`");
    plain.append(name).append("`");
    CHECK_MESSAGE(doc.find(plain) != std::string::npos, plain, " is missing in docs/language.md");
  };
  for (const Builtin &builtin : builtins())
    forEachName(builtin.names, isListed);
  for (const std::span<const PythonFunction> table : {pythonFunctions(), tableFunctions()})
    for (const PythonFunction &python : table)
      forEachName(python.names, isListed);
  for (std::string_view method : viewMethods())
    isListed(method, true);
}
