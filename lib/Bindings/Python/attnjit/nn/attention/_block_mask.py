"""BlockMask: which blocks of keys each block of queries sees. It holds runs of blocks in the core, and makes index tensors when they are asked for."""
from __future__ import annotations

import warnings
from typing import Any, Sequence

import numpy as np

from ... import _core, _tensors
from ..._display import CELLS, PICTURES, block_mask_html
from ..._mods import Mod, ModLike, as_mod, bound
from ._dq_order import write_orders
from ._mask_logic import kind_of, noop_mask

_DEFAULT_BLOCK_SIZE = 128
_TENSORS = ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices", "q_num_blocks", "q_indices", "full_q_num_blocks", "full_q_indices")
LISTS = _TENSORS[:4]  #: those that decide
_DQ = ("dq_write_order", "dq_write_order_full", "dq_kv_order", "dq_kv_order_spt")


def _sliced_mask_mod_error(batch: Any, head: Any, token_q: Any, token_kv: Any) -> Any:
    raise RuntimeError("a BlockMask that was indexed with an array has no mask_mod: assign one that is shifted to the rows that were taken")


class Shifted:
    """A mask_mod whose batches, heads and queries are counted from those that a slice begins with."""

    def __init__(self, mask_mod: Any, batch: int, head: int, query: int):
        self.mask_mod, self.offsets = mask_mod, (batch, head, query)

    def __call__(self, b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        batch, head, query = self.offsets
        return self.mask_mod(b + batch, h + head, q_idx + query, kv_idx)


class BlockMask:
    """Which blocks of keys each block of queries sees, and the mask_mod that decides inside of partial blocks.

    The attributes are those of PyTorch's BlockMask. `seq_lengths` and `mask_mod` may be assigned, as its decoding pattern does. Make one with create_block_mask, which
    never builds the mask, or from lists with BlockMask.from_kv_blocks.
    """

    def __init__(self, seq_lengths: tuple[int, int], kv_num_blocks: Any, kv_indices: Any, full_kv_num_blocks: Any | None, full_kv_indices: Any | None,
                 q_num_blocks: Any | None, q_indices: Any | None, full_q_num_blocks: Any | None, full_q_indices: Any | None,
                 BLOCK_SIZE: tuple[int, int] = (_DEFAULT_BLOCK_SIZE, _DEFAULT_BLOCK_SIZE), mask_mod: ModLike = noop_mask, *,
                 dq_write_order: Any | None = None, dq_write_order_full: Any | None = None, dq_kv_order: Any | None = None,
                 dq_kv_order_spt: bool | None = None):
        if kv_num_blocks is None or kv_indices is None:
            raise AssertionError("kv_num_blocks and kv_indices must be provided")
        if len(_tensors.view(kv_indices).shape) < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        for side, (count, indices) in {"kv": (full_kv_num_blocks, full_kv_indices), "q": (full_q_num_blocks, full_q_indices)}.items():
            if (count is None) != (indices is None):
                raise AssertionError(f"full_{side}_num_blocks and full_{side}_indices must be both provided or omitted")
        if dq_write_order_full is not None and dq_write_order is None:
            raise ValueError("dq_write_order_full requires dq_write_order")
        lists = (kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices, q_num_blocks, q_indices, full_q_num_blocks, full_q_indices)
        self._start(_tensors.Library(kv_indices), mask_mod, seq_lengths, BLOCK_SIZE, dict(zip(_TENSORS, lists)))
        self._has_q_blocks = q_num_blocks is not None
        for name, value in zip(_DQ, (dq_write_order, dq_write_order_full, dq_kv_order, dq_kv_order_spt)):
            if value is not None:
                setattr(self, name, value)

    def _start(self, library: _tensors.Library, mask_mod: ModLike, seq_lengths: Sequence[int], block_size: Sequence[int], lists: dict[str, Any]) -> None:
        self._library = library
        self._mask_mod = mask_mod
        self._formula: Mod | None = None
        self._core: _core.BlockMask | None = None
        self._arguments: list[tuple[str, Any]] = []  # of the formula, in host memory, to decide blocks with
        self.arguments: list[tuple[str, Any]] = []  #: the same where they lie, for calls
        self._keeps: Any = None
        self._lists = lists
        self._seq_lengths = (int(seq_lengths[0]), int(seq_lengths[1]))
        self._block_size = (int(block_size[0]), int(block_size[1]))
        self._is_derived = False  # the blocks follow from the mask_mod
        self._later: tuple[int, int, bool, Any] | None = None  # batches, heads, separate_full_blocks and device of one that has still to be decided
        self._has_q_blocks = True
        self._of: BlockMask | None = None  # whose blocks it has, where only tensors that are captured differ
        self._orders: dict[str, Any] = {}  # dq_write_order and dq_write_order_full
        self._computes_orders = False  # when asked for
        self.dq_kv_order: Any = None
        self.dq_kv_order_spt: bool | None = None
        if library.torch:
            from ._torch_block_mask import register

            register()

    @classmethod
    def _of_core(cls, core: _core.BlockMask, formula: Mod, arguments: list[tuple[str, Any]], mask_mod: ModLike, library: _tensors.Library,
                 keeps: Any = None) -> BlockMask:
        mask = cls.__new__(cls)
        mask._start(library, mask_mod, core.shape[2:], core.block_size, {})
        mask._formula, mask._arguments, mask._keeps = formula, arguments, keeps
        mask._take(core)
        mask._is_derived = core.is_derived
        if not mask._is_derived:
            for name in LISTS:
                mask._tensor(name)  # for graphs
        return mask

    @classmethod
    def _undecided(cls, mask_mod: ModLike, B: int, H: int, seq_lengths: Sequence[int], block_size: Sequence[int], separate_full_blocks: bool,
                   device: Any) -> BlockMask:
        """A mask inside of a graph, where no captured array has elements yet. The graph needs its mask_mod only; blocks are decided if somebody asks for them."""
        mask = cls.__new__(cls)
        mask._start(_tensors.NO_LIBRARY, mask_mod, seq_lengths, block_size, {})
        mask._is_derived, mask._later = True, (B, H, separate_full_blocks, device)
        return mask

    def _in_graph(self) -> tuple[ModLike, tuple[int, ...], tuple[Any, ...]]:
        """For a graph: the mask_mod, and where lists decide besides, the sizes and the lists that torch_ops.Blocks has."""
        if self._is_derived:
            return self._mask_mod, (), ()
        lists = [self._lists[name] for name in LISTS]
        return self._mask_mod, (*self._seq_lengths, *self._block_size), tuple(array for array in lists if array is not None)

    def _take(self, core: _core.BlockMask) -> None:
        """The core's mask, of which calls read what is captured where it lies; its blocks were decided by copies in host memory where that is a GPU."""
        self.arguments = self.formula.arguments()
        on_gpu = any(isinstance(value, _core.Tensor) and value.on_gpu for _, value in self.arguments)
        self._core = core.with_captures(self.arguments) if on_gpu else core

    def _derived(self, core: _core.BlockMask, mask_mod: ModLike) -> BlockMask:
        """A mask that the core made of this one."""
        made = self._of_core(core, self.formula, self._arguments, mask_mod, self._library, self._keeps)
        return self._handed_on(made)

    def _handed_on(self, made: BlockMask) -> BlockMask:
        """`made`, with what all masks that are made of this one have of it."""
        made._has_q_blocks, made._computes_orders, made.dq_kv_order_spt = self._has_q_blocks, self._computes_orders, self.dq_kv_order_spt
        return made

    def _moved(self, formula: Mod) -> Mod:
        """The formula of this mask, or one like it, as positions are counted after slices."""
        if isinstance(self._mask_mod, Shifted):
            return bound(self.core.mask_mod, {**self.core.numbers, **formula.captures})
        return self._mask_mod if isinstance(self._mask_mod, Mod) and self._of is not None else formula

    def _with_tensors(self, formula: Mod, lists: dict[str, Any]) -> BlockMask:
        """The same mask, but for what its formula captures and, where they decide, the lists."""
        mask_mod = self._moved(formula)
        made = self.__class__.__new__(self.__class__)
        made._start(self._library, mask_mod, self._seq_lengths, self._block_size, {**dict.fromkeys(LISTS), **lists} if lists else {})
        made._formula, made._keeps, made._is_derived = mask_mod if lists else formula, self._keeps, self._is_derived
        made._of = None if lists else self
        return self._handed_on(made)

    @classmethod
    def from_kv_blocks(cls, kv_num_blocks: Any, kv_indices: Any, full_kv_num_blocks: Any | None = None, full_kv_indices: Any | None = None,
                       BLOCK_SIZE: int | tuple[int, int] = _DEFAULT_BLOCK_SIZE, mask_mod: ModLike = None, seq_lengths: tuple[int, int] | None = None,
                       compute_q_blocks: bool = True, *, dq_write_order: Any | None = None, dq_write_order_full: Any | None = None,
                       dq_kv_order: Any | None = None) -> BlockMask:
        """From lists of blocks: [B, H, rows] counts and [B, H, rows, columns] indices, of partial blocks and of full ones. Checked: an index outside of the columns, or
        listed twice, is a ValueError."""
        if dq_kv_order is not None and not isinstance(dq_kv_order, bool) and not _tensors.is_array(dq_kv_order):
            raise ValueError("dq_kv_order must be a bool, Tensor, or None")
        block_size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
        if seq_lengths is None:
            rows, cols = _tensors.view(kv_indices).shape[-2:] if len(_tensors.view(kv_indices).shape) >= 2 else (0, 0)
            seq_lengths = (rows * block_size[0], cols * block_size[1])
        spt = {"dq_kv_order_spt": dq_kv_order} if isinstance(dq_kv_order, bool) else {"dq_kv_order": dq_kv_order}
        mask = cls(seq_lengths, kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices, None, None, None, None, block_size,
                   noop_mask if mask_mod is None else mask_mod, dq_write_order=dq_write_order, dq_write_order_full=dq_write_order_full, **spt)
        for name in _TENSORS[4:]:
            del mask._lists[name]  # made when asked for
        mask._has_q_blocks = compute_q_blocks
        if mask_mod is not _sliced_mask_mod_error:
            mask.core  # the lists are checked now
        return mask

    # What calls need.

    @property
    def formula(self) -> Mod:
        """The mask_mod, parsed or traced."""
        if self._formula is None:
            if self._mask_mod is _sliced_mask_mod_error:
                raise RuntimeError("Cannot use mask_mod from a sliced BlockMask: assign one first")
            self._formula = Mod() if self._mask_mod is noop_mask else as_mod(self._mask_mod, "mask_mod").mask_only()
        return self._formula

    @property
    def core(self) -> _core.BlockMask:
        """The core's mask: made of the lists again after an attribute was assigned."""
        if self._later is not None:
            B, H, separate_full_blocks, device = self._later
            made = create_block_mask(self._mask_mod, B, H, *self._seq_lengths, device, self._block_size, separate_full_blocks=separate_full_blocks)
            self._core, self._formula, self._arguments, self._library = made._core, made._formula, made._arguments, made._library
            self.arguments = made.arguments
            self._keeps, self._later = made._keeps, None
        if self._core is None:
            formula = self.formula
            self._arguments = formula.arguments(_tensors.on_host)
            self._take(self._from_lists(formula.core) if self._of is None else self._of.core.with_captures(self._arguments))
        assert self._core is not None
        return self._core

    @property
    def _runs(self) -> _core.BlockMask:
        """The blocks alone, also of a mask that waits for its mask_mod."""
        if self._mask_mod is not _sliced_mask_mod_error or self._core is not None:
            return self.core
        return self._from_lists(Mod().core)

    def _from_lists(self, mod: _core.Mod) -> _core.BlockMask:
        counts, indices = (_tensors.view(_tensors.on_host(self._lists[name])) for name in _TENSORS[:2])
        full_counts, full_indices = (self._host_list(name) for name in _TENSORS[2:4])
        return _core.BlockMask.from_kv_blocks(counts, indices, full_counts, full_indices, self._block_size, *self._seq_lengths, mod, self._arguments)

    def _host_list(self, name: str) -> _core.Tensor | None:
        array = self._lists.get(name)
        return None if array is None else _tensors.view(_tensors.on_host(array))

    # Attributes.

    def _tensor(self, name: str) -> Any:
        if name in self._lists:
            return self._lists[name]
        if name in _TENSORS[4:] and not self._has_q_blocks:
            return None
        for made, array in self._runs.tensors(name in _TENSORS[4:]).items():
            if made not in self._lists and (array is not None or made in LISTS or name in _TENSORS[4:]):
                self._lists[made] = None if array is None else self._library.from_numpy(array)
        return self._lists[name]

    def _assign(self, name: str, value: Any) -> None:
        """Another list, length or mask_mod: what there is as runs becomes lists, of which the core makes runs again."""
        for known in LISTS:
            self._tensor(known)
        self._core, self._of, self._is_derived = None, None, False
        self._orders.clear()
        if name in LISTS:
            for transposed in _TENSORS[4:]:
                self._lists.pop(transposed, None)
        if name in _TENSORS:
            self._lists[name] = value

    @property
    def seq_lengths(self) -> tuple[int, int]:
        """Positions of queries and keys."""
        return self._seq_lengths

    @seq_lengths.setter
    def seq_lengths(self, lengths: tuple[int, int]) -> None:
        self._assign("seq_lengths", lengths)
        self._seq_lengths = (int(lengths[0]), int(lengths[1]))

    @property
    def mask_mod(self) -> Any:
        """What decides inside of partial blocks."""
        return self._mask_mod

    @mask_mod.setter
    def mask_mod(self, mask_mod: ModLike) -> None:
        self._assign("mask_mod", mask_mod)
        self._mask_mod, self._formula = mask_mod, None

    @property
    def BLOCK_SIZE(self) -> tuple[int, int]:
        """Queries and keys of a block."""
        return self._block_size

    @property
    def shape(self) -> tuple[int, ...]:
        """Batches, heads (as far as the lists have them), queries and keys; a 1 serves all."""
        if "kv_indices" in self._lists:
            return (*map(int, _tensors.shape(self._lists["kv_indices"])[:-2]), *self._seq_lengths)
        return (self._of or self)._runs.shape

    def numel(self) -> int:
        """Positions, hidden or not."""
        return int(np.prod(np.array(self.shape, dtype=object)))

    def sparsity(self) -> float:
        """Percent of the blocks that are skipped."""
        return self._runs.sparsity()

    def to_dense(self) -> Any:
        """int32 [B, H, rows, columns]: 1 for a block that is not skipped."""
        return self._library.from_numpy(self._runs.to_dense())

    def to_string(self, grid_size: int | tuple[int, int] = (20, 20), limit: int = 4) -> str:
        """A picture for each batch and head, of at most `limit`: a cell is full, shaded or empty as all, some or none of its blocks are looked at. A grid size of -1 shows
        every block."""
        rows, cols = (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
        runs = self._runs
        places = list(np.ndindex(*runs.shape[:2])) if runs.rows else []
        pictures = []
        for b, h in places[:limit]:
            _, picture = runs.slice((b, b + 1), (h, h + 1), (0, runs.rows)).to_string(rows, cols, 1).split("\n", 1)
            pictures.append(f"({b}, {h})\n{picture}")
        if len(places) > limit:
            pictures.append(f"({len(places) - limit} more: to_string(limit=N) draws N of them, and mask[b, h] is one)")
        return "\n".join(pictures)

    def as_tuple(self, flatten: bool = True) -> tuple[Any, ...]:
        """Lengths, tensors, block size and mask_mod, as PyTorch orders them."""
        lengths: tuple[Any, ...] = self._seq_lengths if flatten else (self._seq_lengths,)
        block_size: tuple[Any, ...] = self._block_size if flatten else (self._block_size,)
        return (*lengths, *(self._tensor(name) for name in _TENSORS), *(getattr(self, name) for name in _DQ), *block_size, self._mask_mod)

    # Masks made of this one.

    def __getitem__(self, index: Any) -> BlockMask:
        """Some batches, heads and rows of blocks, with all keys; a number keeps its dimension. Queries are counted anew, and the mask_mod moves along; rows picked by an array
        have none until one is assigned."""
        self._refuse_orders("Slicing")
        indices = index if isinstance(index, tuple) else (index,)
        if len(indices) > 3:
            raise IndexError(f"a BlockMask has 3 dimensions to index (batch, head, row of blocks), not {len(indices)}")
        sizes = (*self._runs.shape[:2], self._runs.rows)
        picks = [_as_slice(i, n) for i, n in zip((*indices, slice(None), slice(None))[:3], sizes)]
        if all(isinstance(pick, slice) and pick.step in (None, 1) for pick in picks) and self._mask_mod is not _sliced_mask_mod_error:
            ranges = [pick.indices(size)[:2] for pick, size in zip(picks, sizes)]
            starts = (ranges[0][0], ranges[1][0], ranges[2][0] * self._block_size[0])
            moved = self._mask_mod if not any(starts) or self._mask_mod is noop_mask else Shifted(self._mask_mod, *starts)
            return self._derived(self.core.slice(*ranges), moved)
        return self._picked(picks, sizes)

    def _picked(self, picks: list[Any], sizes: Sequence[int]) -> BlockMask:
        grid = np.ix_(*(np.arange(size)[pick if isinstance(pick, slice) else np.asarray(pick).reshape(-1)] for pick, size in zip(picks, sizes)))
        listed = {name: array for name, array in self._runs.tensors(False).items() if name in LISTS}
        lists: dict[str, Any] = {name: None if array is None else self._library.from_numpy(np.ascontiguousarray(array[grid])) for name, array in listed.items()}
        lengths = (grid[2].size * self._block_size[0], self._seq_lengths[1])
        return self._handed_on(BlockMask.from_kv_blocks(**lists, BLOCK_SIZE=self._block_size, mask_mod=_sliced_mask_mod_error, seq_lengths=lengths))

    def _adjust(self, new_q_len: int, new_kv_len: int) -> BlockMask:
        """The upper left corner."""
        self._refuse_orders("Adjusting")
        return self._derived(self.core.adjust(new_q_len, new_kv_len), self._mask_mod)

    def grow(self, q_length: int, kv_length: int) -> BlockMask:
        """The same mask over longer sequences, as in decoding: only blocks that are new, or that the old end cut, are decided. Not in PyTorch."""
        return self._derived(self.core.grow(q_length, kv_length, self._arguments), self._mask_mod)

    def to(self, device: Any) -> BlockMask:
        """The same mask, whose tensors are on another device."""
        moved = self._derived(self.core, self._mask_mod)
        moved._library = _tensors.library_for(device, [self._library.like])
        moved._lists = {name: None if array is None else array.to(device) for name, array in self._lists.items()} if _tensors.is_torch(self._library.like) else {}
        moved._orders = {name: array.to(device) if _tensors.is_torch(array) else array for name, array in self._orders.items()}
        moved.dq_kv_order = self.dq_kv_order.to(device) if _tensors.is_torch(self.dq_kv_order) else self.dq_kv_order
        return moved

    def _refuse_orders(self, what: str) -> None:
        if self.dq_kv_order is not None:
            raise NotImplementedError(f"{what} BlockMask with tensor dq_kv_order is not supported: it is about a backward pass")

    def __str__(self) -> str:
        return f"BlockMask(shape={self.shape}, sparsity={self.sparsity():.2f}%, \n{self.to_string().strip()}\n)"

    def __repr__(self) -> str:
        def shape(name: str) -> Any:
            array = self._tensor(name)
            return None if array is None else tuple(_tensors.view(array).shape)

        tensors = "".join(f"    {name}={shape(name)},\n" for name in _TENSORS)
        mod = getattr(self._mask_mod, "__name__", self._mask_mod)
        return (f"BlockMask(\n{tensors}    BLOCK_SIZE={self.BLOCK_SIZE},\n    shape={self.shape},\n    sparsity={self.sparsity():.2f}%,\n"
                f"    mask_mod={mod}\n)")

    def _repr_html_(self) -> str:
        """For notebooks: numbers, and a picture for each of the first batches and heads."""
        return block_mask_html(self.core.shape, self.BLOCK_SIZE, self.sparsity(), self.to_string(CELLS, PICTURES), _name_of(self._mask_mod))


def _name_of(mod: ModLike) -> str:
    return mod if isinstance(mod, str) else getattr(mod, "__name__", type(mod).__name__)


def _order_property(name: str, indices: str) -> property:
    def get(mask: BlockMask) -> Any:
        if name not in mask._orders:
            listed = mask._runs.tensors(True)[indices] if mask._computes_orders else None
            mask._orders[name] = None if listed is None else mask._library.from_numpy(write_orders(mask._runs.to_dense(), listed, bool(mask.dq_kv_order_spt)))
        return mask._orders[name]

    return property(get, lambda mask, value: mask._orders.__setitem__(name, value), doc=f"{name} of PyTorch's deterministic backward pass, which no forward pass reads.")


def _list_property(name: str) -> property:
    return property(lambda self: self._tensor(name), lambda self, value: self._assign(name, value), doc=f"{name}, as PyTorch has it; made when asked for.")


for _name in _TENSORS:
    setattr(BlockMask, _name, _list_property(_name))
for _name, _listed in zip(_DQ, ("q_indices", "full_q_indices")):
    setattr(BlockMask, _name, _order_property(_name, _listed))


def _as_slice(index: Any, size: int) -> Any:
    """A number as the slice that keeps its dimension. Error: IndexError for one outside."""
    if not isinstance(index, (int, np.integer)):
        return index
    if not -size <= index < size:
        raise IndexError(f"index {index} is out of range for a dimension of {size}")
    first = int(index) % size
    return slice(first, first + 1)


def create_block_mask(mask_mod: ModLike, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None,
                      BLOCK_SIZE: int | tuple[int, int] = _DEFAULT_BLOCK_SIZE, _compile: bool = False, separate_full_blocks: bool = True,
                      compute_dq_write_order: bool = False, dq_kv_order: bool = True) -> BlockMask:
    """A BlockMask of mask_mod, decided block by block from the formula; the mask itself, Q_LEN x KV_LEN, is never built.

    Args:
        mask_mod: (b, h, q_idx, kv_idx) -> bool, as a callable, as text or as an attnjit.Mod.
        B, H: batches and query heads; None or 1 if the mask is the same for all.
        Q_LEN, KV_LEN: positions.
        device: where index tensors are made when they are asked for; None for that of what mask_mod captures, else PyTorch's default.
        BLOCK_SIZE: positions of a block, or those of queries and of keys.
        separate_full_blocks: False lists full blocks as partial.
        compute_dq_write_order, dq_kv_order: the mask has dq_write_order and dq_write_order_full, made when asked for. They are about a backward pass.
    """
    B, H = 1 if B is None else B, 1 if H is None else H
    block_size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else (int(BLOCK_SIZE[0]), int(BLOCK_SIZE[1]))
    if _tensors.in_dynamo():
        return BlockMask._undecided(mask_mod, B, H, (Q_LEN, KV_LEN), block_size, separate_full_blocks, device)
    if not isinstance(mask_mod, (str, Mod)) and (not callable(mask_mod) or kind_of(mask_mod) != "mask_mod"):
        raise AssertionError(f"create_block_mask requires a mask_mod function! Got {mask_mod}")
    if _compile:
        warnings.warn("_compile does nothing: a BlockMask is made from the formula, without building the mask", DeprecationWarning, stacklevel=2)
    if not isinstance(dq_kv_order, bool):
        raise ValueError("dq_kv_order must be a bool when using create_block_mask")
    formula = Mod() if mask_mod is noop_mask else as_mod(mask_mod, "mask_mod").mask_only()
    arguments = formula.arguments(_tensors.on_host)
    core = _core.BlockMask.create(formula.core, arguments, B, H, Q_LEN, KV_LEN, block_size, separate_full_blocks)
    mask = BlockMask._of_core(core, formula, arguments, mask_mod, _tensors.library_for(device, formula.arrays()))
    mask._computes_orders, mask.dq_kv_order_spt = compute_dq_write_order, dq_kv_order if compute_dq_write_order else None
    return mask


def create_mask(mod_fn: ModLike, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None) -> Any:
    """The mask in full, bool [B, H, Q_LEN, KV_LEN]; of a score_mod: where a score of 0 does not become -inf."""
    if not callable(mod_fn) and not isinstance(mod_fn, (str, Mod)):
        raise AssertionError(f"create_mask requires a mask_mod or a score_mod! Got {mod_fn}")
    formula = as_mod(mod_fn, kind_of(mod_fn))
    dense = _core.create_mask(formula.core, formula.arguments(_tensors.on_host), 1 if B is None else B, 1 if H is None else H, Q_LEN, KV_LEN)
    return _tensors.library_for(device, formula.arrays()).from_numpy(dense)
