#!/usr/bin/env python3
"""tools/bench-peers: without PyTorch it says how to get it (then this test is skipped, 77); with it, every peer's output is right.

Usage: bench_peers_test.py BENCH_PEERS ATTNJIT_BENCH
"""
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile

GRID = """
--name full    --shape B=2,Hq=4,Hkv=2,M=40,N=70,D=32 --dtype {f32|bf16}
--name causal  --shape H=2,S=64,D=32 --mask-mod 'q_idx >= kv_idx'
--name biased  --shape H=2,S=64,D=32 --mask-mod '(docs[q_idx] == docs[kv_idx]) & (q_idx - kv_idx < window)' --score-mod 'score + slope[h] * (kv_idx - q_idx)' --capture docs=docs:64:3 --capture window=9 --capture slope=alibi:2
--name softcap --shape H=2,S=64,D=32 --score-mod '5.0 * torch.tanh(score / 5.0)'
--name sinks   --shape H=2,S=64,D=32 --sinks random
"""


def peers(*arguments):
    return subprocess.run([sys.executable, sys.argv[1], "--bench", sys.argv[2], *map(str, arguments)], capture_output=True, text=True, timeout=500, check=False)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        grid, report, table = folder / "some.grid", folder / "some.json", folder / "some.md"
        grid.write_text(GRID)
        result = peers("--grid", grid, "--peers", "sdpa", "--threads", 1, "--passes", 2, "--pause", 0, "--turn", 0, "--json", report, "--markdown", table)
        if importlib.util.find_spec("torch") is None:
            assert result.returncode == 1 and "pip install torch" in result.stderr and "Traceback" not in result.stderr, result
            print("skipped: no torch")
            sys.exit(77)
        assert result.returncode == 0, result.stderr
        rows = {(row["name"], row["problem"]["dtype"]): row for row in json.loads(report.read_text())["grid"]["rows"]}
        for (name, dtype), row in rows.items():
            assert row["ms"]["samples"] == 2, row
            if name in ("softcap", "sinks"):
                assert "reason" in row["peers"]["sdpa"], row
            else:
                assert row["peers"]["sdpa"]["error"] < (1e-5 if dtype == "f32" else 1e-2), row
                assert row["peers"]["sdpa"]["timesAsFast"]["samples"] == 2, row
            assert name == "sinks" or row["error"] < (1e-5 if dtype == "f32" else 1e-2), row
        assert len(table.read_text().splitlines()) == 4 + len(rows)
        missing = peers("--grid", folder / "missing")
        assert missing.returncode == 1 and "cannot read" in missing.stderr, missing


main()
