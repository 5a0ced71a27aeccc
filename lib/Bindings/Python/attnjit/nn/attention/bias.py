"""The names of torch.nn.attention.bias: causal masks of queries and keys of different lengths, which hold no data."""
from __future__ import annotations

import enum
import warnings
from typing import Any

import numpy as np

from ... import _tensors
from ..._mods import Mod

__all__ = ["causal_upper_left", "causal_lower_right", "CausalVariant", "CausalBias"]


class CausalVariant(enum.IntEnum):
    """Which corner of the matrix of scores the diagonal goes through."""

    UPPER_LEFT = 1
    """Query i sees keys j <= i: both sequences start together."""
    LOWER_RIGHT = 2
    """Query i sees keys j <= i + (seq_len_kv - seq_len_q): both end together, as in decoding with a cache."""


class CausalBias:
    """A causal mask of (seq_len_q, seq_len_kv), for the attn_mask of scaled_dot_product_attention; `mod` is the same for everything else."""

    def __init__(self, variant: CausalVariant, seq_len_q: int, seq_len_kv: int):
        if not isinstance(variant, CausalVariant):
            raise AssertionError(f"variant must be a CausalVariant, not {type(variant).__name__}")
        self.variant, self.seq_len_q, self.seq_len_kv = variant, seq_len_q, seq_len_kv
        if variant is CausalVariant.LOWER_RIGHT and seq_len_q > seq_len_kv:
            warnings.warn("Lower right causal bias with more queries than keys: the first rows see no key and give 0, where PyTorch's fused kernels give NaN",
                          stacklevel=2)

    @property
    def offset(self) -> int:
        """Keys that query 0 sees beyond key 0."""
        return 0 if self.variant is CausalVariant.UPPER_LEFT else self.seq_len_kv - self.seq_len_q

    @property
    def mod(self) -> Mod:
        """The mask as a mask_mod, for create_block_mask and flex_attention. Other lengths are no new formula."""
        return Mod(mask_mod="kv_idx <= q_idx + offset", captures={"offset": self.offset})

    def _materialize(self, device: Any = None) -> Any:
        """The mask in full, bool (seq_len_q, seq_len_kv)."""
        mask = np.tril(np.ones((self.seq_len_q, self.seq_len_kv), dtype=bool), self.offset)
        return _tensors.library_for(device).from_numpy(mask)

    def __repr__(self) -> str:
        return repr(self._materialize())


def causal_upper_left(*size: int) -> CausalBias:
    """A causal mask of (seq_len_q, seq_len_kv) whose diagonal starts at the upper left corner."""
    if len(size) != 2:
        raise AssertionError("causal_upper_left only supports 2D tensors")
    return CausalBias(CausalVariant.UPPER_LEFT, *size)


def causal_lower_right(*size: int) -> CausalBias:
    """A causal mask of (seq_len_q, seq_len_kv) whose diagonal ends at the lower right corner."""
    if len(size) != 2:
        raise AssertionError("causal_lower_right only supports 2D tensors")
    return CausalBias(CausalVariant.LOWER_RIGHT, *size)
