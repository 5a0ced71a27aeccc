// The closed form decides what classify() decides, inside the kernel: sound always, exact for the common masks.
#include "RandomFormula.h"

#include <algorithm>

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

namespace {

struct Truth {
  bool sawTrue = false, sawFalse = false;
};

Truth truthOf(const Formula &formula, const Bindings &bindings, const Box &box) {
  Truth truth;
  Interp interp(formula, formula.mask, bindings);
  for (std::int64_t q = box.qLo; q <= box.qHi; ++q)
    for (std::int64_t kv = box.kvLo; kv <= box.kvHi; ++kv) {
      bool ignored = false;
      (interp.evaluate(0, {box.bLo, box.hLo, q, kv}, ignored).i ? truth.sawTrue : truth.sawFalse) = true;
    }
  return truth;
}

Box randomBox(Random &random, std::int64_t limit, std::int64_t extent) {
  Box box;
  box.bLo = box.bHi = random.between(0, kB - 1);
  box.hLo = box.hHi = random.between(0, kH - 1);
  box.qLo = random.between(0, limit);
  box.qHi = box.qLo + random.between(0, extent);
  box.kvLo = random.between(0, limit);
  box.kvHi = box.kvLo + random.between(0, extent);
  return box;
}

/// Structure that whoever compiles the form relies on.
void checkWellFormed(const ClosedForm &form) {
  REQUIRE(form.mayBeTrue < form.nodes.size());
  REQUIRE(form.mayBeFalse < form.nodes.size());
  for (std::size_t id = 0; id < form.nodes.size(); ++id) {
    const Node &node = form.nodes[id];
    CHECK(node.op != Op::Load);
    for (ValueId operand : node.operands)
      CHECK(operand < id);
    if (node.op == Op::Param)
      CHECK((node.imm.i >= 0 && node.imm.i <= static_cast<std::int64_t>(BoxParam::KvHi)));
  }
  CHECK(form.nodes[form.mayBeTrue].kind == Kind::Bool);
  CHECK(form.nodes[form.mayBeFalse].kind == Kind::Bool);
}

} // namespace

TEST_CASE("exact for causal, windows, prefixes, dilation and blocks") {
  Captures captures;
  const char *const kMasks[] = {"q_idx >= kv_idx",
                                "q_idx > kv_idx",
                                "q_idx + w >= kv_idx",
                                "q_idx >= kv_idx and q_idx - kv_idx <= w",
                                "0 <= q_idx - kv_idx < w + p",
                                "(q_idx - kv_idx).abs() <= w",
                                "kv_idx < p or q_idx >= kv_idx",
                                "torch.where(kv_idx < p, True, q_idx >= kv_idx)",
                                "(q_idx - kv_idx) % 3 == 0",
                                "(q_idx - kv_idx) % w == 1",
                                "q_idx // 4 == kv_idx // 4",
                                "q_idx // w >= kv_idx // w",
                                "(q_idx - kv_idx) / 2 <= 1.5",
                                "q_idx >= kv_idx if h == 1 else kv_idx < p",
                                "(q_idx - kv_idx).float() * cap <= 7.0",
                                "q_idx - kv_idx <= (w << 1)",
                                "q_idx - kv_idx <= max(w, p) - 1",
                                "on",
                                "True",
                                "False"};
  Random random(1);
  for (const char *text : kMasks) {
    const Formula formula = mask(text);
    const ClosedForm form = closedForm(formula);
    checkWellFormed(form);
    CHECK_MESSAGE(form.useful, text);
    CHECK_MESSAGE(form.exact, text);
    for (int i = 0; i < 500; ++i) {
      captures.scalars[0].i = random.between(1, 6);
      captures.scalars[1].i = random.between(0, 9);
      captures.scalars[2].f = 0.5 * double(random.between(1, 6));
      captures.scalars[3].i = random.between(0, 1);
      const Box box = randomBox(random, 20, random.oneIn(2) ? 3 : 12);
      const Truth truth = truthOf(formula, captures.bindings(), box);
      const BoxVerdict verdict = evaluate(form, box, captures.scalars);
      CHECK_MESSAGE(verdict.mayBeTrue == truth.sawTrue, text, " w ", captures.scalars[0].i, " q ", box.qLo, "..", box.qHi, " kv ", box.kvLo,
                    "..", box.kvHi);
      CHECK_MESSAGE(verdict.mayBeFalse == truth.sawFalse, text, " w ", captures.scalars[0].i, " q ", box.qLo, "..", box.qHi, " kv ",
                    box.kvLo, "..", box.kvHi);
    }
  }
}

TEST_CASE("sound for random masks") {
  const Captures captures;
  Random random(2);
  int useful = 0;
  for (int i = 0; i < 6000; ++i) {
    Formula formula = randomFormula(random, static_cast<int>(random.between(4, 24)));
    if (random.oneIn(2))
      simplify(formula);
    const ClosedForm form = closedForm(formula);
    checkWellFormed(form);
    useful += form.useful;
    for (int trial = 0; trial < 6; ++trial) {
      const Box box = randomBox(random, 6, 3);
      const Truth truth = truthOf(formula, captures.bindings(), box);
      const BoxVerdict verdict = evaluate(form, box, captures.scalars);
      CHECK_MESSAGE((verdict.mayBeTrue || !truth.sawTrue), print(formula));
      CHECK_MESSAGE((verdict.mayBeFalse || !truth.sawFalse), print(formula));
    }
  }
  CHECK(useful > 2000);
}

TEST_CASE("wild scalars make the form say maybe, never something false") {
  Captures captures;
  const std::int64_t kWild[] = {INT64_MAX, INT64_MIN, INT64_MAX - 3, -1, 0, std::int64_t{1} << 31, -(std::int64_t{1} << 62)};
  const double kWildFloats[] = {1e300, -1e300, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN(), 0.0,
                                -0.0,  1e-320};
  const char *const kMasks[] = {"kv_idx + w >= q_idx",       "q_idx * w >= kv_idx",          "q_idx // w == kv_idx // w",
                                "(q_idx - kv_idx) % w == p", "abs(q_idx - w) <= p",          "q_idx - kv_idx <= (w << p)",
                                "q_idx * cap <= kv_idx",     "(q_idx - kv_idx) / cap > 1.0", "not (q_idx * cap <= kv_idx * cap)",
                                "-w <= q_idx - kv_idx",      "(kv_idx + w) * p < q_idx"};
  Random random(4);
  for (const char *text : kMasks) {
    const Formula formula = mask(text);
    const ClosedForm form = closedForm(formula);
    for (int i = 0; i < 800; ++i) {
      captures.scalars[0].i = random.pick(kWild);
      captures.scalars[1].i = random.oneIn(2) ? random.pick(kWild) : 2;
      captures.scalars[2].f = random.pick(kWildFloats);
      const Box box = randomBox(random, 9, 4);
      const Truth truth = truthOf(formula, captures.bindings(), box);
      const BoxVerdict verdict = evaluate(form, box, captures.scalars);
      CHECK_MESSAGE((verdict.mayBeTrue || !truth.sawTrue), text, " w ", captures.scalars[0].i, " cap ", captures.scalars[2].f);
      CHECK_MESSAGE((verdict.mayBeFalse || !truth.sawFalse), text, " w ", captures.scalars[0].i, " cap ", captures.scalars[2].f);
    }
  }
}

TEST_CASE("captured tensors leave what positions decide") {
  const ClosedForm document = closedForm(mask("doc[b, q_idx] == doc[b, kv_idx]"));
  CHECK(!document.useful);
  CHECK(!document.exact);
  const ClosedForm causal = closedForm(mask("doc[b, q_idx] == doc[b, kv_idx] and q_idx >= kv_idx"));
  CHECK(causal.useful);
  CHECK(!causal.exact);
  CHECK(!evaluate(causal, {0, 0, 0, 0, 0, 3, 4, 7}, Captures().scalars).mayBeTrue);
  CHECK(evaluate(causal, {0, 0, 0, 0, 4, 7, 0, 3}, Captures().scalars).mayBeTrue);
  CHECK(evaluate(causal, {0, 0, 0, 0, 4, 7, 0, 3}, Captures().scalars).mayBeFalse);
}

TEST_CASE("the form of causal is two comparisons") { CHECK(closedForm(mask("q_idx >= kv_idx")).nodes.size() == 6); }
