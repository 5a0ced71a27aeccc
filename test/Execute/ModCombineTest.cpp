// Masks combined and mods chained, against Boolean algebra position by position.
#include "Engine/ModImpl.h"
#include "EngineTestUtil.h"

#include <doctest/doctest.h>

using namespace attnjit;
using namespace attnjit::test;

namespace {

constexpr std::int64_t kM = 9, kN = 11;

std::vector<bool> maskOf(const Mod &mod, const expr::Bindings &bindings = {}) {
  expr::Interp mask(mod.impl().formula, mod.impl().formula.mask, bindings);
  std::vector<bool> visible;
  bool outside = false;
  for (std::int64_t q = 0; q < kM; ++q)
    for (std::int64_t kv = 0; kv < kN; ++kv)
      visible.push_back(mask.evaluate(0, {0, 0, q, kv}, outside).i != 0);
  CHECK(!outside);
  return visible;
}

double scoreOf(const Mod &mod, double score, expr::Position at, const expr::Bindings &bindings = {}) {
  bool outside = false;
  return expr::Interp(mod.impl().formula, mod.impl().formula.score, bindings).evaluate(score, at, outside).f;
}

Mod get(Result<Mod> mod) {
  REQUIRE_MESSAGE(mod, mod.error().message);
  return *mod;
}

} // namespace

TEST_CASE("and, or, xor and not are what they say at every position") {
  const Mod causal = parseMod("", "q_idx >= kv_idx"), window = parseMod("", "q_idx - kv_idx < 3"), even = parseMod("", "kv_idx % 2 == 0");
  const std::vector<bool> a = maskOf(causal), b = maskOf(window), c = maskOf(even);
  const std::vector<bool> all = maskOf(get(andMasks({causal, window, even}))), any = maskOf(get(orMasks({causal, window, even}))),
                          odd = maskOf(get(xorMasks({causal, window, even}))), inverse = maskOf(get(notMask(causal)));
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(all[i] == (a[i] && b[i] && c[i]));
    CHECK(any[i] == (a[i] || b[i] || c[i]));
    CHECK(odd[i] == ((a[i] + b[i] + c[i]) % 2 == 1));
    CHECK(inverse[i] == !a[i]);
  }
}

TEST_CASE("a combination is the formula that one would have written") {
  const Mod causal = parseMod("", "q_idx >= kv_idx"), window = parseMod("", "q_idx - kv_idx < 3");
  CHECK(get(andMasks({causal, window})).canonicalText() == parseMod("", "(q_idx >= kv_idx) & (q_idx - kv_idx < 3)").canonicalText());
  CHECK(get(notMask(causal)).canonicalText() == parseMod("", "q_idx < kv_idx").canonicalText());
  CHECK(get(andMasks({})).canonicalText() == Mod().canonicalText());
  CHECK(get(orMasks({})).canonicalText() == parseMod("", "False").canonicalText());
  CHECK(get(andMasks({causal, causal})).canonicalText() == causal.canonicalText());
  CHECK(!get(orMasks({causal, notMask(causal)->maskOnly(), Mod()})).hasMask());
}

TEST_CASE("captures of one name are one capture, the others line up") {
  std::vector<std::int32_t> doc = {0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2};
  const Mod document = parseMod("", "doc[q_idx] == doc[kv_idx]", {{"doc", DType::I32, 1}});
  const Mod near = parseMod("", "(q_idx - kv_idx < w) | (doc[kv_idx] == 0)", {{"w", DType::I64}, {"doc", DType::I32, 1}});
  const Mod both = get(andMasks({document, near}));
  REQUIRE(both.captures().size() == 2);
  CHECK(both.captures()[0].name == "doc");
  CHECK(both.captures()[1].name == "w");
  const TensorRef tensor = TensorRef::dense(doc.data(), DType::I32, {kN});
  const ScalarArg w{.i = 2};
  const std::vector<bool> visible = maskOf(both, {{&tensor, 1}, {&w, 1}});
  for (std::int64_t q = 0; q < kM; ++q)
    for (std::int64_t kv = 0; kv < kN; ++kv)
      CHECK(visible[q * kN + kv] == (doc[q] == doc[kv] && (q - kv < 2 || doc[kv] == 0)));
}

TEST_CASE("combined mods keep the tensors that their texts make, each its own") {
  const auto documents = [](const char *ids) { return parseMod("", std::string("torch.tensor(") + ids + ")[kv_idx % 4] == q_idx % 2"); };
  const Mod one = documents("[0, 1, 0, 1]"), two = documents("[0, 0, 1, 1]");
  CHECK(one.impl().textHash == two.impl().textHash);
  CHECK(one.impl().maskHash != two.impl().maskHash); // a block mask depends on the elements
  const Mod both = get(andMasks({one, two})), again = get(andMasks({two, one}));
  CHECK(both.captures().empty());
  CHECK(both.impl().formula.captures.size() == 2);
  CHECK(both.impl().textHash == again.impl().textHash);
  for (const Mod &mod : {both, both.maskOnly(), get(Mod::parseCanonical(both.canonicalText())), get(notMask(get(notMask(both))))}) {
    std::vector<TensorRef> tensors(mod.impl().formula.captures.size());
    expr::bindOwnTensors(mod.impl().formula, tensors);
    const std::vector<bool> visible = maskOf(mod, {tensors, {}});
    for (std::int64_t q = 0; q < kM; ++q)
      for (std::int64_t kv = 0; kv < kN; ++kv)
        CHECK(visible[q * kN + kv] == (kv % 2 == q % 2 && kv % 4 / 2 == q % 2));
  }
}

TEST_CASE("chained scores run in order, masks of a chain are anded") {
  const Mod twice = parseMod("score * 2", "q_idx >= kv_idx"), plus = parseMod("score + kv_idx", "kv_idx > 0");
  const Mod chain = get(chainMods({twice, plus}));
  CHECK(scoreOf(chain, 5, {0, 0, 1, 3}) == 5 * 2 + 3);
  CHECK(scoreOf(get(chainMods({plus, twice})), 5, {0, 0, 1, 3}) == (5 + 3) * 2);
  CHECK(maskOf(chain) == maskOf(get(andMasks({twice.maskOnly(), plus.maskOnly()}))));
  CHECK(get(chainMods({twice.scoreOnly(), twice.maskOnly()})).canonicalText() == twice.canonicalText());
  CHECK(get(chainMods({})).canonicalText() == Mod().canonicalText());
}

TEST_CASE("numbers of combined mods stay numbers, each with its own value; sizes follow their tensor") {
  const std::string module =
      "def window(w):\n  return lambda b, h, q, k: q - k < w\ndef from_end(b, h, q, k):\n  return k >= keep.shape[0] - 4\n";
  const auto mask = [&](std::string_view text, std::vector<CaptureInfo> captures = {}) {
    return get(Mod::parse({.maskMod = text, .module = module}, std::move(captures)));
  };
  const Mod both = get(xorMasks({mask("window(2)"), mask("window(5)")})), other = get(xorMasks({mask("window(3)"), mask("window(4)")}));
  CHECK(both.captures().empty());
  CHECK(both.impl().textHash == other.impl().textHash); // one kernel for both
  const auto bind = [](const Mod &mod, std::vector<TensorRef> captures) {
    std::vector<ScalarArg> scalars(mod.impl().formula.scalars.size());
    expr::bindOwnScalars(mod.impl().formula, captures, scalars);
    return scalars;
  };
  const std::vector<ScalarArg> numbers = bind(both, {});
  const std::vector<bool> visible = maskOf(both, {{}, numbers});
  for (std::int64_t q = 0; q < kM; ++q)
    for (std::int64_t kv = 0; kv < kN; ++kv)
      CHECK(visible[q * kN + kv] == ((q - kv < 2) != (q - kv < 5)));

  std::vector<float> data(kN);
  const std::vector<TensorRef> tensors = {TensorRef::dense(data.data(), DType::F32, {3}), TensorRef::dense(data.data(), DType::F32, {kN})};
  const Mod first = get(Mod::parse("", "bias[0] < kv_idx", {{"bias", DType::F32, 1}}));
  const Mod sized = get(andMasks({first, mask("from_end", {{"keep", DType::F32, 1}}), mask("window(4)")}));
  REQUIRE(sized.captures().size() == 2); // a tensor whose size alone is read is still given
  const std::vector<ScalarArg> sizes = bind(sized, tensors);
  const std::vector<bool> end = maskOf(sized, {tensors, sizes}),
                          alone = maskOf(sized.maskOnly(), {tensors, bind(sized.maskOnly(), tensors)});
  CHECK(end == alone);
  for (std::int64_t q = 0; q < kM; ++q)
    for (std::int64_t kv = 0; kv < kN; ++kv)
      CHECK(end[q * kN + kv] == (kv > 0 && kv >= kN - 4 && q - kv < 4));
}

TEST_CASE("captures of one name that are two things get other names before they are joined") {
  const Mod tensor = parseMod("", "t[q_idx] > 0 and kv_idx < t.size(0)", {{"t", DType::F32, 1}}),
            number = parseMod("", "q_idx < t", {{"t", DType::I64}});
  CHECK(!andMasks({tensor, number}));
  const Mod renamed = get(number.withCaptureNames({"limit"}));
  CHECK(renamed.captures()[0].name == "limit");
  const Mod both = get(andMasks({tensor, renamed}));
  CHECK(both.captures().size() == 2);
  const Mod limited = parseMod("", "q_idx < limit", {{"limit", DType::I64}});
  CHECK(both.canonicalText() == get(andMasks({tensor, limited})).canonicalText());

  const Mod sized = get(tensor.withCaptureNames({"documents"}));
  CHECK(contains(sized.canonicalText(), "documents.size(0)"));
  CHECK(get(sized.withCaptureNames({"t"})).canonicalText() == tensor.canonicalText());
  CHECK(contains(number.withCaptureNames({"a", "b"}).error().message, "2 names for 1 captures"));
  CHECK(contains(number.withCaptureNames({""}).error().message, "it needs a name"));
  CHECK(contains(both.withCaptureNames({"x", "x"}).error().message, "has the same name"));
}

TEST_CASE("what cannot be combined is an error with the cure") {
  const Mod biased = parseMod("score + 1", "q_idx >= kv_idx");
  CHECK(contains(andMasks({Mod(), biased}).error().message, "andMasks: mod 1 has a score_mod as well"));
  CHECK(contains(notMask(biased).error().message, "maskOnly()"));
  CHECK(notMask(biased.maskOnly()));
  const Mod one = parseMod("", "t[q_idx] > 0", {{"t", DType::F32, 1}}), other = parseMod("", "q_idx < t", {{"t", DType::I64}});
  const Result<Mod> clash = orMasks({one, other});
  REQUIRE(!clash);
  CHECK(clash.error().code == ErrorCode::InvalidArgument);
  CHECK_MESSAGE(contains(clash.error().message, "capture 't' is a tensor of f32 of rank 1 in one formula and a number (int) in another"),
                clash.error().message);
}
