#include "attnjit-bench/Cases.h"
#include "attnjit-bench/Turns.h"

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <chrono>
#include <thread>

using namespace attnjit;
using namespace attnjit::tools;

TEST_CASE("a case is a name, a command for attnjit-run, and flags that the caller's stand in for") {
  ProblemOptions defaults;
  defaults.threads = 3;
  defaults.dtype = "bf16";
  const auto cases = parseCases(
      "--name 'full, wide' --shape M={4|5},D=8\n--shape M=4,D=8 --mask-mod 'q_idx >= kv_idx' --dtype f32 --threads 1\n", defaults);
  REQUIRE(cases);
  REQUIRE(cases->size() == 3);
  CHECK((*cases)[1].name == "full, wide");
  CHECK((*cases)[1].command == "--shape M=5,D=8");
  CHECK((*cases)[1].problem.shape == "M=5,D=8");
  CHECK((*cases)[1].problem.dtype == "bf16");
  CHECK((*cases)[1].problem.threads == 3);
  CHECK((*cases)[2].line == 2);
  CHECK((*cases)[2].command == "--shape M=4,D=8 --mask-mod 'q_idx >= kv_idx' --dtype f32 --threads 1");
  CHECK((*cases)[2].name == (*cases)[2].command);
  CHECK((*cases)[2].problem.dtype == "f32");
  CHECK((*cases)[2].problem.threads == 1);
}

TEST_CASE("relative to the case of that name and shape, and of that dtype where there are several") {
  const auto cases = parseCases("--name ALiBi --relative-to full --shape M={4|5},D=8 --score-mod 'score + kv_idx' --dtype {f32|bf16}\n"
                                "--name full --shape M=5,D=8\n"
                                "--name full --shape M=4,D=8 --dtype {bf16|f32}\n",
                                {});
  REQUIRE(cases);
  REQUIRE(cases->size() == 7);
  CHECK((*cases)[0].base == 6); // M 4, f32
  CHECK((*cases)[1].base == 5); // M 4, bf16
  CHECK((*cases)[2].base == 4); // M 5, f32
  CHECK((*cases)[3].base == 4); // M 5, bf16: there is one only
  CHECK_FALSE((*cases)[4].base);

  const std::vector<BenchCase> kept = filterCases(*cases, "--dtype bf16");
  REQUIRE(kept.size() == 4);
  CHECK(kept[0].command.find("M=4") != std::string::npos);
  CHECK(kept[0].base == 3);
  CHECK(kept[1].base == 2); // which the filter alone would have dropped
  CHECK(kept[2].problem.dtype == "f32");
}

TEST_CASE("contenders take turns, and an error ends them") {
  std::string order;
  const auto contender = [&](char letter, double ns) {
    return Contender{[&order, letter, ns]() -> Result<double> {
      order += letter;
      return ns;
    }};
  };
  const Contender two[] = {contender('a', 100), contender('b', 150)};
  const auto turns = takeTurns(two, 3);
  REQUIRE(turns);
  CHECK(order == "ababab");
  CHECK(ratiosOf((*turns)[1], (*turns)[0]) == std::vector<double>{1.5, 1.5, 1.5});
  CHECK((*turns)[0][0].peakGflops > 0);
  CHECK((*turns)[0][0].readGBps == 0); // nothing to read was named

  const Contender failing[] = {two[0], {[]() -> Result<double> { return Error{ErrorCode::Io, "gone"}; }}};
  order.clear();
  CHECK(takeTurns(failing, 3).error().message == "gone");
  CHECK(order == "a");
}

TEST_CASE("a turn is the median of its calls without the first") {
  int calls = 0;
  CHECK(*sampleFor(0, [&]() -> Result<double> { return ++calls * 7.0; }) == 7);
  CHECK(calls == 1);
  calls = 0;
  const Result<double> turn = sampleFor(20'000'000, [&]() -> Result<double> {
    if (++calls == 1)
      return 1000.0;
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    return 7.0;
  });
  CHECK(calls <= 2);
  CHECK(*turn == (calls == 1 ? 1000 : 7)); // one only if the machine was away for 20 ms
}

TEST_CASE("a unit that is not there answers 0") {
  CHECK(probePeakGflops(2000) > 0);
  CHECK(probePeakGflops(2000, PeakUnit::FmaF64) > 0);
  for (const PeakUnit unit : {PeakUnit::DotBf16, PeakUnit::TileBf16})
    CHECK((probePeakGflops(200, unit) > 0) == hasPeakUnit(unit));
}
