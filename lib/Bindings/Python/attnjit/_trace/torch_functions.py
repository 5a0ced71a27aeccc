"""PyTorch's functions, wherever a traced callable calls them."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Callable, Iterator

from . import names
from .known import Known, pinned
from .values import Value, is_run_time

_MAKERS = frozenset("tensor scalar_tensor as_tensor asarray".split())


def _inside(value: Any) -> Iterator[Any]:
    if type(value) in (tuple, list):
        for item in value:
            yield from _inside(item)
    elif type(value) is slice:
        yield from (value.start, value.stop, value.step)
    else:
        yield value


def _pin_all(value: Any) -> Any:
    if type(value) in (tuple, list):
        return type(value)(map(_pin_all, value))
    return slice(*map(pinned, (value.start, value.stop, value.step))) if type(value) is slice else pinned(value)


def dispatch(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `function` gives: a value of the trace where one takes part, else what PyTorch computes."""
    parts = [part for value in (*args, *kwargs.values()) for part in _inside(value)]
    owner = next((part for part in parts if is_run_time(part)), None)
    name = getattr(function, "__name__", "")
    if owner is None:
        known = next((part for part in parts if type(part) is Known), None)
        if known is not None and name in _MAKERS and type(args[0] if args else None) is Known:
            return known._trace.call(name, "torch", args, dict(kwargs))
        return function(*map(_pin_all, args), **{key: _pin_all(value) for key, value in kwargs.items()})
    trace = owner._trace
    if name == "__getitem__":
        return trace.index(Value(trace, trace.operand(args[0])), args[1])
    for table in (names.OPERATORS, names.COMPARISONS):
        if name in table:
            return trace.infix(table[name], args[0], args[1])
        if name.startswith("__r") and f"__{name[3:]}" in table:
            return trace.infix(table[f"__{name[3:]}"], args[1], args[0])
    if name == "__get__":  # an attribute of a tensor of PyTorch's own
        return function(*args, **kwargs)
    if name == "where" and hasattr(function, "__objclass__"):
        return trace.call(name, "method", args, dict(kwargs))
    return trace.call(name, "torch", args, dict(kwargs), function)


@contextlib.contextmanager
def torch_functions() -> Iterator[None]:
    """While a callable runs, its calls of PyTorch come to `dispatch`."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    with _mode()():
        yield


def _mode() -> Any:
    global _made
    if _made is None:
        from torch.overrides import TorchFunctionMode

        class Mode(TorchFunctionMode):  # type: ignore[misc]
            def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                return dispatch(function, args, kwargs or {})

        _made = Mode
    return _made


_made: Any = None
