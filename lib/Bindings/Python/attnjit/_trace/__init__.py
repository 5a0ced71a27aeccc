"""Turns Python callables into formulas: `trace(fn, kind)`. docs/rationale/Tracing.md says how and why."""

from __future__ import annotations

from .errors import TraceError
from .random import rand, randint
from .tracing import Traced, merge, trace

__all__ = ["TraceError", "Traced", "is_text", "merge", "rand", "randint", "trace"]


def is_text(mod: object) -> bool:
    """Whether a mod is text, which goes to the parser as it stands."""
    return isinstance(mod, str)
