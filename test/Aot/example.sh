#!/usr/bin/env bash
# docs/examples/aot: made, built and run as docs/embedding.md says. Usage: example.sh ATTNJIT-DUMP EXAMPLES-FOLDER
set -euo pipefail
command -v cc >/dev/null || { echo "skipped: there is no cc"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$1" --shape S=1024,D=64 --mask-mod '(q_idx >= kv_idx) & (q_idx - kv_idx < width)' --capture width=256 --emit aot --bare --name window \
  --target x86-64-v2,x86-64-v3,x86-64-v4 -o aot
cc -std=c11 -O2 -Wall -Wextra -Werror -I aot "$2/window.c" aot/window-x86_64.o -lm -pthread -o window
./window
