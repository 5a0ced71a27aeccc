// Lists, dictionaries, texts and the functions about them: everything is known while a formula is read.
#include "SameMeaning.h"

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

namespace {

/// The Python expression holds; it is all of a mask.
void holds(std::string_view expression, std::string_view module = {}) {
  checkMask(std::string(expression) + " and q_idx >= kv_idx", "q_idx >= kv_idx", module);
}

std::string refusal(std::string_view mod, std::string_view module = {}) {
  const Result<Formula> formula = parseFormula({"", mod, module}, Captures::infos());
  REQUIRE_MESSAGE(!formula, std::string(mod));
  return formula.error().message;
}

} // namespace

TEST_CASE("dictionaries") {
  const std::string_view module = R"(
CFG = {"window": 3, "sinks": 1, **{"name": "x"}}
CFG["window"] = 4
CFG["sinks"] += 1
KEYS = {k: v * 2 for k, v in zip("ab", range(2))}
def make(**options):
    options.setdefault("window", 5)
    merged = {**CFG, **options}
    del merged["name"]
    return merged
def forward(mod, **kw):
    return lambda b, h, q, k: mod(b, h, q, k, **kw)
def near(b, h, q, k, *, window, sinks=0):
    return (q - k <= window) | (k < sinks)
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}
)";
  holds("CFG['window'] == 4 and CFG['sinks'] == 2 and len(CFG) == 3", module);
  holds("CFG.get('missing') is None and CFG.get('missing', 7) == 7 and 'window' in CFG and 'missing' not in CFG", module);
  holds("list(CFG) == ['window', 'sinks', 'name'] and list(CFG.keys()) == list(CFG)", module);
  holds("sum(v for k, v in KEYS.items()) == 2 and list(KEYS.values()) == [0, 2]", module);
  holds("make() == make() or make(window=1)['window'] == 1 and make()['window'] == 5 and len(make(a=1)) == 3", module);
  holds("dict(a=1, **{'b': 2})['b'] == 2 and dict([('x', 1)])['x'] == 1 and ({'a': 1} | {'a': 2})['a'] == 2", module);
  holds("{1: 'one', 1.0: 'same', (2, 3): 'pair'}[True] == 'same' and {(2, 3): 4}[2, 3] == 4", module);
  holds("len({1, 2, 2, 1.0}) == 2 and 2 in {1, 2} and len(set([3, 3])) == 1 and len({i % 2 for i in range(5)}) == 2", module);
  checkMask("forward(near, window=2, sinks=1)", "(q_idx - kv_idx <= 2) | (kv_idx < 1)", module);
  checkScore("lambda s, b, h, q, k: ACTIVATIONS['tanh'](s)", "torch.tanh(score)", module);
  CHECK(refusal("q_idx < CFG['windwo']", module) == "mask_mod:1:13: the dictionary has no key 'windwo'\n    q_idx < CFG['windwo']\n"
                                                    "                ^~~~~~~~\n  its keys are 'window', 'sinks', 'name'");
}

TEST_CASE("lists change, and whoever shares them sees it") {
  const std::string_view module = R"(
SEGMENTS = []
for i in range(3):
    SEGMENTS.append((3 * i, 3 * i + 3))
SEGMENTS.extend([(9, 12)])
ALIAS = SEGMENTS
ALIAS += [(12, 15)]
def make():
    steps = []
    for i in range(3):
        steps.append(lambda x: x + i)
    return steps
def changed():
    items = [3, 1, 2]
    items.sort(reverse=True)
    items.insert(0, 9)
    last = items.pop()
    items.remove(3)
    items[0] = 7
    del items[1]
    copy = items.copy()
    copy.clear()
    return items + [last] + list(reversed([4, 5])) + copy
)";
  holds("len(SEGMENTS) == 5 and SEGMENTS is ALIAS and SEGMENTS[-1] == (12, 15)", module);
  holds("make()[0](1) == 3", module); // closures see the last i
  holds("changed() == [7, 1, 5, 4] and [1, 2, 1].count(1) == 2 and [1, 2].index(2) == 1", module);
  holds("sorted([3, 1, 2]) == [1, 2, 3] and sorted('cab', reverse=True) == ['c', 'b', 'a'] and sorted([(2, 'a'), (1, 'b')])[0][1] == 'b'");
  holds("sorted(['xx', 'y'], key=lambda s: len(s)) == ['y', 'xx'] and [*range(2), *(5,)] == [0, 1, 5]");
  holds("[(i, j) for i in range(2) for j in range(i)] == [(1, 0)] and (1, *[2, 3]) == (1, 2, 3)");
  checkMask("def f(b, h, q, k):\n    first, *rest, last = 1, 2, 3, 4\n    return len(rest) + rest[1] == 5 and q >= k + last - 4 * first",
            "q_idx >= kv_idx");
  checkMask("def f(b, h, q, k):\n    if (n := q - k) > 2:\n        return n < 5\n    x = [y := 3, y + 1]\n    return n + x[1] > y",
            "q_idx - kv_idx < 5 if q_idx - kv_idx > 2 else q_idx - kv_idx + 4 > 3");
}

TEST_CASE("nothing outside changes below a run-time condition") {
  const auto message = [](std::string_view body) {
    return refusal("def f(b, h, q, k):\n    t = [0]\n    d = {}\n" + std::string(body) + "    return q >= k");
  };
  for (const std::string_view body :
       {"    if q > k:\n        t.append(1)\n", "    if q > k:\n        pass\n    else:\n        t[0] = 1\n",
        "    if q > k:\n        d['x'] = 1\n", "    if q > k:\n        del t[0]\n", "    x = 1 if q > k else t.pop()\n",
        "    x = q > k and t.append(1) is None\n", "    if q > k:\n        return k > 2\n    t.append(1)\n",
        "    if q > k:\n        t += [1]\n", "    def g():\n        nonlocal t\n        t = [1]\n    if q > k:\n        g()\n",
        "    x = (y := 1) if q > k else 2\n"})
    CHECK_MESSAGE(message(body).find("condition that is known only at run time") != std::string::npos, std::string(body));
  checkMask("def f(b, h, q, k):\n    if q > k:\n        t = []\n        t.append(q)\n        n = t[0]\n    else:\n        n = k\n    "
            "return n > 2",
            "(q_idx if q_idx > kv_idx else kv_idx) > 2");
}

TEST_CASE("global and nonlocal") {
  const std::string_view module = R"(
N = 0
def bump(by=1):
    global N
    N += by
bump()
bump(by=2)
def counter():
    count = 0
    def next():
        nonlocal count
        count += 1
        return count
    next()
    next()
    return lambda b, h, q, k: q - k < count
)";
  holds("N == 3", module);
  checkMask("counter()", "q_idx - kv_idx < 2", module);
}

TEST_CASE("texts") {
  holds("'causal_64'.startswith('causal') and 'x'.endswith(('y', 'x')) and 'aBc'.upper() == 'ABC' and 'aBc'.lower() == 'abc'");
  holds("' x '.strip() == 'x' and 'a,b'.split(',') == ['a', 'b'] and ' a  b '.split() == ['a', 'b'] and 'aXa'.replace('X', '-') == 'a-a'");
  holds("'_'.join(['a', str(3)]) == 'a_3' and 'ab' * 2 == 'abab' and 'abc'[1:] == 'bc' and 'abc'.find('c') == 2 and 'aab'.count('a') == 2");
  holds("'x1'.isalnum() and '12'.isdigit() and not 'x'.isdigit() and 'ab'.capitalize() == 'Ab' and 'a b'.title() == 'A B'");
  holds("'{} of {n:03d} {0!r}'.format('x', n=7) == \"x of 007 'x'\" if False else '{} {n:03d}'.format('x', n=7) == 'x 007'");
  holds("'%d of %s, %5.2f|%-4d|%r%%' % (3, 'x', 2.5, 7, 'y') == \"3 of x,  2.50|7   |'y'%\" and 'n %d' % 3 == 'n 3'");
  holds("f'{3!r:>4}|{2.5:.2f}|{7:<3}|{7:^3}|{1234567:,}|{255:#x}|{0.5:.0%}|{True}|{\"ab\":>4}' == '   3|2.50|7  | 7 "
        "|1,234,567|0xff|50%|True|  ab'");
  holds("str(1e16) == '1e+16' and str(100000.0) == '100000.0' and str(0.0001) == '0.0001' and str(1e-5) == '1e-05' and str(2.0) == '2.0'");
  holds("str([1, 'a', (2,), {'k': None}]) == \"[1, 'a', (2,), {'k': None}]\" and str((1, 2.0)) == '(1, 2.0)' and repr('a') == \"'a'\"");
  holds("f'{w1=} {w1 + 1 = }' == 'w1=3 w1 + 1 = 4'", "w1 = 3\n");
}

TEST_CASE("what an object is") {
  const std::string_view module = R"(
import operator
from functools import reduce
from typing import Callable
def pair(x):
    return (x, x) if isinstance(x, (int, float)) else x
)";
  holds("pair(3) == (3, 3) and pair((1, 2)) == (1, 2) and isinstance(True, int) and not isinstance(1.0, int) and isinstance('x', str)",
        module);
  holds("isinstance([], list) and not isinstance([], tuple) and isinstance({}, dict) and isinstance(None, int | None) and isinstance(pair, "
        "Callable)",
        module);
  holds("isinstance(q_idx, torch.Tensor) and not isinstance(q_idx, int) and isinstance(slope, torch.Tensor) and isinstance(w, int)",
        module);
  holds(
      "getattr(torch, 'abs')(-3) == 3 and hasattr(torch, 'tanh') and not hasattr(torch, 'nonsense') and getattr(torch, 'nonsense', 4) == 4",
      module);
  holds("reduce(operator.add, (1, 2, 3)) == 6 and operator.floordiv(7, 2) == 3 and operator.not_(0) and operator.add([1], [2]) == [1, 2]",
        module);
  checkMask("reduce(operator.or_, [q_idx == i for i in range(2)]) & operator.invert(operator.lt(kv_idx, 1))",
            "((q_idx == 0) | (q_idx == 1)) & ~(kv_idx < 1)", module);
  holds("divmod(7, 2) == (3, 1) and math.gcd(12, 18) == 6 and math.lcm(4, 6) == 12 and math.isqrt(17) == 4 and (13).bit_length() == 4 and "
        "math.prod((2, 3)) == 6");
  holds("round(2.675, 2) == 2.67 and round(1.25, 1) == 1.2 and round(3.14159, 3) == 3.142");
  checkMask(
      "def f(b, h, q, k):\n    print('building', q)\n    with torch.no_grad():\n        x = q - k\n    y = x\n    del x\n    return y > 0",
      "q_idx > kv_idx");
}

TEST_CASE("dtypes keep their width") {
  holds("torch.iinfo(torch.int32).max == 2147483647 and torch.iinfo(torch.int8).min == -128 and torch.iinfo(torch.uint8).max == 255");
  holds("torch.iinfo(torch.int64).min == -2 ** 62 * 2 and torch.iinfo(doc.dtype).max == 2 ** 31 - 1 and torch.iinfo(off.dtype).bits == 64");
  holds("torch.finfo(torch.float16).max == 65504 and torch.finfo(torch.float16).eps == 2 ** -10 and torch.finfo(torch.float16).tiny == 2 "
        "** -14");
  holds("torch.finfo(torch.bfloat16).eps == 2 ** -7 and torch.finfo(torch.bfloat16).max == (2 - 2 ** -7) * 2.0 ** 127");
  holds("torch.finfo(torch.float64).eps == 2 ** -52 and torch.finfo(torch.float32).smallest_normal == 2.0 ** -126 and torch.finfo().bits "
        "== 32");
  holds("slope.dtype == torch.float32 and bias.dtype == torch.float64 and bias[h].T.dtype == torch.double and doc[b, 0].dtype == "
        "torch.int32");
  holds("flag.dtype == torch.bool and doc.float().dtype == torch.float32 and q_idx.dtype == torch.int64 and (slope * 2).dtype == "
        "torch.float32");
  checkScore("lambda s, b, h, q, k: s if s.dtype == torch.float32 else 0.0", "score");
  checkScore("score + (q_idx * 100 - 300).to(torch.int8) + (q_idx * 100).byte() + (kv_idx * 20000).short()",
             "score + ((q_idx * 100 - 300 + 128) % 256 - 128) + q_idx * 100 % 256 + ((kv_idx * 20000 + 32768) % 65536 - 32768)");
  checkScore("score + (doc * 100).to(torch.uint8)[b, kv_idx] + q_idx.new_full((), 300, dtype=torch.uint8)",
             "score + doc[b, kv_idx] * 100 % 256 + 44");
}

TEST_CASE("functions with their further arguments") {
  checkScore("torch.add(score, q_idx, alpha=2) + torch.sub(score, kv_idx, alpha=3)", "score + q_idx * 2 + (score - kv_idx * 3)");
  checkScore("torch.masked_fill(score, q_idx < kv_idx, -1.5)", "-1.5 if q_idx < kv_idx else score");
  checkScore("(score * 2).masked_fill_(q_idx < kv_idx, 0).clamp_(max=3) + torch.empty_like(score)",
             "torch.clamp(0.0 if q_idx < kv_idx else score * 2, max=3)");
  checkScore("(score / 3).round(decimals=2) + (score * 100).round(decimals=-2)",
             "torch.round(score / 3 * 100.0) / 100 + torch.round(score * 100 / 100.0) * 100");
  checkScore("torch.lerp(score, 2, 0.25) + torch.lerp(score, 2, 0.75)", "(score + 0.25 * (2 - score)) + (2 - (2 - score) * (1 - 0.75))");
  checkScore("torch.ldexp(score, q_idx)", "score * torch.exp2(q_idx)");
  checkScore("torch.heaviside(score * float('nan'), 0.5)", "0.0");
  checkScore("(score + float('inf')) // 3", "float('nan')");
  checkScore("score // float('inf')", "-1.0 if score < 0 else score * 0");
  checkScore("(score + float('inf')) // (q_idx * 0.0)", "score + float('inf')");
  checkMask("torch.isclose(score2, 1.0, rtol=0.5) if False else torch.isclose(q_idx * 1.0, kv_idx + 1e-9)", "q_idx == kv_idx");
  checkMask("torch.isclose(q_idx / kv_idx, q_idx / kv_idx, equal_nan=True)", "True");
  checkMask("torch.isclose(q_idx, kv_idx, rtol=0, atol=2)", "abs(q_idx - kv_idx) <= 2");
}
