"""The tracer: what a callable may be made of, and what its text and its captures are."""

from __future__ import annotations

import array
import collections
import functools
import math
import types

import pytest

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch.nn.attention.flex_attention import and_masks, noop_mask, or_masks  # noqa: E402

from attnjit._trace import rand, randint, trace  # noqa: E402
from trace_tools import Frozen, Sliding, causal, check_trace, within  # noqa: E402

WINDOW = 3
LATER = None
SLOPES = torch.tensor([0.5, 0.25, 2.0], dtype=torch.float64)


def global_window(b, h, q_idx, kv_idx):
    return (q_idx - kv_idx).abs() < WINDOW


# --- what a callable may be ---


def test_closure():
    traced = check_trace(within(4), "mask_mod")
    assert traced.text == "def mask_mod(b, h, q_idx, kv_idx):\n    return q_idx - kv_idx < size\n"
    assert traced.captures == {"size": 4}


def test_names_of_the_users_variables():
    cap = 20.0

    def soft(score, b, h, q_idx, kv_idx):
        capped = cap * torch.tanh(score / cap)
        return capped + SLOPES[h] * capped

    traced = check_trace(soft, "score_mod")
    assert traced.text.splitlines()[1] == "    capped = cap * torch.tanh(score / cap)"
    assert list(traced.captures) == ["cap", "SLOPES"] and traced.captures["SLOPES"] is SLOPES


def test_lines_lead_to_the_users_code():
    def mod(score, b, h, q_idx, kv_idx):
        distance = q_idx - kv_idx
        return score + distance * distance

    first = mod.__code__.co_firstlineno
    assert trace(mod, "score_mod").lines == {2: (__file__, first + 1), 3: (__file__, first + 2)}


def test_partial():
    def shifted(score, b, h, q_idx, kv_idx, *, by, scale=2.0):
        return score * scale + by

    traced = check_trace(functools.partial(shifted, by=0.5), "score_mod")
    assert traced.captures == {"scale": 2.0, "by": 0.5}
    check_trace(functools.partial(lambda size, b, h, q, kv: q - kv < size, 4), "mask_mod")


def test_defaults():
    def mod(b, h, q_idx, kv_idx, size=4, *, least=1):
        return (q_idx - kv_idx < size) & (kv_idx >= least)

    assert check_trace(mod, "mask_mod").captures == {"size": 4, "least": 1}


def test_bound_method_and_callable_object():
    sliding = Sliding(8, SLOPES)
    assert list(check_trace(sliding.mask, "mask_mod").captures.values()) == [4, 1]
    assert check_trace(sliding, "score_mod").captures == {"slopes": SLOPES, "size": 8}
    text = trace(sliding.mask, "mask_mod").text
    sliding.size, sliding.options["sink"] = 2, 5
    again = check_trace(sliding.mask, "mask_mod")
    assert again.text is text and list(again.captures.values()) == [1, 5]


def test_objects():
    Named = collections.namedtuple("Named", "near far")

    class Slotted:
        __slots__ = ("size",)

    slotted = Slotted()
    slotted.size = 5
    frozen, named, space = Frozen(4), Named(1, 2), types.SimpleNamespace(shift=0.5, deeper=types.SimpleNamespace(more=[1, (2, 3)]))

    def mod(score, b, h, q_idx, kv_idx):
        return score + space.shift * frozen.size + slotted.size * named.far + space.deeper.more[1][0] + Sliding.doubled(q_idx)

    check_trace(mod, "score_mod")
    text = trace(mod, "score_mod").text
    slotted.size, space.shift, space.deeper.more[1] = 6, 1.5, (4, 3)
    assert check_trace(mod, "score_mod").text == text


def test_module():
    class Bias(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.arange(3, dtype=torch.float64))
            self.scale = 0.5

        def forward(self, score, b, h, q_idx, kv_idx):
            return score + self.scale * self.weight[h]

    bias = Bias()
    with torch.no_grad():
        traced = check_trace(bias, "score_mod")
        assert traced.captures["weight"] is bias.weight and traced.captures["scale"] == 0.5
        check_trace(bias.forward, "score_mod")


def test_compiled_and_cached_functions():
    assert trace(torch.compile(causal), "mask_mod").text == trace(causal, "mask_mod").text
    assert trace(functools.lru_cache(causal), "mask_mod").text == trace(causal, "mask_mod").text


def test_combinators():
    traced = check_trace(and_masks(causal, within(4), or_masks(within(2), global_window), noop_mask), "mask_mod")
    assert traced.captures == {"size": 4, "size_1": 2, "WINDOW": 3}
    check_trace(or_masks(causal), "mask_mod")


def test_decorators_and_wrappers():
    def scaled(by):
        def decorate(mod):
            @functools.wraps(mod)
            def wrapped(score, *position):
                return by * mod(score, *position)
            return wrapped
        return decorate

    @torch.no_grad()
    @scaled(0.5)
    def mod(score, b, h, q_idx, kv_idx):
        return score + q_idx

    assert check_trace(mod, "score_mod").captures == {"by": 0.5}


def test_wraps_of_a_librarys_function(monkeypatch):
    @functools.wraps(F.softplus)
    def mine(x):
        return x * WINDOW

    def mod(score, b, h, q_idx, kv_idx):
        return LATER(score)

    monkeypatch.setitem(globals(), "LATER", mine)
    assert check_trace(mod, "score_mod").captures == {"WINDOW": 3}
    monkeypatch.setitem(globals(), "WINDOW", 4)
    assert trace(mod, "score_mod").captures == {"WINDOW": 4}


def test_recursion_and_shared_cells():
    depth = 3

    def power(x, n):
        return x if n == 0 else power(x, n - 1) * 0.5 + depth

    def mod(score, b, h, q_idx, kv_idx):
        return power(score, depth)

    assert check_trace(mod, "score_mod").captures == {"depth": 3}


def test_generators_comprehensions_and_reduce():
    sizes = [1, 2, 3]

    def mod(score, b, h, q_idx, kv_idx):
        total = sum(score * size for size in sizes)
        return functools.reduce(lambda x, y: x + y, [total, *(q_idx // size for size in sizes)]) + {"a": 2}["a"]

    assert check_trace(mod, "score_mod").captures == {"sizes_0": 1, "sizes_1": 2, "sizes_2": 3}


def test_python_functions():
    edge, heads = 4, 3

    def mod(score, b, h, q_idx, kv_idx):
        slope = 2.0 ** -(8.0 / heads)
        near = max(abs(q_idx - kv_idx) - edge, 0)
        return score - slope * min(near, 3, q_idx) + math.log2(heads) + round(math.pi, 2) + divmod(kv_idx, 3)[1] + math.floor(score) + abs(-edge)

    def eager(score, b, h, q_idx, kv_idx):
        near = ((q_idx - kv_idx).abs() - edge).clamp(min=0)
        least = torch.minimum(near, q_idx).clamp(max=3)
        return score - 2.0 ** -(8.0 / heads) * least + math.log2(heads) + 3.14 + kv_idx % 3 + torch.floor(score) + edge

    check_trace(mod, "score_mod", eager=eager)


def test_imports_inside():
    def mod(score, b, h, q_idx, kv_idx):
        import math as m
        from math import exp

        import torch.nn.functional as functional

        return functional.relu(score) * m.sqrt(2.0) + exp(-abs(q_idx - kv_idx))

    check_trace(mod, "score_mod", eager=lambda s, b, h, q, kv: torch.relu(s) * math.sqrt(2.0) + torch.exp(-(q - kv).abs().double()))


# --- tensors ---


def test_views_rows_and_sizes():
    table = torch.arange(60, dtype=torch.float64).view(3, 5, 4)

    def mod(score, b, h, q_idx, kv_idx):
        row = table.transpose(1, 2)[h, :, q_idx % table.shape[1]]
        first, *rest = row
        return score + row.sum() / len(row) + (row @ row) * 0.5 + first + rest[-1] + table[h].mT[0, 1:3].amax() + table.size(-1) + row.shape[0]

    traced = check_trace(mod, "score_mod")
    assert traced.captures["table"] is table and "table.shape[1]" in traced.text


def test_tensors_of_the_text():
    def mod(score, b, h, q_idx, kv_idx):
        slopes = torch.exp2(-(torch.arange(3, dtype=torch.float64) + 1))
        off = torch.tensor(-1.0, dtype=torch.float64)
        return torch.where(q_idx >= kv_idx, score + slopes[h], off) + score.new_ones(()) + torch.zeros_like(score) + torch.full_like(q_idx, 2)

    traced = check_trace(mod, "score_mod")
    assert list(traced.captures) == ["table"] and trace(mod, "score_mod").text is traced.text


def test_what_no_formula_has_is_computed_before():
    lengths = torch.tensor([2, 3, 4])

    def mod(b, h, q_idx, kv_idx):
        ends = lengths.cumsum(0)
        return (q_idx < ends[h]) | (F.normalize(SLOPES, dim=0)[h] > 0.5)

    traced = check_trace(mod, "mask_mod")
    lengths[0] = 7
    again = check_trace(mod, "mask_mod")
    assert again.text is traced.text and again.captures["cumsum"].tolist() == [7, 10, 14] and "normalize" in again.captures


def test_zero_dimensions_dtypes_and_libraries():
    offset, table, buffer = torch.tensor(3), np.linspace(0, 1, 3), array.array("d", [1.0, 2.0, 3.0])

    def mod(score, b, h, q_idx, kv_idx):
        return score + offset * table[h] + buffer[h] + np.float64(0.5) + q_idx.to(score.dtype) + (q_idx > 2).to(torch.int64) + score.item()

    traced = trace(mod, "score_mod")
    assert list(traced.captures) == ["offset", "table", "buffer"]
    assert "offset * table[h] + buffer[h] + 0.5" in traced.text
    half = torch.ones(3, dtype=torch.float16)
    limits = check_trace(lambda s, b, h, q, kv: torch.where(q > kv, s, torch.finfo(half.dtype).min), "score_mod")
    assert "-65504.0" in limits.text


def test_isinstance_and_dtype_questions():
    scale = 2.0

    def mod(score, b, h, q_idx, kv_idx):
        assert isinstance(score, torch.Tensor) and isinstance(scale, float) and score.is_floating_point() and not q_idx.is_floating_point()
        assert score.ndim == q_idx.dim() == 0 and not hasattr(score, "no_such_thing")
        return score * scale if isinstance(scale, (int, float)) else score

    assert trace(mod, "score_mod").captures == {"scale": 2.0}


def test_in_place():
    def mod(score, b, h, q_idx, kv_idx):
        x = score * 2
        y = x
        x += 1
        y.mul_(3)
        return x.masked_fill_(q_idx < kv_idx, 0.0) + F.relu(y - 1, inplace=True) + F.leaky_relu(y - 2, 0.1, False)

    check_trace(mod, "score_mod", eager=lambda s, b, h, q, kv: (lambda z: z + F.relu(z - 1) + F.leaky_relu(z - 2, 0.1))(((s * 2 + 1) * 3).masked_fill(q < kv, 0.0)))


# --- conditions over run-time values ---


def test_conditions_become_choices():
    def mod(score, b, h, q_idx, kv_idx):
        if q_idx > 3:
            if score > 0:
                return score * 2
            score = score - 1
        elif kv_idx == 2 or h == 1:
            return -score
        return score + 1 if not (q_idx == kv_idx) else score

    check_trace(mod, "score_mod")


def test_chains_and_logic():
    check_trace(lambda b, h, q, kv: 0 <= q - kv < 3 and h != 1 or kv == 0, "mask_mod")
    check_trace(lambda b, h, q, kv: h in (0, 2) and any(q // n == kv // n for n in (2, 3)), "mask_mod")
    traced = check_trace(lambda b, h, q, kv: q >= kv and kv > 1, "mask_mod")
    assert traced.text.endswith("return (q_idx >= kv_idx) & (kv_idx > 1)\n")


def test_truth_of_numbers():
    check_trace(lambda score, b, h, q, kv: score if q % 2 else -score, "score_mod")


def test_assertions_over_run_time_values():
    def mod(score, b, h, q_idx, kv_idx):
        assert q_idx >= 0, "positions count from 0"
        return score * 2

    assert trace(mod, "score_mod").text.endswith("return score * 2\n")


def test_many_conditions_go_by_the_source():
    edges, gain = list(range(12)), 0.5

    def mod(score, b, h, q_idx, kv_idx):
        for edge in edges:
            if q_idx > edge:
                score = score + gain
        return score

    traced = trace(mod, "score_mod")
    assert "for edge in edges:" in traced.text and traced.captures["gain"] == 0.5
    first = mod.__code__.co_firstlineno
    row = next(row for row, line in enumerate(traced.text.splitlines(), 1) if "for edge" in line)
    assert traced.lines[row] == (__file__, first + 1)
    gain = 0.25
    again = trace(mod, "score_mod")
    assert again.text is traced.text and again.captures["gain"] == 0.25


def test_python_casts_go_by_the_source():
    scale = 2.0

    def helper(x, by=3):
        return float(x) * by

    traced = trace(lambda score, b, h, q_idx, kv_idx: score + helper(q_idx) * scale, "score_mod")
    assert traced.captures["scale"] == 2.0 and "def helper(x, by=" in traced.text


# --- random numbers ---


def test_random_numbers():
    traced = trace(lambda score, b, h, q, kv: score + rand(7, q * 4096 + kv) + randint(WINDOW, kv), "score_mod")
    assert "rand(7, q_idx * 4096 + kv_idx)" in traced.text and "randint(WINDOW, kv_idx)" in traced.text
    # Philox4x32-10 of counter 0 and key 0 begins with 0x6627e8d5 (Random123's known answers)
    assert randint(0, 0) == 0x6627E8D5
    offsets = torch.arange(1000) * 7919 - 5
    words = randint(7, offsets)
    assert words.tolist() == [randint(7, int(offset)) for offset in offsets] == randint(7, offsets.numpy()).tolist()
    numbers = rand(7, offsets)
    assert 0 <= numbers.min() and numbers.max() < 1 and numbers.tolist() == [float(rand(7, int(offset))) for offset in offsets]
