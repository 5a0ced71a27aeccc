"""trace(fn, kind): from a callable to a formula, and from the same callable again to the same formula with today's numbers."""

from __future__ import annotations

import functools
import inspect
import threading
import types
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Optional

from .capture import Wrapper, unwrapped
from .errors import PathLimit, Place, TraceError
from .graph import Node, Printer
from .known import is_number
from .names import SIGNATURES
from .replay import Recorder
from .source import source_text
from .torch_functions import torch_functions
from .trace import Trace
from .values import Value

_MOST_RUNS = 256        # of one callable, over all its paths
_MOST_CALLABLES = 128   # whose traces are kept
_MOST_TRACES = 64       # of one callable; all that and_masks made are one


@dataclass(frozen=True)
class Traced:
    """A callable as a formula."""

    text: str                                                            #: in the language of docs/language.md
    captures: dict[str, Any]                                             #: name -> tensor or number, in order of first use
    lines: dict[int, tuple[str, int]] = field(default_factory=dict)      #: line of the text -> file and line of the user's code

    def to_text(self) -> str:
        """The formula, as attnjit reads it."""
        return self.text


# --- the cache ---


class _Kept:
    """A trace that has been made, and how to find out whether it still holds."""

    __slots__ = ("text", "names", "replay", "lines")

    def __init__(self, text: str, names: tuple[str, ...], replay: Callable[..., Any], lines: dict[int, tuple[str, int]]):
        self.text, self.names, self.replay, self.lines = text, names, replay, lines


_kept: "OrderedDict[tuple[int, str, str], tuple[Any, list[_Kept]]]" = OrderedDict()
_lock = threading.Lock()


def _identity(fn: Any) -> Any:
    """What callables that may share traces have in common."""
    while True:
        fn = unwrapped(fn)[0]
        if type(fn) is functools.partial:
            fn = fn.func
        elif hasattr(fn, "__func__"):
            fn = fn.__func__
        else:
            return getattr(fn, "__code__", None) or type(fn)


def trace(fn: Callable[..., Any], kind: str, *, name: Optional[str] = None) -> Traced:
    """The formula of a callable; `kind` is "score_mod", "mask_mod" or "prob_mod", `name` what the function of the text is called.

    Numbers and tensors that the callable captured are read anew each time; the text is the same object as long as it is the same text.
    """
    identity = _identity(fn)
    key = (id(identity), kind, name or kind)
    known = _kept.get(key)
    if known is not None:
        for kept in known[1]:
            values = kept.replay(fn)
            if values is not None:
                return Traced(kept.text, dict(zip(kept.names, values)), kept.lines)
    traced, fresh = _trace(fn, kind, name or kind)
    if fresh is not None:
        with _lock:
            _, traces = _kept.setdefault(key, (identity, []))
            same = next((other.text for other in traces if other.text == fresh.text), None)
            fresh.text = same or fresh.text
            traced = replace(traced, text=fresh.text)
            traces.insert(0, fresh)
            del traces[_MOST_TRACES:]
            _kept.move_to_end(key)
            while len(_kept) > _MOST_CALLABLES:
                _kept.popitem(last=False)
    return traced


# --- making a trace ---


def _trace(fn: Callable[..., Any], kind: str, name: str) -> tuple[Traced, Optional[_Kept]]:
    if kind not in SIGNATURES:
        raise ValueError(f"kind is one of {', '.join(SIGNATURES)}, found {kind!r}")
    if not callable(fn):
        raise TraceError(f"a {kind} is a callable or a text, found {type(fn).__name__}")
    try:
        traced, kept = _by_running(fn, kind, name)
        error = _formula_error(traced, kind)
        if error is not None:
            place = traced.lines.get(getattr(error, "line", None) or 0)
            name_of_code = getattr(_identity(fn), "co_name", kind)
            raise TraceError(f"{error}\n  traced from", "", Place(*place, None, name_of_code, None) if place else None)
        return traced, kept
    except TraceError:
        by_source = _by_source(fn, kind)
        if by_source is None:
            raise
        return by_source


def _by_running(fn: Callable[..., Any], kind: str, name: str) -> tuple[Traced, Optional[_Kept]]:
    """The way for nearly all: Python runs the callable on stand-ins."""
    made = Trace()
    result = _Runs(made, fn, kind).all_paths([])
    if result is None:
        raise TraceError(f"this {kind} raises an error whatever its arguments are", "what is below a run-time condition must return a value somewhere")
    made.taken |= set(SIGNATURES[kind])
    printer = Printer(result, made.is_taken)
    body = printer.body()
    text = "\n".join([f"def {name}({', '.join(SIGNATURES[kind])}):", *(f"    {line}" for line in body)]) + "\n"
    captured = {node: (access, value) for access, (node, value) in made.captures.items()}
    used = [(node.args[0], *captured[node]) for node in printer.met if node in captured]
    lines = {row + 2: (place.file, place.line) for row, place in enumerate(printer.places) if place is not None}
    recorder = made.recorder
    for _, access, value in used:
        if is_number(value):
            recorder.require(f"type({access}) is {recorder.bind(type(value))}")
    return _kept_trace(text, used, lines, recorder)


def _kept_trace(text: str, used: list[tuple[str, str, Any]], lines: dict[int, tuple[str, int]], recorder: Recorder) -> tuple[Traced, Optional[_Kept]]:
    """A finished trace; `used` are the captures: name, how a replay reaches them, value."""
    traced = Traced(text, {name: value for name, _, value in used}, lines)
    if recorder.is_volatile:
        return traced, None
    return traced, _Kept(text, tuple(name for name, _, _ in used), recorder.compile([access for _, access, _ in used]), lines)


def _by_source(fn: Callable[..., Any], kind: str) -> Optional[tuple[Traced, Optional[_Kept]]]:
    """The other way: the source as it stands, if attnjit's interpreter takes it. Numbers are captures as far as that goes."""
    for constant in ((), (int,), (int, float)):
        try:
            text = source_text(fn, kind, constant)
        except TraceError:
            return None
        used = [(name, access, value) for name, (access, value) in text.captures.items()]
        lines = {row: place for row, place in enumerate(text.places, 1) if place is not None}
        traced, kept = _kept_trace("\n".join(text.lines) + "\n", used, lines, text.recorder)
        if _formula_error(traced, kind) is None:
            return traced, kept
    return None


def _formula_error(traced: Traced, kind: str) -> Optional[ValueError]:
    """What attnjit says against the text. Without the compiled core nobody can say."""
    try:
        from .._core import FormulaError
        from .._mods import _declared, _parse
    except ImportError:
        return None
    texts = [traced.text if kind == other else "" for other in SIGNATURES]
    try:
        _parse(*texts, _declared(traced.captures), "", "mods")
    except FormulaError as error:
        return error
    return None


class _Runs:
    """Runs of one callable over the same trace, which differ in how run-time conditions were decided."""

    def __init__(self, made: Trace, fn: Callable[..., Any], kind: str):
        self.made, self.fn, self.kind = made, fn, kind
        self.count = 0

    def all_paths(self, plan: list[bool]) -> Optional[Node]:
        """The result over all paths that begin with `plan`; None where all of them fail an assertion."""
        result, decisions = self.run(plan)
        for place in range(len(decisions) - 1, len(plan) - 1, -1):
            condition = decisions[place][0]
            other = self.all_paths([outcome for _, outcome in decisions[:place]] + [False])
            result = other if result is None else result if other is None else self.made.graph.select(condition, result, other)
        return result

    def run(self, plan: list[bool]) -> tuple[Optional[Node], list[tuple[Node, bool]]]:
        self.count += 1
        if self.count > _MOST_RUNS:
            raise PathLimit(f"the conditions over run-time values have more than {_MOST_RUNS} combinations", "write them as torch.where, or with & and |")
        made = self.made
        made.plan, made.decisions = plan, []
        arguments = [Value(made, made.graph.node("name", (argument,), kind=kind)) for argument, kind in SIGNATURES[self.kind].items()]
        with torch_functions():
            mod = Wrapper(made).wrap(self.fn, "fn", self.kind)
            try:
                result = mod(*arguments)
            except AssertionError:
                if made.decisions:
                    return None, made.decisions
                raise
            except TypeError as error:
                if isinstance(error, TraceError) or self.takes(len(arguments)):
                    raise
                raise TraceError(f"a {self.kind} is called with {', '.join(SIGNATURES[self.kind])}: {error}", "give it these arguments, with any names",
                                 self.definition()) from None
            return self.result(result), made.decisions

    def takes(self, count: int) -> bool:
        """Whether the callable can be called with so many arguments, as far as can be said."""
        try:
            inspect.signature(self.fn).bind(*range(count))
        except TypeError:
            return False
        except ValueError:
            pass
        return True

    def result(self, result: Any) -> Node:
        if result is None or isinstance(result, (tuple, list, dict)):
            found = "nothing" if result is None else f"a {type(result).__name__}"
            raise TraceError(f"a {self.kind} returns one {'bool' if self.kind == 'mask_mod' else 'number'}, this one returns {found}",
                             "end the function with return", self.definition())
        node = self.made.operand(result)
        if node.sizes:
            raise TraceError(f"a {self.kind} returns one number, this one returns a tensor of {len(node.sizes)} dimensions", "index or reduce it", node.place)
        return node

    def definition(self) -> Optional[Place]:
        """Where the callable is written."""
        code = _identity(self.fn)
        return Place(code.co_filename, code.co_firstlineno, None, code.co_name, None) if isinstance(code, types.CodeType) else None
