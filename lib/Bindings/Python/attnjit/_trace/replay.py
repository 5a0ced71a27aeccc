"""What a trace depends on, as a small Python function that a later call runs instead of tracing again.

It walks from the callable to everything that the trace looked at (cells, globals, attributes ...), checks that it is what it was, as far as the
formula depends on it, and reads numbers and tensors afresh.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

_LONGEST_EXPRESSION = 100


class Recorder:
    """Collects reads and conditions in the order in which the trace meets them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.space: dict[str, Any] = {}
        self.variables: dict[str, str] = {}   # how something is reached -> the variable that holds it
        self.conditions: set[str] = set()
        self.names: dict[int, str] = {}       # id of an object -> its name in `space`
        self.is_volatile = False              # something was read whose change cannot be noticed

    def read(self, access: str) -> str:
        """The variable that holds what the expression `access` reaches."""
        if access not in self.variables:
            self.variables[access] = f"v{len(self.variables)}"
            self.lines.append(f"{self.variables[access]} = {access}")
        return self.variables[access]

    def shortened(self, expression: str) -> str:
        """The expression, or a variable that holds its value: x = x + x doubles no text."""
        return expression if len(expression) <= _LONGEST_EXPRESSION else self.read(expression)

    def require(self, condition: str) -> None:
        if condition not in self.conditions:
            self.conditions.add(condition)
            self.lines.append(f"if not ({condition}): return None")

    def bind(self, value: Any) -> str:
        """A name for an object of the trace's own; it keeps the object."""
        if id(value) not in self.names:
            self.names[id(value)] = f"k{len(self.names)}"
            self.space[self.names[id(value)]] = value
        return self.names[id(value)]

    def literal(self, value: Any) -> str:
        """A number, as an expression that gives it back exactly."""
        if type(value) in (bool, int) or type(value) is float and value == value and value not in (float("inf"), float("-inf")):
            return f"({value!r})"
        return self.bind(value)

    def require_value(self, expression: str, value: Any) -> None:
        """The number is the same, its type and the sign of zero included."""
        same = f"{expression} != {expression}" if value != value else f"{expression} == {self.literal(value)}"
        if isinstance(value, float) and value == 0:
            same = f"repr({expression}) == {repr(value)!r}"
        self.require(f"type({expression}) is {self.bind(type(value))} and {same}")

    def compile(self, results: list[str]) -> Callable[[Any], Optional[tuple[Any, ...]]]:
        """`replay(fn)`: the values of the expressions, or None where something is no longer as it was."""
        body = "".join(f"        {line}\n" for line in [*self.lines, f"return ({''.join(result + ', ' for result in results)})"])
        source = f"def replay(fn):\n    try:\n{body}    except Exception:\n        return None\n"
        space = dict(self.space)
        exec(compile(source, "<attnjit trace>", "exec"), space)  # the text is the trace's own
        replay: Callable[[Any], Optional[tuple[Any, ...]]] = space["replay"]
        return replay
