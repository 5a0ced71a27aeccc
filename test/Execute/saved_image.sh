#!/usr/bin/env bash
# A kernel saved by one program runs in another that has no compiler. Usage: saved_image.sh SAVE-IMAGE RUN-IMAGE
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
"$1" "$work/kernel.attnjit" || status=$?
[ "$status" -eq 0 ] || exit "$status"
if ldd "$2" | grep -E 'libLLVM|libMLIR'; then
  echo "$2 links a compiler" >&2
  exit 1
fi
ATTNJIT_COMPILER_LIBRARY=/nonexistent "$2" "$work/kernel.attnjit"
# One flipped byte in the middle, and the image is refused instead of run.
size=$(stat -c %s "$work/kernel.attnjit")
printf '\x55' | dd of="$work/kernel.attnjit" bs=1 seek=$((size / 2)) conv=notrunc status=none
if "$2" "$work/kernel.attnjit" 2> "$work/message"; then
  echo "a corrupt image was run" >&2
  exit 1
fi
grep -q checksum "$work/message"
