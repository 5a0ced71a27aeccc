"""The names of torch.nn.attention.experimental._scaled_dot_product_attention_quantized: operands of 8 bits with a factor for each head."""
from __future__ import annotations

import enum
from typing import Any

from .... import _backends, _core, _engines, _tensors

__all__ = ["DescaleType", "_scaled_dot_product_attention_quantized"]


class DescaleType(enum.IntEnum):
    """What a factor belongs to."""

    PER_HEAD = 0
    """Descales are (batch size, heads of key)."""


def _scaled_dot_product_attention_quantized(query: Any, key: Any, value: Any, is_causal: bool = False, scale: float | None = None, q_descale: Any = None,
                                            k_descale: Any = None, v_descale: Any = None, q_descale_type: DescaleType = DescaleType.PER_HEAD,
                                            k_descale_type: DescaleType = DescaleType.PER_HEAD,
                                            v_descale_type: DescaleType = DescaleType.PER_HEAD) -> Any:
    """Attention of elements that stand for themselves times the factor of their batch and head; on CPUs too, of any float dtype. The output is bfloat16.

    Args:
        query, key, value: (N, Hq, L, E), (N, H, S, E) and (N, H, S, Ev).
        is_causal: query i sees keys j <= i.
        scale: 1 / sqrt(E) if None.
        q_descale, k_descale, v_descale: float32 (N, H); 1 if None.
    """
    q = _tensors.view(query)
    engine, place = _engines.engine_for(query, q)
    stream = place.get("stream")
    k, v = _tensors.view(key, stream), _tensors.view(value, stream)
    _tensors.refuse_gradients({"query": query, "key": key, "value": value})
    descales = {"q_descale": q_descale, "k_descale": k_descale, "v_descale": v_descale}
    views = {name: None if array is None else _checked(name, _tensors.view(array, stream), (q.shape[0], k.shape[1])) for name, array in descales.items()}
    library = _tensors.Library(query)
    out = library.empty((*q.shape[:-1], v.shape[-1]), "bfloat16")
    _engines.refuse_apart(q, {"key": k, "value": v}, views.items())
    _core.sdpa(engine, q, k, v, _tensors.view(out), is_causal=is_causal, scale=scale, enable_gqa=q.shape[1] != k.shape[1],
               backends=_backends.current(), **views, **place)
    return library.finished(out)


def _checked(name: str, view: _core.Tensor, shape: tuple[int, int]) -> _core.Tensor:
    """The view. Error: ValueError for another dtype or shape, as in PyTorch."""
    if view.dtype != "f32":
        raise ValueError(f"{name} must have dtype float32, got {view.dtype}")
    if view.shape != shape:
        raise ValueError(f"{name} must be of shape (batch size, heads of key) = {shape}, got {view.shape}")
    return view
