// mergeStates as split attention: pieces of the keys by the f64 reference, put together, against all of them.
#include "attnjit/MergeStates.h"

#include "Expr/Frontend.h"
#include "Reference/Elements.h"
#include "Reference/Reference.h"

#include <cmath>
#include <doctest/doctest.h>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace attnjit;

namespace {

constexpr std::int64_t kB = 2, kH = 3, kM = 5, kN = 40, kD = 6, kDv = 7;
constexpr double kInf = std::numeric_limits<double>::infinity();

/// Memory of a tensor of any float type.
struct Owned {
  std::vector<std::byte> bytes;
  TensorRef view;
  Owned(DType dtype, std::initializer_list<std::int64_t> sizes) {
    std::int64_t count = 1;
    for (const std::int64_t size : sizes)
      count *= size;
    bytes.resize(static_cast<std::size_t>(count) * sizeInBytes(dtype));
    view = TensorRef::dense(bytes.data(), dtype, sizes);
  }
  std::int64_t count() const { return static_cast<std::int64_t>(bytes.size() / sizeInBytes(view.dtype)); }
  double operator[](std::int64_t i) const { return reference::loadFloat(bytes.data(), view.dtype, i); }
  void set(std::int64_t i, double value) { reference::storeFloat(bytes.data(), view.dtype, i, value); }
  void fill(const std::vector<double> &values) {
    for (std::int64_t i = 0; i < count(); ++i)
      set(i, values[static_cast<std::size_t>(i)]);
  }
};

/// Keys of one problem, and attention over any range of them. Query row 0 sees no key, row 1 only keys before 10, head 2 none after 20.
struct Problem {
  std::vector<double> q, k, v;
  Result<expr::Formula> formula;
  Problem() : q(kB * kH * kM * kD), k(kB * kH * kN * kD), v(kB * kH * kN * kDv), formula(expr::parseFormula({"", kMask}, kCaptures)) {
    std::mt19937 random(5);
    std::normal_distribution<double> normal;
    for (std::vector<double> *values : {&q, &k, &v})
      for (double &value : *values)
        value = normal(random);
    REQUIRE(formula);
  }
  static inline const std::vector<expr::CaptureInfo> kCaptures{{"first", DType::I64, 1}};
  static constexpr const char *kMask = "(q_idx > 0) & ((q_idx > 1) | (kv_idx + first[0] < 10)) & ((h < 2) | (kv_idx + first[0] < 20))";

  reference::Output attend(std::int64_t begin, std::int64_t end) {
    reference::Call call;
    call.formula = &*formula;
    std::int64_t first = begin;
    const std::vector<TensorRef> captures{TensorRef::dense(&first, DType::I64, {1})};
    call.bindings = {captures, {}};
    call.q = TensorRef::dense(q.data(), DType::F64, {kB, kH, kM, kD});
    call.k = TensorRef::dense(k.data() + begin * kD, DType::F64, {kB, kH, end - begin, kD});
    call.v = TensorRef::dense(v.data() + begin * kDv, DType::F64, {kB, kH, end - begin, kDv});
    call.k.strides = {kH * kN * kD, kN * kD, kD, 1};
    call.v.strides = {kH * kN * kDv, kN * kDv, kDv, 1};
    return reference::forwardF64(call);
  }
};

struct Parts {
  std::vector<Owned> outs, lses;
  std::vector<PartialState> states;
  Parts(Problem &problem, DType dtype, const std::vector<std::int64_t> &cuts) {
    const DType lseType = dtype == DType::F64 ? DType::F64 : DType::F32;
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      const reference::Output part = problem.attend(cuts[i], cuts[i + 1]);
      outs.emplace_back(dtype, std::initializer_list<std::int64_t>{kB, kH, kM, kDv}).fill(part.out);
      lses.emplace_back(lseType, std::initializer_list<std::int64_t>{kB, kH, kM}).fill(part.lse);
    }
    for (std::size_t i = 0; i < outs.size(); ++i)
      states.push_back({outs[i].view, lses[i].view});
  }
};

bool isClose(double got, double expected, double tolerance) {
  return got == expected || std::fabs(got - expected) <= tolerance * std::max(1.0, std::fabs(expected));
}

} // namespace

TEST_CASE("merge: pieces put together are attention over all keys, in every type, by any cut") {
  Problem problem;
  const reference::Output whole = problem.attend(0, kN);
  for (auto [dtype, tolerance] : {std::pair{DType::F64, 1e-14}, {DType::F32, 1e-6}, {DType::BF16, 0.02}, {DType::F16, 0.002}})
    for (const std::vector<std::int64_t> &cuts :
         {std::vector<std::int64_t>{0, kN}, {0, 13, kN}, {0, 10, 20, 30, kN}, {0, 0, 1, 2, 39, kN, kN}}) {
      CAPTURE(name(dtype));
      CAPTURE(cuts.size());
      Parts parts(problem, dtype, cuts);
      Owned out(dtype, {kB, kH, kM, kDv}), lse(dtype == DType::F64 ? DType::F64 : DType::F32, {kB, kH, kM});
      const Result<void> merged = mergeStates(parts.states, out.view, lse.view);
      REQUIRE_MESSAGE(merged, (merged ? "" : merged.error().message));
      bool close = true, sawEmpty = false;
      for (std::int64_t i = 0; i < out.count(); ++i)
        close &= isClose(out[i], whole.out[static_cast<std::size_t>(i)], tolerance);
      for (std::int64_t i = 0; i < lse.count(); ++i) {
        close &= isClose(lse[i], whole.lse[static_cast<std::size_t>(i)], std::max(tolerance, 1e-6) * (dtype == DType::F64 ? 1e-8 : 1));
        sawEmpty |= lse[i] == -kInf;
      }
      CHECK(close);
      CHECK(sawEmpty); // row 0
    }
}

TEST_CASE("merge: parts of 8 bits are read as the floats that they are, and the result is rounded once") {
  Problem problem;
  for (const DType dtype : {DType::F8E4M3, DType::F8E5M2}) {
    CAPTURE(name(dtype));
    Parts parts(problem, dtype, {0, 13, 20, kN}), wide(problem, DType::F32, {0, 13, 20, kN});
    for (std::size_t part = 0; part < 3; ++part)
      for (std::int64_t i = 0; i < wide.outs[part].count(); ++i)
        wide.outs[part].set(i, parts.outs[part][i]);
    Owned out(dtype, {kB, kH, kM, kDv}), wideOut(DType::F32, {kB, kH, kM, kDv}), lse(DType::F32, {kB, kH, kM});
    REQUIRE(mergeStates(parts.states, out.view, lse.view));
    REQUIRE(mergeStates(wide.states, wideOut.view));
    bool same = true;
    for (std::int64_t i = 0; i < out.count(); ++i)
      same &= out[i] == reference::roundTo(dtype, wideOut[i]);
    CHECK(same);
    CHECK(lse[0] == -kInf); // row 0 sees nothing
    CHECK(out[0] == 0);
    parts.outs[1].set(kDv * (kM - 1), std::nan("")); // of a row that the part sees
    REQUIRE(mergeStates(parts.states, out.view));
    CHECK(std::isnan(out[kDv * (kM - 1)]));
  }
}

TEST_CASE("merge: a part that saw nothing is not looked at; a NaN is not hidden") {
  Owned a(DType::F32, {1, 1, 1, 2}), b(DType::F32, {1, 1, 1, 2}), out(DType::F32, {1, 1, 1, 2});
  Owned lseA(DType::F32, {1, 1, 1}), lseB(DType::F32, {1, 1, 1}), lse(DType::F32, {1, 1, 1});
  a.fill({1, 2});
  b.fill({std::nan(""), std::nan("")});
  const std::vector<PartialState> parts{{a.view, lseA.view}, {b.view, lseB.view}};
  auto merge = [&](double x, double y) {
    lseA.set(0, x);
    lseB.set(0, y);
    REQUIRE(mergeStates(parts, out.view, lse.view));
  };
  merge(3, -kInf);
  CHECK(out[0] == 1);
  CHECK(out[1] == 2);
  CHECK(lse[0] == 3);
  merge(-kInf, -kInf);
  CHECK(out[0] == 0);
  CHECK(lse[0] == -kInf);
  merge(3, 2);
  CHECK(std::isnan(out[0]));
  CHECK(lse[0] == doctest::Approx(3 + std::log1p(std::exp(-1.0))));
  merge(3, std::nan(""));
  CHECK(std::isnan(out[0]));
  CHECK(std::isnan(lse[0]));
  b.fill({5, 7});
  merge(1e30, -1e30);
  CHECK(out[0] == 1);
  merge(kInf, 0); // as the kernels: an infinite score makes NaN
  CHECK(std::isnan(out[0]));
}

TEST_CASE("merge: strides, an output that is a part, the same bits for any number of threads") {
  Problem problem;
  Parts parts(problem, DType::F32, {0, 11, 25, kN});
  Owned out(DType::F32, {kB, kH, kM, kDv}), strided(DType::F32, {kB, kM, kDv, kH});
  REQUIRE(mergeStates(parts.states, out.view, std::nullopt, 1));
  TensorRef view = strided.view; // [B, M, Dv, H] in memory
  view.sizes = {kB, kH, kM, kDv};
  view.strides = {kM * kDv * kH, 1, kDv * kH, kH};
  REQUIRE(mergeStates(parts.states, view));
  for (std::int64_t b = 0, i = 0; b < kB; ++b)
    for (std::int64_t h = 0; h < kH; ++h)
      for (std::int64_t rest = 0; rest < kM * kDv; ++rest, ++i)
        REQUIRE(out[i] == strided[(b * kM * kDv + rest) * kH + h]);
  REQUIRE(mergeStates(parts.states, parts.outs[1].view, parts.lses[1].view));
  CHECK(parts.outs[1].bytes == out.bytes);

  Owned a(DType::F32, {1, 64, 512, 32}), b(DType::F32, {1, 64, 512, 32}), one(DType::F32, {1, 64, 512, 32}),
      many(DType::F32, {1, 64, 512, 32});
  Owned lseA(DType::F32, {1, 64, 512}), lseB(DType::F32, {1, 64, 512});
  for (Owned *tensor : {&a, &b, &lseA, &lseB})
    for (std::int64_t i = 0; i < tensor->count(); ++i)
      tensor->set(i, std::sin(static_cast<double>(i) * (tensor == &a || tensor == &lseA ? 0.37 : 0.73)));
  const std::vector<PartialState> large{{a.view, lseA.view}, {b.view, lseB.view}};
  REQUIRE(mergeStates(large, one.view, std::nullopt, 1));
  REQUIRE(mergeStates(large, many.view, std::nullopt, 5));
  CHECK(one.bytes == many.bytes);
}

TEST_CASE("merge: what is wrong is said") {
  Owned out(DType::F32, {1, 2, 3, 4}), lse(DType::F32, {1, 2, 3}), other(DType::F32, {1, 2, 3, 5}), half(DType::F16, {1, 2, 3, 4}),
      wide(DType::F64, {1, 2, 3}), ints(DType::I32, {1, 2, 3, 4}), result(DType::F32, {1, 2, 3, 4});
  auto message = [&](std::vector<PartialState> parts, const TensorRef &to, std::optional<TensorRef> toLse = std::nullopt) {
    const Result<void> merged = mergeStates(parts, to, toLse);
    if (merged)
      return std::string("merged");
    CHECK(merged.error().code == ErrorCode::InvalidArgument);
    return merged.error().message;
  };
  const PartialState good{out.view, lse.view};
  auto says = [](const std::string &text, std::string_view part) { return text.find(part) != std::string::npos; };
  CHECK(message({good}, result.view) == "merged");
  CHECK(says(message({}, result.view), "no parts"));
  CHECK(says(message({good, {other.view, lse.view}}, result.view), "parts[1].out: its sizes are [1, 2, 3, 5], but out has [1, 2, 3, 4]"));
  CHECK(says(message({{half.view, lse.view}}, result.view), "parts[0].out: its dtype is f16, expected f32"));
  CHECK(says(message({{out.view, wide.view}}, result.view), "parts[0].lse: its dtype is f64, expected f32"));
  CHECK(says(message({good}, ints.view), "out: its dtype is i32"));
  CHECK(says(message({good}, result.view, out.view), "lse: expected 3 dimensions"));
  TensorRef repeated = result.view, shifted = out.view;
  repeated.strides[2] = 0;
  CHECK(says(message({good}, repeated), "out: stride 0 of dimension 2"));
  shifted.sizes[2] = 2;
  shifted.strides[1] = 8;
  PartialState overlapping{shifted, lse.view};
  overlapping.lse.sizes[2] = 2;
  TensorRef target = shifted;
  target.data = static_cast<float *>(target.data) + 4;
  CHECK(says(message({overlapping}, target), "out: it shares memory with parts[0].out"));
  CHECK(message({good}, out.view) == "merged");
  TensorRef missing = result.view;
  missing.data = nullptr;
  CHECK(says(message({good}, missing), "out: data is null"));
}
