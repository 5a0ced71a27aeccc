// Modules as people keep them: decorators, and statements that a formula cannot have but nobody asks for.
#include "SameMeaning.h"

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

TEST_CASE("a decorator of the module is applied, several from the bottom up") {
  const std::string_view module = R"(
import functools
import torch
from functools import lru_cache, wraps as keeps

def double(mod):
    @functools.wraps(mod)
    def wrapped(score, b, h, q_idx, kv_idx):
        return mod(score, b, h, q_idx, kv_idx) * 2
    return wrapped

def scaled(by):
    def decorate(mod):
        @keeps(mod)
        def wrapped(*args, **kw):
            return mod(*args, **kw) * by
        return wrapped
    return decorate

def shifted(mod):
    return lambda s, b, h, q, k: mod(s, b, h, q, k) + 1

@double
def twice(score, b, h, q_idx, kv_idx):
    return score + q_idx

@scaled(3)
def thrice(score, b, h, q_idx, kv_idx):
    return score + q_idx

@shifted
@scaled(by=3)
@double
def all_of_them(score, b, h, q_idx, kv_idx):
    return score + q_idx

@torch.compile(dynamic=False)
@torch.library.custom_op("mods::plain", mutates_args=())
@lru_cache
@functools.lru_cache(maxsize=None)
@staticmethod
@functools.partial(torch.compile, fullgraph=True)
def plain(score, b, h, q_idx, kv_idx) -> "torch.Tensor":
    return score + q_idx

@plain.register_fake
def _(score, b, h, q_idx, kv_idx):
    return score

def factory(by):
    @scaled(by)
    def mod(score, b, h, q_idx, kv_idx):
        return score + q_idx
    return mod

compiled = torch.compile(plain, dynamic=False)
cached = functools.lru_cache(maxsize=8)(factory)

@functools.partial(scaled(2))
def through_partial(score, b, h, q_idx, kv_idx):
    return score + q_idx
)";
  checkScore("twice", "(score + q_idx) * 2", module);
  checkScore("thrice", "(score + q_idx) * 3", module);
  checkScore("all_of_them", "(score + q_idx) * 2 * 3 + 1", module);
  checkScore("plain", "score + q_idx", module);
  checkScore("factory(4)", "(score + q_idx) * 4", module);
  checkScore("compiled", "score + q_idx", module);
  checkScore("cached(5)", "(score + q_idx) * 5", module);
  checkScore("through_partial", "(score + q_idx) * 2", module);
  checkScore("@double\ndef f(s, b, h, q, k):\n    return s", "score * 2", module);
  checkMask("keeps_causal", "q_idx < kv_idx", "@not_mask\ndef keeps_causal(b, h, q_idx, kv_idx):\n    return q_idx >= kv_idx\n");
}

TEST_CASE("what nobody uses may be anything") {
  for (const std::string_view unused : {
           "def g(): pass\n",
           "def g(x):\n    print(x)\n",
           "def g(x):\n    with open(x) as f:\n        return f.read()\n",
           "def main():\n    import argparse\n    p = argparse.ArgumentParser()\n    p.add_argument('--x', type=int, default=3)\n"
           "    d = {'a': 1, **vars(p.parse_args())}\n    for i in range(3):\n        try:\n            d['a'] += 1\n"
           "        except KeyError as e:\n            raise\n        finally:\n            pass\n    print(f'{d=} {i:>10,}')\nmain()\n",
           "class A(nn.Module):\n    x: int = 3\n    def __init__(self, *a, **k):\n        super().__init__(*a, **k)\n        self.w = {1: "
           "2}\n",
           "def g(**kw): return kw\n",
           "async def g(): await x()\n",
           "x = {1, 2}\ny = {k: v for k, v in z.items()}\n",
           "def g[T: int](x: T) -> T: return x\n",
           "with torch.device('cuda'):\n    x = torch.randn(3)\n",
           "try:\n    import x\nexcept ImportError as e:\n    print(e)\nelse:\n    y = 1\n",
           "def g(x):\n    yield x\n",
           "def g(x):\n    return lambda: (yield)\n",
           "q, k, v = (torch.randn(2, 3, device='cuda') for _ in range(3))\n",
           "x: dict[str, int] = {}\nx['a'] = 3\nfoo.bar = 3\ndel x\n",
           "type X = int\n",
           "@dataclass(frozen=True)\nclass C:\n    a: int = 3\n",
           "@unknown_decorator\ndef g(x): return x\n",
           "if TYPE_CHECKING:\n    from x import y\n",
           "flex_attention = torch.compile(flex_attention)\nout = flex_attention(q, k, v, block_mask=create_block_mask(m, None, None, 4, "
           "4))\n",
           "torch._dynamo.config.cache_size_limit = 1000\n",
           "def g(x):\n    match x:\n        case [a, *b]: return 1\n        case _: return 2\n",
           "def g(x):\n    return f\"{x=} {x!r:>{5}} {x:,}\"\n",
           "x = a if b else c,\nassert foo.bar\n",
           "def g(x, *, y, **z) -> dict[str, 'X']: ...\n",
           "L = [*range(3), *(4, 5)]\n",
           "x = 3j\ny = 'open\nz = 5 $ 3\n",
           "if __name__ == \"__main__\":\n    try:\n        from jsonargparse import CLI\n    except ImportError:\n        raise\n    "
           "CLI(main)\n",
           "from . import y\nfrom .a.b import (c as d,\n  e)\nimport a.b.c as f\n",
           "while True:\n    break\nglobal x\n",
           "async_ = 3\nmatch = 4\ntype = 5\nprint(match)\n",
           "return 3\n",
           "x = = 3\n",
       }) {
    std::string module(unused);
    checkMask("mod", "q_idx >= kv_idx", module + "def mod(b, h, q_idx, kv_idx):\n    return q_idx >= kv_idx\n");
    checkMask("mod", "q_idx >= kv_idx", "def mod(b, h, q_idx, kv_idx):\n    return q_idx >= kv_idx\n" + module);
  }
}

TEST_CASE("what a function does not reach may be anything") {
  const std::string_view module = R"(
def make(kind):
    if kind == "file":
        with open("table") as file:
            return file.read()
    elif kind == "stream":
        yield 3
    elif kind == "class":
        class Mod: pass
    return lambda b, h, q_idx, kv_idx: q_idx >= kv_idx
)";
  checkMask("make('causal')", "q_idx >= kv_idx", module);
}

TEST_CASE("a module's failed statement takes with it what it may have changed") {
  const auto refused = [](std::string_view module) {
    const Result<Formula> formula = parseFormula({"", "mod", module}, Captures::infos());
    REQUIRE_MESSAGE(!formula, std::string(module));
    return formula.error().message;
  };
  const std::string mod = "def mod(b, h, q_idx, kv_idx):\n    return q_idx >= kv_idx + N\n";
  for (const std::string_view broken :
       {"N = 0\nfor i in range(3):\n    N += i\n    missing()\n", "N = 0\nif missing():\n    N = 1\n",
        "N = 0\ntry:\n    N = missing()\nexcept NameError:\n    pass\n", "N = 0\nwith open('x') as N:\n    pass\n",
        "N = 0\ndef set():\n    global N\n    missing()\n    N = 1\nset()\n", "N = 0\nN += missing()\n", "N = 0\n(N, M), K = missing()\n"})
    CHECK_MESSAGE(refused(std::string(broken) + mod).find("'N' is needed at mods:") != std::string::npos, std::string(broken));
  const std::string table = "def mod(b, h, q_idx, kv_idx):\n    return q_idx >= kv_idx + len(T)\n";
  for (const std::string_view broken :
       {"T = []\nT.append(missing())\n", "T = {}\nT['a'] = missing()\n", "T = []\ndef fill(t):\n    t.append(1)\n    missing()\nfill(T)\n",
        "T = []\ndef fill():\n    missing()\n    T.append(1)\nfill()\n", "T = []\nfor i in range(3):\n    T.append(i)\n    missing(i)\n"})
    CHECK_MESSAGE(refused(std::string(broken) + table).find("'T' is needed at mods:") != std::string::npos, std::string(broken));
}

TEST_CASE("a byte order mark before a text is skipped") {
  checkMask("\xEF\xBB\xBFmod", "q_idx >= kv_idx",
            "\xEF\xBB\xBF"
            "def mod(b, h, q_idx, kv_idx):\n    return q_idx >= kv_idx\n");
  const Result<Formula> broken = parseMask("\xEF\xBB\xBFq_idx >=");
  REQUIRE(!broken);
  CHECK(broken.error().message.starts_with("mask_mod:1:9: expected a value"));
}

TEST_CASE("where no name is known, none is listed") {
  const Result<Formula> formula = parseFormula({"", "mod", "N = missing\ndef mod(b, h, q_idx, kv_idx):\n    return q_idx < N"}, {});
  REQUIRE(!formula);
  CHECK(formula.error().message.find("  only the functions of torch and math are known here; any other has to be captured\n") !=
        std::string::npos);
}
