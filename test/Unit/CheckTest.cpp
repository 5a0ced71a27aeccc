// The check has to fail when something is wrong: one element, one row's statistics, a NaN, a permuted key order, a result that is a little
// too coarse.
#include "common/Check.h"

#include "Reference/Elements.h"

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

using namespace attnjit;
using namespace attnjit::tools;

namespace {

/// A problem whose outputs hold what a plain implementation computes.
struct Solved {
  LoadedProblem problem;
  Oracle oracle;

  explicit Solved(const char *dtype, const char *values = "random") {
    ProblemOptions options;
    options.shape = "Hq=2,M=30,N=40,D=16";
    options.dtype = dtype;
    options.maskMod = "q_idx >= kv_idx + 1"; // row 0 sees nothing
    options.values = values;
    options.wantsLse = options.wantsMax = true;
    Result<LoadedProblem> loaded = loadProblem(options);
    REQUIRE_MESSAGE(loaded, (loaded ? "" : loaded.error().message));
    problem = std::move(*loaded);
    oracle = computeOracle(problem, 1, 1);
    store(problem.out, oracle.plain.out);
    store(*problem.lse, oracle.plain.lse);
    store(*problem.max, oracle.plain.max);
  }

  static void store(const Tensor &tensor, const std::vector<double> &values) {
    for (std::size_t i = 0; i < values.size(); ++i)
      reference::storeFloat(tensor.ref().data, tensor.dtype(), static_cast<std::int64_t>(i), values[i]);
  }
  std::string failure() const { return compare(problem, oracle).failure(); }
  void set(const Tensor &tensor, std::int64_t index, double value) const {
    reference::storeFloat(tensor.ref().data, tensor.dtype(), index, value);
  }
};

} // namespace

TEST_CASE("a plain implementation passes at every dtype") {
  for (const char *dtype : {"f32", "bf16", "f16", "f64"}) {
    CAPTURE(dtype);
    const Solved solved(dtype);
    CHECK(solved.failure() == "");
    const double ratio = compare(solved.problem, solved.oracle).ratio();
    CHECK(ratio == doctest::Approx(std::strcmp(dtype, "f64") == 0 ? 0.0 : 1.0));
  }
}

TEST_CASE("one wrong element fails, wherever it is") {
  for (const std::int64_t index : {0, 17 * 16 + 3, 59 * 16 + 15}) {
    const Solved solved("f32");
    solved.set(solved.problem.out, index, 0.01);
    CHECK(solved.failure().starts_with("out"));
  }
}

TEST_CASE("NaN and infinity where there is a number fail, and the other way round") {
  const Solved solved("f32");
  solved.set(solved.problem.out, 100, std::nan(""));
  CHECK(solved.failure().find("nan, expected") != std::string::npos);
  const Solved infinite("bf16");
  infinite.set(infinite.problem.out, 100, HUGE_VAL);
  CHECK(infinite.failure().find("inf, expected") != std::string::npos);
  const Solved empty("f32"); // lse and max of row 0 are -inf
  empty.set(*empty.problem.lse, 0, -1e30);
  CHECK(empty.failure().starts_with("lse [b=0, h=0, row=0]"));
  const Solved sentinel("f32");
  sentinel.set(*sentinel.problem.max, 30, -3e38);
  CHECK(sentinel.failure().starts_with("max [b=0, h=1, row=0]"));
}

TEST_CASE("errors of every element, each small, fail by their mean") {
  Solved solved("f32");
  for (double &x : solved.oracle.plain.out)
    x += 3e-7;
  solved.store(solved.problem.out, solved.oracle.plain.out);
  solved.oracle = computeOracle(solved.problem, 1, 1);
  CHECK(solved.failure().find("mean error") != std::string::npos);
  // bf16 results of a kernel that rounds twice.
  Solved coarse("bf16");
  for (double &x : coarse.oracle.plain.out)
    x = reference::roundTo(DType::BF16, x * (1 + 0x1p-7));
  coarse.store(coarse.problem.out, coarse.oracle.plain.out);
  coarse.oracle = computeOracle(coarse.problem, 1, 1);
  CHECK(coarse.failure().find("mean error") != std::string::npos);
}

TEST_CASE("position-coded values betray a permuted order of keys") {
  Solved solved("f32", "position");
  LoadedProblem swapped = solved.problem;
  // The same V with keys 3 and 4 exchanged.
  const TensorRef v = solved.problem.v.ref();
  swapped.v = *Tensor::allocate(DType::F32, {v.sizes[0], v.sizes[1], v.sizes[2], v.sizes[3]});
  auto *copy = static_cast<float *>(swapped.v.ref().data);
  std::copy_n(static_cast<const float *>(v.data), solved.problem.v.elementCount(), copy);
  for (int d = 0; d < 16; ++d)
    std::swap(copy[3 * 16 + d], copy[4 * 16 + d]);
  solved.store(solved.problem.out, computeOracle(swapped, 1, 1).plain.out);
  CHECK(solved.failure().starts_with("out"));
}

TEST_CASE("visible pairs are counted exactly") {
  const auto pairsOf = [](const char *shape, const char *mask) {
    ProblemOptions options;
    options.shape = shape;
    options.maskMod = mask;
    const Result<LoadedProblem> problem = loadProblem(options, false);
    REQUIRE(problem);
    return visiblePairs(*problem);
  };
  CHECK(pairsOf("B=2,Hq=3,M=10,N=20,D=4", "") == 2 * 3 * 200);
  CHECK(pairsOf("Hq=3,S=100,D=4", "q_idx >= kv_idx") == 3 * 5050);
  CHECK(pairsOf("Hq=3,S=300,D=4", "(q_idx >= kv_idx) & (h == 1)") == 300 * 301 / 2);
  CHECK(pairsOf("B=2,Hq=3,M=0,N=20,D=4", "q_idx >= kv_idx") == 0);
}
