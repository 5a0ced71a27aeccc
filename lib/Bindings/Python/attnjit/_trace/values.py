"""Values that are known at run time only: positions, the score, captured tensors and what is computed of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Optional

from . import names
from .errors import MissingError, refuse
from .known import Known

if TYPE_CHECKING:
    from .graph import Node
    from .trace import Trace


class Sizes(tuple[Any, ...]):
    """What `x.shape` is: sizes of captured tensors stay run-time values."""

    def numel(self) -> Any:
        product = 1
        for size in self:
            product = product * size
        return product


class Value:
    """A stand-in that records what is done with it."""

    __slots__ = ("_trace", "_node", "_captured", "__weakref__")
    __array_priority__ = 1000

    def __init__(self, trace: "Trace", node: "Node", captured: Optional[tuple[Any, str]] = None):
        self._trace = trace
        self._node = node
        self._captured = captured  # the tensor and how a replay reaches it, where this is a captured tensor as it stands

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # isinstance(x, torch.Tensor) holds, as in eager PyTorch
        torch = sys.modules.get("torch")
        return torch.Tensor if torch is not None else Value

    # --- what Python wants to know ---

    def __bool__(self) -> bool:
        return self._trace.decide(self)

    def __hash__(self) -> int:
        raise refuse("a run-time value cannot be a key of a dictionary or a member of a set",
                     "choose with torch.where, or capture a tensor and index it")

    def _no_number(self, what: str, cure: str) -> Any:
        return refuse(f"{what} needs a number that is known, and this is known at run time only", cure)

    def __index__(self) -> int:
        raise self._no_number("a list, a range or a shape", "capture a tensor and index that, or choose with torch.where")

    def __int__(self) -> int:
        raise self._no_number("int(x)", "write x.int()")

    def __float__(self) -> float:
        raise self._no_number("float(x) (the math module calls it too)", "write x.float(), or the function of torch: torch.exp(x)")

    def __complex__(self) -> complex:
        raise self._no_number("complex(x)", "a formula has real numbers only")

    def __len__(self) -> int:
        return len(range(self._size(0)))

    def __iter__(self) -> Any:
        if not self._node.sizes:
            raise refuse("this is a single number, which has no elements", "leave an index out to get a row: t[i] instead of t[i, j]")
        return (self[i] for i in range(self._size(0)))

    def __contains__(self, other: Any) -> bool:
        return bool((self == other).any())

    def _size(self, dimension: int) -> Any:
        size = self._node.sizes[dimension]
        if size is None:
            raise refuse("the size of this computed tensor is not known here", "ask a captured tensor for its size")
        return size

    def __repr__(self) -> str:
        node = self._node
        return f"<run-time {node.kind}{f' of rank {len(node.sizes)}' if node.sizes else ''}>"

    __str__ = __repr__

    def __format__(self, form: str) -> str:
        return repr(self)

    # --- indices ---

    def __getitem__(self, index: Any) -> Any:
        return self._trace.index(self, index)

    def __setitem__(self, index: Any, value: Any) -> Any:
        raise refuse("elements of a run-time value cannot be assigned", "choose with torch.where")

    # --- Python's other operators ---

    def __round__(self, digits: Any = None) -> Any:
        return self._trace.call("round", "torch", (self,), {} if digits is None else {"decimals": digits})

    def __floor__(self) -> Any:
        return self._trace.call_math("floor", (self,))

    def __ceil__(self) -> Any:
        return self._trace.call_math("ceil", (self,))

    def __trunc__(self) -> Any:
        return self._trace.call_math("trunc", (self,))

    def __abs__(self) -> Any:
        return self._trace.call("abs", "method", (self,), {})

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    # --- attributes and methods of tensors ---

    @property
    def shape(self) -> Sizes:
        return Sizes(self._size(i) for i in range(len(self._node.sizes)))

    @property
    def ndim(self) -> int:
        return len(self._node.sizes)

    @property
    def dtype(self) -> Any:
        return self._trace.dtype(self)

    @property
    def device(self) -> Any:
        torch = sys.modules.get("torch")
        tensor = self._captured[0] if self._captured else None
        return getattr(tensor, "device", None) or (torch.device("cpu") if torch is not None else "cpu")

    @property
    def T(self) -> Any:
        return self._trace.attribute(self, "T")

    @property
    def mT(self) -> Any:
        return self._trace.attribute(self, "mT")

    data = property(lambda self: self)
    requires_grad = property(lambda self: False)
    is_cuda = property(lambda self: self.device is not None and getattr(self.device, "type", "") == "cuda")

    def dim(self) -> int:
        return self.ndim

    ndimension = dim

    def size(self, dim: Any = None) -> Any:
        return self.shape if dim is None else self._size(dim.__index__())

    def numel(self) -> Any:
        return self.shape.numel()

    nelement = numel

    def is_floating_point(self) -> bool:
        return self._node.kind == "float"

    def tolist(self) -> Any:
        return self if not self._node.sizes else [row.tolist() for row in self]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        is_method = self._trace.has(name) or self._captured is not None and callable(getattr(type(self._captured[0]), name, None))
        if not is_method:
            raise refuse(f"'{name}' is nothing that a formula can do", names.CURES.get(name, "docs/language.md lists the functions; what is computed "
                         "before the call may be captured"), MissingError)
        return lambda *args, **kwargs: self._trace.call(name, "method", (self, *args), kwargs)

    # --- protocols ---

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from .torch_functions import dispatch

        return dispatch(function, args, kwargs or {})

    def __array_ufunc__(self, ufunc: Any, method: Any, *inputs: Any, **options: Any) -> Any:
        from .numpy_functions import call_ufunc

        return call_ufunc(self._trace, ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from .numpy_functions import call_function

        return call_function(self._trace, function, args, kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise refuse("a run-time value cannot become an array of numpy", "use the functions of numpy or torch on it as it is")

    def astype(self, dtype: Any) -> Any:
        return self._trace.call("to", "method", (self, dtype), {})


def _in_place(value: Value, result: Any) -> Any:
    """`x += y` changes the tensor x, under its other names too. Where PyTorch would refuse, for the kind or the size, x becomes another value."""
    if type(result) is not Value or result._node.kind != value._node.kind or len(result._node.sizes) != len(value._node.sizes):
        return result
    value._node, value._captured = result._node, None
    return value


def _install() -> None:
    for method, word in names.OPERATORS.items():
        setattr(Value, method, lambda self, other, w=word: self._trace.infix(w, self, other))
        setattr(Value, "__r" + method[2:], lambda self, other, w=word: self._trace.infix(w, other, self))
        setattr(Value, "__i" + method[2:], lambda self, other, w=word: _in_place(self, self._trace.infix(w, self, other)))
    for method, word in names.COMPARISONS.items():
        setattr(Value, method, lambda self, other, w=word: self._trace.infix(w, self, other))
    for method, word in names.SIGNS.items():
        setattr(Value, method, lambda self, w=word: self._trace.prefix(w, self))


_install()


def is_run_time(value: Any) -> bool:
    return type(value) is Value
