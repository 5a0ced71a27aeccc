"""The names of torch.nn.attention.flex_attention."""
from __future__ import annotations

import warnings
from typing import Any, Literal, NamedTuple, TypedDict

from ... import _tensors
from ..._forward import Prepared
from ..._mods import ModLike
from ._block_mask import BlockMask, create_block_mask, create_mask
from ._torch_block_mask import in_graph, is_theirs
from ._mask_logic import and_masks, noop_mask, or_masks

__all__ = ["BlockMask", "flex_attention", "AuxOutput", "AuxRequest", "FlexKernelOptions", "create_block_mask", "create_mask", "or_masks", "and_masks",
           "noop_mask"]


class FlexKernelOptions(TypedDict, total=False):
    """Wishes about a Triton kernel. What has a meaning here is applied, what could change a result is refused, the rest is noted in the log; the table is in
    docs/torch.md. Names may begin with `fwd_` or `bwd_`."""

    num_warps: int
    num_stages: int
    BLOCK_M: int
    BLOCK_N: int
    BLOCK_M1: int
    BLOCK_N1: int
    BLOCK_M2: int
    BLOCK_N2: int
    PRESCALE_QK: bool
    ROWS_GUARANTEED_SAFE: bool
    BLOCKS_ARE_CONTIGUOUS: bool
    WRITE_DQ: bool
    FORCE_USE_FLEX_ATTENTION: bool
    USE_TMA: bool
    kpack: int
    matrix_instr_nonkdim: int
    waves_per_eu: int
    BACKEND: Literal["AUTO", "TRITON", "FLASH", "TRITON_DECODE"]


class AuxRequest(NamedTuple):
    """Which auxiliary outputs flex_attention is to return."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """Auxiliary outputs; None for what was not requested."""

    lse: Any | None = None
    max_scores: Any | None = None


_warned_of_return_lse = False


def flex_attention(query: Any, key: Any, value: Any, score_mod: ModLike = None, block_mask: BlockMask | None = None, scale: float | None = None,
                   enable_gqa: bool = False, return_lse: bool = False, kernel_options: FlexKernelOptions | None = None, *,
                   return_aux: AuxRequest | None = None) -> Any:
    """softmax(score_mod(scale * query key^T)) value, where block_mask allows.

    Args:
        query: (B, Hq, L, E), any float dtype, any strides, of any array library.
        key, value: (B, Hkv, S, E) and (B, Hkv, S, Ev); a batch of 1 serves all. Their dtype may be narrower than query's.
        score_mod: (score, b, h, q_idx, kv_idx) -> score, as a callable, as text or as an attnjit.Mod.
        block_mask: which pairs are looked at, from create_block_mask, ours or PyTorch's.
        scale: 1 / sqrt(E) if None.
        enable_gqa: heads of query share those of key: Hq a multiple of Hkv.
        return_lse: deprecated, as in PyTorch: return_aux says more.
        kernel_options: see FlexKernelOptions.
        return_aux: also return an AuxOutput with the log-sum-exp and the largest score of each row.

    Returns:
        (B, Hq, L, Ev) of query's dtype and library, in query's order of dimensions in memory; with return_aux, (output, AuxOutput).
    """
    check_operands(query, key, value, enable_gqa)
    if return_lse and return_aux is not None:
        raise ValueError("Cannot specify both return_lse and return_aux. return_lse is deprecated, please use return_aux=AuxRequest(lse=True) instead.")
    if block_mask is not None:
        _check_block_mask(query, key, block_mask)
    _check_kernel_options(kernel_options)
    if return_lse:
        _warn_of_return_lse()
    wants_lse, wants_max = return_lse or (return_aux is not None and return_aux.lse), return_aux is not None and return_aux.max_scores
    out, lse, max_scores = attend(query, key, value, score_mod, block_mask, scale, kernel_options, wants_lse, wants_max)
    if return_aux is not None:
        return out, AuxOutput(lse, max_scores)
    return (out, lse) if return_lse else out


def attend(query: Any, key: Any, value: Any, score_mod: ModLike, block_mask: BlockMask | None, scale: float | None, kernel_options: Any = None, wants_lse: bool = False,
           wants_max: bool = False, sinks: Any = None) -> tuple[Any, Any, Any]:
    """(out, lse, max_scores) of operands that have been checked, the last two None unless wanted: computed, or made part of the graph that PyTorch makes. `sinks` [Hq] are
    those of attnjit.attention."""
    if _tensors.in_graph(query):
        from ... import torch_ops

        mask_mod, sizes, lists = (None, (), ()) if block_mask is None else in_graph(block_mask)
        blocks = torch_ops.Blocks(sizes, lists)
        return torch_ops.in_graph(query, key, value, score_mod, mask_mod, blocks, scale, kernel_options, wants_lse, wants_max, sinks)
    prepared = Prepared(query, key, value, score_mod=score_mod, block_mask=block_mask, scale=scale, kernel_options=kernel_options, lse=wants_lse, max_scores=wants_max,
                        sinks=sinks)
    prepared.run()
    return prepared.result(prepared.out), prepared.result(prepared.lse), prepared.result(prepared.max_scores)


def _are_usual(query: Any, key: Any, value: Any) -> bool:
    """Whether nothing can be wrong that PyTorch checks by itself: tensors of one device, 4 dimensions and as many heads, without gradients. This is for speed."""
    if not (_tensors.is_torch(query) and _tensors.is_torch(key) and _tensors.is_torch(value)) or query.requires_grad or key.requires_grad or value.requires_grad:
        return False
    if query.is_nested or key.is_nested or value.is_nested or not query.device == key.device == value.device:
        return False
    q, k, v = query.shape, key.shape, value.shape
    return len(q) == 4 and len(k) == 4 and len(v) == 4 and q[3] == k[3] and q[1] == k[1]


def check_operands(query: Any, key: Any, value: Any, enable_gqa: bool) -> None:
    """What PyTorch checks by itself, in its order and with its exception types; the rest is for the engine to say."""
    if _are_usual(query, key, value):
        return
    if any(getattr(array, "is_nested", False) for array in (query, key, value)):
        raise NotImplementedError("flex_attention does not support NestedTensor inputs; pack the sequences and use varlen_attn, or pad them")
    devices = [array.device for array in (query, key, value) if _tensors.is_torch(array)]
    if any(device != devices[0] for device in devices):
        raise ValueError(f"Expected query, key, and value to have the same device type, but got {', '.join(map(str, devices))}")
    q, k, v = (_tensors.shape(array) for array in (query, key, value))
    if any(len(shape) < 2 for shape in (q, k, v)):
        raise ValueError(f"Expected query, key, and value to all be at least 2 dimensional, but got {len(q)}, {len(k)} and {len(v)} dimensions")
    if q[-1] != k[-1]:
        raise ValueError(f"Expect query and key/value to have the same embedding dimension but got E={q[-1]} and E={k[-1]}.")
    _tensors.refuse_gradients({"query": query, "key": key, "value": value})
    if any(len(shape) != 4 for shape in (q, k, v)):
        raise NotImplementedError(f"query, key and value must have 4 dimensions (B, H, L, E), but have {len(q)}, {len(k)} and {len(v)}")
    if not enable_gqa and q[1] != k[1]:
        raise ValueError(f"Expect query and key/value to have the same number of heads but got Hq={q[1]} and Hkv={k[1]}. Try setting enable_gqa=True for GQA.")
    if enable_gqa and (k[1] == 0 or q[1] % k[1] != 0):
        raise ValueError(f"Expect number of query heads to be a multiple of kv heads for GQA but got Hq={q[1]} and Hkv={k[1]}.")


def _check_block_mask(query: Any, key: Any, block_mask: BlockMask) -> None:
    if not isinstance(block_mask, BlockMask) and not is_theirs(block_mask):
        raise TypeError(f"block_mask is a {type(block_mask).__module__}.{type(block_mask).__name__}; make it with create_block_mask or BlockMask.from_kv_blocks")
    lengths = (_tensors.shape(query)[2], _tensors.shape(key)[2])
    known = block_mask.seq_lengths
    if lengths == tuple(known):
        return
    made_for = f"block_mask was created for block_mask.shape={block_mask.shape} but got q_len={lengths[0]} and kv_len={lengths[1]}. "
    if lengths[0] > known[0] or lengths[1] > known[1]:
        raise ValueError(made_for + "It is for shorter sequences: make a new one, or extend it with block_mask.grow(q_len, kv_len).")
    raise ValueError(made_for + "It is for longer sequences: make a new one, or crop it to the upper left corner with block_mask._adjust(q_len, kv_len).")


def _check_kernel_options(options: Any) -> None:
    """Two mistakes for which PyTorch has exceptions of other types than the engine's own."""
    for name in ("OUTPUT_LOGSUMEXP", "OUTPUT_MAX"):
        if options and name in options:
            raise AssertionError(f"{name} is no option for users: ask with return_aux=AuxRequest(...)")
    if options and options.get("FORCE_USE_FLEX_ATTENTION") and "BACKEND" in options:
        raise RuntimeError("BACKEND cannot be combined with the legacy FORCE_USE_FLEX_ATTENTION; keep BACKEND")


def _warn_of_return_lse() -> None:
    global _warned_of_return_lse
    if not _warned_of_return_lse:
        _warned_of_return_lse = True
        warnings.warn("return_lse is deprecated; use return_aux=AuxRequest(lse=True) instead.", FutureWarning, stacklevel=3)
