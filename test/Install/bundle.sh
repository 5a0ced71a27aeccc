#!/usr/bin/env bash
# The bundle needs nothing of the machine but glibc: unpacks the archive, looks at what its programs ask the loader for, and runs one problem from it.
# Usage: bundle.sh ARCHIVE.tar.xz
set -euo pipefail
archive=$(realpath "$1")
limitBytes=$((30 * 1024 * 1024))
size=$(stat -c %s "$archive")
[ "$size" -le $limitBytes ] || { echo "$archive: $size bytes, at most $limitBytes are wanted" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar xJf "$archive" -C "$work" --strip-components=1
for object in "$work"/bin/* "$work"/libexec/attnjit/* "$work/lib/libattnjit-compiler.so"; do
  # "name => path (address)": every path lies in the bundle, or is one of glibc's own.
  foreign=$(ldd "$object" | awk -v root="$work/" '$2 == "=>" && index($3, root) != 1 && $1 !~ /^(libc|libm|libdl|libpthread|librt)\.so/ { print $0 }')
  [ -z "$foreign" ] || { echo "$object needs what the bundle does not hold:"$'\n'"$foreign" >&2; exit 1; }
done

run() { env -i HOME="$work" "$work/bin/attnjit-run" "$@"; }
run --shape Hq=4,Hkv=2,M=300,N=333,D=64 --score-mod "score + slope[h] * (kv_idx - q_idx)" --capture slope=alibi:4 --mask-mod "q_idx >= kv_idx" --check
env -i HOME="$work" "$work/bin/attnjit-dump" --shape H=2,S=256,D=128 --dtype bf16 --mask-mod "q_idx >= kv_idx" --target sm_80 --emit ptx | grep '^\.target sm_80' >/dev/null
# Found on PATH, a program is called by a name that is no path, and finds its compiler all the same.
(cd / && env -i HOME="$work" PATH="$work/bin:$PATH" attnjit-run --no-cache --shape M=40,D=16 >/dev/null)
# What checks a GPU finds its parts in the bundle, and says that there is none.
status=0
env -i HOME="$work" PATH="$PATH" ATTNJIT_CUDA_LIBRARY=/nowhere "$work/gpu-check.sh" --quick >/dev/null 2>"$work/log" || status=$?
[ $status = 77 ] && grep -q 'no GPU' "$work/log" || { echo "gpu-check.sh without a GPU: status $status" >&2; cat "$work/log" >&2; exit 1; }
for program in aot-on-gpu launch-module; do
  status=0
  "$work/libexec/attnjit/$program" || status=$?
  [ $status = 77 ] || [ $status = 0 ] || { echo "$program: status $status" >&2; exit 1; }
done
"$work/bin/attnjit-conformance" --prepare --target sm_90a --dtype bf16 --part 1/8 "$work/share/attnjit/conformance/shapes.grid"
[ -s "$work/share/attnjit/bench/gpu.grid" ]
echo "bundle of $size bytes: ok"
