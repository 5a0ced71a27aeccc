"""Attention over pieces of the keys, put together."""
from __future__ import annotations

from typing import Any, Sequence

from . import _core, _tensors


def merge_states(parts: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Attention over all keys from attention over pieces of them: split sequences, shared prefixes, keys on several machines.

    Args:
        parts: (out, lse) of each piece, as `attention(..., return_lse=True)` gives them. Sinks belong to one of the pieces.

    Returns:
        out and lse over all of them, in the library of the first. A row that saw nothing anywhere is 0, with lse -inf.
    """
    views = [(_tensors.view(out), _tensors.view(lse)) for out, lse in parts]
    if not views:
        raise ValueError("merge_states: there is no part to merge")
    if any(view.on_gpu for part in views for view in part):
        return _merge_on_gpu(parts)
    library = _tensors.Library(parts[0][0])
    first_out, first_lse = views[0]
    out, lse = (library.empty(view.shape, _tensors.LONG_NAMES[view.dtype]) for view in (first_out, first_lse))
    _core.merge_states(views, _tensors.view(out), _tensors.view(lse))
    return library.finished(out), library.finished(lse)


def _merge_on_gpu(parts: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """The same by operations of PyTorch, on its current stream."""
    if not all(_tensors.is_torch(array) for part in parts for array in part):
        raise NotImplementedError("merge_states on a GPU computes with PyTorch: pass the parts through torch.from_dlpack")
    import torch

    states = torch.stack([lse for _, lse in parts])
    lse = torch.logsumexp(states, 0)
    weights = torch.exp(states - lse).nan_to_num(0.0)  # a row that saw nothing: -inf less -inf
    out = sum(part.to(weights.dtype) * weight[..., None] for (part, _), weight in zip(parts, weights))
    return out.to(parts[0][0].dtype), lse
