#!/usr/bin/env python3
"""Runs every example that the tools' --help shows, in order, in a folder that has the files they name.

Usage: help_examples.py TOOL... Exit status 0, 1 (an example fails) or 77 (this build has no compiler).
"""
import os
import pathlib
import shlex
import struct
import subprocess
import sys
import tempfile


def write_npy(path, sizes, descr, data):
    header = ("{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n" % (descr, tuple(sizes))).encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data)


def main():
    failures = examples = 0
    with tempfile.TemporaryDirectory(prefix="attnjit-examples-") as name:
        folder = pathlib.Path(name)
        for operand in "qkv":
            write_npy(folder / f"{operand}.npy", [1, 2, 100, 32], "<f4", struct.pack("<6400f", *(i % 7 / 7 for i in range(6400))))
        write_npy(folder / "doc.npy", [100], "<i4", struct.pack("<100i", *(i // 30 for i in range(100))))
        environment = dict(os.environ, XDG_CACHE_HOME=str(folder / "cache"))
        tools = {pathlib.Path(tool).name: tool for tool in sys.argv[1:]}
        for tool in tools.values():
            text = subprocess.run([tool, "--help"], capture_output=True, text=True, check=True).stdout
            for line in text[text.index("Examples:"):].splitlines():
                title = line.strip().split(" ")[0]
                if title not in tools:
                    continue
                examples += 1
                command = [tools[title], *shlex.split(line.strip())[1:]]
                result = subprocess.run(command, capture_output=True, cwd=folder, env=environment, timeout=120, check=False)
                message = (result.stdout + result.stderr).decode(errors="replace")
                if "no compiler to make it" in message:
                    sys.exit(77)
                if result.returncode:
                    failures += 1
                    print(f"{line.strip()}\n  exit status {result.returncode}: {message[:800]}")
    print(f"{examples - failures} of {examples} examples run")
    sys.exit(1 if failures or examples < 8 else 0)


main()
