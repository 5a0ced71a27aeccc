"""10 000 calls take no more memory than a hundred."""

import ctypes
import gc
import os

import numpy as np
import pytest

import attnjit

WARM, CALLS = 1000, 10_000
ALLOWED = 6 << 20  # bytes; a leak of a kilobyte per call is ten million


def resident():
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:
        pass
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def stays_flat(call):
    for _ in range(WARM):
        call(1.0)
    before, alive = resident(), len(gc.get_objects())
    for step in range(CALLS):
        call(float(step))
    grown, more = resident() - before, len(gc.get_objects()) - alive
    assert grown < ALLOWED, f"{grown} bytes more after {CALLS} calls"
    assert more < 1000, f"{more} Python objects more after {CALLS} calls"


@pytest.fixture
def operands():
    random = np.random.default_rng(0)
    return [random.standard_normal((1, 2, 8, 16)).astype(np.float32) for _ in range(3)]


def test_closures_with_new_numbers(operands):
    table = np.linspace(0, 1, 8, dtype=np.float32)

    def call(number):
        return attnjit.attention(*operands, score_mod=lambda score, b, h, q_idx, kv_idx: score * number + table[kv_idx])

    stays_flat(call)


def test_text_with_captures(operands):
    table = np.linspace(0, 1, 8, dtype=np.float32)

    def call(number):
        return attnjit.attention(*operands, score_mod=attnjit.Mod("score * number + table[kv_idx]", captures={"number": number, "table": table}))

    stays_flat(call)


def test_block_masks(operands):
    from attnjit.nn.attention.flex_attention import create_block_mask

    def call(number):
        window = int(number) % 8
        mask = create_block_mask(lambda b, h, q_idx, kv_idx: q_idx - kv_idx <= window, 1, None, 8, 8, BLOCK_SIZE=4)
        return attnjit.attention(*operands, block_mask=mask)

    stays_flat(call)


def test_errors(operands):
    q, k, v = operands

    def call(number):
        with pytest.raises(ValueError):
            attnjit.attention(q, k[..., :8], v)
        with pytest.raises(attnjit.FormulaError):
            attnjit.attention(q, k, v, score_mod="score +")

    stays_flat(call)


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    q = torch.randn(1, 2, 8, 16)
    table = torch.linspace(0, 1, 8)

    def call(number):
        return attnjit.attention(q, q, q, return_lse=True, score_mod=lambda score, b, h, q_idx, kv_idx: score * number + table[kv_idx])

    stays_flat(call)
