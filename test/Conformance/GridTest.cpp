#include "common/Grid.h"

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

using namespace attnjit;
using namespace attnjit::tools;

TEST_CASE("a module carries its grid in comments") {
  const std::string grid = gridOfModule("\"\"\"Causal.\"\"\"\n#! --mask-mod 'f({1|2})'\n# other\ndef f(n): return n\n#! --x => io\n");
  const auto cases = parseGrid(grid);
  REQUIRE(cases);
  REQUIRE(cases->size() == 3);
  CHECK((*cases)[0].line == 2);
  CHECK((*cases)[0].commandLine == "--mask-mod 'f(1)'");
  CHECK((*cases)[2].line == 5);
  CHECK((*cases)[2].expectedError == "io");
}

TEST_CASE("a line is the cross product of its braces, the last running fastest") {
  const Result<std::vector<GridCase>> cases = parseGrid("# a comment\n\n  --a {1|2} --b x{|y}z  \n--c => no-backend\n");
  REQUIRE(cases);
  REQUIRE(cases->size() == 5);
  CHECK((*cases)[0].commandLine == "--a 1 --b xz");
  CHECK((*cases)[1].commandLine == "--a 1 --b xyz");
  CHECK((*cases)[2].commandLine == "--a 2 --b xz");
  CHECK((*cases)[3].commandLine == "--a 2 --b xyz");
  CHECK((*cases)[3].expectedError.empty());
  CHECK((*cases)[4].commandLine == "--c");
  CHECK((*cases)[4].expectedError == "no-backend");
  CHECK((*cases)[4].line == 4);
}

TEST_CASE("braces that do not match are named by line") {
  CHECK(parseGrid("ok\n--a {1|2").error().message.starts_with("line 2: braces do not match; "));
  CHECK_FALSE(parseGrid("--a 1}"));
}

TEST_CASE("words as a shell sees them") {
  CHECK(*splitWords("--mask-mod 'q_idx >= kv_idx'  --x \"a b\"c ''") ==
        std::vector<std::string>{"--mask-mod", "q_idx >= kv_idx", "--x", "a bc", ""});
  CHECK_FALSE(splitWords("--x 'open"));
  const std::vector<std::string> words{"--mask-mod", "q_idx >= kv_idx", "", "it's", "D=64"};
  CHECK(joinWords(words) == "--mask-mod 'q_idx >= kv_idx' '' \"it's\" D=64");
  CHECK(*splitWords(joinWords(words)) == words);
}

TEST_CASE("a flag and its value can be taken out") {
  CHECK(withoutFlag("--a 1 --backend flash --b 2", "--backend") == "--a 1 --b 2");
  CHECK(withoutFlag("--a 1 --backend flash", "--backend") == "--a 1");
  CHECK(withoutFlag("--a 1", "--backend") == "--a 1");
}
