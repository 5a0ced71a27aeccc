"""PyTorch's own BlockMask as ours, and ours as a tree of tensors for PyTorch."""
from __future__ import annotations

import functools
import sys
from typing import Any
from weakref import WeakKeyDictionary

from ... import _tensors
from ..._mods import Mod, ModLike, bound
from ._block_mask import LISTS, BlockMask

_known: WeakKeyDictionary[Any, tuple[tuple[Any, ...], BlockMask]] = WeakKeyDictionary()


def is_theirs(mask: Any) -> bool:
    """Whether this is a BlockMask of PyTorch."""
    module = sys.modules.get("torch.nn.attention.flex_attention")
    return module is not None and isinstance(mask, module.BlockMask)


def as_ours(mask: Any) -> Any:
    """A BlockMask of PyTorch as one of ours, whose blocks are those that its lists have; anything else as it is. It is converted once, as long as its attributes stay the
    same tensors and nobody writes to them."""
    if not is_theirs(mask):
        return mask
    lists = tuple(getattr(mask, name) for name in LISTS)
    state = (mask.seq_lengths, mask.BLOCK_SIZE, mask.mask_mod, *((array, None if array is None else array._version) for array in lists))
    known = _known.get(mask)
    if known is None or not _is_same(known[0], state):
        counts, indices, full_counts, full_indices = lists
        made = BlockMask.from_kv_blocks(counts, indices, full_counts, full_indices, mask.BLOCK_SIZE, mask.mask_mod, mask.seq_lengths, mask.q_indices is not None)
        known = _known[mask] = state, made
    return known[1]


def _is_same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Like ==, but of functions and tensors that are the same."""
    return all(_is_same(a, b) if isinstance(a, tuple) else a == b if isinstance(a, int) else a is b for a, b in zip(one, other))


def in_graph(mask: Any) -> tuple[ModLike, tuple[int, ...], tuple[Any, ...]]:
    """For a graph that is being made: the mask_mod, and where lists decide besides, the sizes and the lists that torch_ops.Blocks has."""
    if not is_theirs(mask):
        parts: tuple[ModLike, tuple[int, ...], tuple[Any, ...]] = mask._in_graph()
        return parts
    lists = (getattr(mask, name) for name in LISTS)
    return mask.mask_mod, (*mask.seq_lengths, *mask.BLOCK_SIZE), tuple(array for array in lists if array is not None)


# --- ours as a tree


class _Rest:
    """All of a mask but its tensors. Two are equal if masks differ in their tensors only."""

    def __init__(self, mask: BlockMask):
        self.mask = mask
        mod = mask._moved(mask.formula)
        numbers = tuple((name, value) for name, value in mod.captures.items() if not _tensors.is_array(value))
        self._says = (mod.text, numbers, mask.shape, mask.BLOCK_SIZE, tuple(_lists(mask)), mask._is_derived, mask.dq_kv_order_spt)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Rest) and self._says == other._says

    def __hash__(self) -> int:
        return hash(self._says)


def _lists(mask: BlockMask) -> dict[str, Any]:
    """The lists that decide."""
    named = {} if mask._is_derived else {name: getattr(mask, name) for name in LISTS}
    return {name: array for name, array in named.items() if array is not None}


def _arrays(formula: Mod) -> dict[str, Any]:
    return {name: value for name, value in formula.captures.items() if _tensors.is_array(value)}


def flatten(mask: BlockMask) -> tuple[list[Any], _Rest]:
    """The lists that decide, if blocks do not follow from the mask_mod, and the tensors that it captures."""
    return [*_lists(mask).values(), *_arrays(mask.formula).values()], _Rest(mask)


def flatten_with_keys(mask: BlockMask) -> tuple[list[tuple[Any, Any]], _Rest]:
    """The same with names."""
    from torch.utils._pytree import GetAttrKey

    leaves, rest = flatten(mask)
    names = [*_lists(mask), *(f"mask_mod_{name}" for name in _arrays(mask.formula))]
    return [(GetAttrKey(name), leaf) for name, leaf in zip(names, leaves)], rest


def unflatten(leaves: Any, rest: _Rest) -> BlockMask:
    """The mask with other tensors: blocks that follow from the mask_mod stay what they are."""
    mask, leaves = rest.mask, list(leaves)
    lists, arrays = _lists(mask), _arrays(mask.formula)
    if all(new is old for new, old in zip(leaves, (*lists.values(), *arrays.values()))):
        return mask
    count = len(lists)
    formula = bound(mask.formula.core, {**mask.formula.captures, **dict(zip(arrays, leaves[count:]))})
    return mask._with_tensors(formula, dict(zip(lists, leaves[:count])))


@functools.cache
def register() -> None:
    """Makes trees of BlockMask known to PyTorch, for arguments of what torch.export, make_fx or torch.utils._pytree see."""
    from torch.utils import _pytree

    _pytree.register_pytree_node(BlockMask, flatten, unflatten, flatten_with_keys_fn=flatten_with_keys, serialized_type_name="attnjit.BlockMask")
