#!/usr/bin/env python3
"""Holds the C door's binary interface: the version script, the headers and the library name the same functions, and the tests call each of them.

Usage: check_abi.py ROOT LIBATTNJIT NM. Prints every difference; exit status 1 if there is any.
"""
import pathlib
import re
import subprocess
import sys

NODE = "ATTNJIT_C_1"


def script_names(root):
    return re.findall(r"^\s+(attnjit_\w+);$", (root / "lib/CAPI/attnjit-c.map").read_text(), re.M)


def header_names(root):
    text = "\n".join(path.read_text() for path in sorted((root / "include/attnjit-c").glob("*.h")))
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return re.findall(r"ATTNJIT_API[^;]*?\b(attnjit_\w+)\(", text)


def library_names(library, nm):
    lines = subprocess.run([nm, "-D", "--defined-only", library], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    versioned = [line.split()[-1] for line in lines if "@@" in line and line.split()[-2] != "A"]
    bare = [line.split()[-1] for line in lines if re.search(r" T attnjit_\w+$", line)]
    return versioned, bare


def main(root, library, nm):
    listed, declared = script_names(root), header_names(root)
    versioned, bare = library_names(library, nm)
    calls = "\n".join(path.read_text() for path in sorted((root / "test/CAPI").glob("*.c")))
    problems = []
    if listed != sorted(set(listed)):
        problems.append("attnjit-c.map is not sorted, or names a function twice")
    for what, names in (("the headers", declared), ("the library", [name.split("@@")[0] for name in versioned])):
        problems += [f"{name}: in {what}, not in attnjit-c.map" for name in names if name not in listed]
        problems += [f"{name}: in attnjit-c.map, not in {what}" for name in listed if name not in names]
    problems += [f"{name}: exported under another version than {NODE}" for name in versioned if not name.endswith("@@" + NODE)]
    problems += [f"{name}: exported without a version" for name in bare if not name.startswith("attnjit_aot_")]  # those are what artefacts call (attnjit/Aot.h)
    problems += [f"{name}: no test calls it" for name in listed if not re.search(rf"\b{name}\(", calls)]
    if len(listed) < 50:
        problems.append(f"only {len(listed)} functions in attnjit-c.map: wrong file?")
    print("\n".join(problems) or f"{len(listed)} functions")
    return 1 if problems else 0


sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
