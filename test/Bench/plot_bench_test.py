#!/usr/bin/env python3
"""tools/plot-bench draws what it says from sample.json, twice the same, and says what is wrong with other files. Skipped (77) without matplotlib.

Usage: plot_bench_test.py PLOT_BENCH SAMPLE_GRID.json SAMPLE_PEERS.json
"""
import importlib.util
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree


def plot(*arguments):
    return subprocess.run([sys.executable, sys.argv[1], *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False)


def main():
    grid, peers = map(pathlib.Path, sys.argv[2:])
    if importlib.util.find_spec("matplotlib") is None:
        refused = plot(grid)
        assert refused.returncode == 1 and "pip install matplotlib" in refused.stderr, refused
        print("skipped: no matplotlib")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for out in ("one", "two"):
            result = plot("--out", folder / out, grid, peers)
            assert result.returncode == 0, result.stderr
        drawn = sorted(path.name for path in (folder / "one").iterdir())
        wanted = [f"{grid.stem}-{suffix}.svg" for suffix in ("peak", "read", "roofline", "vs-before")] + [f"{peers.stem}-vs-{peer}.svg" for peer in ("flex", "sdpa")]
        assert drawn == sorted(wanted), drawn
        for path in drawn:
            text = (folder / "one" / path).read_text()
            xml.etree.ElementTree.fromstring(text)
            assert text == (folder / "two" / path).read_text(), f"{path} is not the same twice"
        assert "causal" in (folder / "one" / f"{grid.stem}-peak.svg").read_text()
        bad = folder / "bad.json"
        for content, words in (("{", "nothing that"), ('{"grid": {"rows": []}}', "no case in it")):
            bad.write_text(content)
            refused = plot("--out", folder, bad)
            assert refused.returncode == 1 and words in refused.stderr and "Traceback" not in refused.stderr, refused
        assert "cannot read" in plot("--out", folder, folder / "missing.json").stderr


main()
