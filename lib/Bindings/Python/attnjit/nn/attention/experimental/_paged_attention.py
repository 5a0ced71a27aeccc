"""The names of torch.nn.attention.experimental._paged_attention: keys and values in pages, which sequences share by counting."""
from __future__ import annotations

from typing import Any

import numpy as np

from .... import _backends, _core, _engines, _tensors
from ...._forward import float_name
from ...._mods import Mod, ModLike, as_mod, bound
from .._block_mask import BlockMask
from .._torch_block_mask import as_ours
from ._device_pages import write_on_gpu

__all__ = ["PagedAttention"]


class PagedAttention:
    """Which page of a cache holds which tokens of which sequence. The caches are the caller's: (1, H, n_pages * page_size, D).

    Either call flex_attention with the caches and with convert_logical_block_mask and get_score_mod, as in PyTorch, or `attend`, which needs neither.
    """

    def __init__(self, n_pages: int, page_size: int, max_batch_size: int, device: Any = None):
        self.n_pages, self.page_size, self.max_batch_size = n_pages, page_size, max_batch_size
        self._pages = _core.Pages(n_pages, page_size, max_batch_size)
        self._library = _tensors.library_for(device)

    @property
    def page_table(self) -> Any:
        """int64 (max_batch_size, n_pages): physical page of each logical one, -1 for none. Of a CPU it is a live view: not to be written to."""
        return self._library.from_numpy(self._pages.page_table())

    @property
    def physical_to_logical(self) -> Any:
        """int64 (max_batch_size, n_pages): logical page of each physical one, -1 for none. Of a CPU it is a live view: not to be written to."""
        return self._library.from_numpy(self._pages.physical_to_logical())

    @property
    def capacity(self) -> Any:
        """int64 (max_batch_size,): tokens that each sequence can hold."""
        return self._library.from_numpy(np.array([self._pages.capacity(batch) for batch in range(self.max_batch_size)], dtype=np.int64))

    @property
    def empty_pages(self) -> list[int]:
        """Pages that no sequence holds, in no promised order."""
        return [page for page in range(self.n_pages) if self._pages.holders(page) == 0]

    def reserve(self, batch_idx: Any, seq_len: Any) -> None:
        """Gives a sequence pages until it can hold seq_len tokens. Error: AssertionError if too few are empty; then nothing changes."""
        try:
            self._pages.reserve(_integer(batch_idx), _integer(seq_len))
        except ValueError as error:
            raise AssertionError(str(error)) from None

    def erase(self, batch_idx: Any) -> None:
        """Gives the pages of a sequence back; those that others share stay theirs."""
        self._pages.erase(_integer(batch_idx))

    def share(self, source: Any, target: Any, seq_len: Any) -> None:
        """Lets the empty sequence `target` begin with the first tokens of `source`, without a copy. Not in PyTorch."""
        self._pages.share(_integer(source), _integer(target), _integer(seq_len))

    def assign(self, batch_idx: Any, input_pos: Any, k_val: Any, v_val: Any, k_cache: Any, v_cache: Any) -> None:
        """Writes tokens into the caches: k_val[i, :, s] becomes token input_pos[i, s] of sequence batch_idx[i]. A shared page is copied before.

        Caches of PyTorch may lie on a GPU, where its current stream writes and nothing is waited for. With input_pos on the GPU, too, sequences may not share pages, because
        which pages to copy is decided on the host, and a position that was not reserved is an assertion of the device.

        Error: RuntimeError for shapes that do not fit, and for a position that was not reserved.
        """
        for name, array in {"k_val": k_val, "v_val": v_val}.items():
            if getattr(array, "requires_grad", False):
                raise RuntimeError(f"{name} must not require gradient")
        operands = (input_pos, k_val, v_val, k_cache, v_cache)
        views = tuple(_tensors.view(array) for array in operands)
        try:
            if any(view.on_gpu for view in views):
                write_on_gpu(self._pages, self.page_size, _integers(batch_idx), operands, views)
            else:
                self._pages.assign(_integers(batch_idx), *views)
        except ValueError as error:
            raise RuntimeError(str(error)) from None

    def convert_logical_block_mask(self, block_mask: BlockMask, batch_idx: Any | None = None, kv_len: Any | None = None) -> BlockMask:
        """A block mask over the positions of sequences as one over the cache. batch_idx names its sequences, which follow one another; kv_len says how long they are."""
        block_mask = as_ours(block_mask)
        if block_mask.BLOCK_SIZE[1] != self.page_size:
            raise RuntimeError(f"Expect block_mask has the same column block size as page_size but got size={block_mask.BLOCK_SIZE[1]} and size={self.page_size}")
        batches = list(range(block_mask.core.shape[0])) if batch_idx is None else _integers(batch_idx)
        if batches != list(range(batches[0], batches[0] + len(batches))):
            raise NotImplementedError(f"batch_idx {batches}: sequences have to follow one another here; PagedAttention.attend takes any")
        length = _length(kv_len)
        core = self._pages.convert(block_mask.core, batches[0], len(batches), length)
        formula = self._physical(block_mask.formula, length, batches[0]).mask_only()
        return BlockMask._of_core(core, formula, formula.arguments(_tensors.on_host), formula, self._library, keeps=(length, block_mask))

    def get_mask_mod(self, mask_mod: ModLike, kv_len: Any | None = None) -> Mod:
        """A mask_mod over positions of a sequence as one over rows of the cache."""
        return self._physical(as_mod(mask_mod, "mask_mod"), _length(kv_len)).mask_only()

    def get_score_mod(self, score_mod: ModLike, kv_len: Any | None = None) -> Mod:
        """A score_mod over positions of a sequence as one over rows of the cache."""
        return self._physical(as_mod(score_mod, "score_mod"), _length(kv_len)).score_only()

    def _physical(self, mod: Mod, length: _core.Tensor | None, first: int = 0) -> Mod:
        core, captures = self._pages.physical(mod.core, length, first)
        return bound(core, {**mod.captures, **dict(captures)})

    def attend(self, query: Any, k_cache: Any, v_cache: Any, batch_idx: Any, kv_len: Any, *, score_mod: ModLike = None, mask_mod: ModLike = None,
               window_size: tuple[int, int] = (-1, -1), scale: float | None = None, return_lse: bool = False) -> Any:
        """Attention of some sequences straight from their pages: query (B, Hq, M, D) of sequences batch_idx, of which kv_len tokens are in use. Mods see positions inside of
        a sequence. window_size (-1, 0) lets the last query see the last token. Not in PyTorch."""
        q = _tensors.view(query)
        engine, place = _engines.engine_for(query, q)
        stream = place.get("stream")
        k, v = _tensors.view(k_cache, stream), _tensors.view(v_cache, stream)
        library = _tensors.Library(query)
        mod = Mod(score_mod, mask_mod)
        _tensors.refuse_gradients({"query": query, "k_cache": k_cache, "v_cache": v_cache}, mod.captures)
        out = library.empty((*q.shape[:3], v.shape[-1]), float_name(q))
        lse = library.empty(q.shape[:3], "float64" if q.dtype == "f64" else "float32") if return_lse else None
        captures = mod.arguments(stream=stream)
        _engines.refuse_apart(q, {"k_cache": k, "v_cache": v}, captures)
        _core.paged(engine, self._pages, mod.core, q, k, v, _tensors.view(out), batches=_integers(batch_idx), captures=captures,
                    kv_len=_tensors.view(_tensors.on_host(kv_len)), window=tuple(window_size), scale=scale, lse=None if lse is None else _tensors.view(lse),
                    backends=_backends.current(), **place)
        return library.finished(out) if lse is None else (library.finished(out), library.finished(lse))


def _integer(value: Any) -> int:
    """A number, or the only element of an array."""
    return int(value)


def _integers(values: Any) -> list[int]:
    return [int(value) for value in (values.reshape(-1).tolist() if hasattr(values, "reshape") else values)]


def _length(kv_len: Any | None) -> _core.Tensor | None:
    """The lengths of sequences, int64 in host memory."""
    if kv_len is None:
        return None
    array = _tensors.on_host(kv_len)
    return _tensors.view(array.long() if _tensors.is_torch(array) else np.asarray(array).astype(np.int64))
