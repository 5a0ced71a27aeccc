"""The tracer, asked again about the same callable: what is read anew, what is compiled in, and what is not traced a second time."""

from __future__ import annotations

import dataclasses
import enum
import math
import threading

import pytest

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")

from torch.nn.attention.flex_attention import and_masks, or_masks  # noqa: E402

from attnjit._trace import TraceError, trace  # noqa: E402
from trace_tools import Frozen, Sliding, causal, check_trace, within  # noqa: E402

WINDOW = 3
LATER = None
SLOPES = torch.tensor([0.5, 0.25, 2.0], dtype=torch.float64)


def scaled_by(size):
    return lambda score, b, h, q, kv: score * size


def global_window(b, h, q_idx, kv_idx):
    return (q_idx - kv_idx).abs() < WINDOW


def test_numbers_stay_out_of_the_text():
    assert trace(within(4), "mask_mod").text is trace(within(1000), "mask_mod").text
    assert trace(within(5), "mask_mod").captures == {"size": 5}
    assert trace(within(5.0), "mask_mod").captures == {"size": 5.0}


def test_globals_and_cells_are_read_anew(monkeypatch):
    text = trace(global_window, "mask_mod").text
    monkeypatch.setitem(globals(), "WINDOW", 77)
    again = trace(global_window, "mask_mod")
    assert again.text is text and again.captures == {"WINDOW": 77}
    size = 1

    def mod(b, h, q_idx, kv_idx):
        return q_idx < size

    text = trace(mod, "mask_mod").text
    size = 2
    assert trace(mod, "mask_mod").captures == {"size": 2} and trace(mod, "mask_mod").text is text


def test_derived_numbers_are_computed_by_python():
    def make(heads):
        return lambda score, b, h, q, kv: score * 2 ** (-8.0 / heads) + math.log(heads) + heads // 2

    text = trace(make(8), "score_mod").text
    for heads in (16, 5):
        traced = check_trace(make(heads), "score_mod")
        assert traced.text is text
        assert set(traced.captures.values()) == {2 ** (-8.0 / heads), math.log(heads), heads // 2}


def test_long_computations():
    def make(n):
        def mod(score, b, h, q, kv):
            total = n
            for step in range(60):
                total = (total + total) % 1000003
                score = score + step * q
            return score * total if q > kv else score
        return mod

    text = check_trace(make(3), "score_mod").text
    assert check_trace(make(5), "score_mod").text is text
    check_trace(or_masks(*(within(size) for size in range(300)), lambda b, h, q, kv: q > kv and kv > 2), "mask_mod")


def test_what_decides_the_structure_is_compiled_in():
    def make(levels, power, is_causal):
        def mod(score, b, h, q, kv):
            for level in range(levels):
                score = score + q // 2 ** level
            return score ** power if is_causal and levels > 1 else score
        return mod

    texts = [check_trace(make(*arguments), "score_mod").text for arguments in ((2, 2, True), (3, 2, True), (2, 3, True), (2, 2, False), (2, 5, False))]
    assert len(set(texts)) == 4 and texts[3] == texts[4]
    assert trace(make(2, 2, True), "score_mod").text is trace(make(2, 2, True), "score_mod").text


def test_conditions_hold_for_more_than_one_value():
    def make(n):
        return lambda b, h, q, kv: q - kv < n if n > 3 else q >= kv

    assert trace(make(5), "mask_mod").text is trace(make(9), "mask_mod").text
    assert "n" not in trace(make(2), "mask_mod").captures
    assert trace(make(7), "mask_mod").captures == {"n": 7}


def test_other_functions_in_the_same_closure():
    def make(inner):
        return lambda b, h, q, kv: inner(b, h, q, kv) & (kv > 0)

    assert "size" in trace(make(within(3)), "mask_mod").captures
    assert trace(make(causal), "mask_mod").captures == {}
    assert trace(make(within(9)), "mask_mod").captures == {"size": 9}


def test_other_tensors():
    def make(table):
        return lambda score, b, h, q, kv: score + table[h]

    first, second = torch.rand(3), torch.rand(9)
    assert trace(make(first), "score_mod").text is trace(make(second), "score_mod").text
    assert trace(make(second), "score_mod").captures["table"] is second
    assert trace(make(np.ones(3)), "score_mod").captures["table"].shape == (3,)
    with pytest.raises(TraceError):
        trace(make(torch.tensor(1.0)), "score_mod")


def test_lists_and_dictionaries():
    spans = [(1, 2), (3, 4)]
    settings = {"size": 3, "kind": "near"}

    def mod(b, h, q_idx, kv_idx):
        seen = kv_idx < settings["size"] if settings["kind"] == "near" else q_idx >= kv_idx
        for first, last in spans:
            seen |= (q_idx >= first) & (kv_idx <= last)
        return seen

    text = check_trace(mod, "mask_mod").text
    spans[1], settings["size"] = (5, 6), 9
    assert check_trace(mod, "mask_mod").text is text
    spans.append((7, 8))
    assert check_trace(mod, "mask_mod").text != text
    settings["kind"] = "causal"
    check_trace(mod, "mask_mod")


def test_attributes_that_come_later():
    class Options:
        cap = 2.0

    options = Options()

    def mod(score, b, h, q_idx, kv_idx):
        return score * options.cap + getattr(options, "extra", 1) + getattr(mod, "bias", 0.5)

    check_trace(mod, "score_mod")
    options.cap = 3.0
    assert 3.0 in check_trace(mod, "score_mod").captures.values()
    options.extra = 7
    assert 7 in check_trace(mod, "score_mod").captures.values()
    mod.bias = 0.25
    text = check_trace(mod, "score_mod").text
    mod.bias = 0.125
    assert 0.125 in trace(mod, "score_mod").captures.values() and trace(mod, "score_mod").text is text
    Options.cap = 4.0
    del options.cap
    assert 4.0 in check_trace(mod, "score_mod").captures.values()


class Shifted:
    def __init__(self, by):
        self.by = by

    def of(self, x):
        return x + self.by * WINDOW


def test_classes_of_the_user(monkeypatch):
    mods = [lambda score, b, h, q, kv: Shifted(2).of(score), lambda score, b, h, q, kv: score + Sliding(h, SLOPES).slopes[h]]
    for mod in mods:
        check_trace(mod, "score_mod")
    monkeypatch.setitem(globals(), "WINDOW", 77)
    check_trace(mods[0], "score_mod")  # what methods read is not followed: traced anew


def test_numpy_tables():
    table = np.arange(12.0).reshape(3, 4)

    def mod(score, b, h, q_idx, kv_idx):
        return score + np.cumsum(table, axis=1)[h, kv_idx % 4] + np.sum(table[h], axis=0)

    summed = torch.from_numpy(np.cumsum(table, axis=1)), torch.from_numpy(table.sum(1))
    check_trace(mod, "score_mod", eager=lambda score, b, h, q, kv: score + summed[0][h, kv % 4] + summed[1][h])


def test_whole_objects():
    frozen = Frozen(4)

    def mod(score, b, h, q_idx, kv_idx):
        longer = dataclasses.replace(frozen, size=frozen.size + 1)
        return score * longer.size + sum(vars(frozen).values()) + frozen.__dict__["size"]

    text = check_trace(mod, "score_mod").text
    frozen = Frozen(7)
    assert check_trace(mod, "score_mod").text == text


class Kind(enum.Enum):
    CAUSAL = 1
    FULL = 2


def test_enumerations_and_texts():
    kind = Kind.CAUSAL

    def mod(b, h, q_idx, kv_idx):
        return q_idx >= kv_idx if kind is Kind.CAUSAL else q_idx == q_idx

    first = trace(mod, "mask_mod").text
    kind = Kind.FULL
    assert trace(mod, "mask_mod").text != first


def test_the_same_again_is_not_traced_again():
    mod = and_masks(causal, within(100), global_window)
    assert trace(mod, "mask_mod").text is trace(mod, "mask_mod").text


def test_threads():
    results = []

    def work(size):
        for _ in range(50):
            results.append(trace(and_masks(causal, within(size)), "mask_mod").captures == {"size": size})

    threads = [threading.Thread(target=work, args=(size,)) for size in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 400 and all(results)
