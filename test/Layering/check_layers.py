#!/usr/bin/env python3
"""Checks that every #include goes down the floor plan, never up or sideways (docs/rationale/Layers.md).

Usage: check_layers.py ROOT. Prints each offending line with the rule it breaks; exit status 1 if there is any.
"""
import pathlib
import re
import sys

# Room -> rooms it may include besides itself and the public headers. Folder prefixes, most specific first.
STD_ONLY = set()
ROOMS = {
    "include/attnjit": STD_ONLY,
    "include/attnjit-c": STD_ONLY,
    "lib/Support": {"fmt", "xxhash"},
    "lib/Expr": {"lib/Support", "fmt", "xxhash"},
    "lib/Reference": {"lib/Expr", "lib/Support", "fmt"},
    "lib/BlockMask": {"lib/Expr", "lib/Support", "fmt"},
    "lib/Runtime": {"lib/Support", "fmt", "tbb"},
    "lib/Target": {"lib/Support", "fmt", "llvm"},
    "mlir/include/attnjit-mlir/Dialect": {"mlir-dialects", "mlir", "llvm"},
    "mlir/lib/Dialect": {"mlir-dialects", "mlir", "llvm"},
    "mlir/include/attnjit-mlir/Pipelines": {"mlir-rooms", "mlir-dialects", "mlir", "llvm", "lib/Support"},
    "mlir/lib/Pipelines": {"mlir-rooms", "mlir-dialects", "mlir", "llvm", "lib/Support"},
    "mlir": {"mlir-rooms", "mlir-dialects", "mlir", "llvm", "lib/Expr", "lib/Support", "fmt"},
    # The seam to the engine: seen from above, so without any compiler header.
    "lib/Compiler/CompilerInterface.h": {"lib/Expr", "lib/Support"},
    "lib/Compiler/KernelSpec.cpp": {"lib/Compiler", "lib/Expr", "lib/Support", "fmt"},
    "lib/Compiler/SpecReader.cpp": {"lib/Compiler", "lib/Expr", "lib/Support", "fmt"},
    "lib/Compiler": {"lib/Expr", "lib/Support", "lib/Target", "mlir-rooms", "mlir-dialects", "mlir", "llvm", "fmt", "xxhash"},
    "lib/Engine": {"lib/Compiler/CompilerInterface.h", "lib/Runtime", "lib/BlockMask", "lib/Reference", "lib/Expr", "lib/Support", "fmt", "xxhash"},
    "lib/Aot": {"lib/Engine", "lib/Compiler/CompilerInterface.h", "lib/Runtime", "lib/Expr", "lib/Support", "fmt"},
    "lib/Attention": {"lib/Engine", "lib/Runtime", "lib/Expr", "lib/Support", "fmt"},
    "lib/CAPI": {"include/attnjit-c"},
    "lib/Bindings/Python": {"lib/Bindings/Python"},
    "tools/attnjit-opt": {"mlir-rooms", "mlir-dialects", "mlir", "llvm"},
    "tools/attnjit-mlir-plugin": {"mlir-rooms", "mlir-dialects", "mlir", "llvm"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]')


def room_of(path):
    """The most specific entry of ROOMS that contains `path`."""
    best = None
    for room in ROOMS:
        if path == room or path.startswith(room + "/"):
            if best is None or len(room) > len(best):
                best = room
    return best


def thing_included(name, root):
    """What an include names: a room's path, a library, or None for the standard library."""
    if name.startswith("attnjit/"):
        return "include/attnjit"
    if name.startswith("attnjit-c/"):
        return "include/attnjit-c"
    if name.startswith("attnjit-mlir/Dialect/"):
        return "mlir-dialects"
    if name.startswith("attnjit-mlir/"):
        return "mlir-rooms"
    if name.startswith(("mlir/", "mlir-c/")):
        return "mlir"
    if name.startswith(("llvm/", "llvm-c/")):
        return "llvm"
    if name.startswith(("fmt/", "tbb/", "oneapi/")):
        return "fmt" if name.startswith("fmt/") else "tbb"
    if name == "xxhash.h":
        return "xxhash"
    if (root / "lib" / name).exists():
        return "lib/" + name
    return None


def allowed(room, path, thing, rules):
    if thing is None or thing == "include/attnjit":
        return True
    if thing == room or thing.startswith(room + "/") or thing == path:
        return True
    if room.startswith("mlir") and thing in ("mlir-rooms",) and "Dialect" not in room:
        return True
    return any(thing == rule or thing.startswith(rule + "/") for rule in rules)


def main():
    root = pathlib.Path(sys.argv[1])
    failures = 0
    checked = 0
    for folder in ("include", "lib", "mlir", "tools"):
        for file in sorted((root / folder).rglob("*")):
            if file.suffix not in (".h", ".cpp", ".def"):
                continue
            path = file.relative_to(root).as_posix()
            room = room_of(path)
            if room is None:
                # Tools other than attnjit-opt: public headers and their own files only, plus what knows no compiler.
                room, rules = path.rsplit("/", 1)[0], {"fmt"} | {r for r in ("lib/Support", "lib/Expr", "lib/Reference", "lib/BlockMask", "lib/Compiler/CompilerInterface.h")}
            else:
                rules = ROOMS[room]
            checked += 1
            for number, line in enumerate(file.read_text().splitlines(), 1):
                match = INCLUDE.match(line)
                if match and not allowed(room, path, thing_included(match.group(1), root), rules):
                    failures += 1
                    print(f"{path}:{number}: {room} may not include <{match.group(1)}>")
    if checked < 20:
        print(f"only {checked} files found under {root}: wrong folder?")
        failures += 1
    sys.exit(1 if failures else 0)


main()
