"""The Python in the documentation runs, block after block, in one namespace for each page."""

import pathlib
import re
import sys
import types

import pytest

pytest.importorskip("torch")

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [page for page in sorted(DOCS.glob("python*.md")) if BLOCK.search(page.read_text(encoding="utf-8"))]


def test_there_are_pages():
    assert DOCS / "python-tutorial.md" in PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_run(page, monkeypatch):
    text = page.read_text(encoding="utf-8")
    module = types.ModuleType(f"docs_{page.stem}".replace("-", "_"))
    monkeypatch.setitem(sys.modules, module.__name__, module)  # torch.compile imports the module of what it compiles
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        exec(compile("\n" * line + block.group(1), str(page), "exec"), vars(module))  # so that an error names the page's own line
