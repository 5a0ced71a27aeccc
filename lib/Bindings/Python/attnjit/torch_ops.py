"""attnjit inside PyTorch's graphs: the custom operator `attnjit::flex_attention`, and how formulas reach it.

A formula goes into a graph as text and what it captured as operands, so that a graph can be saved, shows its data dependencies and needs no table of
Python functions beside it. flex_attention takes this way by itself where PyTorch makes a graph (torch.compile, torch.export, make_fx); eager calls do not.

Under torch.compile a score_mod may capture what exists inside the graph only. PyTorch has one mechanism for functions as operands, higher order
operators: Dynamo traces the functions into small graphs and makes operands of what they capture. `attnjit_flex_attention` (_higher_order.py) is such an
operator. It is gone before any backend sees it: wherever it is called, it turns the small graphs into formulas and calls the custom operator.
"""

from __future__ import annotations

import functools
import json
from typing import Any, Callable, NamedTuple, NoReturn, Optional, Sequence, Union

import torch
from torch import Tensor

from . import _core, _tensors
from ._forward import Prepared
from ._mods import Mod, ModLike, bound
from ._trace import trace

_NO_GRADIENTS = ("attnjit has no backward pass yet: compute under torch.no_grad() or torch.inference_mode(), pass detached tensors, or train with "
                 "PyTorch's own attention")


class Formula(NamedTuple):
    """A mod as a graph holds it."""

    kind: str                 #: "score_mod", "mask_mod", or "canonical" for the canonical text of a Mod
    text: str
    captures: dict[str, Any]  #: tensors and numbers, of the graph that is being made


class Blocks(NamedTuple):
    """The lists of a block mask where they decide; `sizes` are queries, keys, queries of a block, keys of a block."""

    sizes: tuple[int, ...] = ()
    lists: tuple[Tensor, ...] = ()


def in_graph(query: Tensor, key: Tensor, value: Tensor, score_mod: ModLike, mask_mod: ModLike, blocks: Blocks, scale: Optional[float],
             kernel_options: Any, lse: bool, max_scores: bool, sinks: Optional[Tensor] = None) -> tuple[Tensor, Optional[Tensor], Optional[Tensor]]:
    """One call of flex_attention as part of a graph that is being made: (out [B, Hq, L, Ev], lse [B, Hq, L], max_scores [B, Hq, L]), the last two None
    unless wanted. query [B, Hq, L, E], key [B or 1, Hkv, S, E], value [B or 1, Hkv, S, Ev], sinks [Hq], which have been checked.
    """
    query, key, value = _tensors.autocast(query, key, value)
    options = {"kernel_options": dict(kernel_options or {}), "lse": lse, "max_scores": max_scores}
    if torch.compiler.is_dynamo_compiling():
        results = _in_dynamo(query, key, value, score_mod, mask_mod, blocks, scale, options, sinks)
    else:
        formulas = [_formula(mod, kind) for mod, kind in ((score_mod, "score_mod"), (mask_mod, "mask_mod")) if mod is not None]
        results = call(formulas, query, key, value, blocks, scale, options, sinks)
    return results[0], results[1] if lse else None, results[2] if max_scores else None


def _formula(mod: Union[str, Callable[..., Any], Mod], kind: str) -> Formula:
    if isinstance(mod, str):
        return Formula(kind, mod, {})
    if isinstance(mod, Mod):
        return Formula("canonical", mod.text, mod.captures)
    traced = trace(mod, kind)
    return Formula(kind, traced.text, traced.captures)


def _in_dynamo(query: Tensor, key: Tensor, value: Tensor, score_mod: ModLike, mask_mod: ModLike, blocks: Blocks, scale: Optional[float],
               options: dict[str, Any], sinks: Optional[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Through the higher order operator. Text travels among its options, and what a Mod captured, and sinks, beside the block mask's lists."""
    score_fn, score_text, score_captures = _as_function(score_mod, "score_mod", _same_score)
    mask_fn, mask_text, mask_captures = _as_function(mask_mod, "mask_mod", _all_visible)
    options = {**options, "texts": (score_text, mask_text), "lists": len(blocks.lists), "sinks": sinks is not None}
    block_mask = (*blocks.sizes, *blocks.lists, *score_captures, *mask_captures, *(() if sinks is None else (sinks,)), mask_fn)
    return higher_order(query, key, value, score_fn, block_mask, scale, options)


def _as_function(mod: ModLike, kind: str, default: Callable[..., Any]) -> tuple[Callable[..., Any], Optional[tuple[Any, ...]], tuple[Any, ...]]:
    """A mod as a function for Dynamo to trace; what says the formula in its place, () where there is none; and what that captured."""
    if mod is None:
        return default, (), ()
    if isinstance(mod, str):
        return default, (kind, mod, ()), ()
    if isinstance(mod, Mod):
        return default, ("canonical", mod.text, tuple(mod.captures)), tuple(mod.captures.values())
    return mod, None, ()


def _same_score(score: Any, b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return score


def _all_visible(b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return b >= 0


def call(formulas: Sequence[Formula], query: Tensor, key: Tensor, value: Tensor, blocks: Blocks, scale: Optional[float], options: dict[str, Any],
         sinks: Optional[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Calls the operator with formulas and what they captured."""
    operands: dict[str, list[Any]] = {"tensor": [], "int": [], "bool": [], "float": []}
    described = []
    for formula in formulas:
        kinds = {name: _kind(value) for name, value in formula.captures.items()}
        for name, kind in kinds.items():
            operands[kind].append(formula.captures[name])
        described.append([formula.kind, formula.text, kinds])
    return _operator(query, key, value, json.dumps(described), operands["tensor"], operands["int"], operands["bool"], operands["float"],
                     list(blocks.lists), list(blocks.sizes), scale, json.dumps(options, sort_keys=True), sinks)


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return "tensor"
    if isinstance(value, (bool, torch.SymBool)):
        return "bool"
    return "int" if isinstance(value, (int, torch.SymInt)) else "float"


# --- the operator ---


@torch.library.custom_op("attnjit::flex_attention", mutates_args=())
def _operator(query: Tensor, key: Tensor, value: Tensor, formulas: str, tensors: Sequence[Tensor], ints: Sequence[int], bools: Sequence[bool],
              floats: Sequence[float], lists: Sequence[Tensor], sizes: Sequence[int], scale: Optional[float],
              options: str, sinks: Optional[Tensor] = None) -> tuple[Tensor, Tensor, Tensor]:
    """`formulas` is JSON: [[kind, text, {name: kind of capture}]]; each capture is the next of the list of its kind."""
    from .nn.attention.flex_attention import BlockMask

    wanted = _read(options)
    out, lse, most = _outputs(query, value, wanted)
    mod, block_mask = _mod(formulas, tensors, ints, bools, floats), None
    if lists:
        counts, indices, full_counts, full_indices = (*lists, None, None)[:4]
        block_mask = BlockMask.from_kv_blocks(counts, indices, full_counts, full_indices, (sizes[2], sizes[3]), mod.mask_only(), (sizes[0], sizes[1]))
        mod = mod.score_only()
    prepared = Prepared(query, key, value, score_mod=mod, block_mask=block_mask, scale=scale, out=out, lse=wanted["lse"], max_scores=wanted["max_scores"],
                        kernel_options=wanted["kernel_options"], sinks=sinks)
    prepared.run()
    return out, lse if prepared.lse is None else prepared.lse, most if prepared.max_scores is None else prepared.max_scores


@_operator.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, formulas: str, tensors: Any, ints: Any, bools: Any, floats: Any, lists: Any, sizes: Any, scale: Any,
      options: str, sinks: Any = None) -> tuple[Tensor, Tensor, Tensor]:
    return _outputs(query, value, _read(options))


@functools.lru_cache(maxsize=1024)
def _read(options: str) -> dict[str, Any]:
    wanted: dict[str, Any] = json.loads(options)
    return wanted


def _no_backward(context: Any, *gradients: Any) -> NoReturn:
    raise NotImplementedError(_NO_GRADIENTS)


_operator.register_autograd(_no_backward)


def _outputs(query: Tensor, value: Tensor, wanted: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Room for the results; out lies in memory as query does."""
    library, rows = _tensors.Library(query), query.shape[:3]
    out = library.empty((*rows, value.shape[-1]), str(query.dtype)[6:], _tensors.memory_order(query.stride()))
    statistics = torch.float64 if query.dtype == torch.float64 else torch.float32
    lse, most = (query.new_empty(rows if wanted[name] else (0,), dtype=statistics) for name in ("lse", "max_scores"))
    return out, lse, most


def _mod(formulas: str, *values: Sequence[Any]) -> Mod:
    waiting = dict(zip(("tensor", "int", "bool", "float"), map(iter, values)))
    captured = [next(waiting[kind]) for kind in _kinds(formulas)]
    declared = tuple((str(value.dtype)[6:], value.dim()) if isinstance(value, Tensor) else (_NUMBERS[type(value)], -1) for value in captured)
    core, names = _parsed(formulas, declared)
    return bound(core, dict(zip(names, captured)))


_NUMBERS = {bool: "bool", int: "int64", float: "float64"}


@functools.lru_cache(maxsize=4096)
def _kinds(formulas: str) -> tuple[str, ...]:
    return tuple(kind for _, _, captures in json.loads(formulas) for kind in captures.values())


@functools.lru_cache(maxsize=4096)
def _parsed(formulas: str, declared: tuple[tuple[str, int], ...]) -> tuple[_core.Mod, tuple[str, ...]]:
    """All formulas as one, and what it calls the captures, in the order of `declared`."""
    parts, names, waiting = [], [], iter(declared)
    for kind, text, captures in json.loads(formulas):
        own = [(name, *next(waiting)) for name in captures]
        core = _core.Mod.parse_canonical(text) if kind == "canonical" else _core.Mod.parse(**{kind: text}, captures=own)
        new: dict[str, str] = {}
        for name in captures:
            new[name], count = name, 1
            while new[name] in names or new[name] != name and new[name] in captures:
                count += 1
                new[name] = f"{name}_{count}"
            names.append(new[name])
        parts.append(core.with_capture_names([new[name] for name, _, _ in core.captures]))
    return (parts[0] if len(parts) == 1 else _core.chain_mods(parts) if parts else _core.Mod()), tuple(names)


from ._higher_order import higher_order  # noqa: E402  it needs `call`
