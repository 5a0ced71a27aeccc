"""The operations of a trace and the formula that they print. Equal operations are one node."""

from __future__ import annotations

import math
from typing import Any, Callable, Optional, Union

from .errors import Number, Place

# An operand: a node, the text of a literal, or a tuple whose first element says how it is written ("tuple", "list", "slice").
Operand = Union["Node", str, tuple[Any, ...]]

# How tightly an expression binds; more is tighter.
_ATOM = 100
_LEVELS = {"|": 10, "^": 11, "&": 12, "<<": 13, ">>": 13, "+": 14, "-": 14, "*": 15, "/": 15, "//": 15, "%": 15, "@": 15, "**": 17,
           "<": 9, "<=": 9, ">": 9, ">=": 9, "==": 9, "!=": 9}
_COMPARISON, _UNARY = 9, 16
_DEEPEST = 24  # a deeper expression gets a name, for the reader and for the parser's limit


class Node:
    """One value of the formula."""

    __slots__ = ("op", "args", "named", "kind", "sizes", "place", "order", "dtype")

    def __init__(self, op: str, args: tuple[Any, ...], named: tuple[Any, ...], kind: str, sizes: tuple[Any, ...], place: Optional[Place], order: int, dtype: str):
        self.op = op          # "name", "infix +", "prefix -", "call torch.exp", "method abs", "index", "attribute T"
        self.args = args
        self.named = named    # keyword arguments, pairs
        self.kind = kind      # "bool", "int" or "float"
        self.sizes = sizes    # of the dimensions that have no index yet; None where unknown
        self.place = place
        self.order = order
        self.dtype = dtype    # what torch's `x.dtype` would say: "float32"


def number_text(value: Number) -> str:
    """A literal of the language."""
    if isinstance(value, bool):
        return repr(value)
    if isinstance(value, int):
        return repr(int(value))
    value = float(value)
    if math.isnan(value):
        return 'float("nan")'
    if math.isinf(value):
        return 'float("inf")' if value > 0 else 'float("-inf")'
    return repr(value)


class Graph:
    """All nodes of a trace."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[Any, ...], Node] = {}

    def node(self, op: str, args: tuple[Any, ...], named: tuple[Any, ...] = (), *, kind: str, sizes: tuple[Any, ...] = (), place: Optional[Place] = None, dtype: str = "") -> Node:
        key = (op, args, named)
        known = self._nodes.get(key)
        if known is None:
            dtype = dtype or {"bool": "bool", "int": "int64", "float": "float32"}[kind]
            known = self._nodes[key] = Node(op, args, named, kind, sizes, place, len(self._nodes), dtype)
        return known

    def select(self, condition: Node, yes: Node, no: Node) -> Node:
        """`yes` where the condition holds. Between bools it is written as logic."""
        if yes is no:
            return yes
        where = condition.place
        if yes.kind == no.kind == "bool" and not yes.sizes and not no.sizes:
            for infix in "&|":
                shared = [term for term in terms(yes, infix) if term in terms(no, infix)]
                if shared:
                    return self.factored(infix, shared, condition, yes, no)
            for text, test, other, infix in (("True", yes, no, "|"), ("False", no, yes, "&")):
                if test is condition or literal(test) == text:
                    return condition if _is_rest(infix, condition, other) else self.node(f"infix {infix}", (condition, other), kind="bool", place=where)
            opposite = self.node("prefix ~", (condition,), kind="bool", place=where)
            for text, test, other, infix in (("False", yes, no, "&"), ("True", no, yes, "|")):
                if literal(test) == text:
                    return opposite if _is_rest(infix, opposite, other) else self.node(f"infix {infix}", (opposite, other), kind="bool", place=where)
        kind = larger(yes.kind, no.kind)
        return self.node("call torch.where", (condition, yes, no), kind=kind, sizes=yes.sizes or no.sizes, place=where)

    def factored(self, infix: str, shared: list[Node], condition: Node, yes: Node, no: Node) -> Node:
        """(a & x where c, else b & x) as (a where c, else b) & x, which says more to whoever looks for blocks to skip."""
        rests = ([term for term in terms(side, infix) if term not in shared] for side in (yes, no))
        neutral = self.node("literal", ("True" if infix == "&" else "False",), kind="bool")
        first, second = (self.joined(infix, rest) if rest else neutral for rest in rests)
        return self.joined(infix, shared if first is second is neutral else [self.select(condition, first, second), *shared])

    def joined(self, infix: str, parts: list[Node]) -> Node:
        result = parts[0]
        for part in parts[1:]:
            result = self.node(f"infix {infix}", (result, part), kind="bool", place=part.place)
        return result


def terms(node: Node, infix: str) -> list[Node]:
    """What `node` joins by & or |."""
    found, waiting = [], [node]
    while waiting:
        part = waiting.pop()
        if part.op == f"infix {infix}" and part.kind == "bool":
            waiting += reversed(part.args)
        else:
            found.append(part)
    return found


def literal(node: Node) -> Optional[str]:
    return node.args[0] if node.op == "literal" else None


def _is_rest(infix: str, condition: Node, other: Node) -> bool:
    """Whether `condition infix other` is the condition itself."""
    return literal(other) == ("False" if infix == "|" else "True") or other is condition


def larger(*kinds: str) -> str:
    return max(kinds, key=("bool", "int", "float").index)


class Printer:
    """Prints the nodes under `result` as the body of a function."""

    def __init__(self, result: Node, taken: Callable[[str], bool]):
        self.result = result
        self.taken: set[str] = set()
        self.is_taken = taken
        self.uses: dict[Node, int] = {}
        self.names: dict[Node, str] = {}
        self.depths: dict[Node, int] = {}
        self.places: list[Optional[Place]] = []
        self.met: dict[Node, None] = {}  # names, in the order of their first use
        self.count(result)

    def count(self, root: Node) -> None:
        waiting = [root]
        while waiting:
            node = waiting.pop()
            self.uses[node] = self.uses.get(node, 0) + 1
            if self.uses[node] == 1:
                waiting.extend(operands(node))

    def body(self) -> list[str]:
        lines = []
        for node in sorted(self.uses, key=lambda node: node.order):
            if node is self.result or not self.deserves_name(node):
                continue
            text = self.expression(node)[0]
            name = self.fresh(node.place.stored if node.place else None)
            lines.append(f"{name} = {text}")
            self.places.append(node.place)
            self.names[node] = name
        lines.append(f"return {self.expression(self.result)[0]}")
        self.places.append(self.result.place)
        return lines

    def deserves_name(self, node: Node) -> bool:
        if node.op in ("name", "literal"):
            return False
        depth = 1 + max((0 if below in self.names else self.depths.get(below, 0) for below in operands(node)), default=0)
        self.depths[node] = depth
        is_stored = node.place is not None and node.place.stored is not None
        return self.uses[node] > 1 or is_stored or depth >= _DEEPEST

    def fresh(self, wanted: Optional[str]) -> str:
        base = wanted if wanted and wanted.isascii() and wanted.isidentifier() else "t"
        name, count = (base, 1) if wanted else ("t0", 0)
        while name in self.taken or self.is_taken(name):
            count += 1
            name = f"{base}{'_' if wanted else ''}{count}"
        self.taken.add(name)
        return name

    def expression(self, node: Node) -> tuple[str, int]:
        """Text and how tightly it binds."""
        if node in self.names:
            return self.names[node], _ATOM
        form, _, what = node.op.partition(" ")
        if form in ("name", "literal"):
            self.met[node] = None
            text = node.args[0]
            return text, _UNARY if text.startswith("-") else _ATOM
        if form == "infix":
            return self.infix(what, *node.args)
        if form == "prefix":
            return what + self.operand(node.args[0], _UNARY), _UNARY
        if form == "attribute":
            return f"{self.operand(node.args[0], _ATOM)}.{what}", _ATOM
        if form == "index":
            return f"{self.operand(node.args[0], _ATOM)}[{self.index(node.args[1])}]", _ATOM
        arguments, function = node.args, what
        if form == "method":
            function, arguments = f"{self.operand(node.args[0], _ATOM)}.{what}", node.args[1:]
        words = [self.operand(argument, 0) for argument in arguments] + [f"{name}={self.operand(value, 0)}" for name, value in node.named]
        return f"{function}({', '.join(words)})", _ATOM

    def infix(self, what: str, left: Operand, right: Operand) -> tuple[str, int]:
        level = _LEVELS[what]
        # '-x ** 2' is -(x ** 2), '**' goes from right to left, and comparisons would be chains
        left_level = level + 1 if level == _COMPARISON or what == "**" else level
        right_level = _UNARY if what == "**" else level + 1
        return f"{self.operand(left, left_level)} {what} {self.operand(right, right_level)}", level

    def operand(self, operand: Operand, level: int) -> str:
        if isinstance(operand, Node):
            text, binds = self.expression(operand)
        elif isinstance(operand, tuple):
            text, binds = self.group(operand), _ATOM
        else:
            text, binds = operand, _UNARY if operand.startswith("-") else _ATOM
        # A method of an int literal would read as a float: (3).float()
        is_bare_number = level == _ATOM and text[:1].isdigit()
        return f"({text})" if binds < level or is_bare_number else text

    def group(self, group: tuple[Any, ...]) -> str:
        form, *items = group
        if form == "slice":
            first, last, step = ("" if item is None else self.operand(item, 0) for item in items)
            return f"{first}:{last}" + (f":{step}" if step else "")
        words = ", ".join(self.operand(item, 0) for item in items)
        if form == "list":
            return f"[{words}]"
        return f"({words},)" if len(items) == 1 else f"({words})"

    def index(self, index: Operand) -> str:
        if isinstance(index, tuple) and index[0] == "tuple":
            return ", ".join(self.operand(item, 0) for item in index[1:])
        return self.operand(index, 0)


def operands(node: Node) -> list[Node]:
    """The nodes that a node is made of."""
    found: list[Node] = []
    waiting: list[Any] = [*node.args, *(value for _, value in node.named)]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Node):
            found.append(item)
        elif isinstance(item, tuple):
            waiting.extend(item)
    return found
