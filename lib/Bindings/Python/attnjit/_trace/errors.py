"""What a trace cannot follow, told in the user's own code line."""

from __future__ import annotations

import functools
import linecache
import operator
import os
import sys
from types import FrameType
from typing import Any, NamedTuple, Optional, Union

Number = Union[bool, int, float]

# Frames of these folders are not the user's.
_ENTRY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tracing.py")
_OWN = os.path.dirname(os.path.dirname(_ENTRY))


@functools.lru_cache(None)
def _library_folders(has_torch: bool, has_numpy: bool) -> tuple[str, ...]:
    """How the files begin whose code works for the user."""
    folders = [os.path.dirname(str(sys.modules[name].__file__)) for name, is_there in (("torch", has_torch), ("numpy", has_numpy)) if is_there]
    return (*(folder + os.sep for folder in (_OWN, *folders)), functools.__file__, operator.__file__)


class Place(NamedTuple):
    """A place in the user's code: the instruction that made a value."""

    file: str
    line: int
    columns: Optional[tuple[int, int]]
    function: str
    stored: Optional[str]  # the name of the user's variable that gets the value at once

    def show(self) -> str:
        """The file, the line and a caret under what was computed there."""
        text = f'  File "{self.file}", line {self.line}, in {self.function}'
        code = linecache.getline(self.file, self.line).rstrip("\n")
        if not code:
            return text
        shown = code.lstrip()
        text += f"\n    {shown}"
        if self.columns:
            start, end = (len(code.encode()[:column].decode(errors="ignore")) for column in self.columns)
            shift = len(code) - len(shown)
            text += "\n    " + " " * (start - shift) + "^" + "~" * max(0, min(end, len(code)) - start - 1)
        return text


class TraceError(TypeError, NotImplementedError):
    """A Python callable that cannot be turned into a formula. The message shows the user's line, why, and what to write instead."""

    def __init__(self, why: str, cure: str = "", place: Optional[Place] = None):
        self.why, self.cure, self.place = why, cure, place
        super().__init__("\n".join(part for part in (why, place.show() if place else "", f"  {cure}" if cure else "") if part))


class MissingError(TraceError, AttributeError):
    """An attribute that run-time values do not have: hasattr() is answered with it."""


class PathLimit(TraceError):
    """More combinations of run-time conditions than a trace follows."""


class Code:
    """What is asked of a code object: where its instructions stand, and which variable gets what they compute."""

    _known: dict[int, "Code"] = {}

    def __init__(self, code: Any) -> None:
        self.code = code  # kept: its id is the key
        self.positions = list(code.co_positions()) if sys.version_info >= (3, 11) else None
        self.stores: Optional[dict[int, str]] = None

    @classmethod
    def of(cls, code: Any) -> "Code":
        known = cls._known.get(id(code))
        if known is None:
            if len(cls._known) > 1000:
                cls._known.clear()
            known = cls._known[id(code)] = cls(code)
        return known

    def stored_after(self, offset: int) -> Optional[str]:
        """`distance` where the value of the instruction at `offset` is stored in a variable of that name."""
        if self.stores is None:
            import dis

            self.stores, last = {}, 0
            for step in dis.get_instructions(self.code):
                if step.opname in ("STORE_FAST", "STORE_DEREF", "STORE_NAME"):
                    # During a call the offset may be that of a cache behind the instruction.
                    self.stores.update(dict.fromkeys(range(last, step.offset), step.argval))
                last = step.offset
        return self.stores.get(offset)

    def columns(self, offset: int, line: int) -> Optional[tuple[int, int]]:
        if not self.positions or offset // 2 >= len(self.positions):
            return None
        first, last, start, end = self.positions[offset // 2]
        if first != line or start is None or end is None:
            return None
        return (start, end if last == first else 1 << 30)


def here() -> Optional[Place]:
    """The innermost place that is the user's."""
    folders = _library_folders("torch" in sys.modules, "numpy" in sys.modules)
    frame: Optional[FrameType] = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(folders):
        if frame.f_code.co_filename == _ENTRY:
            return None  # code of a library, such as and_masks, at work for the user
        frame = frame.f_back
    if frame is None:
        return None
    code, line = Code.of(frame.f_code), frame.f_lineno
    return Place(frame.f_code.co_filename, line, code.columns(frame.f_lasti, line), frame.f_code.co_name, code.stored_after(frame.f_lasti))


def refuse(why: str, cure: str = "", kind: type[TraceError] = TraceError) -> TraceError:
    """The error for the line that the user's code is at."""
    return kind(why, cure, here())

