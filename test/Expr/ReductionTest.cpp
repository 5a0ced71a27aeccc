// Reductions: what they mean, held against loops in C++; what the IR of one looks like; and what the analyses conclude.
#include "ExprTestUtil.h"

#include "Expr/Builder.h"
#include "Expr/LaneInterp.h"
#include "Expr/Loops.h"

#include <algorithm>
#include <functional>
#include <limits>

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

const Captures &captures() {
  static const Captures kCaptures;
  return kCaptures;
}

/// The test's numbers, then those that a formula brings: sizes of captures.
std::vector<ScalarArg> scalarsOf(const Formula &formula) {
  std::vector<ScalarArg> scalars = captures().scalars;
  scalars.resize(formula.scalars.size());
  bindOwnScalars(formula, captures().tensors, scalars);
  return scalars;
}

struct At {
  std::int64_t b, h, q, k;
};
double bias(std::int64_t h, std::int64_t n) { return captures().bias[h * kN + n]; }
double doc(std::int64_t b, std::int64_t n) { return captures().doc[b * kN + n]; }
double slope(std::int64_t h) { return captures().slope[h]; }
template <typename F> double sum(std::int64_t count, F term) {
  double total = 0;
  for (std::int64_t i = 0; i < count; ++i)
    total += term(i);
  return total;
}
template <typename F> double largest(std::int64_t count, F term) {
  double most = -kInf;
  for (std::int64_t i = 0; i < count; ++i)
    most = std::max(most, double(term(i)));
  return most;
}

struct Case {
  const char *text;
  std::function<double(const At &)> expected;
};

void check(const Case &row) {
  const Formula formula = score(row.text);
  CHECK_MESSAGE(verify(formula), row.text);
  const std::vector<ScalarArg> scalars = scalarsOf(formula);
  Interp interp(formula, formula.score, {captures().tensors, scalars});
  for (std::int64_t b = 0; b < kB; ++b)
    for (std::int64_t h = 0; h < kH; ++h)
      for (std::int64_t q = 0; q < kM; ++q)
        for (std::int64_t k = 0; k < kN; ++k) {
          bool outOfRange = false;
          const double got = interp.evaluate(0.5, {b, h, q, k}, outOfRange).f, wanted = row.expected({b, h, q, k});
          CHECK_MESSAGE(!outOfRange, row.text);
          CHECK_MESSAGE((sameBits(got, wanted) || std::fabs(got - wanted) <= 1e-12 * std::max(1.0, std::fabs(wanted))), row.text, ": ", got,
                        ", expected ", wanted);
        }
}

bool reportsOutOfRange(const char *text) {
  const Formula formula = score(text);
  const std::vector<ScalarArg> scalars = scalarsOf(formula);
  bool outOfRange = false;
  Interp(formula, formula.score, {captures().tensors, scalars}).evaluate(0, {1, 1, 1, 1}, outOfRange);
  return outOfRange;
}

std::string bodyOf(const char *text) {
  const std::string all = print(score(text));
  const std::size_t begin = all.find("score(");
  return all.substr(begin, all.find("mask(") - begin);
}

} // namespace

TEST_CASE("reductions of rows, as PyTorch writes them") {
  const Case kCases[] = {
      {"bias[h].sum()", [](const At &a) { return sum(kN, [&](auto i) { return bias(a.h, i); }); }},
      {"score + bias[h].sum(-1)", [](const At &a) { return 0.5 + sum(kN, [&](auto i) { return bias(a.h, i); }); }},
      {"torch.sum(bias[h], dim=0)", [](const At &a) { return sum(kN, [&](auto i) { return bias(a.h, i); }); }},
      {"sum(bias[h])", [](const At &a) { return sum(kN, [&](auto i) { return bias(a.h, i); }); }},
      {"bias.sum()", [](const At &) { return sum(kH * kN, [&](auto i) { return bias(0, i); }); }},
      {"bias.sum(0)[kv_idx]", [](const At &a) { return sum(kH, [&](auto i) { return bias(i, a.k); }); }},
      {"sum(bias)[kv_idx]", [](const At &a) { return sum(kH, [&](auto i) { return bias(i, a.k); }); }},
      {"bias.sum(1)[h]", [](const At &a) { return sum(kN, [&](auto i) { return bias(a.h, i); }); }},
      {"bias.sum((0, 1))", [](const At &) { return sum(kH * kN, [&](auto i) { return bias(0, i); }); }},
      {"bias.sum(1, keepdim=True)[h, 0]", [](const At &a) { return sum(kN, [&](auto i) { return bias(a.h, i); }); }},
      {"bias[h].mean()", [](const At &a) { return sum(kN, [&](auto i) { return bias(a.h, i); }) / kN; }},
      {"torch.mean(bias, -1)[h] * 2", [](const At &a) { return sum(kN, [&](auto i) { return bias(a.h, i); }) / kN * 2; }},
      {"bias.T[kv_idx].amax(-1)", [](const At &a) { return largest(kH, [&](auto i) { return bias(i, a.k); }); }},
      {"bias.T[kv_idx].max()", [](const At &a) { return largest(kH, [&](auto i) { return bias(i, a.k); }); }},
      {"torch.max(bias.T[kv_idx])", [](const At &a) { return largest(kH, [&](auto i) { return bias(i, a.k); }); }},
      {"-torch.amin(-bias.T[kv_idx], dim=-1)", [](const At &a) { return largest(kH, [&](auto i) { return bias(i, a.k); }); }},
      {"-min(-bias.T[kv_idx])", [](const At &a) { return largest(kH, [&](auto i) { return bias(i, a.k); }); }},
      {"flag.sum() + score", [](const At &) { return 0.5 + 3; }},
      {"score + flag.any().int() + 2 * flag.all()", [](const At &) { return 0.5 + 1; }},
      {"(doc[b] == doc[b, kv_idx]).sum().float()",
       [](const At &a) { return sum(kN, [&](auto i) { return doc(a.b, i) == doc(a.b, a.k); }); }},
      {"score + doc[b].count_nonzero()", [](const At &a) { return 0.5 + sum(kN, [&](auto i) { return doc(a.b, i) != 0; }); }},
      {"bias[h].norm()", [](const At &a) { return std::sqrt(sum(kN, [&](auto i) { return bias(a.h, i) * bias(a.h, i); })); }},
      {"torch.linalg.vector_norm(bias[h])",
       [](const At &a) { return std::sqrt(sum(kN, [&](auto i) { return bias(a.h, i) * bias(a.h, i); })); }},
  };
  for (const Case &row : kCases)
    check(row);
}

TEST_CASE("products of rows and matrices") {
  const auto biasDoc = [](const At &a) { return sum(kN, [&](auto i) { return bias(a.h, i) * doc(a.b, i); }); };
  const auto slopeBias = [](const At &a) { return sum(kH, [&](auto i) { return slope(i) * bias(i, a.k); }); };
  const Case kCases[] = {
      {"torch.dot(bias[h], doc[b].float())", biasDoc},
      {"bias[h].dot(doc[b])", biasDoc},
      {"bias[h] @ doc[b]", biasDoc},
      {"torch.matmul(bias[h], doc[b])", biasDoc},
      {"torch.inner(bias[h], doc[b])", biasDoc},
      {"torch.linalg.vecdot(bias[h], doc[b])", biasDoc},
      {"torch.linalg.vecdot(bias, doc[b])[h]", biasDoc},
      {"(bias @ doc[b])[h]", biasDoc},
      {"(slope @ bias)[kv_idx]", slopeBias},
      {"(bias.T @ slope)[kv_idx]", slopeBias},
      {"torch.mv(bias.T, slope)[kv_idx]", slopeBias},
      {"(bias.mT @ slope[:, None])[kv_idx, 0]", slopeBias},
      {"torch.mm(slope[None], bias)[0, kv_idx]", slopeBias},
      {"(slope * bias.T[kv_idx]).sum()", slopeBias},
      {"torch.dot(bias[h], bias[h]) - (bias[h] ** 2).sum()", [](const At &) { return 0.0; }},
      {"((bias @ bias.T) * 2)[h, 0]", [](const At &a) { return 2 * sum(kN, [&](auto i) { return bias(a.h, i) * bias(0, i); }); }},
      {"(slope @ (bias @ doc[b]))",
       [](const At &a) { return sum(kH, [&](auto j) { return slope(j) * sum(kN, [&](auto i) { return bias(j, i) * doc(a.b, i); }); }); }},
  };
  for (const Case &row : kCases)
    check(row);
}

TEST_CASE("elementwise expressions are tensors like others") {
  const Case kCases[] = {
      {"(bias[h] - bias[0]).square().sum().sqrt()",
       [](const At &a) { return std::sqrt(sum(kN, [&](auto i) { return (bias(a.h, i) - bias(0, i)) * (bias(a.h, i) - bias(0, i)); })); }},
      {"(bias[h] - bias[0])[kv_idx]", [](const At &a) { return bias(a.h, a.k) - bias(0, a.k); }},
      {"(2 * bias - 1)[h][-1]", [](const At &a) { return 2 * bias(a.h, kN - 1) - 1; }},
      {"(bias[h] + q_idx).exp()[2:4].sum()",
       [](const At &a) { return sum(2, [&](auto i) { return std::exp(bias(a.h, i + 2) + double(a.q)); }); }},
      {"torch.where(flag, bias[h], 0.0).sum()", [](const At &a) { return sum(kN, [&](auto i) { return i % 3 == 0 ? bias(a.h, i) : 0; }); }},
      {"(bias[h] * flag).sum()", [](const At &a) { return sum(kN, [&](auto i) { return i % 3 == 0 ? bias(a.h, i) : 0; }); }},
      {"bias[h].clamp(min=0).sum()", [](const At &a) { return sum(kN, [&](auto i) { return std::max(bias(a.h, i), 0.0); }); }},
      {"torch.maximum(bias[h], bias[0]).amax()",
       [](const At &a) { return largest(kN, [&](auto i) { return std::max(bias(a.h, i), bias(0, i)); }); }},
      {"bias[h].max(bias[0]).amax()", [](const At &a) { return largest(kN, [&](auto i) { return std::max(bias(a.h, i), bias(0, i)); }); }},
      {"(bias * slope[:, None]).sum()", [](const At &) { return sum(kH * kN, [&](auto i) { return bias(0, i) * slope(i / kN); }); }},
      {"(bias[h] - bias[h].mean()).square().mean()",
       [](const At &a) {
         const double mean = sum(kN, [&](auto i) { return bias(a.h, i); }) / kN;
         return sum(kN, [&](auto i) { return (bias(a.h, i) - mean) * (bias(a.h, i) - mean); }) / kN;
       }},
      {"bias.reshape(-1)[9:18].sum()", [](const At &) { return sum(kN, [&](auto i) { return bias(1, i); }); }},
      {"bias[h].view(3, 3).sum(1).amax()",
       [](const At &a) { return largest(3, [&](auto j) { return sum(3, [&](auto i) { return bias(a.h, 3 * j + i); }); }); }},
      {"bias.amax(1).sum()", [](const At &) { return sum(kH, [&](auto h) { return largest(kN, [&](auto i) { return bias(h, i); }); }); }},
      {"bias[h, ::2].sum()", [](const At &a) { return sum(5, [&](auto i) { return bias(a.h, 2 * i); }); }},
      {"bias[h, :w].sum()", [](const At &a) { return sum(3, [&](auto i) { return bias(a.h, i); }); }},
      {"bias[h, 4:4].sum() + score", [](const At &) { return 0.5; }},
      {"bias[h, w:w].amax()", [](const At &) { return -kInf; }},
      {"(~flag).sum() + score", [](const At &) { return 0.5 + 6; }},
      {"len(bias[h] + 1) + score", [](const At &) { return 0.5 + kN; }},
      {"(doc[b].to(torch.float32) / 2).sum()", [](const At &a) { return sum(kN, [&](auto i) { return doc(a.b, i) / 2; }); }},
  };
  for (const Case &row : kCases)
    check(row);
}

TEST_CASE("sizes that differ at run time are reported, never read past") {
  CHECK(reportsOutOfRange("torch.dot(slope, bias[h])"));
  CHECK(reportsOutOfRange("(slope * bias[h]).sum()"));
  CHECK(reportsOutOfRange("(bias[h] * slope).sum()"));
  CHECK(reportsOutOfRange("(bias[h] * slope)[0]"));
  CHECK(!reportsOutOfRange("(bias[h] * slope[:1]).sum()"));      // a size of 1 fits
  CHECK(!reportsOutOfRange("(bias[h] * slope[w - 1:]).sum()"));  // also where it is known at run time only
  CHECK(reportsOutOfRange("torch.dot(bias[h], slope[w - 1:])")); // but a product needs equal ones
  CHECK(reportsOutOfRange("bias[h + 2].sum()"));
  CHECK(!reportsOutOfRange("bias[h + 2, :0].sum() + bias[h + 2, w:w].sum()")); // nothing is read
}

TEST_CASE("one loop, printed in a canonical way") {
  CHECK(bodyOf("score + torch.dot(bias[h], bias[h])") == "score(%score: float, %b: int, %h: int, %q: int, %kv: int)\n"
                                                         "  %0 = scalar bias.size(1) : int\n"
                                                         "  %1 = iter 0 %0 : int\n"
                                                         "  %2 = load bias[%h, %1] : float\n"
                                                         "  %3 = mul %2, %2 : float\n"
                                                         "  %4 = reduce_sum %1, %3 : float\n"
                                                         "  %5 = add %score, %4 : float\n"
                                                         "  return %5\n");
  // A loop has the same number alone and within others; what does not move with it stands outside of it.
  CHECK(bodyOf("(slope * bias.sum(1)).sum()") == bodyOf("(slope[:] * bias.sum(-1)).sum(0)"));
  CHECK(bodyOf("(bias[h] * slope.sum()).sum()").find("iter 1") == std::string::npos);
  for (const char *text : {"(slope * bias.sum(1)).sum()", "bias.amax() + (bias[h] * doc[b]).sum()", "bias[h].any() + bias.mean()"}) {
    const Formula formula = score(text);
    const Result<Formula> again = parseCanonical(print(formula));
    REQUIRE_MESSAGE(again, text);
    CHECK(print(*again) == print(formula));
    CHECK(hash(*again) == hash(formula));
    Formula simpler = formula;
    simplify(simpler);
    CHECK(print(simpler) == print(formula));
  }
}

TEST_CASE("exact simplifications") {
  const auto same = [](const char *a, const char *b) { CHECK_MESSAGE(bodyOf(a) == bodyOf(b), a); };
  same("bias[h, 4:4].sum() + score", "score + 0.0");
  same("score * (doc[b, 3:7].any() | flag[0:0].any())", "score * doc[b, 3:7].any()");
  same("score + torch.full_like(doc[b], 3).sum()", "score + 3 * max(doc.size(1), 0)"); // ints add up exactly
}

TEST_CASE("loops that do not nest are refused") {
  const char *head = "capture t : f32 rank 2\nscore(%score: float, %b: int, %h: int, %q: int, %kv: int)\n";
  const char *tail = "mask(%b: int, %h: int, %q: int, %kv: int)\n  %0 = const true : bool\n  return %0\n";
  const auto message = [&](const char *body) {
    const Result<Formula> formula = parseCanonical(std::string(head) + body + tail);
    return formula ? "accepted" : formula.error().message;
  };
  const auto contains = [&](const char *body, const char *words) {
    CHECK_MESSAGE(message(body).find(words) != std::string::npos, message(body));
  };
  contains("  %0 = const 3 : int\n  %1 = iter 0 %0 : int\n  %2 = to_float %1 : float\n  return %2\n", "moves with one");
  contains("  %0 = iter 0 %q : int\n  %1 = reduce_sum %0, %score : float\n  return %1\n", "moves with the position");
  contains("  %0 = const 3 : int\n  %1 = iter 8 %0 : int\n  return %score\n", "level 8");
  contains("  %0 = const 3 : int\n  %1 = reduce_sum %0, %score : float\n  return %1\n", "no iter");
  contains("  %0 = const 3 : int\n  %1 = const 4 : int\n  %2 = iter 0 %0 : int\n  %3 = iter 0 %1 : int\n  %4 = load t[%2, %3] : float\n"
           "  %5 = reduce_sum %2, %4 : float\n  return %5\n",
           "two indices of level 0");
  contains("  %0 = const 3 : int\n  %1 = iter 0 %0 : int\n  %2 = iter 1 %0 : int\n  %3 = load t[%1, %2] : float\n"
           "  %4 = reduce_sum %2, %3 : float\n  %5 = reduce_sum %1, %4 : float\n  return %5\n",
           "lower level");
}

TEST_CASE("lanes and single positions agree") {
  const char *kTexts[] = {"torch.dot(bias[h], doc[b]) > kv_idx",
                          "bias.T[kv_idx].amax() >= bias.T[q_idx].amax()",
                          "(bias.T[q_idx] * bias.T[kv_idx]).sum() > 1",
                          "(slope * bias.sum(1)).sum() < kv_idx + q_idx",
                          "(doc[b] == doc[b, kv_idx]).any() & ((bias + kv_idx).mean() > 2)",
                          "((bias.T[kv_idx] @ bias) * doc[b, q_idx]).sum() > 3"};
  for (const char *text : kTexts)
    for (const Param axis : {Param::Q, Param::Kv}) {
      const Formula formula = mask(text);
      const std::vector<ScalarArg> scalars = scalarsOf(formula);
      const Bindings bindings{captures().tensors, scalars};
      Interp single(formula, formula.mask, bindings);
      LaneInterp lanes(formula.mask, bindings, {&formula.mask.result, 1}, axis);
      const bool alongQ = axis == Param::Q;
      for (std::int64_t other = 0; other < (alongQ ? kN : kM); ++other) {
        const bool outside = lanes.run({1, 2, alongQ ? 0 : other, alongQ ? other : 0}, 1, alongQ ? kM : kN);
        for (std::int64_t i = 0; i < (alongQ ? kM : kN); ++i) {
          bool outOfRange = false;
          const Value value = single.evaluate(0, {1, 2, alongQ ? i : other, alongQ ? other : i}, outOfRange);
          CHECK_MESSAGE(lanes.ints(formula.mask.result)[i] == value.i, text);
          CHECK_MESSAGE((outside || !outOfRange), text);
        }
      }
    }
}

TEST_CASE("ranges hold, and indices of a whole row are proved") {
  const auto rangeOf = [](const char *text) {
    const Formula formula = score(text);
    const std::vector<ScalarArg> scalars = scalarsOf(formula);
    const Box box{0, kB - 1, 0, kH - 1, 0, kM - 1, 0, kN - 1};
    CHECK_MESSAGE(indicesProvedInBounds(formula, formula.score, box, {captures().tensors, scalars}), text);
    return ranges(formula, formula.score, box, scalars, false, nullptr)[formula.score.result];
  };
  const Range count = rangeOf("(doc[b] == doc[b, kv_idx]).sum().float()");
  CHECK(count.flo == 0);
  CHECK(count.fhi == kN);
  const Range waves = rangeOf("torch.sin(doc[b].clamp(0, 100).float()).sum()");
  CHECK(waves.flo <= -kN);
  CHECK(waves.flo >= -kN - 0.01);
  CHECK(waves.fhi >= kN);
  CHECK(!waves.maybeNan);
  CHECK(rangeOf("torch.dot(bias[h], doc[b])").maybeNan); // nothing is known of a float
  const Range most = rangeOf("torch.cos(doc[b].clamp(0, 3).float()).amax()");
  CHECK(most.flo == -1);
  CHECK(most.fhi == 1);
  CHECK(std::isinf(rangeOf("torch.cos(doc[b, p:p].clamp(0, 3).float()).amax() + score * 0").flo));
}
