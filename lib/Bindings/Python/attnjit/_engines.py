"""The engines of this process: one for the CPU, one for each GPU that arrays lie on."""
from __future__ import annotations

import threading
from typing import Any, Iterable, Mapping

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


def refuse_apart(query: _core.Tensor, operands: Mapping[str, _core.Tensor | None], captures: Iterable[tuple[str, Any]] = ()) -> None:
    """Error: ValueError for operands that do not lie where query does, and for anything on a GPU that a CPU is to read. The other way round captures travel with the
    launch, or the engine says why they don't."""
    for name, view in operands.items():
        if view is not None and view.on_gpu != query.on_gpu:
            raise _apart(name, view, query)
    if query.on_gpu:
        return
    for name, value in captures:
        value = value[0] if isinstance(value, tuple) else value
        if isinstance(value, _core.Tensor) and value.on_gpu:
            raise _apart(name, value, query)


def _apart(name: str, view: _core.Tensor, query: _core.Tensor) -> ValueError:
    places = {True: "on a GPU", False: "in host memory"}
    return ValueError(f"{name} lies {places[view.on_gpu]} and query {places[query.on_gpu]}: expected the same device; move one with its library, as in {name}.to(query.device)")
