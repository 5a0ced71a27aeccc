"""What notebooks show, and progress of long work.

`install()` gives BlockMask, ExplainReport and Stages their `_repr_html_`; each function here answers HTML that needs no script, no style sheet and no
network, and reads well in light and dark notebooks.
"""

from __future__ import annotations

import html
import sys
from typing import Any, Callable, Iterator, Optional, Sequence

_FULL, _SOME, _NONE = "#2563eb", "#93b4f5", "none"
CELLS = 48  # rows and columns of a picture at most
PICTURES = 4
_SIDE = 192  # pixels

_TABLE = 'style="border-collapse:collapse"'
_CELL = 'style="text-align:left;vertical-align:top;padding:2px 10px 2px 0"'
_CODE = 'style="max-height:24em;overflow:auto;margin:4px 0 8px 0;padding:6px;border:1px solid #8884"'


# --- block masks ---


def block_mask_html(shape: Sequence[int], block_size: Sequence[int], sparsity: float, pictures: str, name: str = "") -> str:
    """A block mask for people: its numbers, and a picture for each of the first batches and heads.

    `pictures` is what `BlockMask.to_string(CELLS, PICTURES)` draws: a cell is two characters wide, "█" where all its blocks are visited, "░" where some are.
    """
    B, H, q_length, kv_length = shape
    drawn = list(_grids(pictures))
    figures = "".join(f'<figure style="display:inline-block;margin:0 12px 8px 0">{picture(grid)}<figcaption><small>{html.escape(title)}</small></figcaption>'
                      "</figure>" for title, grid in drawn)
    rest = B * H - len(drawn)
    more = f"<div><small>and {rest} more of {B} batches and {H} heads</small></div>" if rest > 0 else ""
    facts = [("shape", f"{B} × {H} × {q_length} × {kv_length}"), ("block", f"{block_size[0]} × {block_size[1]}"), ("sparsity", f"{sparsity:.2f} %")]
    if name:
        facts.append(("mask_mod", f"<code>{html.escape(name)}</code>"))
    words = " &nbsp; ".join(f"<b>{key}</b> {value}" for key, value in facts)
    legend = f"{_swatch(_FULL)} all blocks visited &nbsp; {_swatch(_SOME)} some &nbsp; {_swatch(_NONE)} none"
    return f"<div><div>BlockMask &nbsp; {words}</div>{figures}{more}<div><small>{legend}; rows are queries, columns keys</small></div></div>"


def picture(grid: Sequence[str]) -> str:
    """An SVG of cells, one rectangle for each run of equal cells in a row."""
    rows, cols = len(grid), max(map(len, grid), default=0)
    if not rows or not cols:
        return "<svg width='1' height='1'></svg>"
    scale = _SIDE / max(rows, cols)
    boxes = "".join(f'<rect x="{begin}" y="{row}" width="{end - begin}" height="1" fill="{_FULL if cell == "█" else _SOME}"/>'
                    for row, cells in enumerate(grid) for begin, end, cell in _runs(cells) if cell != " ")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{cols * scale:.0f}" height="{rows * scale:.0f}" viewBox="0 0 {cols} {rows}" '
            f'preserveAspectRatio="none" shape-rendering="crispEdges" style="border:1px solid #888">{boxes}</svg>')


def _runs(cells: str) -> Iterator[tuple[int, int, str]]:
    begin = 0
    for end in range(1, len(cells) + 1):
        if end == len(cells) or cells[end] != cells[begin]:
            yield begin, end, cells[begin]
            begin = end


def _grids(pictures: str) -> Iterator[tuple[str, list[str]]]:
    """Titles and cells of what `to_string` drew."""
    title = ""
    grid: list[str] = []
    for line in pictures.splitlines():
        if line.startswith("("):
            if grid:
                yield title, grid
            title, grid = line.strip(), []
        elif line and set(line) <= {"█", "░", " "}:
            grid.append(line[::2])
    if grid:
        yield title, grid


def _swatch(fill: str) -> str:
    return f'<svg width="10" height="10"><rect width="10" height="10" fill="{fill}" stroke="#888"/></svg>'


# --- explain reports and stages ---


def explain_html(chosen: str, backends: Sequence[tuple[str, str, bool, bool, Sequence[tuple[str, bool, str]]]]) -> str:
    """`backends` are (backend, pipeline, allowed, accepted, [(predicate, ok, detail)]), in the order in which they were asked."""
    rows = []
    for backend, pipeline, allowed, accepted, reasons in backends:
        against = [f"{html.escape(predicate)}: {html.escape(detail)}" for predicate, ok, detail in reasons if not ok]
        verdict = "<b>chosen</b>" if backend == chosen else "accepted" if allowed and accepted else "not allowed" if not allowed else "refused"
        label = f"{html.escape(backend)}" + (f" ({html.escape(pipeline)})" if pipeline and pipeline != backend else "")
        rows.append(f"<tr><td {_CELL}><code>{label}</code></td><td {_CELL}>{verdict}</td><td {_CELL}>{'<br>'.join(against)}</td></tr>")
    return f"<table {_TABLE}><tr><th {_CELL}>backend</th><th {_CELL}>verdict</th><th {_CELL}>because</th></tr>{''.join(rows)}</table>"


class Stages(dict[str, str]):
    """The text of every stage of a compilation, by name, in order: attn, tile, vector, ... asm. Notebooks show each folded."""

    def _repr_html_(self) -> str:
        return "".join(f"<details><summary><code>{html.escape(name)}</code> <small>{len(text.splitlines())} lines</small></summary>"
                       f"<pre {_CODE}>{html.escape(text)}</pre></details>" for name, text in self.items())

    def __repr__(self) -> str:
        return f"Stages({', '.join(f'{name}: {len(text.splitlines())} lines' for name, text in self.items())})"


def kernel_html(kernel: Any) -> str:
    """What is known of a compiled kernel."""
    facts = [("pipeline", kernel.pipeline), ("backend", kernel.backend), ("from", kernel.source), ("tiles", " × ".join(map(str, kernel.tiles))),
             ("code", f"{kernel.code_bytes} bytes"), ("workspace", f"{kernel.workspace_bytes} bytes per worker")]
    rows = "".join(f"<tr><th {_CELL}>{key}</th><td {_CELL}>{html.escape(str(value))}</td></tr>" for key, value in facts)
    return (f"<div>Kernel<table {_TABLE}>{rows}</table><details><summary>formula and problem</summary>"
            f"<pre {_CODE}>{html.escape(kernel.problem_text)}</pre></details></div>")


def install(core: Any) -> None:
    """Gives the classes of the extension module their pictures."""
    core.ExplainReport._repr_html_ = lambda report: explain_html(report.chosen, report.backends)
    core.ExplainReport.__repr__ = lambda report: f"<ExplainReport: {report.chosen}>"
    core.ExplainReport.__str__ = lambda report: report.text()
    core.Kernel._repr_html_ = kernel_html
    core.Kernel.__repr__ = lambda kernel: f"<Kernel: {kernel.pipeline}, {kernel.code_bytes} bytes>"


# --- progress ---

Callback = Callable[[str, int, int], None]


class Progress:
    """Tells how far long work is: to `callback(what, done, total)` if there is one, else on a bar of tqdm where that is installed and somebody looks.

        with Progress("warm-up", total=9) as progress:
            while ...:
                progress.reach(done)
    """

    def __init__(self, what: str, total: int, callback: Optional[Callback] = None):
        self.what, self.total, self.done = what, total, 0
        self._callback = callback
        self._bar = None if callback else _bar(what, total)

    def __enter__(self) -> "Progress":
        self._tell()
        return self

    def reach(self, done: int) -> None:
        """`done` pieces are done by now; fewer than before is no news."""
        if done <= self.done:
            return
        if self._bar is not None:
            self._bar.update(done - self.done)
        self.done = done
        self._tell()

    def _tell(self) -> None:
        if self._callback is not None:
            self._callback(self.what, self.done, self.total)

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.close()


def _bar(what: str, total: int) -> Any:
    """A bar in notebooks and on terminals; nothing in logs and pipes, and nothing for what is over at once."""
    if not ("ipykernel" in sys.modules or sys.stderr.isatty()):
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(total=total, desc=f"attnjit {what}", delay=0.5, leave=False)
