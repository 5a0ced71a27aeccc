"""mask_mods joined by logic, and the question which kind of mod a callable is."""
from __future__ import annotations

import inspect
from functools import reduce
from typing import Any, Callable

from ..._mods import Mod, ModLike


def noop_mask(batch: Any, head: Any, token_q: Any, token_kv: Any) -> Any:
    """The mask_mod that lets every query see every key."""
    return token_kv >= 0


def _all_callable(masks: tuple[ModLike, ...]) -> bool:
    for mask in masks:
        if not callable(mask) and not isinstance(mask, (str, Mod)):
            raise RuntimeError(f"All inputs should be callable mask_mods, text or attnjit.Mod: {masks}")
    return all(callable(mask) for mask in masks)


def and_masks(*mask_mods: ModLike) -> Any:
    """A mask_mod that says True where all of them do. Of callables it is a callable, else an attnjit.Mod."""
    if not _all_callable(mask_mods):
        return reduce(lambda all_, mask: all_ & mask, mask_mods[1:], Mod(mask_mod=mask_mods[0]).mask_only())

    def and_mask(b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        result = noop_mask(b, h, q_idx, kv_idx)
        for mask in mask_mods:
            result = result & mask(b, h, q_idx, kv_idx)  # type: ignore[operator, misc]
        return result

    return and_mask


def or_masks(*mask_mods: ModLike) -> Any:
    """A mask_mod that says True where any of them does. Of callables it is a callable, else an attnjit.Mod."""
    if not _all_callable(mask_mods):
        return reduce(lambda any_, mask: any_ | mask, mask_mods[1:], Mod(mask_mod=mask_mods[0]).mask_only())

    def or_mask(b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        result = kv_idx < 0
        for mask in mask_mods:
            result = result | mask(b, h, q_idx, kv_idx)  # type: ignore[operator, misc]
        return result

    return or_mask


def kind_of(mod: Callable[..., Any] | str | Mod) -> str:
    """"score_mod" or "mask_mod", by the number of arguments without defaults; text is a mask_mod. Error:
    AssertionError for another number."""
    if isinstance(mod, Mod):
        return "mask_mod" if mod.core.score_is_identity else "score_mod"
    if isinstance(mod, str):
        return "mask_mod"
    parameters = inspect.signature(mod).parameters.values()
    positional = [p for p in parameters if p.default is inspect.Parameter.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) not in (4, 5):
        raise AssertionError(f"Expected 4 or 5 positional args, got {len(positional)}")
    return "score_mod" if len(positional) == 5 else "mask_mod"
