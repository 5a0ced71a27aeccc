#!/usr/bin/env python3
"""Runs attnjit-bench on grids and holds its JSON against what plots, --peer and bench-peers read.

Usage: bench_json.py ATTNJIT_BENCH GRID_FOLDER. Exit status 0, 1 or 77 (this build has no compiler).
"""
import json
import pathlib
import subprocess
import sys
import tempfile

GRID = """
--name full --shape H=2,S=48,D=16
--name causal --relative-to full --shape H=2,S=48,D=16 --mask-mod 'q_idx >= kv_idx'
--name decode --shape Hq=2,Hkv=1,M=1,N=300,D=16 --dtype bf16
"""


def bench(program, *flags, status=0):
    result = subprocess.run([program, *flags], capture_output=True, text=True, timeout=300, check=False)
    if "no compiler to make it" in result.stderr:
        sys.exit(77)
    assert result.returncode == status, (flags, result.returncode, result.stderr)
    return result.stdout


def check_summary(summary):
    assert set(summary) == {"p10", "median", "p90", "samples"}, summary
    assert 0 < summary["p10"] <= summary["median"] <= summary["p90"], summary


def check_rows(rows):
    full, causal, decode = rows
    for row in rows:
        assert {"name", "line", "command", "shape", "problem", "pipeline", "threads", "compileMs", "flops", "operandBytes", "peakUnit"} <= set(row), sorted(row)
        for key in ("ms", "gflops", "percentOfPeak", "peakGflops"):
            check_summary(row[key])
            assert row[key]["samples"] == 3, row[key]
    assert [row["line"] for row in rows] == [2, 3, 4]
    assert causal["command"] == "--shape H=2,S=48,D=16 --mask-mod 'q_idx >= kv_idx'", causal["command"]
    assert full["flops"] == 4 * 2 * 48 * 48 * 16 and causal["flops"] == 4 * 2 * (48 * 49 // 2) * 16, (full["flops"], causal["flops"])
    assert full["operandBytes"] == 4 * 2 * 48 * 16 * 4, full["operandBytes"]
    assert causal["relativeTo"]["name"] == "full" and "relativeTo" not in full
    check_summary(causal["relativeTo"]["ratio"])
    assert "percentOfRead" not in full  # 48 keys are no stream
    for key in ("percentOfRead", "readProbe", "gigabytesPerSecond"):
        check_summary(decode[key])


def check_serve(program):
    """The lines that bench-peers asks."""
    with tempfile.TemporaryDirectory() as folder:
        asked = ["case --shape M=4,D=8 --score-mod 'score + t[q_idx] + c' --capture t=iota:4:f32 --capture c=3", "turn 1", f"write {folder}", "jump", "case --shape D=8", "turn 1"]
        result = subprocess.run([program, "--serve", "--threads", "1"], input="\n".join(asked) + "\n", capture_output=True, text=True, timeout=60, check=True)
        case, turn, written, unknown, bad, before = (json.loads(line) for line in result.stdout.splitlines())
        assert case["problem"]["M"] == 4 and case["flops"] == 4 * 4 * 4 * 8, case
        assert turn["ns"] > 0, turn
        assert sorted(written["files"]) == ["capture-t", "k", "out", "q", "v"] and written["numbers"] == {"c": 3}, written
        assert all(pathlib.Path(path).read_bytes().startswith(b"\x93NUMPY") for path in written["files"].values())
        assert "case FLAGS" in unknown["error"] and "missing" in bad["error"] and "before any" in before["error"], (unknown, bad, before)


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    for grid in sorted(folder.glob("*.grid")):
        listed = json.loads(bench(program, "--grid", str(grid), "--list", "--json"))
        assert listed and all({"line", "name", "command", "relativeTo"} == set(case) for case in listed), grid
    with tempfile.TemporaryDirectory() as name:
        grid, before = pathlib.Path(name) / "some.grid", pathlib.Path(name) / "before.json"
        grid.write_text(GRID)
        report = json.loads(bench(program, "--grid", str(grid), "--json", "--passes", "3"))
        assert {"version", "target", "threads", "grid"} <= set(report), sorted(report)
        assert report["grid"]["file"] == "some.grid" and report["grid"]["machine"]["readGBps"] > 0
        check_rows(report["grid"]["rows"])
        assert all(row["peakUnit"] in report["grid"]["machine"]["peakGflops"] for row in report["grid"]["rows"])
        before.write_text(json.dumps(report))
        again = json.loads(bench(program, "--grid", str(grid), "--json", "--passes", "3", "--peer", str(before), "--filter", "causal"))
        assert [row["name"] for row in again["grid"]["rows"]] == ["full", "causal"]
        for row, old in zip(again["grid"]["rows"], report["grid"]["rows"]):
            peer = row["peers"]["before"]
            assert peer["ms"] == old["ms"]["median"] and abs(peer["timesAsFast"] * row["ms"]["median"] / peer["ms"] - 1) < 1e-9, peer
        table = bench(program, "--grid", str(grid), "--passes", "1")
        assert all(word in table for word in ("causal", "x full", "% of reading K and V", "compile ms")), table
    check_serve(program)


main()
