"""Which backends calls may use: SDPBackend and the scopes of sdpa_kernel."""
from __future__ import annotations

import contextlib
import contextvars
import enum
import sys
from typing import Any, Iterator


class SDPBackend(enum.IntEnum):
    """The lowering pipelines, with PyTorch's names and numbers. Where one is expected, PyTorch's own SDPBackend is understood too."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


BackendSet = tuple[list[int], bool]

_current: contextvars.ContextVar[BackendSet | None] = contextvars.ContextVar("attnjit_sdpa_kernel", default=None)


def _as_backend(backend: Any) -> SDPBackend | None:
    """A member of SDPBackend for one of ours or PyTorch's; None for anything else."""
    if isinstance(backend, SDPBackend):
        return backend
    name = getattr(backend, "name", None)
    return SDPBackend.__members__.get(name) if type(backend).__name__ == "SDPBackend" and isinstance(name, str) else None


@contextlib.contextmanager
def sdpa_kernel(backends: list[SDPBackend] | SDPBackend, set_priority: bool = False) -> Iterator[dict[str, Any]]:
    """While the context lasts, calls of this thread or task use one of `backends` only. An inner context takes the place of an outer one. Also a decorator.

    Args:
        backends: a backend, or a list of them. Whatever the order, the engine takes the best that fits,
        set_priority: unless the list is to be the order.
    """
    single = _as_backend(backends)
    if single is None and not isinstance(backends, list):
        raise AssertionError(f"Backend must be an instance of SDPBackend or a list of SDPBackend instances, got {type(backends).__name__}")
    members = [single] if single is not None else [_as_backend(backend) for backend in backends]  # type: ignore[union-attr]
    if None in members:
        raise AssertionError(f"backends has an element that is no SDPBackend: {backends}")
    token = _current.set(([int(backend) for backend in dict.fromkeys(members) if backend is not None], set_priority))
    try:
        yield {}
    finally:
        _current.reset(token)


def current() -> BackendSet | None:
    """The innermost context's backends and whether they are in order; None outside of all."""
    return _current.get()


def allows(backend: SDPBackend) -> bool:
    """Whether the innermost context has this backend."""
    scope = current()
    return scope is None or int(backend) in scope[0]


def warns_for_unfused() -> bool:
    """The user's setting of attnjit.nn.attention.WARN_FOR_UNFUSED_KERNELS."""
    module = sys.modules.get("attnjit.nn.attention")
    return bool(getattr(module, "WARN_FOR_UNFUSED_KERNELS", False))
