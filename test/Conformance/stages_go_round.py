#!/usr/bin/env python3
"""Dumps every stage of several kernels, goes on from each, and compares the image bit for bit with the one made in one go. Where a kernel has phases, the texts
from ll on are of the kernel as a whole, whose functions share their constants: those lead to an image of their own, all to the same.

Usage: stages_go_round.py ATTNJIT_DUMP. Exit status 0, 1 or 77 (this build has no compiler).
"""
import pathlib
import subprocess
import sys
import tempfile

CORPUS = pathlib.Path(__file__).resolve().parents[1] / "Corpus"
PROBLEMS = {
    "causal": ["--shape", "S=512,D=64", "--mask-mod", "q_idx >= kv_idx"],
    "softcap bf16": ["--shape", "S=512,D=128", "--dtype", "bf16", "--score-mod", "30 * tanh(score / 30)"],
    "math f64 capture": ["--shape", "S=64,D=24", "--dtype", "f64", "--score-mod", "score + t[kv_idx] * s", "--capture", "t=random:64:f32", "--capture", "s=0.5"],
    "numbers of a module": ["--shape", "S=200,D=32", "--mods", str(CORPUS / "sliding_window.py"), "--mask-mod", "generate_sliding_window(17)"],
    "sizes of a view": ["--shape", "Hq=2,S=60,D=32", "--mods", str(CORPUS / "relative_bias_slice.py"), "--score-mod", "centred(bias)",
                        "--capture", "bias=random:2x200:f32"],
    "sinks, one pass": ["--shape", "Hq=2,S=200,D=32", "--sinks", "random:2:bf16", "--prob-mod", "p * t[kv_idx]", "--capture", "t=random:200:f32"],
    "two passes": ["--shape", "S=200,D=32", "--prob-mod", "p + 0.01 * rand(3, kv_idx)", "--sinks", "random", "--mask-mod", "q_idx >= kv_idx"],
    "two rounds": ["--shape", "Hq=4,Hkv=2,M=3,N=2000,D=32", "--prob-mod", "p + 0.01", "--backend", "efficient"],
    "avx2 document": ["--shape", "S=512,D=64", "--target", "x86-64-v3", "--mask-mod", "d[q_idx] == d[kv_idx]", "--capture", "d=docs:512:3"],
}
FILES = {"attn": "attn.mlir", "tile": "tile.mlir", "vector": "vector.mlir", "llvm": "llvm.mlir", "ll": "ll.ll", "asm": "asm.s", "obj": "obj.o"}


def dump(tool, arguments):
    result = subprocess.run([tool, *arguments], capture_output=True, timeout=120, check=False)
    if b"no compiler to make it" in result.stderr:
        sys.exit(77)
    return result


def main():
    tool, failures = sys.argv[1], 0
    with tempfile.TemporaryDirectory(prefix="attnjit-stages-") as name:
        for title, problem in PROBLEMS.items():
            folder = pathlib.Path(name) / title.replace(" ", "_")
            result = dump(tool, [*problem, "--emit", "all", "-o", str(folder)])
            if result.returncode:
                print(f"{title}: --emit all: {result.stderr.decode(errors='replace')}")
                failures += 1
                continue
            expected = (folder / "kernel.attnjit").read_bytes()
            has_phases = "private @attention." in (folder / FILES["vector"]).read_text()
            for stage, file in FILES.items():
                again = folder / f"from_{stage}.attnjit"
                result = dump(tool, ["--from", stage, str(folder / file), "--emit", "image", "-o", str(again)])
                if stage == "ll" and has_phases and not result.returncode:
                    expected = again.read_bytes()
                if result.returncode or again.read_bytes() != expected:
                    print(f"{title}: from {stage}: " + (result.stderr.decode(errors="replace")[:500] if result.returncode else "another image"))
                    failures += 1
    print(f"{failures} failures")
    sys.exit(1 if failures else 0)


main()
