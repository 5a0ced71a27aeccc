"""Calls of torch's functions and methods, as calls of the formula."""

from __future__ import annotations

from typing import Any, Callable, Optional

from . import names
from .errors import here, refuse
from .graph import Node, larger
from .known import Known, is_number, pinned
from .trace import Trace, broadcast, dtype_text, is_tensor, kind_of_dtype, product_sizes
from .values import Value, is_run_time

_LIKE = {"zeros_like": 0, "empty_like": 0, "ones_like": 1, "full_like": None, "new_zeros": 0, "new_empty": 0, "new_ones": 1, "new_full": None, "new_tensor": None}
_OTHERS = frozenset(["to", "type", "type_as", "tensor", "scalar_tensor", "as_tensor", "asarray", "fill", "zero", *_LIKE])


def is_function(name: str) -> bool:
    return (name in names.ELEMENTWISE or name in names.UNCHANGED or name in names.REDUCTIONS or name in names.PRODUCTS or name in names.VIEWS or name in names.CASTS
            or name in _OTHERS)


def emit(trace: Trace, name: str, form: str, args: tuple[Any, ...], kwargs: dict[str, Any], function: Optional[Callable[..., Any]]) -> Any:
    """The value of calling `name`, which is `function` where PyTorch or NumPy is called."""
    kwargs = {key: value for key, value in kwargs.items() if key not in names.IGNORED}
    if name in names.UNCHANGED:
        return Value(trace, args[0]._node, args[0]._captured)
    if name in _LIKE:
        return _filled(trace, name, args, kwargs)
    if name in ("fill", "zero"):
        return _filled(trace, "full_like" if name == "fill" else "zeros_like", args, kwargs)
    if name in ("tensor", "scalar_tensor", "as_tensor", "asarray"):
        return _scalar(trace, args, kwargs)
    if name in names.CASTS or name in ("to", "type", "type_as"):
        return _cast(trace, name, args, kwargs)
    if name in names.VIEWS:
        return _view(trace, name, form, args, kwargs)
    is_pair = name in ("max", "min") and len(args) > 1 and (is_run_time(args[1]) or is_tensor(args[1])) or "other" in kwargs
    if name in names.REDUCTIONS and not is_pair:
        return _reduction(trace, name, form, args, kwargs)
    if name in names.PRODUCTS:
        first, second = (trace.operand(argument) for argument in args[:2])
        sizes = product_sizes(first.sizes, second.sizes)
        sizes = first.sizes[:-1] if name == "vecdot" else sizes
        return _node(trace, name, form, args, kwargs, larger(first.kind, second.kind), sizes)
    if is_pair:
        name = "maximum" if name == "max" else "minimum"
    if name in names.ELEMENTWISE:
        return _elementwise(trace, name, form, args, kwargs)
    return _computed(trace, name, function, args, kwargs)


def _node(trace: Trace, name: str, form: str, args: tuple[Any, ...], kwargs: dict[str, Any], kind: str, sizes: tuple[Any, ...], dtype: str = "") -> Value:
    prefix = f"method {name}" if form == "method" else f"call F.{name}" if name in names.FUNCTIONAL else f"call {name}" if form == "plain" else f"call torch.{name}"
    named = tuple((key, trace.argument(value)) for key, value in kwargs.items() if value is not None)
    operands = list(map(trace.argument, args))
    while operands and operands[-1] == "None":
        operands.pop()
    return Value(trace, trace.graph.node(prefix, tuple(operands), named, kind=kind, sizes=sizes, place=here(), dtype=dtype))


def _elementwise(trace: Trace, name: str, form: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
    kwargs = {key: pinned(value) if key in ("decimals", "exponent", "equal_nan") else value for key, value in kwargs.items()}
    if name in ("pow", "float_power") and len(args) > 1:
        args = (args[0], pinned(args[1]), *args[2:])
    if name == "round" and len(args) > 1:
        args = (args[0], *map(pinned, args[1:]))
    if name == "float_power":
        args = tuple(trace.call("float", "method", (argument,), {}) if is_run_time(argument) else argument for argument in args)
    if name in ("rand", "randint") and form != "plain":
        raise refuse(f"torch's {name} draws from a generator, which a formula has none of", names.CURES[name])
    if name == "where" and len(args) + len(kwargs) < 3:
        raise refuse("where with a condition alone lists places", "give both values: torch.where(condition, a, b)")
    if name == "prelu":
        # PyTorch holds the one weight in a tensor, and has no such method for numbers.
        form = "torch"
        args = (args[0], *(weight[0] if (is_run_time(weight) or is_tensor(weight)) and len(weight.shape) == 1 else weight for weight in args[1:]))
    numbers = [trace.operand(value) for value in (*args, *kwargs.values()) if is_run_time(value) or type(value) is Known or is_number(value) or is_tensor(value)]
    kind = _kind(name, form, numbers, kwargs)
    return _node(trace, name, form, args, kwargs, kind, broadcast(*(number.sizes for number in numbers)))


def _kind(name: str, form: str, numbers: list[Node], kwargs: dict[str, Any]) -> str:
    rule = names.ELEMENTWISE[name]
    if name in ("div", "divide") and kwargs.get("rounding_mode") is not None:
        rule = "promoted"
    if name == "masked_fill":
        return larger(numbers[0].kind, numbers[-1].kind)
    if rule == "chosen":
        branches = [numbers[0], numbers[2]] if form == "method" else numbers[1:3]
        return larger(*(branch.kind for branch in branches))
    if rule == "promoted":
        kind = larger(*(number.kind for number in numbers))
        return "int" if kind == "bool" and name in ("floor_divide", "remainder", "fmod", "pow") else kind
    return numbers[0].kind if rule == "first" else rule


def _dtype_argument(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The dtype or the tensor that is to be followed; a device says nothing."""
    candidates = [*args, kwargs.get("dtype"), kwargs.get("other")]
    return next((value for value in candidates if value is not None and (dtype_text(value) or is_run_time(value) or is_tensor(value))), None)


def _cast(trace: Trace, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
    node = trace.operand(args[0])
    if name in names.CASTS:
        if name in ("byte", "char", "short"):
            return _node(trace, name, "method", args[:1], {}, "int", node.sizes, {"byte": "uint8", "char": "int8", "short": "int16"}[name])
        kind = names.CASTS[name]
        if node.kind == kind and name != "double":
            return Value(trace, node)
        return _node(trace, name, "method", args[:1], {}, kind, node.sizes)
    wanted = _dtype_argument(args[1:], kwargs)
    if wanted is None:
        return Value(trace, node)
    if not dtype_text(wanted):
        wanted = wanted.dtype
    text = dtype_text(wanted)
    dtype = text.rpartition(".")[2]
    if dtype in ("float16", "bfloat16", "half") or dtype.startswith("float8"):
        raise refuse(f"a formula has no {dtype}: it computes in float32 (float64 for float64 problems)", "drop the cast")
    return _node(trace, "to", "method", (args[0], wanted), {}, kind_of_dtype(dtype), node.sizes, dtype)


def _filled(trace: Trace, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
    """zeros_like(x), x.new_full((), 3) and their like: a number of x's kind."""
    source, rest = args[0], args[1:]
    value: Any = _LIKE[name]
    if name.startswith("new_") and name != "new_tensor":
        shape = kwargs.pop("size", rest[0] if rest else ())
        rest = rest[1:]
        if type(shape) is int or len(shape):
            raise refuse("a formula makes no tensors of run-time values", "a single number: x.new_zeros(()); tables are made before the call and captured")
    if value is None:
        value = kwargs.get("fill_value", kwargs.get("data", rest[0] if rest else 0))
    dtype = _dtype_argument(rest[1:] if _LIKE[name] is None else rest, kwargs)
    node = trace.operand(value)
    followed = trace.operand(source) if is_run_time(source) or is_tensor(source) else node
    if dtype is None and name == "new_tensor":
        return Value(trace, node)
    kind = kind_of_dtype(dtype_text(dtype).rpartition(".")[2]) if dtype is not None else followed.kind
    if node.op == "literal" and node.kind != kind and not is_run_time(value):
        return Value(trace, trace.operand({"bool": bool, "int": int, "float": float}[kind](pinned(value))))
    return Value(trace, node) if node.kind == kind else _cast(trace, kind, (Value(trace, node),), {})


def _scalar(trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
    """torch.tensor(x) of a run-time or captured number."""
    data = kwargs.get("data", args[0] if args else None)
    if type(data) in (list, tuple):
        raise refuse("a formula makes no tensors of run-time values", "compute with single numbers, or capture a tensor that is made before the call")
    value = Value(trace, trace.operand(data))
    dtype = kwargs.get("dtype")
    return value if dtype is None else _cast(trace, "to", (value, dtype), {})


def _reduction(trace: Trace, name: str, form: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
    node = trace.operand(args[0])
    rest = tuple(_pin_all(value) for value in args[1:])
    kwargs = {key: _pin_all(value) for key, value in kwargs.items() if key != "dtype"}
    if name in ("max", "min") and (rest or "dim" in kwargs):
        raise refuse(f"{name} with a dimension has two results", f"write a{name}(dim)")
    places = (1,) if name in ("norm", "vector_norm") else (0,)
    dims = kwargs.get("dim", kwargs.get("axis", rest[places[0]] if len(rest) > places[0] else None))
    if "axis" in kwargs:
        kwargs["dim"] = kwargs.pop("axis")
    keep = bool(kwargs.get("keepdim", rest[places[0] + 1] if len(rest) > places[0] + 1 else False))
    rule = names.REDUCTIONS[name]
    kind = {"sum": "int" if node.kind == "bool" else node.kind, "first": node.kind}.get(rule, rule)
    rank = len(node.sizes)
    chosen = set(range(rank)) if dims is None else {dim % rank for dim in (dims if type(dims) in (tuple, list) else (dims,))} if rank else set()
    sizes = tuple(1 if i in chosen else size for i, size in enumerate(node.sizes) if keep or i not in chosen)
    return _node(trace, name, form, (args[0], *rest), kwargs, kind, sizes)


def _pin_all(value: Any) -> Any:
    return type(value)(map(pinned, value)) if type(value) in (tuple, list) else pinned(value)


def _view(trace: Trace, name: str, form: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
    node = trace.operand(args[0])
    keeps = name in ("view", "reshape", "narrow", "select")  # whose sizes and places may be run-time values
    rest = args[1:] if keeps else tuple(map(_pin_all, args[1:]))
    kwargs = {key: value if keeps and key not in ("dim",) else _pin_all(value) for key, value in kwargs.items()}
    sizes = _view_sizes(name, list(node.sizes), rest, kwargs)
    return _node(trace, name, form, (args[0], *rest), kwargs, node.kind, tuple(sizes), node.dtype)


def _view_sizes(name: str, sizes: list[Any], rest: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    rank = len(sizes)

    def number(place: int, key: str, default: Optional[int] = None) -> Any:
        value = kwargs.get(key, rest[place] if len(rest) > place else default)
        return value if value is None else pinned(value)

    if name in ("transpose", "swapaxes"):
        a, b = number(0, "dim0"), number(1, "dim1")
        sizes[a], sizes[b] = sizes[b], sizes[a]
    elif name == "t":
        sizes.reverse()
    elif name == "permute":
        dims = kwargs.get("dims", rest[0] if len(rest) == 1 and type(rest[0]) in (tuple, list) else rest)
        sizes = [sizes[dim] for dim in dims]
    elif name == "unsqueeze":
        sizes.insert(number(0, "dim") % (rank + 1), 1)
    elif name in ("squeeze", "select"):
        del sizes[number(0, "dim", 0)]
    elif name == "narrow":
        sizes[number(0, "dim")] = kwargs.get("length", rest[2] if len(rest) > 2 else None)
    elif name in ("flatten", "ravel"):
        first, last = number(0, "start_dim", 0) % max(rank, 1), number(1, "end_dim", -1) % max(rank, 1)
        sizes[first:last + 1] = [sizes[first] if first == last else None]
    else:
        shape = kwargs.get("shape", kwargs.get("size", rest[0] if len(rest) == 1 and type(rest[0]) in (tuple, list) else rest))
        sizes = [None if type(size) is int and size < 0 else size for size in shape]
    return sizes


def _computed(trace: Trace, name: str, function: Optional[Callable[..., Any]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
    """A function that no formula has, of captured tensors alone: its result is captured instead, and computed anew by every replay."""
    values = [value for value in (*args, *kwargs.values()) if is_run_time(value)]
    if not values or not all(value._captured for value in values):
        raise refuse(f"a formula has no function '{name}'", names.CURES.get(name, "docs/language.md lists those that it has; what is computed before "
                     "the call may be captured"))
    function = function or getattr(type(args[0]._captured[0]), name)
    result = function(*map(_real, args), **{key: _real(value) for key, value in kwargs.items()})
    if not is_tensor(result):
        raise refuse(f"'{name}' gives something that is no tensor", "compute it before the call and capture it")
    words = [_reached(trace, value) for value in args] + [f"{key}={_reached(trace, value)}" for key, value in kwargs.items()]
    return trace.captured_tensor(result, f"{trace.recorder.bind(function)}({', '.join(words)})", name)


def _real(value: Any) -> Any:
    return value._captured[0] if is_run_time(value) else _pin_all(value)


def _reached(trace: Trace, value: Any) -> str:
    """How a replay reaches an argument."""
    return value._captured[1] if is_run_time(value) else trace.recorder.bind(_pin_all(value))
