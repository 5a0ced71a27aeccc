// Formulas as PyTorch users write them: modules, factories, statements, views. Each is held against the same thing written out plainly: the
// two must mean the same at every position, or even print the same canonical text.
#include "RandomProgram.h"
#include "SameMeaning.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

namespace {

constexpr std::string_view kMods = R"(
"""Masks of the tests."""
import math
from functools import partial
from torch.nn.attention.flex_attention import and_masks, or_masks
from typing import Callable, Optional

WIDTH: int = 3
HALF = WIDTH / 2
NAMES = ("a", "b")
q = torch.randn(3, 4)      # cannot be made here; nobody asks for it
print("loaded", NAMES)

if __name__ == "__main__":
    main()

def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx

@torch.compile
def sliding_window(window: int, *, inclusive: bool = True) -> Callable:
    """Pairs at most `window` apart."""
    assert window >= 0, f"window {window:d} is negative"

    def mod(b, h, q_idx, kv_idx):
        near = q_idx - kv_idx <= window if inclusive else q_idx - kv_idx < window
        return causal(b, h, q_idx, kv_idx) & near

    mod.__name__ = f"sliding_window_{window}"
    return mod

def prefix(length):
    return lambda b, h, q, kv: kv < length

def shifted(mod, offset=0):
    return lambda b, h, q_idx, kv_idx: mod(b, h, q_idx + offset, kv_idx)

def relative(b, h, q_idx, kv_idx, *, offset):
    return q_idx - kv_idx > offset

def power_of_two(n):
    return 1 if n == 0 else 2 * power_of_two(n - 1)

class Unused:
    def method(self):
        return 3

def alibi(slopes, heads: Optional[int] = None):
    def score_mod(score, b, h, q_idx, kv_idx):
        if heads is not None and heads > 0:
            return score + slopes[h] * (kv_idx - q_idx) / heads
        return score + slopes[h] * (kv_idx - q_idx)
    return score_mod
)";

} // namespace

TEST_CASE("a module: factories, closures, partial, combinators") {
  checkMask("causal", "q_idx >= kv_idx", kMods);
  checkMask("sliding_window(2)", "(q_idx >= kv_idx) & (q_idx - kv_idx <= 2)", kMods);
  checkMask("sliding_window(window=WIDTH, inclusive=False)", "(q_idx >= kv_idx) & (q_idx - kv_idx < 3)", kMods);
  checkMask("and_masks(causal, sliding_window(2))", "(q_idx >= kv_idx) & (q_idx - kv_idx <= 2)", kMods);
  checkMask("or_masks(sliding_window(1), prefix(2))", "(q_idx >= kv_idx) & (q_idx - kv_idx <= 1) | (kv_idx < 2)", kMods);
  checkMask("not_mask(causal)", "q_idx < kv_idx", kMods);
  checkMask("xor_masks(causal, prefix(3))", "(q_idx >= kv_idx) ^ (kv_idx < 3)", kMods);
  checkMask("or_masks(*[prefix(i) for i in range(3)])", "kv_idx < 2", kMods);
  checkMask("and_masks()", "True", kMods);
  checkMask("noop_mask", "True", kMods);
  checkMask("shifted(causal, offset=2)", "q_idx + 2 >= kv_idx", kMods);
  checkMask("shifted(causal)", "q_idx >= kv_idx", kMods);
  checkMask("functools.partial(relative, offset=1)", "q_idx - kv_idx > 1", kMods);
  checkMask("partial(shifted, offset=1)(causal)", "q_idx + 1 >= kv_idx", kMods);
  checkMask("lambda b, h, i, j: causal(b, h, i, j) and h < power_of_two(1)", "q_idx >= kv_idx and h < 2", kMods);
  checkMask("prefix(int(WIDTH * HALF) + len(NAMES))", "kv_idx < 6", kMods);
  checkMask("causal(b, h, q_idx + 1, kv_idx)", "q_idx + 1 >= kv_idx", kMods);
  checkMask("per_head(h)(b, h, q_idx, kv_idx)", "q_idx > h + 1",
            "def per_head(h):\n    return lambda b, head, q, kv: inner(h, q)\ndef inner(h, q):\n    return q > h + 1");
  checkMask("lambda b, h, q, k: q < round(window(5) / 2)", "q_idx < 2", "window = lambda n: n");
  checkMask("make(2.5)", "q_idx == 2", "def make(x):\n    return lambda b, h, q, k: q == [0, 1, 2, 3][round(x)] and flag[round(x) * 0]");
  checkMask("prefix(p)", "kv_idx < p", kMods);
  checkScore("alibi(slope)", "score + slope[h] * (kv_idx - q_idx)", kMods);
  checkScore("alibi(slope, 4)", "score + slope[h] * (kv_idx - q_idx) / 4", kMods);
  checkScore("alibi(slopes=slope, heads=2)", "score + slope[h] * (kv_idx - q_idx) / 2", kMods);
}

TEST_CASE("captured values are seen inside module functions; a capture gives what a module could not make") {
  const std::string_view module = R"(
doc = torch.tensor([0, 0, 1, 1])
def same_document(b, h, q_idx, kv_idx):
    return doc[b, q_idx] == doc[b, kv_idx] and q_idx - kv_idx < w
)";
  checkMask("same_document", "doc[b, q_idx] == doc[b, kv_idx] and q_idx - kv_idx < w", module);
}

TEST_CASE("statements: if, for, while, early return") {
  checkScore(R"(
def f(score, b, h, q_idx, kv_idx):
    if q_idx > kv_idx:
        return score
    elif q_idx == kv_idx:
        bias = 1
    else:
        bias = 2.5
        score = score * 2
    return score + bias
)",
             "score if q_idx > kv_idx else (score + 1 if q_idx == kv_idx else score * 2 + 2.5)");
  checkScore(R"(
def f(score, b, h, q_idx, kv_idx):
    total = 0
    for i in range(4):
        if i == 2:
            continue
        if i > w_limit():
            break
        total += slope[h] * i
    else:
        total += 100
    return score + total
def w_limit(): return 10
f2 = f
)",
             "score + (slope[h] * 0 + slope[h] * 1 + slope[h] * 3 + 100)");
  checkScore(R"(
def f(score, b, h, q_idx, kv_idx):
    n, total = 3, 0.0
    while n > 0:
        n -= 1
        if kv_idx == n:
            return score * n
        total += n
    return score + total
)",
             "score * 2 if kv_idx == 2 else score * 1 if kv_idx == 1 else score * 0 if kv_idx == 0 else score + 3.0");
  checkMask(R"(
def f(b, h, q_idx, kv_idx):
    if h == 0:
        if q_idx < kv_idx:
            return False
    else:
        if kv_idx < 2:
            return True
        q_idx = q_idx - 1
    x, y = q_idx, kv_idx
    x, y = y, x
    return y > x
)",
            "(q_idx > kv_idx) if h == 0 else (kv_idx < 2 or q_idx - 1 > kv_idx)");
  checkMask(R"(
def f(b, h, q_idx, kv_idx):
    seen = False
    for lo, hi in zip((0, 4), [2, 6]):
        seen |= (lo <= kv_idx) & (kv_idx < hi)
    for i, name in enumerate(["x", "y"]):
        if name == "y" and i == 1:
            seen = seen | (kv_idx == 8)
    return seen
)",
            "kv_idx < 2 or 4 <= kv_idx < 6 or kv_idx == 8");
  checkMask(R"(
def f(b, h, q_idx, kv_idx):
    def parts(x, size=2):
        return x // size, x % size
    a, b2 = parts(q_idx)
    c, d = parts(kv_idx)
    assert a >= 0
    pass
    return (a == c) | (b2 == d)
)",
            "(q_idx // 2 == kv_idx // 2) | (q_idx % 2 == kv_idx % 2)");
}

TEST_CASE("a run-time if joins numbers of both branches, tuples element by element, and leaves the rest alone") {
  checkScore(R"(
def f(score, b, h, q_idx, kv_idx):
    pair = (score, 0)
    kept = slope
    if q_idx > 2:
        pair = (score * 2, 1)
        other = 3
    else:
        other = q_idx
    return pair[0] + pair[1] + kept[h] + other
)",
             "(score * 2 + 1 if q_idx > 2 else score) + slope[h] + (3 if q_idx > 2 else q_idx)");
}

TEST_CASE("Python's own values") {
  checkScore("score + sum([1, 2, 3]) + max((4, 5)) + min(6, 7) + len('abc') + abs(-2)", "score + 6 + 5 + 6 + 3 + 2");
  checkScore("score + (True + True) + (7 // 2) + (-7 // 2) + (-7 % 3) + 2 ** -1 + round(2.5) + int(3.9)",
             "score + 2 + 3 - 4 + 2 + 0.5 + 2 + 3");
  checkScore("score + [1, 2, 3][-1] + (1, 2, 3)[1:][0] + [i * i for i in range(5) if i % 2][1]", "score + 3 + 2 + 9");
  checkScore("score if None is None and not [] and 'a' in 'abc' and 2 in (1, 2) else 0.0", "score");
  checkScore("score + (1 if h in (0, 2) else 0) + (h not in [1]) * 2", "score + (1 if h == 0 or h == 2 else 0) + (h != 1) * 2");
  checkScore("score + functools.reduce(lambda x, y: x * y, [2, 3, 4])", "score + 24");
  checkScore("score + sum(q_idx > i for i in range(3))", "score + ((q_idx > 0).int() + (q_idx > 1).int() + (q_idx > 2).int())");
  checkMask("any([q_idx == i for i in range(2)]) or all([q_idx > 3, kv_idx > 3])",
            "q_idx == 0 or q_idx == 1 or (q_idx > 3 and kv_idx > 3)");
  checkMask("f'{3 + 4}-{2.5:.2f}-{True}-{None!r}{{}}' == '7-2.50-True-None{}' and q_idx > 2", "q_idx > 2");
  checkScore("torch.finfo(score.dtype).min if q_idx > 2 else score.new_zeros(()) + score.new_full((), 3.0)",
             "-3.4028234663852886e38 if q_idx > 2 else 3.0");
  checkScore("score.to('cuda').to(score.device, torch.float32) + q_idx.type_as(score) + torch.full((), 2, dtype=torch.int64)",
             "score + q_idx + 2");
  checkScore("(lambda x, y=2, *rest: x + y + len(rest))(score, 3, 4, 5)", "score + 5");
}

TEST_CASE("functions added to the table") {
  checkScore("F.hardswish(score)", "score * torch.clamp(score + 3, 0, 6) / 6");
  checkScore("F.threshold(score, 0.5, 7)", "7.0 if score <= 0.5 else score");
  checkScore("F.softshrink(score, 0.25)", "score - 0.25 if score > 0.25 else score + 0.25 if score < -0.25 else score * 0");
  checkScore("F.hardshrink(score)", "0.0 if -0.5 <= score and score <= 0.5 else score");
  checkScore("F.celu(score, 2)", "score if 0 < score else torch.expm1(score / 2) * 2");
  checkScore("F.prelu(score, 0.25)", "score if 0 < score else score * 0.25");
  checkScore("torch.copysign(score, q_idx - kv_idx)", "-abs(score) if q_idx < kv_idx else abs(score)");
  checkScore("torch.heaviside(q_idx - kv_idx, 5) + score", "(5 if q_idx == kv_idx else (q_idx > kv_idx).int()) + score");
  checkScore("torch.logit(torch.sigmoid(score))", "torch.log(torch.sigmoid(score) / (1 - torch.sigmoid(score)))");
  checkScore("torch.xlogy(q_idx, 2) + torch.special.entr(2.0)", "(0.0 if q_idx.float() == 0 else q_idx * math.log(2)) - 2 * math.log(2)");
  checkScore("torch.addcmul(score, q_idx, kv_idx, value=2)", "score + q_idx * kv_idx * 2");
  checkMask("torch.signbit(q_idx - kv_idx)", "q_idx < kv_idx");
}

TEST_CASE("views of captured tensors read the element that PyTorch would") {
  const char *const kSame[][2] = {
      {"bias.T[kv_idx, h]", "bias[h, kv_idx]"},
      {"bias.mT[kv_idx][h]", "bias[h, kv_idx]"},
      {"bias.transpose(0, 1)[kv_idx, h]", "bias[h, kv_idx]"},
      {"torch.transpose(bias, -1, -2)[kv_idx, h]", "bias[h, kv_idx]"},
      {"bias.permute(1, 0)[kv_idx, h]", "bias[h, kv_idx]"},
      {"bias[:, kv_idx][h]", "bias[h, kv_idx]"},
      {"bias[..., kv_idx][h]", "bias[h, kv_idx]"},
      {"bias[h, ...][kv_idx]", "bias[h, kv_idx]"},
      {"bias[h][kv_idx]", "bias[h, kv_idx]"},
      {"bias[h, None, kv_idx][0]", "bias[h, kv_idx]"},
      {"bias.unsqueeze(0)[0, h, kv_idx]", "bias[h, kv_idx]"},
      {"bias.unsqueeze(0).squeeze(0)[h, kv_idx]", "bias[h, kv_idx]"},
      {"bias.flatten()[h * 9 + kv_idx]", "bias[h, kv_idx]"},
      {"bias.view(-1)[h * 9 + kv_idx]", "bias[h, kv_idx]"},
      {"bias.reshape(3, 3, 3)[h, kv_idx // 3, kv_idx % 3]", "bias[h, kv_idx]"},
      {"bias.reshape(9, -1)[kv_idx, h]", "bias[(kv_idx * 3 + h) // 9, (kv_idx * 3 + h) % 9]"},
      {"bias[h, 2:][kv_idx - 2 if kv_idx > 2 else 0]", "bias[h, kv_idx if kv_idx > 2 else 2]"},
      {"bias[h, :4][kv_idx % 4]", "bias[h, kv_idx % 4]"},
      {"bias[h, ::2][kv_idx // 2]", "bias[h, kv_idx // 2 * 2]"},
      {"bias[h, 1::3][kv_idx // 3]", "bias[h, 1 + kv_idx // 3 * 3]"},
      {"bias[h, -3:][kv_idx % 3]", "bias[h, 6 + kv_idx % 3]"},
      {"bias[h, -3:][-1 - kv_idx % 3]", "bias[h, 8 - kv_idx % 3]"},
      {"bias[h, :-2][-1]", "bias[h, 6]"},
      {"bias[h, w:p + 2][-1]", "bias[h, 5]"},
      {"bias.narrow(1, 2, 3)[h, kv_idx % 3]", "bias[h, 2 + kv_idx % 3]"},
      {"bias.select(1, kv_idx)[h]", "bias[h, kv_idx]"},
      {"bias[0:2].T[kv_idx, h % 2]", "bias[h % 2, kv_idx]"},
      {"bias[-1, -1]", "bias[2, 8]"},
      {"doc.float()[b, kv_idx] / 2", "doc[b, kv_idx] / 2"},
      {"doc.to(torch.float32).T[kv_idx][b] / 2", "doc[b, kv_idx] / 2"},
      {"flag.long()[kv_idx] + 1", "flag[kv_idx].int() + 1"},
      {"bias.contiguous().detach().cuda()[h, kv_idx]", "bias[h, kv_idx]"},
      {"score * bias.ndim + bias.dim()", "score * 2 + 2"},
      {"score + bias.shape[0] * 100 + bias.size(1) + len(doc) + bias.numel() + doc.size()[1]", "score + 300 + 9 + 2 + 27 + 9"},
      {"score + bias[h, 2:].shape[0] + bias.T.shape[0] + bias.flatten().shape[0]", "score + 7 + 9 + 27"},
      {"bias[h, bias.shape[1] - 1 - kv_idx]", "bias[h, 8 - kv_idx]"},
      {"bias[(h, kv_idx)]", "bias[h, kv_idx]"},
  };
  for (const auto &[text, plain] : kSame)
    checkScore(text, plain);
  checkScore("row_sum(bias[h], kv_idx)", "bias[h, kv_idx] + bias[h, 0]", "def row_sum(row, i):\n    return row[i] + row[0]");
}

TEST_CASE("an index outside a view is reported, never another element read (A10)") {
  const auto reported = [](std::string_view text, const std::function<bool(std::int64_t h, std::int64_t kv)> &expected) {
    const Formula formula = parse({text, ""});
    bool right = true;
    walk(formula, formula.score,
         [&](auto, std::int64_t h, auto, std::int64_t kv, const Outcome &outcome) { right &= outcome.outOfRange == expected(h, kv); });
    CHECK_MESSAGE(right, std::string(text), "\n", print(formula));
  };
  reported("bias[h, :4][kv_idx]", [](auto, auto kv) { return kv >= 4; });
  reported("bias[h, 2:6][kv_idx]", [](auto, auto kv) { return kv >= 4; });
  reported("bias[h, 2:6][kv_idx - 6]", [](auto, auto kv) { return kv - 6 < -4; });
  reported("bias[h, ::2][kv_idx]", [](auto, auto kv) { return kv >= 5; });
  reported("bias[0:2].T[kv_idx, h]", [](auto h, auto) { return h >= 2; });
  reported("bias[h, 1:][1:][kv_idx]", [](auto, auto kv) { return kv >= 7; });
  reported("bias.flatten()[kv_idx * 4]", [](auto, auto kv) { return kv * 4 >= 27; });
  reported("bias.view(3, 3, 3)[h, kv_idx, 0]", [](auto, auto kv) { return kv >= 3; });
  reported("bias.view(9, 3)[kv_idx, h + 1]", [](auto h, auto) { return h + 1 >= 3; });
  reported("bias.view(5, 5)[0, 0]", [](auto, auto) { return true; }); // 25 elements are not 27
  reported("bias.view(2, -1)[0, 0]", [](auto, auto) { return true; });
  reported("bias.squeeze(0)[0]", [](auto, auto) { return true; });
  reported("bias[h, None, kv_idx][kv_idx]", [](auto, auto kv) { return kv > 0; });
  reported("bias[h, p:w][0]", [](auto, auto) { return true; }); // empty
  reported("bias.T[h, kv_idx]", [](auto, auto kv) { return kv >= 3; });
}

TEST_CASE("numbers of a mod-naming expression are arguments of the kernel") {
  const Formula narrow = parse({"", "sliding_window(2)", kMods}), wide = parse({"", "sliding_window(5)", kMods});
  CHECK(print(narrow) != print(wide));
  CHECK(withoutLiteralValues(print(narrow)) == withoutLiteralValues(print(wide)));
  CHECK(hash(narrow) == hash(wide));
  REQUIRE(narrow.scalars.size() == 5);
  CHECK(narrow.scalars[4].name == "#0");
  CHECK(narrow.scalars[4].value.i == 2);
  CHECK(wide.scalars[4].value.i == 5);
  const Result<Formula> again = parseCanonical(print(wide));
  REQUIRE(again);
  CHECK(print(*again) == print(wide));
  CHECK(again->scalars[4].source == ScalarDecl::Source::Literal);
  CHECK(again->scalars[4].value.i == 5);

  const auto same = [](std::string_view a, std::string_view b, bool asScore = false) {
    const auto text = [&](std::string_view mod) {
      return withoutLiteralValues(print(parse(asScore ? SourceTexts{mod, "", kMods} : SourceTexts{"", mod, kMods})));
    };
    return text(a) == text(b);
  };
  CHECK(same("or_masks(sliding_window(1), prefix(2))", "or_masks(sliding_window(7), prefix(9))"));
  CHECK(same("prefix(1 + 2)", "prefix(3 + 4)"));
  CHECK(same("prefix(-1)", "prefix(-2)"));
  CHECK(same("alibi(slope, 4)", "alibi(slope, 8)", true));
  CHECK(!same("prefix(2)", "prefix(2.0)"));                           // another kind
  CHECK(!same("prefix(2)", "prefix(WIDTH)"));                         // a constant of the module is compiled in
  CHECK(!same("alibi(slope, 4)", "alibi(slope, 0)", true));           // the number decides an if
  CHECK(!same("prefix(power_of_two(2))", "prefix(power_of_two(3))")); // it decides how often the function calls itself
  CHECK(print(parse({"", "q_idx - kv_idx < 4"})).find('#') == std::string::npos);
  CHECK(print(parse({"", "lambda b, h, q, k: q - k < 4"})).find('#') == std::string::npos);
}

TEST_CASE("a number that decides structure is compiled in, its other uses are not") {
  const std::string_view module = R"(
def powers(n, factor):
    def mod(score, b, h, q_idx, kv_idx):
        for i in range(n):
            score = score * factor
        return score ** n
    return mod
)";
  checkScore("powers(2, 3)", "(score * 3 * 3) ** 2", module);
  const auto text = [&](std::string_view mod) { return withoutLiteralValues(print(parse({mod, "", module}))); };
  CHECK(text("powers(2, 3)") == text("powers(2, 5)"));
  CHECK(text("powers(2, 3)") != text("powers(3, 3)"));
}

TEST_CASE("sizes of captured tensors are arguments of the kernel") {
  const Formula formula = parse({"", "kv_idx < doc.shape[1] - 2 and q_idx < len(bias)"});
  CHECK(print(formula).find("scalar doc.size(1) : int\nscalar bias.size(0) : int\n") != std::string::npos);
  const Result<Formula> again = parseCanonical(print(formula));
  REQUIRE(again);
  CHECK(print(*again) == print(formula));
  CHECK(again->scalars[4].source == ScalarDecl::Source::Size);
  CHECK(again->scalars[4].capture == formula.scalars[4].capture);
  CHECK(again->scalars[4].dim == 1);
  checkMask("kv_idx < doc.shape[1] - 2 and q_idx < len(bias)", "kv_idx < 7 and q_idx < 3");
}

TEST_CASE("the last statement of a text with a def is the mod") {
  checkMask("def make(n):\n    return lambda b, h, q, k: q - k > n\nmod = make(2)", "q_idx - kv_idx > 2");
  checkMask("def make(n):\n    return lambda b, h, q, k: q - k > n\nmake(2)", "q_idx - kv_idx > 2");
  checkMask("offset = 2\ndef mod(b, h, q, k):\n    return q - k > offset", "q_idx - kv_idx > 2");
  checkMask("import torch as t\nfrom torch import maximum as mx\ndef mod(b, h, q, k):\n    return mx(q, k) > t.abs(q - 5)",
            "max(q_idx, kv_idx) > abs(q_idx - 5)");
}

TEST_CASE("random functions mean what Python's statements mean") {
  Random random(17);
  int accepted = 0;
  for (int round = 0; round < 1500; ++round) {
    const RandomProgram program(random);
    const std::string text = program.text();
    const Result<Formula> formula = parseFormula({text, ""}, Captures::infos());
    if (!formula) { // the only thing that may be wrong with it: a condition, a loop and a number of operations that grow together
      CHECK_MESSAGE(formula.error().message.find("operations") != std::string::npos, text, formula.error().message);
      continue;
    }
    ++accepted;
    bool same = true;
    std::string first;
    walk(*formula, formula->score, [&](auto, std::int64_t h, std::int64_t q, std::int64_t kv, const Outcome &outcome) {
      const auto expected = static_cast<double>(program.run(h, q, kv));
      if (same && outcome.value.f != expected)
        first = " at h " + std::to_string(h) + " q " + std::to_string(q) + " k " + std::to_string(kv) + ": " +
                std::to_string(outcome.value.f) + ", Python says " + std::to_string(expected);
      same &= outcome.value.f == expected;
    });
    CHECK_MESSAGE(same, text, first);
  }
  CHECK(accepted > 1400);
}

TEST_CASE("damaged modules end in a formula or an error, whatever was cut or put in") {
  static constexpr std::string_view kPieces[] = {
      "(",    ")",      "[",  "]",    ":",  ",",  "\n",  "    ",     "return ", "if ",  "else:", "for ", " in ", "def ", "lambda x: ",
      "*",    "=",      "==", "None", "0",  "-1", "1e9", "range(9)", "q_idx",   "self", "\"",    "{",    "}",    "f'{",  "while True:\n  ",
      "not ", ".view(", ".T", "@",    "..."};
  Random random(5);
  int parsed = 0, refused = 0;
  std::vector<std::filesystem::path> paths; // in an order of their own, so that every machine makes the same edits
  for (const auto &entry : std::filesystem::directory_iterator(ATTNJIT_CORPUS_DIR))
    paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  for (const std::filesystem::path &path : paths) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    const std::string whole = text.str();
    const std::size_t naming = whole.find("-mod '") + 6;
    std::string mod = whole.substr(naming, whole.find('\'', naming) - naming);
    if (const std::size_t open = mod.find('{'); open != std::string::npos) { // the first of several alternatives
      const std::size_t bar = mod.find('|', open);
      mod = mod.substr(0, open) + mod.substr(open + 1, bar - open - 1) + mod.substr(mod.find('}', open) + 1);
    }
    for (int round = 0; round < 60; ++round) {
      std::string module = whole;
      for (std::int64_t edit = random.between(0, 3); edit >= 0; --edit) {
        const auto at = static_cast<std::size_t>(random.between(0, static_cast<std::int64_t>(module.size())));
        if (random.oneIn(2))
          module.insert(at, random.pick(kPieces));
        else
          module.erase(at, static_cast<std::size_t>(random.between(1, 20)));
      }
      const bool isMask = random.oneIn(2);
      const Result<Formula> formula = parseFormula({isMask ? "" : mod, isMask ? mod : "", module}, Captures::infos());
      formula ? ++parsed : ++refused;
      if (formula)
        CHECK(verify(*formula));
      else
        CHECK(!formula.error().message.empty());
    }
  }
  CHECK(parsed > 50);
  CHECK(refused > 1000);
}

TEST_CASE("counting with known numbers, as Python's math does") {
  for (const char *text :
       {"math.comb(5, 2) == 10 and math.comb(62, 31) == 465428353255261088 and math.comb(2, 3) == 0",
        "math.perm(5, 2) == 20 and math.perm(4) == 24", "math.factorial(0) == 1 and math.factorial(20) == 2432902008176640000",
        "math.gcd(12, 18) == 6 and math.lcm(4, 6) == 12 and math.isqrt(99) == 9"})
    CHECK_MESSAGE(mask(text).maskIsTrue(), text);
}

TEST_CASE("erfinv at its ends and where erf is nearly 1") {
  for (const char *text : {"torch.erfinv(torch.tensor(1.0)) == math.inf and torch.erfinv(torch.tensor(-1.0)) == -math.inf",
                           "torch.isnan(torch.erfinv(torch.tensor(1.5)))", "torch.signbit(torch.erfinv(torch.tensor(-0.0)))",
                           "abs(torch.erfinv(torch.tensor(0.5)) / 0.47693627620446987 - 1) < 1e-15",
                           "abs(torch.erfinv(torch.tensor(1 - 2.0 ** -53)) / 5.863584748755167 - 1) < 1e-15",
                           "abs(torch.erfinv(torch.tensor(1e-300)) / 8.86226925452758e-301 - 1) < 1e-15"})
    CHECK_MESSAGE(mask(text).maskIsTrue(), text);
}
