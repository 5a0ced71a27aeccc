"""Turns Python callables into formulas: `trace(fn, kind)`. docs/rationale/Tracing.md says how and why."""

from __future__ import annotations

from .errors import TraceError
from .random import rand, randint
from .tracing import Traced, trace

__all__ = ["TraceError", "Traced", "rand", "randint", "trace"]
