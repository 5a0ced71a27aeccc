"""One forward call: operands of any library, mods of any form, results in the library of query. Everything public goes through here."""
from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any, Mapping

from . import _backends, _core, _engines, _tensors
from ._display import Stages
from ._mods import Mod, ModLike, as_mod, renamed_apart

if TYPE_CHECKING:
    from .nn.attention.flex_attention import BlockMask

_log = logging.getLogger("attnjit")


class Prepared:
    """A call with the arrays that it reads and writes, which live as long as this does."""

    def __init__(self, query: Any, key: Any, value: Any, *, score_mod: ModLike = None, mask_mod: ModLike = None, prob_mod: ModLike = None,
                 block_mask: BlockMask | None = None, scale: float | None = None, lse: bool = False, max_scores: bool = False, out: Any = None,
                 kernel_options: Mapping[str, Any] | None = None, **options: Any):
        if block_mask is not None:
            from .nn.attention._torch_block_mask import as_ours

            block_mask = as_ours(block_mask)
        query, key, value = _tensors.autocast(query, key, value)
        q = _tensors.view(query)
        self.engine, place = _engines.engine_for(query, q)
        stream = place.get("stream")
        k, v = _tensors.view(key, stream), _tensors.view(value, stream)
        library = _tensors.Library(query)
        self.library = library
        self.mod = self._formula(score_mod, mask_mod, prob_mod, block_mask)
        _tensors.refuse_gradients({"query": query, "key": key, "value": value}, self.mod.captures, options)
        self.out = out if out is not None else library.empty((*q.shape[:3], v.shape[-1]), float_name(q), _tensors.memory_order(q.strides))
        statistics = "float64" if q.dtype == "f64" else "float32"
        self.lse = library.empty(q.shape[:3], statistics) if lse else None
        self.max_scores = library.empty(q.shape[:3], statistics) if max_scores else None
        core_options: dict[str, Any] = {**place, **{name: _option(value, stream) for name, value in options.items() if value is not None}}
        captures = self.mod.arguments(stream=stream)
        written, blocks = _tensors.view(self.out), None if block_mask is None else block_mask.core
        _engines.refuse_apart(q, {"key": k, "value": v, "out": written}, [*captures, *core_options.items(), *(() if block_mask is None else block_mask.arguments)])
        self._kept = (q, k, v, captures, block_mask, core_options)
        given = {"scale": scale, "lse": _view(self.lse), "max_scores": _view(self.max_scores), "block_mask": blocks, "backends": _backends.current()}
        self.call = _core.Call(self.mod.core, q, k, v, written, captures, **{name: value for name, value in given.items() if value is not None}, **core_options)
        if kernel_options:
            for note in self.call.apply_kernel_options(dict(kernel_options)):
                _log.debug("kernel_options: %s", note)

    @staticmethod
    def _formula(score_mod: ModLike, mask_mod: ModLike, prob_mod: ModLike, block_mask: BlockMask | None) -> Mod:
        """All that is computed, but for the mask of the block mask, which the core adds: its captures keep their names."""
        mod = as_mod(score_mod, "score_mod") if mask_mod is None and prob_mod is None else Mod(score_mod, mask_mod, prob_mod)
        return renamed_apart(mod, block_mask.formula.captures) if block_mask is not None else mod

    def run(self) -> _core.Report:
        """Computes the call."""
        report = self.engine.forward(self.call)
        if _backends.warns_for_unfused() and report.backend == "MATH":
            warn_of_unfused(self.engine.explain(self.call).backends)
        return report

    def result(self, array: Any) -> Any:
        """An output as the user gets it."""
        return None if array is None else self.library.finished(array)


def _view(array: Any) -> _core.Tensor | None:
    return None if array is None else _tensors.view(array)


def _option(value: Any, stream: int | None) -> Any:
    """Arrays among the options, alone or first in a tuple, as the core takes them."""
    if _tensors.is_array(value):
        return _tensors.view(value, stream)
    if isinstance(value, tuple) and value and _tensors.is_array(value[0]):
        return (_tensors.view(value[0], stream), *value[1:])
    return value


def float_name(view: _core.Tensor) -> str:
    """The dtype of query by PyTorch's name. Error: TypeError for what no output can be of."""
    if view.dtype not in _tensors.LONG_NAMES:
        raise TypeError(f"query is of {view.dtype}; attention is computed on floats")
    return _tensors.LONG_NAMES[view.dtype]


def warn_of_unfused(backends: list[tuple[str, str, bool, bool, list[tuple[str, bool, str]]]]) -> None:
    """A warning for each fused backend that was allowed and refused, with every reason."""
    for backend, _, allowed, accepted, reasons in backends:
        if allowed and not accepted and backend != "MATH":
            why = "; ".join(f"{predicate}: {detail}" for predicate, ok, detail in reasons if not ok)
            warnings.warn(f"{backend} can't be used because: {why}", stacklevel=4)


def attention(query: Any, key: Any, value: Any, *, score_mod: ModLike = None, mask_mod: ModLike = None, prob_mod: ModLike = None,
              block_mask: BlockMask | None = None, scale: float | None = None, out: Any = None, return_lse: bool = False, return_max_scores: bool = False,
              sinks: Any = None, softcap: float = 0.0, dropout: tuple[float, int, int] | None = None, q_descale: Any = None, k_descale: Any = None,
              v_descale: Any = None, pages: tuple[Any, int] | None = None, threads: int = 0, tiles: tuple[int, int] | None = None,
              when_missing: str | None = None) -> Any:
    """Attention with all that the engine offers; flex_attention is the part of it that PyTorch has.

    query [B, Hq, M, D], key [B or 1, Hkv, N, D], value [B or 1, Hkv, N, Dv]; heads of query may share those of key. Arrays may be of any library that speaks DLPack or
    the buffer protocol, with any strides; key and value may be of a narrower dtype than query.

    Args:
        score_mod, mask_mod, prob_mod: text, a callable or a Mod; prob_mod(p, b, h, q_idx, kv_idx) acts on the normalised softmax.
        block_mask: which blocks are looked at; its mask_mod is used if none is given here.
        scale: 1 / sqrt(D) if None.
        out: array to write to, of any float dtype; a new one of query's if None.
        return_lse, return_max_scores: also return these, [B, Hq, M], as in `out, lse, max_scores = ...`.
        sinks: [Hq], one logit of each head that takes its share of the softmax.
        softcap: scores become softcap * tanh(score / softcap) before score_mod sees them; 0 for none.
        dropout: (p, seed, offset); the same numbers drop the same pairs.
        q_descale, k_descale, v_descale: f32 [B or 1, Hkv or 1], factors of quantized operands.
        pages: (page table [B or 1, pages], number of keys): key and value are pools of pages [P, Hkv, page size, D].
        threads: at most so many; 0 for as many as PyTorch uses, where that is imported, else the engine's setting. Never changes the result.
        tiles: query rows and keys per tile, for tuning.
        when_missing: "wait" for the best kernel, or "fallback" to another while it is compiled.
    """
    prepared = Prepared(query, key, value, score_mod=score_mod, mask_mod=mask_mod, prob_mod=prob_mod, block_mask=block_mask, scale=scale,
                        lse=return_lse, max_scores=return_max_scores, out=out, sinks=sinks, softcap=float(softcap), dropout=dropout, q_descale=q_descale,
                        k_descale=k_descale, v_descale=v_descale, pages=pages, threads=threads or None, tiles=tiles, when_missing=when_missing)
    prepared.run()
    results = [prepared.result(prepared.out)]
    if return_lse:
        results.append(prepared.result(prepared.lse))
    if return_max_scores:
        results.append(prepared.result(prepared.max_scores))
    return results[0] if len(results) == 1 else tuple(results)


def explain(query: Any, key: Any, value: Any, **options: Any) -> _core.ExplainReport:
    """Which backend computes such a call, and every backend's reasons, without compiling. Options are those of attention()."""
    prepared = Prepared(query, key, value, **options)
    return prepared.engine.explain(prepared.call)


def prepare(query: Any, key: Any, value: Any, **options: Any) -> _core.Kernel:
    """The kernel that attention() would run, compiled if need be."""
    prepared = Prepared(query, key, value, **options)
    return prepared.engine.prepare(prepared.call)


def stages(query: Any, key: Any, value: Any, *, stop_after: str = "", **options: Any) -> Stages:
    """The text of every stage on the way to the kernel of a call: attn, tile, vector, llvm, ll, asm."""
    prepared = Prepared(query, key, value, **options)
    return Stages(prepared.engine.stages(prepared.call, stop_after))
