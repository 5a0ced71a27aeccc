"""The engines of this process: one for the CPU, one for each GPU that arrays lie on."""
from __future__ import annotations

import threading
from typing import Any

from . import _core, _tensors

_lock = threading.Lock()
_engines: dict[int | None, _core.Engine] = {}
_given: set[int | None] = set()  # devices whose engine is the user's


def engine(device: int | None = None) -> _core.Engine:
    """The engine of the CPU (None) or of a GPU by number, made at its first use."""
    found = _engines.get(device)
    if found is not None:
        return found
    with _lock:
        if device not in _engines:
            _engines[device] = _core.Engine() if device is None else _core.Engine(target="native-gpu", device=device)
        return _engines[device]


def set_engine(new: _core.Engine, device: int | None = None) -> None:
    """Makes calls use this engine: with another cache folder, number of threads or target than the default one."""
    with _lock:
        _engines[device] = new
        _given.add(device)


def threads() -> int:
    """How many threads a call on the CPU takes that does not say: as many as PyTorch does, where that is in the process, so that one setting serves both; 0, which is the
    engine's own setting, where it is not, or where the user has set an engine."""
    return 0 if None in _given else _tensors.torch_threads()


def engine_for(array: Any, view: _core.Tensor) -> tuple[_core.Engine, dict[str, int]]:
    """The engine where the array lies, and the options of a call that say on which stream."""
    if not view.on_gpu:
        return engine(), {"threads": threads()}
    return engine(_tensors.device_index(array)), {"stream": _tensors.stream_of(array)}


def engine_on_default_stream(array: Any, view: _core.Tensor) -> _core.Engine:
    """The engine where the array lies, for calls that cannot say on which stream."""
    found, options = engine_for(array, view)
    if options.get("stream"):
        raise NotImplementedError("on a GPU this function computes on the default stream only; leave torch.cuda.stream(...), or use flex_attention")
    return found
