"""The names of torch.nn.functional that have to do with attention."""
from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .. import _backends, _core, _engines, _tensors
from .._forward import float_name, warn_of_unfused

__all__ = ["scaled_dot_product_attention"]


def scaled_dot_product_attention(query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
                                 scale: float | None = None, enable_gqa: bool = False) -> Any:
    """softmax(scale * query key^T + attn_mask) value.

    Args:
        query, key, value: (..., Hq, L, E), (..., H, S, E) and (..., H, S, Ev) of any float dtype, strides and array library; leading dimensions broadcast.
        attn_mask: broadcastable to (..., Hq, L, S), of bool (True: may attend) or of any float dtype (added to the score); or a CausalBias.
        dropout_p: share of pairs to drop, by numbers that are drawn from a seed of the library's default generator.
        is_causal: query i sees keys j <= i. Not together with attn_mask.
        scale: 1 / sqrt(E) if None.
        enable_gqa: heads of query share those of key: Hq a multiple of H.
    """
    query, key, value = _tensors.autocast(query, key, value)
    _tensors.refuse_gradients({"query": query, "key": key, "value": value, "attn_mask": attn_mask})
    q = _tensors.view(query)
    engine, place = _engines.engine_for(query, q)
    k, v = (_tensors.view(array, place.get("stream")) for array in (key, value))
    mask = as_mask(attn_mask, place.get("stream"))
    if isinstance(mask, tuple) and is_causal:
        raise ValueError("CausalBias should not be used with causal=True")
    library = _tensors.Library(query)
    out = library.empty(_output_shape(q.shape, k.shape, v.shape, enable_gqa), float_name(q))
    try:
        _engines.refuse_apart(q, {"key": k, "value": v}, [("attn_mask", mask)])
        report = _core.sdpa(engine, q, k, v, _tensors.view(out), attn_mask=mask, dropout_p=dropout_p, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa,
                            seed=_drawn_seed(query) if dropout_p else 0, backends=_backends.current(), **place)
    except ValueError as error:
        raise RuntimeError(str(error)) from None  # as PyTorch's function
    if _backends.warns_for_unfused() and report.backend == "MATH":
        warn_of_unfused(_reasons(engine, (q, k, v), mask, dropout_p, is_causal, enable_gqa))
    return library.finished(out)


def as_mask(attn_mask: Any, stream: int | None = None) -> Any:
    """A mask as the core takes it: a view, or the numbers of a CausalBias, ours or PyTorch's."""
    if attn_mask is None:
        return None
    if hasattr(attn_mask, "seq_len_q") and hasattr(attn_mask, "variant"):
        return (int(attn_mask.variant), attn_mask.seq_len_q, attn_mask.seq_len_kv)
    return _tensors.view(attn_mask, stream)


def _reasons(engine: _core.Engine, views: tuple[_core.Tensor, _core.Tensor, _core.Tensor], mask: Any, dropout_p: float, is_causal: bool, enable_gqa: bool) -> list[Any]:
    """The verdicts of the fused backends on a call, in the form of an ExplainReport's."""
    verdicts = []
    for backend in (_backends.SDPBackend.FLASH_ATTENTION, _backends.SDPBackend.EFFICIENT_ATTENTION):
        against = _core.sdpa_reasons(engine, int(backend), *views, mask, dropout_p, is_causal, enable_gqa)
        verdicts.append((backend.name, backend.name, _backends.allows(backend), not against, [(name, False, detail) for name, detail in against]))
    return verdicts


def _output_shape(query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], enable_gqa: bool) -> tuple[int, ...]:
    """(..., Hq, L, Ev). Error: RuntimeError, as in PyTorch, where leading dimensions do not broadcast."""
    if any(len(shape) < 2 for shape in (query, key, value)):
        raise RuntimeError(f"query, key and value need at least 2 dimensions, but have {len(query)}, {len(key)} and {len(value)}")
    batch = slice(-3) if enable_gqa else slice(-2)
    try:
        leading = np.broadcast_shapes(query[batch], key[batch], value[batch])
    except ValueError:
        raise RuntimeError(f"the leading dimensions of query {query}, key {key} and value {value} do not broadcast") from None
    heads = query[-3:-2] if enable_gqa else ()
    return (*leading, *heads, query[-2], value[-1])


def _drawn_seed(query: Any) -> int:
    torch = sys.modules.get("torch")
    if torch is not None and _tensors.is_torch(query):
        return int(torch.randint(2**62, ()))
    return int(np.random.randint(2**62))
