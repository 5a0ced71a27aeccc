"""Numpy's functions on run-time values: the same names in a formula, or torch's for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import names
from .errors import refuse
from .known import bare, is_number, pinned
from .values import is_run_time

if TYPE_CHECKING:
    from .trace import Trace


def call_ufunc(trace: "Trace", ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """np.exp(x), np.float32(2) * x ..."""
    if method != "__call__":
        raise refuse(f"{ufunc.__name__}.{method} has no meaning in a formula", "use the reductions of tensors: x.sum(-1), x.amax(-1)")
    if not any(map(is_run_time, inputs)):
        if options or not all(is_number(bare(value)) for value in inputs):
            return ufunc(*map(pinned, inputs), **options)
        return trace.derive(ufunc, inputs)
    name = names.NUMPY.get(ufunc.__name__, ufunc.__name__)
    if name in _WORDS:
        return trace.infix(_WORDS[name], inputs[0], inputs[1])
    return trace.call(name, "torch", inputs, options)


def call_function(trace: "Trace", function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """np.where(condition, a, b), np.dot(a, b) ..."""
    name = names.NUMPY.get(function.__name__, function.__name__)
    if trace.has(name):
        kwargs = {_WORDS_OF_ARGUMENTS.get(key, key): value for key, value in kwargs.items()}
    return trace.call(name, "torch", args, kwargs, function)


_WORDS_OF_ARGUMENTS = {"axis": "dim", "keepdims": "keepdim", "a_min": "min", "a_max": "max"}

# Where an operator says it best.
_WORDS = {"add": "+", "subtract": "-", "multiply": "*", "true_divide": "/", "floor_divide": "//", "remainder": "%", "pow": "**", "matmul": "@",
                "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!=", "bitwise_and": "&",
                "bitwise_or": "|", "bitwise_xor": "^", "bitwise_left_shift": "<<", "bitwise_right_shift": ">>"}
