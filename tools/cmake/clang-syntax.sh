#!/usr/bin/env bash
# Lets clang parse (not compile) every MLIR file of a configured g++ build. Usage: clang-syntax.sh BUILD_DIR JOBS
set -euo pipefail
python3 - "$1" <<'PY' | xargs -d '\n' -P "${2:-2}" -I{} sh -c '{}'
import json, re, shlex, sys
for entry in json.load(open(sys.argv[1] + "/compile_commands.json")):
    file = entry["file"]
    if "/mlir/lib/" not in file and "/lib/Compiler/" not in file and "/lib/Target/" not in file:
        continue
    words = [w for w in shlex.split(entry["command"]) if not w.endswith("ccache")][1:]
    out = []
    skip = False
    for word in words:
        if skip: skip = False
        elif word == "-o": skip = True
        elif word != "-c": out.append(word)
    print(" ".join(shlex.quote(w) for w in ["clang++-22", "-fsyntax-only", "-Werror", "-Wno-unused-parameter"] + out))
PY
