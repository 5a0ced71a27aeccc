"""Tokens written to pages on a GPU, by operations of PyTorch: on its current stream, and without waiting for it."""
from __future__ import annotations

from typing import Any

import numpy as np

from .... import _core, _tensors


def write_on_gpu(pages: _core.Pages, page_size: int, batches: list[int], operands: tuple[Any, ...], views: tuple[_core.Tensor, ...]) -> None:
    """PagedAttention.assign for caches on a GPU; `operands` are input_pos, k_val, v_val, k_cache and v_cache. Error: ValueError."""
    input_pos, k_val, v_val, k_cache, v_cache = operands
    device = _device(operands[1:])
    copies: list[tuple[int, int]] = []
    if views[0].on_gpu:
        _check(batches, views)
        rows = rows_on_gpu(pages, page_size, batches, input_pos)
    else:
        placed, copies = pages.place(batches, *views)
        rows = _tensors.to_device(placed.reshape(-1), device)
    for values, cache in ((k_val, k_cache), (v_val, v_cache)):
        tokens = cache[0]
        if copies:
            whole = tokens.unflatten(1, (-1, page_size))
            sources, targets = _tensors.to_device(np.array(copies, dtype=np.int64).T.copy(), device)
            whole[:, targets] = whole[:, sources]
        tokens.index_copy_(1, rows, values.transpose(0, 1).flatten(1, 2))


def _device(operands: tuple[Any, ...]) -> Any:
    if not all(_tensors.is_torch(array) for array in operands):
        raise ValueError("caches on a GPU are written to by PyTorch: pass k_val, v_val, k_cache and v_cache through torch.from_dlpack")
    devices = [array.device for array in operands]
    if any(device != devices[0] for device in devices):
        raise ValueError(f"expected k_val, v_val, k_cache and v_cache on the same device, but got {', '.join(map(str, devices))}")
    return devices[0]


def _check(batches: list[int], views: tuple[_core.Tensor, ...]) -> None:
    """What the core checks of a call whose positions it can read."""
    positions, *others = views
    if len(positions.shape) != 2 or positions.shape[0] != len(batches):
        raise ValueError(f"input_pos: its sizes are {list(positions.shape)}, expected [{len(batches)}, S] for {len(batches)} sequences")
    for name, values, cache in (("k_val", others[0], others[2]), ("v_val", others[1], others[3])):
        expected = (len(batches), cache.shape[1], positions.shape[1], cache.shape[3])
        if values.shape != expected or values.dtype != cache.dtype:
            raise ValueError(f"{name}: it is {list(values.shape)} of {values.dtype}, expected {list(expected)} of {cache.dtype}")


def rows_on_gpu(pages: _core.Pages, page_size: int, batches: list[int], input_pos: Any) -> Any:
    """The rows of the caches where tokens go, [n * S]. What is not reserved leads outside of the tables, or to a negative row."""
    for batch in batches:
        if not 0 <= batch < len(pages.page_table()):
            raise ValueError(f"sequence {batch} does not exist; there are {len(pages.page_table())}")
        if pages.shares(batch):
            raise ValueError(f"sequence {batch} shares pages, and which of them are copied before they are written to is decided on the host: give input_pos in host memory")
    held = max((pages.capacity(batch) for batch in batches), default=0) // page_size
    table = _tensors.to_device(pages.page_table()[batches, :held], input_pos.device)
    positions = input_pos.long()
    return (table.gather(1, positions // page_size) * page_size + positions % page_size).flatten()
