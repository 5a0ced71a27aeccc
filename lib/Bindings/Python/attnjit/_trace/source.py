"""The second way to a formula: the callable's own source, for attnjit's interpreter of Python, where running it with stand-ins does not do.

What the source refers to becomes captures (numbers, tensors), constants, imports and further functions of one text.
"""

from __future__ import annotations

import ast
import dis
import functools
import linecache
import types
from typing import Any, Iterator, Optional

from .capture import is_library, is_library_function, unwrapped
from .errors import TraceError
from .graph import number_text
from .known import is_number
from .names import SIGNATURES
from .replay import Recorder
from .trace import dtype_name, is_tensor, kind_of_dtype

_CONSTANTS = (str, bytes, type(None), type(Ellipsis))


class SourceText:
    """A text in the making."""

    def __init__(self, root: str, constant: tuple[type, ...]):
        self.root = root
        self.constant = constant                      # types of numbers that are written out, since they decide the structure
        self.recorder = Recorder()
        self.lines: list[str] = []
        self.places: list[Optional[tuple[str, int]]] = []
        self.captures: dict[str, tuple[str, Any]] = {}  # name -> how a replay reaches it, and the value
        self.names: dict[str, str] = {}               # variable of a replay -> name in the text
        self.owners: dict[str, str] = {}              # name in the text -> variable of a replay
        self.functions: dict[str, Any] = {}           # variable of a replay -> the function

    def add(self, line: str, place: Optional[tuple[str, int]] = None) -> None:
        self.lines.append(line)
        self.places.append(place)

    def free_name(self, wanted: str, variable: str) -> str:
        wanted = wanted if wanted.isidentifier() else "function"
        name, count = wanted, 0
        while name in self.owners or name == self.root:
            count += 1
            name = f"{wanted}_{count}"
        self.names[variable], self.owners[name] = name, variable
        return name

    def bind(self, value: Any, access: str, wanted: str) -> str:
        """The name by which the text knows `value`."""
        value, path = unwrapped(value)
        variable = self.recorder.read(access + path)
        if variable in self.names:
            return self.names[variable]
        for other, function in self.functions.items():
            if function is value:
                self.recorder.require(f"{variable} is {other}")
                return self.names[other]
        if isinstance(value, types.ModuleType):
            return self.module(value, variable, wanted)
        if is_number(value):
            return self.number(value, variable, wanted)
        if is_tensor(value):
            kind_of_dtype(dtype_name(value))
            self.recorder.require(f"type({variable}) is {self.recorder.bind(type(value))} and {variable}.ndim == {value.ndim} and "
                                  f"{variable}.dtype == {self.recorder.bind(value.dtype)}")
            name = self.free_name(wanted, variable)
            self.captures[name] = (variable, value)
            return name
        if isinstance(value, _CONSTANTS):
            self.recorder.require(f"{variable} == {self.recorder.bind(value)}")
            name = self.free_name(wanted, variable)
            self.add(f"{name} = {value!r}")
            return name
        if type(value) in (tuple, list):
            return self.sequence(value, variable, wanted)
        if type(value) is dict:
            return self.dictionary(value, variable, wanted)
        if type(value) is functools.partial:
            return self.partial(value, variable, wanted)
        if isinstance(value, types.FunctionType) and not is_library_function(value):
            return self.function(value, variable, wanted)
        if callable(value) and is_library(getattr(value, "__module__", None)) and hasattr(value, "__name__"):
            self.recorder.require(f"{variable} is {self.recorder.bind(value)}")
            name = self.free_name(wanted, variable)
            self.add(f"from {value.__module__} import {value.__name__} as {name}")
            return name
        raise TraceError(f"the source refers to {wanted}, a {type(value).__name__}, which a text cannot name")

    def word(self, value: Any, access: str, wanted: str) -> str:
        """The same inside of something: a constant is written out."""
        if is_number(value) and isinstance(value, self.constant) or isinstance(value, _CONSTANTS):
            self.recorder.require_value(self.recorder.read(access), value)
            return _literal(value)
        return self.bind(value, access, wanted)

    def module(self, value: types.ModuleType, variable: str, wanted: str) -> str:
        if not is_library(value.__name__):
            raise TraceError(f"the source refers to the module {value.__name__}, which a text cannot import")
        self.recorder.require(f"{variable} is {self.recorder.bind(value)}")
        name = self.free_name(wanted, variable)
        self.add(f"import {value.__name__}" + ("" if name == value.__name__ else f" as {name}"))
        return name

    def number(self, value: Any, variable: str, wanted: str) -> str:
        name = self.free_name(wanted, variable)
        if isinstance(value, self.constant):
            self.recorder.require_value(variable, value)
            self.add(f"{name} = {_literal(value)}")
        else:
            self.recorder.require(f"type({variable}) is {self.recorder.bind(type(value))}")
            self.captures[name] = (variable, value)
        return name

    def sequence(self, value: Any, variable: str, wanted: str) -> str:
        self.recorder.require(f"type({variable}) is {self.recorder.bind(type(value))} and len({variable}) == {len(value)}")
        items = [self.word(item, f"{variable}[{i}]", f"{wanted}_{i}") for i, item in enumerate(value)]
        name = self.free_name(wanted, variable)
        words = ", ".join(items)
        comma = "," if len(items) == 1 else ""
        self.add(f"{name} = ({words}{comma})" if type(value) is tuple else f"{name} = [{words}]")
        return name

    def dictionary(self, value: dict[str, Any], variable: str, wanted: str) -> str:
        keys = tuple(value)
        if not all(isinstance(key, (str, int, float, bool, type(None))) for key in keys):
            raise TraceError(f"the source refers to {wanted}, a dict with keys that a text cannot have")
        self.recorder.require(f"type({variable}) is dict and tuple({variable}) == {self.recorder.bind(keys)}")
        words = [f"{_literal(key)}: {self.word(item, f'{variable}[{self.recorder.bind(key)}]', str(key))}" for key, item in value.items()]
        name = self.free_name(wanted, variable)
        self.add(f"{name} = {{{', '.join(words)}}}")
        return name

    def partial(self, value: functools.partial[Any], variable: str, wanted: str) -> str:
        self.recorder.require(f"len({variable}.args) == {len(value.args)} and {variable}.keywords.keys() == {self.recorder.bind(set(value.keywords))}")
        inner = self.bind(value.func, f"{variable}.func", getattr(value.func, "__name__", "function"))
        words = [self.word(item, f"{variable}.args[{i}]", f"argument_{i}") for i, item in enumerate(value.args)]
        words += [f"{key}={self.word(item, f'{variable}.keywords[{key!r}]', key)}" for key, item in value.keywords.items()]
        name = self.free_name(wanted, variable)
        self.add(f"{name} = functools.partial({', '.join([inner, *words])})")
        return name

    def function(self, fn: types.FunctionType, variable: str, wanted: str) -> str:
        node, lines = find_source(fn)
        self.recorder.require(f"{variable}.__code__ is {self.recorder.bind(fn.__code__)}")
        name = self.free_name(fn.__name__ if isinstance(node, ast.FunctionDef) else wanted, variable)
        self.functions[variable] = fn
        edits = list(self.references(fn, variable, node))
        edits += self.defaults(fn, variable, node)
        text = _edited(lines, node, edits)
        if isinstance(node, ast.Lambda):
            text[0] = f"{name} = ({text[0]}"
            text[-1] += ")"
        else:
            text[0] = text[0].replace(f"def {node.name}", f"def {name}", 1)
        for row, line in enumerate(text):
            self.add(line, (fn.__code__.co_filename, node.lineno + row))
        return name

    def references(self, fn: types.FunctionType, variable: str, node: Any) -> Iterator[tuple[ast.AST, str]]:
        """Edits that give outer names the names that they have in the text."""
        outer = {}
        for i, (name, cell) in enumerate(zip(fn.__code__.co_freevars, fn.__closure__ or ())):
            outer[name] = (cell.cell_contents, f"{variable}.__closure__[{i}].cell_contents")
        for name in _global_names(fn.__code__):
            if name in fn.__globals__ and name not in outer:
                outer[name] = (fn.__globals__[name], f"{variable}.__globals__[{name!r}]")
        for name, (value, access) in outer.items():
            if value is fn:
                continue
            new = self.bind(value, access, name)
            if new == name:
                continue
            if any(isinstance(part, ast.arg) and part.arg == name for part in ast.walk(node)):
                raise TraceError(f"the name {name} means different things in the functions of this mod", "give them different names")
            yield from ((part, new) for part in ast.walk(node) if isinstance(part, ast.Name) and part.id == name and part.lineno >= node.lineno)

    def defaults(self, fn: types.FunctionType, variable: str, node: Any) -> list[tuple[ast.AST, str]]:
        """Edits that write the values which default arguments have, not the expressions they were once made of."""
        arguments = [*node.args.posonlyargs, *node.args.args]
        edits = []
        for i, (value, place) in enumerate(zip(fn.__defaults__ or (), node.args.defaults)):
            argument = arguments[len(arguments) - len(node.args.defaults) + i].arg
            edits.append((place, self.word(value, f"{variable}.__defaults__[{i}]", f"{argument}_default")))
        for argument, place in zip(node.args.kwonlyargs, node.args.kw_defaults):
            if place is not None:
                value = (fn.__kwdefaults__ or {})[argument.arg]
                edits.append((place, self.word(value, f"{variable}.__kwdefaults__[{argument.arg!r}]", f"{argument.arg}_default")))
        return edits


def source_text(fn: Any, kind: str, constant: tuple[type, ...]) -> SourceText:
    """The text of `fn` from its source. Raises a TraceError where it has none, or refers to what a text cannot have."""
    text = SourceText(kind, constant)
    name = text.bind(fn, "fn", "mod")
    arguments = ", ".join(SIGNATURES[kind])
    text.add(f"def {kind}({arguments}):")
    text.add(f"    return {name}({arguments})")
    return text


def _literal(value: Any) -> str:
    return number_text(value) if is_number(value) else repr(value)


@functools.lru_cache(64)
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def find_source(fn: types.FunctionType) -> tuple[Any, list[str]]:
    """The syntax tree of a function and the lines of its file."""
    code = fn.__code__
    lines = linecache.getlines(code.co_filename, fn.__globals__)
    if not lines:
        raise TraceError(f"the source of {fn.__qualname__} is not to be had")
    try:
        tree = _parsed("".join(lines))
    except SyntaxError as error:
        raise TraceError(f"the file of {fn.__qualname__} has changed: {error}") from error
    found: list[Any]
    if code.co_name == "<lambda>":
        found = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda) and _holds(node, code)]
        found = sorted(found, key=lambda node: (node.end_lineno - node.lineno, node.end_col_offset - node.col_offset))[:1]  # the innermost
    else:
        found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == code.co_name
                 and min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) == code.co_firstlineno]
    if len(found) != 1:
        raise TraceError(f"the source of {fn.__qualname__} is not to be had")
    return found[0], lines


def _holds(node: ast.Lambda, code: types.CodeType) -> bool:
    """Whether the instructions of a lambda stand within the node."""
    if node.lineno != code.co_firstlineno:
        return False
    if not hasattr(code, "co_positions"):
        return True
    body = node.body
    places = [(first, start, last, end) for first, last, start, end in code.co_positions() if first and end]
    return all((body.lineno, body.col_offset) <= (first, start) and (last, end) <= (body.end_lineno, body.end_col_offset) for first, start, last, end in places)


def _global_names(code: types.CodeType) -> list[str]:
    """The global names that a function reads, those of functions inside it too, in order."""
    names = [step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += _global_names(constant)
    return list(dict.fromkeys(names))


def _edited(lines: list[str], node: Any, edits: list[tuple[Any, str]]) -> list[str]:
    """The lines of a node, with some of its parts replaced, moved to the left margin."""
    rows = [line.rstrip("\n").encode() for line in lines[node.lineno - 1:node.end_lineno]]
    rows[-1] = rows[-1][:node.end_col_offset]
    for part, text in sorted(edits, key=lambda edit: (edit[0].lineno, edit[0].col_offset), reverse=True):
        first, last = part.lineno - node.lineno, part.end_lineno - node.lineno
        rows[first:last + 1] = [rows[first][:part.col_offset] + text.encode() + rows[last][part.end_col_offset:]] + [b""] * (last - first)
    rows[0] = rows[0][node.col_offset:]
    margin = node.col_offset
    return [row.decode() if place == 0 else row[len(row[:margin]) - len(row[:margin].lstrip()):].decode() for place, row in enumerate(rows)]
