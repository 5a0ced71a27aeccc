"""attnjit's random numbers, which are functions of a seed and a place: in a traced callable a part of the formula, elsewhere the same numbers at once.

Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), as docs/language.md says.
"""

from __future__ import annotations

from typing import Any

from .known import pinned
from .values import is_run_time

_WORD = 0xFFFFFFFF


def randint(seed: Any, offset: Any) -> Any:
    """A number of 32 bits with a sign, for ints or tensors of int64 of the shape that they have together.

    >>> attnjit.randint(7, 0) == attnjit.randint(7, 0)
    True
    """
    traced = _traced("randint", seed, offset)
    return traced if traced is not None else _signed(_first_word(pinned(seed), pinned(offset)))


def rand(seed: Any, offset: Any) -> Any:
    """A number in [0, 1), for ints or tensors of int64. Give every pair of a query and a key an offset of its own.

    >>> flex_attention(q, k, v, score_mod=lambda score, b, h, q_idx, kv_idx: score + 0.1 * attnjit.rand(7, q_idx * 4096 + kv_idx))
    """
    traced = _traced("rand", seed, offset)
    if traced is not None:
        return traced
    word = _signed(_first_word(pinned(seed), pinned(offset)))
    return _single(word ^ (word >> 63)) * _single(float.fromhex("0x1.fffffep-32"))


def _traced(name: str, seed: Any, offset: Any) -> Any:
    owner = next((value for value in (seed, offset) if is_run_time(value)), None)
    return None if owner is None else owner._trace.call(name, "plain", (seed, offset), {})


def _single(number: Any) -> Any:
    """As a float of 32 bits."""
    if hasattr(number, "float"):
        return number.float()
    import numpy

    return number.astype(numpy.float32) if hasattr(number, "astype") else numpy.float32(number)


def _signed(word: Any) -> Any:
    return (word ^ 0x80000000) - 0x80000000


def _first_word(seed: Any, offset: Any) -> Any:
    """Of ints, and of arrays and tensors of int64, whose products wrap: only their low 64 bits count."""
    zero = offset & 0 | seed & 0
    counter = [offset & _WORD, (offset >> 32) & _WORD, zero, zero]
    key = [seed & _WORD, (seed >> 32) & _WORD]
    for _ in range(10):
        first, second = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = [((second >> 32) & _WORD) ^ counter[1] ^ key[0], second & _WORD, ((first >> 32) & _WORD) ^ counter[3] ^ key[1], first & _WORD]
        key = [(key[0] + 0x9E3779B9) & _WORD, (key[1] + 0xBB67AE85) & _WORD]
    return counter[0]
