"""Numbers that a callable captured. They compute as Python does, at once; the formula gets the result as an argument of the kernel."""

from __future__ import annotations

import math
import operator
import sys
from typing import TYPE_CHECKING, Any, Optional

from .errors import Number, here

if TYPE_CHECKING:
    from .graph import Node
    from .trace import Trace

_WORDS = {"+": "plus", "-": "minus", "*": "times", "/": "over", "//": "over", "%": "mod", "**": "to", "<<": "shl", ">>": "shr", "&": "and", "|": "or", "^": "xor"}
_LONGEST_NAME = 24


class Known:
    """A captured number, or what was computed from such numbers alone.

    Where Python needs the number itself (a bound of range, a condition, an index), it gets it, and the trace holds for that value, or that
    outcome, only.
    """

    __slots__ = ("_trace", "_value", "_expression", "_name", "_node")

    def __init__(self, trace: "Trace", value: Number, expression: str, name: str, node: Optional["Node"] = None):
        self._trace, self._value, self._expression, self._name, self._node = trace, value, expression, name, node

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # isinstance(n, int) and numbers.Number are answered for the number
        return type(self._value)

    def _pin(self) -> Any:
        self._trace.recorder.require_value(self._expression, self._value)
        return self._value

    def __bool__(self) -> bool:
        truth = bool(self._value)
        self._trace.recorder.require(self._expression if truth else f"not {self._expression}")
        return truth

    def __index__(self) -> int:
        return operator.index(self._pin())

    def __int__(self) -> int:
        return int(self._pin())

    def __float__(self) -> float:
        return float(self._pin())

    def __complex__(self) -> complex:
        return complex(self._pin())

    def __hash__(self) -> int:
        return hash(self._pin())

    def __str__(self) -> str:
        return str(self._pin())

    def __repr__(self) -> str:
        return repr(self._pin())

    def __format__(self, form: str) -> str:
        return format(self._pin(), form)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._pin().__reduce_ex__(protocol)

    def __round__(self, digits: Any = None) -> Any:
        return self._trace.derive(round, (self,) if digits is None else (self, digits))

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        import numpy

        return numpy.asarray(self._pin(), dtype=dtype)

    def __array_ufunc__(self, ufunc: Any, method: Any, *inputs: Any, **options: Any) -> Any:
        from .numpy_functions import call_ufunc

        return call_ufunc(self._trace, ufunc, method, inputs, options)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from .torch_functions import dispatch

        return dispatch(function, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        # Attributes of Python's own numbers: n.bit_length(), x.is_integer(), n.real
        return getattr(self._pin(), name)


def is_number(value: Any) -> bool:
    if isinstance(value, (bool, int, float)):
        return True
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, (numpy.bool_, numpy.integer, numpy.floating))


def _install() -> None:
    for name, (word, function) in {"add": ("+", operator.add), "sub": ("-", operator.sub), "mul": ("*", operator.mul), "truediv": ("/", operator.truediv),
                                   "floordiv": ("//", operator.floordiv), "mod": ("%", operator.mod), "pow": ("**", operator.pow),
                                   "lshift": ("<<", operator.lshift), "rshift": (">>", operator.rshift), "and": ("&", operator.and_),
                                   "or": ("|", operator.or_), "xor": ("^", operator.xor)}.items():
        setattr(Known, f"__{name}__", lambda self, other, w=word, f=function: _binary(self, self, other, w, f))
        setattr(Known, f"__r{name}__", lambda self, other, w=word, f=function: _binary(self, other, self, w, f))
    for name, word in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
        setattr(Known, f"__{name}__", lambda self, other, w=word, f=getattr(operator, name): _binary(self, self, other, w, f))
    for name, word in {"neg": "-", "pos": "+", "invert": "~"}.items():
        setattr(Known, f"__{name}__", lambda self, w=word, f=getattr(operator, name): Known(
            self._trace, f(self._value), f"({w}{self._expression})", f"minus_{self._name}" if w == "-" else self._name))
    for name, method in {"abs": abs, "trunc": math.trunc, "floor": math.floor, "ceil": math.ceil}.items():
        setattr(Known, f"__{name}__", lambda self, f=method: self._trace.derive(f, (self,)))


def _binary(own: Known, left: Any, right: Any, word: str, function: Any) -> Any:
    other = right if left is own else left
    if type(other) is not Known and not is_number(other):
        return NotImplemented
    value = function(bare(left), bare(right))
    if not is_number(value):
        return function(pinned(left), pinned(right))
    trace = own._trace
    texts = [side._expression if type(side) is Known else trace.recorder.literal(side) for side in (left, right)]
    return Known(trace, value, trace.recorder.shortened(f"({texts[0]} {word} {texts[1]})"), derived_name(left, word, right))


def derived_name(left: Any, word: str, right: Any) -> str:
    """`half_window` if the user's code stores it there, else `window_over_2`."""
    where = here()
    if where is not None and where.stored:
        return where.stored
    parts = [side._name if type(side) is Known else f"{side}".replace(".", "_").replace("-", "minus_") for side in (left, right)]
    name = f"{parts[0]}_{_WORDS.get(word, 'by')}_{parts[1]}"
    return name if len(name) <= _LONGEST_NAME and not name[0].isdigit() else "number"


def bare(value: Any) -> Any:
    """The number behind a Known, read without depending on it."""
    return value._value if type(value) is Known else value


def pinned(value: Any) -> Any:
    """The number behind a Known; the trace holds for this value only."""
    return value._pin() if type(value) is Known else value


_install()
