"""The names of torch.nn.attention.varlen: attention over packed sequences of different lengths."""
from __future__ import annotations

from typing import Any, NamedTuple

from ... import _backends, _core, _engines, _tensors
from ..._forward import float_name
from ..._mods import Mod, ModLike

__all__ = ["varlen_attn", "varlen_attn_out", "AuxRequest"]


class AuxRequest(NamedTuple):
    """Which auxiliary outputs varlen_attn is to return."""

    lse: bool = False


def varlen_attn(query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any | None, max_q: int, max_k: int, *, return_aux: AuxRequest | None = None,
                scale: float | None = None, window_size: tuple[int, int] = (-1, -1), enable_gqa: bool = False, seqused_k: Any | None = None,
                block_table: Any | None = None, num_splits: int | None = None, score_mod: ModLike = None, mask_mod: ModLike = None) -> Any:
    """Attention of each packed sequence for itself; on the CPU, of any float dtype.

    Args:
        query: (Tq, Hq, D), the tokens of all sequences one after another.
        key, value: (Tk, Hkv, D); with block_table a pool (pages, page size, Hkv, D).
        cu_seq_q, cu_seq_k: (N + 1,), prefix sums of the lengths, checked. cu_seq_k is None with block_table.
        max_q, max_k: no sequence may be longer; checked.
        return_aux: also return the log-sum-exp, (Hq, Tq).
        scale: 1 / sqrt(D) if None.
        window_size: keys that a query sees to the left and to the right of its own place, counted from the end of both sequences; -1 for all. (-1, 0) is causal.
        enable_gqa: heads of query share those of key.
        seqused_k: (N,), only so many keys of each sequence are used.
        block_table: (N, pages), the pages of each sequence; needs seqused_k. It and the lengths are read on the host: those on a GPU are copied, which waits for its stream.
        num_splits: without effect: a sequence has the same bits whatever it is packed with.
        score_mod, mask_mod: not in PyTorch. b is the number of the sequence, and positions are counted inside it.
    """
    q, v = _tensors.view(query), _tensors.view(value)
    out = _tensors.Library(query).empty((*q.shape[:-1], *v.shape[-1:]), float_name(q))
    return varlen_attn_out(out, query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, return_aux=return_aux, scale=scale, window_size=window_size,
                           enable_gqa=enable_gqa, seqused_k=seqused_k, block_table=block_table, num_splits=num_splits, score_mod=score_mod, mask_mod=mask_mod)


def varlen_attn_out(out: Any, query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any | None, max_q: int, max_k: int, *,
                    return_aux: AuxRequest | None = None, scale: float | None = None, window_size: tuple[int, int] = (-1, -1), enable_gqa: bool = False,
                    seqused_k: Any | None = None, block_table: Any | None = None, num_splits: int | None = None, score_mod: ModLike = None,
                    mask_mod: ModLike = None) -> Any:
    """varlen_attn into an array of the caller's, of any float dtype, which is returned."""
    window = (-1, -1) if window_size is None else tuple(window_size)
    if len(window) != 2:
        raise ValueError(f"window_size must have length 2, got {len(window)}")
    q = _tensors.view(query)
    engine, place = _engines.engine_for(query, q)
    stream = place.get("stream")
    k, v = _tensors.view(key, stream), _tensors.view(value, stream)
    _check_heads(q.shape, k.shape, enable_gqa)
    mod = Mod(score_mod, mask_mod)
    _tensors.refuse_gradients({"query": query, "key": key, "value": value}, mod.captures)
    library = _tensors.Library(query)
    lse = library.empty((q.shape[1], q.shape[0]), "float64" if q.dtype == "f64" else "float32") if return_aux is not None and return_aux.lse else None
    lengths = {"cu_seq_q": cu_seq_q, "cu_seq_k": cu_seq_k, "seqused_k": seqused_k, "block_table": block_table}
    read = {name: _tensors.view(_tensors.on_host(array)) for name, array in lengths.items() if array is not None}
    written, captures = _tensors.view(out), mod.arguments(stream=stream)
    _engines.refuse_apart(q, {"key": k, "value": v, "out": written}, captures)
    _core.varlen(engine, mod.core, q, k, v, written, captures=captures, window=window, enable_gqa=enable_gqa, scale=scale,
                 max_q=None if max_q is None else int(max_q), max_k=None if max_k is None or block_table is not None else int(max_k),
                 lse=None if lse is None else _tensors.view(lse), backends=_backends.current(), **read, **place)
    return library.finished(out) if lse is None else (library.finished(out), library.finished(lse))


def _check_heads(q: tuple[int, ...], k: tuple[int, ...], enable_gqa: bool) -> None:
    if len(q) != 3 or len(k) not in (3, 4):
        raise ValueError(f"query is (Tq, Hq, D) and key (Tk, Hkv, D) or (pages, page size, Hkv, D), but they have {len(q)} and {len(k)} dimensions")
    if not enable_gqa and q[1] != k[-2]:
        raise ValueError(f"Expect query and key/value to have the same number of heads but got Hq={q[1]} and Hkv={k[-2]}. Try setting enable_gqa=True for GQA.")
    if enable_gqa and (k[-2] == 0 or q[1] % k[-2] != 0):
        raise ValueError(f"Expect number of query heads to be a multiple of kv heads for GQA but got Hq={q[1]} and Hkv={k[-2]}.")
