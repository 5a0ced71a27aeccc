// Formulas held against the same thing written out plainly: the two must mean the same at every position.
#pragma once

#include "ExprTestUtil.h"

#include <algorithm>

namespace attnjit::expr::test {

/// Parses or fails the test with the message.
inline Formula parse(const SourceTexts &texts, std::span<const CaptureInfo> captures = Captures::infos()) {
  Result<Formula> formula = parseFormula(texts, captures);
  INFO(std::string(texts.module), "\n-> ", std::string(texts.scoreMod), std::string(texts.maskMod));
  REQUIRE_MESSAGE(formula, (formula ? "" : formula.error().message));
  REQUIRE(verify(*formula));
  return *formula;
}

struct Outcome {
  Value value;
  bool outOfRange = false;
};

/// Calls each(b, h, q, kv, outcome) for every position of the test's shape.
template <typename F> void walk(const Formula &formula, const Function &function, F each) {
  const Captures captures;
  std::vector<ScalarArg> scalars(formula.scalars.size());
  std::copy(captures.scalars.begin(), captures.scalars.end(), scalars.begin());
  std::vector<TensorRef> tensors = captures.tensors;
  tensors.resize(formula.captures.size());
  bindOwnTensors(formula, tensors);
  bindOwnScalars(formula, tensors, scalars);
  Interp interp(formula, function, {tensors, scalars});
  for (std::int64_t b = 0; b < kB; ++b)
    for (std::int64_t h = 0; h < kH; ++h)
      for (std::int64_t q = 0; q < kM; ++q)
        for (std::int64_t kv = 0; kv < kN; ++kv) {
          Outcome outcome;
          outcome.value = interp.evaluate(0.25 * double(q - kv) + double(h), {b, h, q, kv}, outcome.outOfRange);
          each(b, h, q, kv, outcome);
        }
}

inline void checkSame(const SourceTexts &texts, const SourceTexts &plain) {
  const Formula formula = parse(texts), expected = parse(plain);
  const bool isScore = !texts.scoreMod.empty();
  const Function &mine = isScore ? formula.score : formula.mask, &theirs = isScore ? expected.score : expected.mask;
  std::vector<Outcome> wanted;
  walk(expected, theirs, [&](auto, auto, auto, auto, const Outcome &outcome) { wanted.push_back(outcome); });
  std::size_t at = 0;
  bool same = true;
  walk(formula, mine, [&](auto, auto, auto, auto, const Outcome &outcome) {
    const Outcome &other = wanted[at++];
    same &= isScore ? sameBits(outcome.value.f, other.value.f) : outcome.value.i == other.value.i;
    same &= outcome.outOfRange == other.outOfRange;
  });
  CHECK_MESSAGE(same, std::string(texts.module), "\n-> ", std::string(isScore ? texts.scoreMod : texts.maskMod), "\n", print(formula));
}

/// `text` (a mask_mod, or with a module the expression that names one) means what `plain` means.
inline void checkMask(std::string_view text, std::string_view plain, std::string_view module = {}) {
  checkSame({"", text, module}, {"", plain});
}
inline void checkScore(std::string_view text, std::string_view plain, std::string_view module = {}) {
  checkSame({text, "", module}, {plain, ""});
}

} // namespace attnjit::expr::test
