"""One trace: turns what is done with run-time values into nodes of the formula."""

from __future__ import annotations

import keyword
import sys
from typing import Any, Callable, Optional

from . import names
from .errors import Place, TraceError, here, refuse
from .graph import Graph, Node, Operand, larger, number_text
from .known import Known, bare, is_number, pinned
from .replay import Recorder
from .values import Value, is_run_time

# The names that a formula cannot give to anything else.
_RESERVED = frozenset("""score p b h q_idx kv_idx batch head torch math F functools operator pi e tau inf nan infty rand randint partial reduce finfo iinfo
    device attnjit range len tuple list dict set frozenset enumerate zip reversed sorted sum all any map str repr callable isinstance getattr hasattr
    divmod print float int bool abs min max round and_masks or_masks xor_masks not_mask noop_mask score_mod mask_mod prob_mod compile cache""".split())


class Trace:
    """The state of turning one callable into one formula. It outlives the runs of the callable, one for each path through its conditions."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.recorder = Recorder()
        self.captures: dict[str, tuple[Node, Any]] = {}  # how a replay reaches it -> its node and its value
        self.tables: dict[tuple[Any, ...], Any] = {}               # tensors that the callable makes, by their elements
        self.taken: set[str] = set()
        self.decisions: list[tuple[Node, bool]] = []     # of the run that is going on
        self.plan: list[bool] = []
        self.most_decisions = 64

    # --- operands ---

    def name_for(self, wanted: str) -> str:
        """A name for a capture that means nothing else in the formula."""
        base = "".join(letter if letter.isascii() and (letter.isalnum() or letter == "_") else "_" for letter in wanted) or "value"
        base = f"_{base}" if base[0].isdigit() else base
        name, count = base, 0
        while self.is_taken(name):
            count += 1
            name = f"{base}_{count}"
        self.taken.add(name)
        return name

    def is_taken(self, name: str) -> bool:
        return name in self.taken or name in _RESERVED or keyword.iskeyword(name)

    def capture(self, value: Any, access: str, name: str, kind: str, sizes: tuple[Any, ...] = (), dtype: str = "") -> Node:
        if access not in self.captures:
            node = self.graph.node("name", (self.name_for(name),), kind=kind, sizes=sizes, place=here(), dtype=dtype)
            self.captures[access] = (node, value)
        return self.captures[access][0]

    def captured_tensor(self, tensor: Any, access: str, name: str) -> Value:
        dtype = dtype_name(tensor)
        variable = self.recorder.read(access)
        node = self.capture(tensor, variable, name, kind_of_dtype(dtype), dtype=dtype)
        if not node.sizes and tensor.ndim:
            node.sizes = tuple(Known(self, size, f"{variable}.shape[{i}]", f"{name}_size_{i}",
                                     self.graph.node(f"attribute shape[{i}]", (node,), kind="int")) for i, size in enumerate(tensor.shape))
        return Value(self, node, (tensor, variable))

    def number(self, known: Known) -> Node:
        """A captured number, as an argument of the kernel."""
        if known._node is not None:
            return known._node
        value = known._value
        kind = "bool" if is_bool(value) else "float" if not hasattr(type(value), "__index__") else "int"
        if kind == "int" and not -2**63 <= value < 2**63:
            raise refuse(f"the captured number {known._name} has more than 64 bits", "keep to ints of 64 bits")
        return self.capture(value, known._expression, known._name, kind)

    def operand(self, value: Any) -> Node:
        """The node that stands for a value of a formula."""
        if is_run_time(value):
            node: Node = value._node
            return node
        if type(value) is Known:
            return self.number(value)
        if is_number(value):
            value = value.item() if hasattr(value, "item") else value
            kind = "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "float"
            if kind == "int" and not -2**63 <= value < 2**63:
                raise refuse(f"the number {value} has more than 64 bits", "keep to ints of 64 bits")
            return self.graph.node("literal", (number_text(value),), kind=kind)
        if is_tensor(value):
            if not len(value.shape):
                return self.operand(value.item())
            return self.captured_tensor(value, self.recorder.bind(self.table(value)), "table")._node
        raise refuse(f"a value of type {type(value).__name__} cannot be part of a formula", "formulas compute with numbers and tensors")

    def table(self, tensor: Any) -> Any:
        """A tensor that the callable makes anew in every run: the first one with these elements."""
        array = tensor.detach().cpu().contiguous().view(-1).tolist() if hasattr(tensor, "detach") else tensor.ravel().tolist()
        return self.tables.setdefault((dtype_name(tensor), tuple(tensor.shape), repr(array)), tensor)

    def argument(self, value: Any) -> Operand:
        """Something between the parentheses of a call."""
        if value is None or isinstance(value, str) and not is_run_time(value):
            return repr(value)
        if type(value) in (tuple, list) or type(value).__name__ == "Size":
            return ("list" if type(value) is list else "tuple", *map(self.argument, value))
        dtype = dtype_text(value)
        return dtype if dtype else self.operand(value)

    # --- what makes nodes ---

    def value(self, node: Node) -> Value:
        return Value(self, node)

    def infix(self, word: str, left: Any, right: Any) -> Any:
        if not all(is_run_time(side) or type(side) is Known or is_number(side) or is_tensor(side) for side in (left, right)):
            return NotImplemented
        if word == "**":
            right = pinned(right)
        first, second = self.operand(left), self.operand(right)
        for one, other in ((first, second), (second, first)):  # what and_masks and or_masks start with, and noop_mask
            if one.op == "literal" and one.args == ({"&": "True", "|": "False"}.get(word, ""),) and other.kind == "bool":
                return self.value(other)
        kind = larger(first.kind, second.kind)
        if word == "/":
            kind = "float"
        elif word in names.COMPARISONS.values():
            kind = "bool"
        elif word in ("//", "%", "**", "<<", ">>") and kind == "bool":
            kind = "int"
        sizes = product_sizes(first.sizes, second.sizes) if word == "@" else broadcast(first.sizes, second.sizes)
        return self.value(self.graph.node(f"infix {word}", (first, second), kind=kind, sizes=sizes, place=here()))

    def prefix(self, word: str, value: Value) -> Value:
        node = value._node
        if word == "-" and node.kind == "bool":
            raise refuse("'-' of a bool means nothing", "write ~x for 'not x', or x.int()")
        if word == "+":
            return value
        return self.value(self.graph.node(f"prefix {word}", (node,), kind=node.kind, sizes=node.sizes, place=here()))

    def attribute(self, value: Value, name: str) -> Value:
        node = value._node
        return self.value(self.graph.node(f"attribute {name}", (node,), kind=node.kind, sizes=_swapped(node.sizes), place=here(), dtype=node.dtype))

    def index(self, value: Value, index: Any) -> Value:
        node, items = value._node, index if type(index) is tuple else (index,)
        sizes = list(node.sizes)
        parts: list[Operand] = []
        left = len(sizes) - sum(item is not None and item is not Ellipsis for item in items)
        if left < 0:
            raise refuse(f"{len(items)} indices for {len(sizes)} dimensions" if sizes else "a single number has no elements", "leave an index out")
        rest: list[Any] = []
        for item in items:
            if item is None:
                rest.append(1)
                parts.append("None")
            elif item is Ellipsis:
                rest += [sizes.pop(0) for _ in range(left)]
                parts.append("...")
            elif isinstance(item, slice):
                parts.append(("slice", *(None if end is None else self.operand(end) for end in (item.start, item.stop, item.step))))
                rest.append(_slice_size(self, item, sizes.pop(0)))
            else:
                parts.append(self._index_operand(item))
                sizes.pop(0)
        operand = parts[0] if len(parts) == 1 else ("tuple", *parts)
        return self.value(self.graph.node("index", (node, operand), kind=node.kind, sizes=(*rest, *sizes), place=here(), dtype=node.dtype))

    def _index_operand(self, item: Any) -> Node:
        if type(item) in (list, bool):
            raise refuse(f"a {type(item).__name__} is no index of a formula", "give one int for every dimension")
        node = self.operand(item)
        if node.sizes:
            raise refuse("a tensor as index picks many elements at once", "index with single numbers: t[ids[q_idx]]")
        if node.kind != "int":
            raise refuse(f"an index must be an int, found a {node.kind}", "use '//' instead of '/', or convert with .int()")
        return node

    def call(self, name: str, form: str, args: tuple[Any, ...], kwargs: dict[str, Any], function: Optional[Callable[..., Any]] = None) -> Any:
        """A function (`form` is "torch", or "plain" for attnjit's own) or a method. A name that ends in _ changes its first argument."""
        from .functions import emit

        in_place = name.endswith("_") and not name.endswith("__") and is_run_time(args[0]) if args else False
        if kwargs.pop("inplace", False) is True:
            in_place = True
        known_as = names.formula_name(name.rstrip("_") if in_place else name)
        if known_as in names.FUNCTIONAL and any(type(argument) is bool for argument in args[1:]):
            in_place = in_place or known_as != "rrelu" and args[-1] is True  # F.relu(x, True)
            args = tuple(argument for argument in args if type(argument) is not bool)
        result = emit(self, known_as, form, args, kwargs, function)
        if in_place and is_run_time(result):
            args[0]._node, args[0]._captured = result._node, None
            return args[0]
        return result

    def call_math(self, name: str, args: tuple[Any, ...]) -> Any:
        """A function of Python's math module on run-time values."""
        if name not in names.MATH:
            raise refuse(f"math.{name} does not take run-time values", "use a function of torch; docs/language.md lists those that a formula has")
        nodes = tuple(self.operand(argument) for argument in args)
        kind = "int" if name in ("floor", "ceil", "trunc") else "bool" if name.startswith("is") else "float"
        return self.value(self.graph.node(f"call math.{name}", nodes, kind=kind, place=here()))

    def has(self, name: str) -> bool:
        """Whether a formula has a function or a method of this name, in its in-place form too."""
        from .functions import is_function

        return is_function(names.formula_name(name)) or name.endswith("_") and not name.startswith("_") and is_function(names.formula_name(name[:-1]))

    def derive(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """A function of captured numbers alone: computed now, and again by every replay."""
        value = function(*map(bare, args))
        if not is_number(value):
            return function(*map(pinned, args))
        texts = [argument._expression if type(argument) is Known else self.recorder.literal(argument) for argument in args]
        place: Optional[Place] = here()
        name = place.stored if place is not None and place.stored else f"{getattr(function, '__name__', 'number')}_{next(iter(_names(args)), 'value')}"
        return Known(self, value, self.recorder.shortened(f"{self.recorder.bind(function)}({', '.join(texts)})"), name)

    # --- conditions over run-time values ---

    def decide(self, value: Value) -> bool:
        """Python asks whether a run-time condition holds: this run takes one way, another run the other."""
        condition = value._node
        if condition.sizes:
            raise refuse("the truth of a tensor with several elements is ambiguous", "reduce it first: .any() or .all()")
        if condition.kind != "bool":
            zero = self.graph.node("literal", ("0" if condition.kind == "int" else "0.0",), kind=condition.kind)
            condition = self.graph.node("infix !=", (condition, zero), kind="bool", place=here())
        for decided, outcome in self.decisions:
            if decided is condition:
                return outcome
        if len(self.decisions) >= self.most_decisions:
            from .errors import PathLimit

            raise refuse(f"more than {self.most_decisions} run-time conditions one after the other", "write them as torch.where, or with & and |", PathLimit)
        outcome = self.plan[len(self.decisions)] if len(self.decisions) < len(self.plan) else True
        self.decisions.append((condition, outcome))
        return outcome

    # --- dtypes ---

    def dtype(self, value: Value) -> Any:
        torch = sys.modules.get("torch")
        if torch is not None:
            return getattr(torch, value._node.dtype)
        import numpy

        return numpy.dtype(value._node.dtype)


def _names(args: tuple[Any, ...]) -> Any:
    return (argument._name for argument in args if type(argument) is Known)


def is_bool(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")


def is_tensor(value: Any) -> bool:
    """Real tensors and arrays of any library."""
    if is_run_time(value) or type(value) is Known:
        return False
    return hasattr(type(value), "__dlpack__") and hasattr(value, "shape")


def dtype_name(tensor: Any) -> str:
    """`float32` of torch.float32, numpy.dtype("float32") and their like."""
    return str(getattr(tensor, "dtype", "")).rpartition(".")[2]


def kind_of_dtype(name: str) -> str:
    if name == "bool":
        return "bool"
    if name.startswith(("int", "uint")):
        return "int"
    if name.startswith(("float", "bfloat")):
        return "float"
    raise TraceError(f"a tensor of {name or 'this type'} cannot be captured", "bools, ints of up to 64 bits and floats can")


def dtype_text(value: Any) -> str:
    """`torch.float32` for a dtype of torch or numpy, or Python's float; empty for anything else."""
    if value is float or value is int or value is bool:
        return {"float": "torch.float32", "int": "torch.int64", "bool": "torch.bool"}[value.__name__]
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and type(value) is torch.dtype:
        return str(value)
    if numpy is not None and (type(value) is type and issubclass(value, numpy.generic) or isinstance(value, numpy.dtype)):
        return f"torch.{numpy.dtype(value).name}"
    return ""


def broadcast(*shapes: tuple[Any, ...]) -> tuple[Any, ...]:
    """The sizes of an element by element result; None where only the call knows them."""
    rank = max(map(len, shapes))
    result = []
    for place in range(-rank, 0):
        sizes = [shape[place] for shape in shapes if len(shape) >= -place]
        wide = [size for size in sizes if size is None or not size == 1]
        known = [size for size in wide if size is not None]
        result.append(known[0] if known else None if wide else 1)
    return tuple(result)


def product_sizes(left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:
    """The sizes of `left @ right`."""
    if not left or not right:
        raise refuse("'@' is the product of rows and matrices, found a number", "use '*'")
    rows = left[:-1] if len(right) == 1 else broadcast(left[:-2], right[:-2]) + left[-2:-1]
    return rows + (right[-1:] if len(right) > 1 else ())


def _swapped(sizes: tuple[Any, ...]) -> tuple[Any, ...]:
    return sizes[:-2] + sizes[-2:][::-1]


def _slice_size(trace: Trace, item: slice, size: Any) -> Any:
    ends = (item.start, item.stop, item.step)
    if ends == (None, None, None):
        return size
    if size is None or any(is_run_time(end) for end in ends):
        return None
    if all(end is None or type(end) is int for end in ends) and type(size) is Known:
        return trace.derive(lambda length: len(range(*item.indices(length))), (size,))
    return None
