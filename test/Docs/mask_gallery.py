#!/usr/bin/env python3
"""Draws the mask of every module in test/Corpus that has one, as attnjit-dump sees it, on one sheet.

  mask_gallery.py BIN ROOT            compares with docs/generated/masks.svg, and the number of masks with what stands beside it where it is
                                      shown; exit status 1 if one differs
  mask_gallery.py BIN ROOT --write    writes it

Of a module it is the first case with a mask, of alternatives in braces the second.
"""
import pathlib
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from xml.sax.saxutils import escape

COLUMNS, CELL, GAP, LABEL = 9, 100, 14, 12


def case_of(module):
    for line in module.read_text().splitlines():
        if line.startswith("#! ") and "--mask-mod" in line and "=>" not in line:
            return re.sub(r"\{([^{}|]*)\|([^{}|]*)[^{}]*\}", r"\2", line[3:])
    return None


def read_png(path):
    """Rows of an 8-bit grayscale image."""
    data = path.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    packed, at = b"", 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += length + 12
    raw = zlib.decompress(packed)
    return [raw[row * (width + 1) + 1 : (row + 1) * (width + 1)] for row in range(height)]


def mask_of(dump, module, case):
    """Rows of the mask of batch 0, head 0, as bytes that are dark (below 128) where a pair is visible."""
    with tempfile.TemporaryDirectory() as folder:
        png = pathlib.Path(folder) / "mask.png"
        words = shlex.split(case)
        subprocess.run([dump, *words, "--mods", module, "--emit", "mask", "-o", png], check=True, capture_output=True)
        rows = read_png(png)
    shape = dict(item.split("=") for item in words[words.index("--shape") + 1].split(","))
    scale = len(rows) // int(shape["M"])
    return [row[::scale] for row in rows[::scale]]


def rectangles(rows):
    """Visible pairs as (x, y, width, height): runs of a row, joined with equal runs above."""
    open_runs, done = {}, []
    for y, row in enumerate(rows + [b""]):
        runs = {(run.start(), run.end()) for run in re.finditer(rb"[\x00-\x7f]+", row)}
        for run in [run for run in open_runs if run not in runs]:
            done.append((run[0], open_runs.pop(run), run[1] - run[0], y))
        for run in runs:
            open_runs.setdefault(run, y)
    return sorted((x, top, width, bottom - top) for x, top, width, bottom in done)


def draw(name, rows, column, line):
    height, width = len(rows), len(rows[0])
    scale = CELL / max(height, width)
    x, y = GAP + column * (CELL + GAP), GAP + line * (CELL + GAP + LABEL)
    path = "".join(f"M{left} {top}h{w}v{h}h-{w}z" for left, top, w, h in rectangles(rows))
    return (
        f'<text x="{x}" y="{y + 8}">{escape(name)}</text>\n'
        f'<g transform="translate({x},{y + LABEL})scale({scale:.4g})">'
        f'<path class="b" d="M0 0h{width}v{height}h-{width}z"/><path d="{path}"/></g>\n'
    )


def sheet(dump, root):
    modules = [(module, case_of(module)) for module in sorted((root / "test/Corpus").glob("*.py"))]
    modules = [(module, case) for module, case in modules if case]
    with ThreadPoolExecutor() as pool:
        masks = list(pool.map(lambda item: mask_of(dump, *item), modules))
    lines = (len(modules) + COLUMNS - 1) // COLUMNS
    width, height = GAP + COLUMNS * (CELL + GAP), GAP + lines * (CELL + GAP + LABEL)
    body = "".join(draw(module.stem, rows, i % COLUMNS, i // COLUMNS) for i, ((module, _), rows) in enumerate(zip(modules, masks)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="8.5">\n'
        "<style>text{fill:#444}path{fill:#2457a6}.b{fill:#eef1f6}</style>\n"
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n{body}</svg>\n'
    )


def wrong_counts(root, count):
    """Documents whose words about the picture state another number of masks."""
    for document in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        for words in re.findall(r"!\[([^\]]*)\]\([^)]*masks\.svg\)", document.read_text()):
            if re.findall(r"\d+", words) != [str(count)]:
                yield f"{document.relative_to(root)}: ![{words}]: the picture has {count} masks"


def main():
    folder, root = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    picture = root / "docs/generated/masks.svg"
    drawn = sheet(folder / "attnjit-dump", root)
    if sys.argv[3:] == ["--write"]:
        picture.write_text(drawn)
    elif not picture.exists() or picture.read_text() != drawn:
        print("docs/generated/masks.svg is not what attnjit-dump draws; write it anew: test/Docs/mask_gallery.py BIN ROOT --write")
        return 1
    wrong = list(wrong_counts(root, drawn.count("<text ")))
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
