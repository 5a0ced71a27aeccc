"""The names of torch.nn.attention, for every array library."""
from __future__ import annotations

from typing import Any, Callable

from ..._backends import SDPBackend, sdpa_kernel
from ..._engines import engine as _engine

__all__ = ["SDPBackend", "sdpa_kernel", "WARN_FOR_UNFUSED_KERNELS", "register_flash_attention_impl", "activate_flash_attention_impl",
           "list_flash_attention_impls", "current_flash_attention_impl", "restore_flash_attention_impl"]

WARN_FOR_UNFUSED_KERNELS = False
"""Set it to True for a warning, with every reason, whenever MATH computes a call that a fused backend was allowed for."""


def register_flash_attention_impl(impl: str, *, register_fn: Callable[[], Any]) -> None:
    """Names an implementation of FLASH_ATTENTION that is written in Python; it does nothing before it is activated.

    Args:
        impl: its name.
        register_fn: called when it is activated. It returns an object with `forward(call)`, which computes call.out from call.query, call.key, call.value (arrays of NumPy),
            call.scale, call.mod and call.captures, and perhaps with `refusal(problem)`, which says why it does not take such calls, or "".
    """
    _engine().register_flash_attention_impl(impl, register_fn)


def activate_flash_attention_impl(impl: str) -> None:
    """Puts a registered implementation in the place of the built-in one. Error: ValueError, naming those there are."""
    _engine().activate_flash_attention_impl(impl)


def list_flash_attention_impls() -> list[str]:
    """Names of the registered implementations, sorted."""
    return _engine().list_flash_attention_impls()


def current_flash_attention_impl() -> str | None:
    """The active implementation; None for the built-in one."""
    return _engine().current_flash_attention_impl()


def restore_flash_attention_impl() -> None:
    """Back to the built-in implementation."""
    _engine().restore_flash_attention_impl()
