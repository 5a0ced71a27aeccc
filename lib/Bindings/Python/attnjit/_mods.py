"""Mods as users have them: text in attnjit's language, Python callables (traced into text), or a Mod, which holds formulas and what they capture."""
from __future__ import annotations

import functools
from typing import Any, Callable, Mapping, Union

import numpy as np

from . import _core, _tensors

ModLike = Union[None, str, Callable[..., Any], "Mod"]

_KINDS = ("score_mod", "mask_mod", "prob_mod")


class Mod:
    """A score_mod, a mask_mod and a prob_mod, each given as text, as a Python callable or as another Mod.

    `captures` names the arrays and numbers that texts refer to; what a callable captures is found by tracing. Another value of a number, or another array of the same
    dtype and rank, is no new compilation.

    >>> alibi = attnjit.Mod("score + slope[h] * (kv_idx - q_idx)", captures={"slope": slopes})
    >>> flex_attention(query, key, value, score_mod=alibi)
    """

    def __init__(self, score_mod: ModLike = None, mask_mod: ModLike = None, prob_mod: ModLike = None, *,
                 captures: Mapping[str, Any] | None = None, module: str = "", module_name: str = "mods"):
        values = dict(captures or {})
        given = dict(zip(_KINDS, (score_mod, mask_mod, prob_mod)))
        texts = {kind: mod for kind, mod in given.items() if isinstance(mod, str)}
        parts: list[Mod] = [as_mod(mod, kind) for kind, mod in given.items() if mod is not None and kind not in texts]
        if texts or not parts:
            core = _parse(texts.get("score_mod", ""), texts.get("mask_mod", ""), texts.get("prob_mod", ""), _declared(values), module, module_name)
            parts.append(bound(core, values))
        elif values:
            raise ValueError("captures are for mods given as text; a callable brings its own")
        joined = parts[0] if len(parts) == 1 else join(parts, _core.chain_mods)
        self.core: _core.Mod = joined.core
        self.captures: dict[str, Any] = joined.captures
        self.text: str = joined.text

    def to_text(self) -> str:
        """The formulas in canonical form: what is compiled."""
        return self.text

    def mask_only(self) -> Mod:
        """The mask_mod alone."""
        return bound(self.core.mask_only(), self.captures)

    def score_only(self) -> Mod:
        """The score_mod alone."""
        return bound(self.core.score_only(), self.captures)

    def arguments(self, convert: Callable[[Any], Any] = lambda array: array, stream: int | None = None) -> list[tuple[str, Any]]:
        """Captures as the core takes them. `convert` is called on arrays first; `stream` is that of a GPU which reads them. The result has to outlive the calls that it is
        given to."""
        return [(name, _tensors.view(convert(value), stream) if _tensors.is_array(value) else value) for name, value in self.captures.items()]

    def arrays(self) -> list[Any]:
        """The captured arrays."""
        return [value for value in self.captures.values() if _tensors.is_array(value)]

    def __and__(self, other: ModLike) -> Mod:
        return join([self, as_mod(other, "mask_mod")], _core.and_masks)

    def __or__(self, other: ModLike) -> Mod:
        return join([self, as_mod(other, "mask_mod")], _core.or_masks)

    def __xor__(self, other: ModLike) -> Mod:
        return join([self, as_mod(other, "mask_mod")], _core.xor_masks)

    def __invert__(self) -> Mod:
        return bound(_core.not_mask(self.core), self.captures)

    def __repr__(self) -> str:
        core = self.core
        there = (not core.score_is_identity, core.has_mask, not core.prob_is_identity)
        kinds = [kind for kind, is_there in zip(_KINDS, there) if is_there]
        return f"<attnjit.Mod: {', '.join(kinds) or 'identity'}; captures: {', '.join(self.captures) or 'none'}>"


def bound(core: _core.Mod, values: Mapping[str, Any]) -> Mod:
    """A Mod of a parsed formula, with the values of what it captures."""
    mod = Mod.__new__(Mod)
    names, mod.text = _described(core)
    mod.core, mod.captures = core, {name: _number(values[name]) for name in names}
    return mod


@functools.lru_cache(maxsize=4096)
def _described(core: _core.Mod) -> tuple[tuple[str, ...], str]:
    """The names of what it captures, and its text."""
    return tuple(name for name, _, _ in core.captures), core.canonical_text()


def _number(value: Any) -> Any:
    """A number of NumPy as Python's; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _declared(values: Mapping[str, Any]) -> tuple[tuple[str, str, int], ...]:
    return tuple((name, *_declaration(name, _number(value))) for name, value in values.items())


def _declaration(name: str, value: Any) -> tuple[str, int]:
    if isinstance(value, bool):
        return "bool", -1
    if isinstance(value, int):
        return "i64", -1
    if isinstance(value, float):
        return "f64", -1
    if not _tensors.is_array(value):
        raise TypeError(f"capture {name!r} is a {type(value).__name__}; a formula captures arrays, floats, ints and bools")
    if _tensors.is_torch(value):  # which may have no elements: inside of a graph
        return _dtype_name(value.dtype), value.dim()
    view = _tensors.view(value)
    return view.dtype, len(view.shape)


@functools.cache
def _dtype_name(dtype: Any) -> str:
    """attnjit's name of a dtype of PyTorch."""
    return _core.dtype_name(str(dtype)[6:])


@functools.lru_cache(maxsize=4096)
def _parse(score: str, mask: str, prob: str, captures: tuple[tuple[str, str, int], ...], module: str, module_name: str) -> _core.Mod:
    return _core.Mod.parse(score, mask, prob, list(captures), module, module_name)


def _parse_one(text: str, kind: str, captures: tuple[tuple[str, str, int], ...]) -> _core.Mod:
    score, mask, prob = (text if kind == other else "" for other in _KINDS)
    return _parse(score, mask, prob, captures, "", "mods")


def as_mod(mod: ModLike, kind: str) -> Mod:
    """What a user gave for `kind`, parsed. A Mod may hold formulas of other kinds besides."""
    if isinstance(mod, Mod):
        return mod
    if mod is None:
        return _nothing()
    if isinstance(mod, str):
        return bound(_parse_one(mod, kind, ()), {})
    if not callable(mod):
        raise TypeError(f"{kind} is a {type(mod).__name__}; expected text, a callable or an attnjit.Mod")
    from ._trace import trace

    traced = trace(mod, kind)
    return bound(_parse_one(traced.text, kind, _declared(traced.captures)), traced.captures)


@functools.cache
def _nothing() -> Mod:
    """No formula at all."""
    return bound(_core.Mod(), {})


def _is_same(a: Any, b: Any) -> bool:
    return a is b or (not _tensors.is_array(a) and not _tensors.is_array(b) and type(a) is type(b) and a == b)


def renamed_apart(mod: Mod, taken: Mapping[str, Any]) -> Mod:
    """The mod with other names for captures that are called like something else in `taken`."""
    names = []
    for name, value in mod.captures.items():
        free, number = name, 1
        while (free in taken and not _is_same(taken[free], value)) or (free != name and free in mod.captures):
            free, number = f"{name}_{number}", number + 1
        names.append(free)
    if names == list(mod.captures):
        return mod
    return bound(mod.core.with_capture_names(names), dict(zip(names, mod.captures.values())))


def join(mods: list[Mod], operation: Callable[[list[_core.Mod]], _core.Mod]) -> Mod:
    """Several mods as one; captures that happen to have the same name stay apart."""
    values: dict[str, Any] = {}
    apart = []
    for mod in mods:
        mod = renamed_apart(mod, values)
        values.update(mod.captures)
        apart.append(mod.core)
    return bound(operation(apart), values)
