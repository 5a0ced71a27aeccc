#!/usr/bin/env bash
# Functions made ahead of time, built into C programs and run: on this machine, and on others by qemu-user.
# Usage: aot.sh ATTNJIT-DUMP LIBRARY-FOLDER PART      PART: bare | choice | aarch64 | runtime
set -euo pipefail
dump=$1 libraries=$2 part=$3
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*" >&2; exit 1; }
need() { for tool in "$@"; do command -v "$tool" >/dev/null || { echo "skipped: there is no $tool"; exit 77; }; done; }
need cc nm

score='gain * score + slope[h] * (kv_idx - q_idx - shift) + torch.tensor([0.5, -0.25])[kv_idx % 2]'
mask='(q_idx + shift >= kv_idx) & (q_idx + shift - kv_idx < window) & (kv_idx >= 0 * slope.size(0))'
captured=(--score-mod "$score" --mask-mod "$mask" --capture slope=alibi:4 --capture window=19 --capture gain=0.75 --capture shift=0)

# make FOLDER FLAGS...: kernel.h, kernel-*.o in FOLDER
make() { local folder=$work/$1; shift; "$dump" --emit aot --name kernel -o "$folder" "$@"; }
# build PROGRAM FOLDER ARCHITECTURE CC FLAGS...
build() {
  local program=$work/$1 folder=$work/$2 architecture=$3 cc=$4
  shift 4
  "$cc" -std=c11 -O1 -Wall -Wextra -Werror -ffp-contract=off -I "$folder" "$@" "$here/check.c" "$folder/kernel-$architecture.o" ${LINK:-} -lm -o "$program"
}
# Of nothing outside itself, or of libm alone.
undefined() { nm -u "$1" | awk '{ print $2 }' | sort | tr '\n' ' '; }

long=(--shape B=2,Hq=4,Hkv=2,M=300,N=300,D=24) few=(--shape B=2,Hq=4,Hkv=2,M=3,N=1100,D=24)
levels="x86-64-v2,x86-64-v3,x86-64-v4,x86-64-v4+bf16"

# The best level of this machine's.
best() {
  local flags=" $(grep -m1 '^flags' /proc/cpuinfo) "
  case $flags in
    *" avx512_bf16 "*) echo x86-64-v4+bf16 ;;
    *" avx512vl "*) echo x86-64-v4 ;;
    *" avx2 "*) echo x86-64-v3 ;;
    *) echo x86-64-v2 ;;
  esac
}

bare() {
  make long --bare --target "$levels" "${long[@]}" "${captured[@]}"
  make few --bare --target "$levels" "${few[@]}" "${captured[@]}"
  grep -q EFFICIENT_ATTENTION "$work/few/kernel.json" || fail "few rows did not get the pipeline that packs them"
  for folder in long few; do
    [ -z "$(undefined "$work/$folder/kernel-x86_64.o")" ] || fail "a bare object needs $(undefined "$work/$folder/kernel-x86_64.o")"
  done
  build a long x86_64 cc -DREAL=float -DROWS=37 -DKEYS=53 -DTARGET="\"$(best)\""
  "$work/a"
  build b few x86_64 cc -DREAL=float -DROWS=5 -DKEYS=1301 -DTARGET="\"$(best)\""
  "$work/b"
  # A softcap is part of the formula.
  make capped --bare --target "$levels" --softcap 1.5 "${long[@]}" "${captured[@]}"
  build e capped x86_64 cc -DREAL=float -DROWS=37 -DKEYS=53 -DSOFTCAP=1.5 -DTARGET="\"$(best)\""
  "$work/e"
  # f64 calls libm, and says so.
  make sine --bare --target "$levels" --dtype f64 --score-mod 'score + sin(score)' "${long[@]}"
  case " $(undefined "$work/sine/kernel-x86_64.o")" in *" sin "*) ;; *) fail "no sin of libm" ;; esac
  grep -q 'but libm' "$work/sine/kernel.h" || fail "the header does not name libm"
  build c sine x86_64 cc -DREAL=double -DROWS=37 -DKEYS=53 -DWITH_SIN -DTARGET="\"$(best)\""
  "$work/c"
  # As a shared library, and its header in C++.
  cc -shared -nostdlib -o "$work/libkernel.so" "$work/long/kernel-x86_64.o" -Wl,-z,defs,-z,text
  ! readelf -d "$work/libkernel.so" | grep -q NEEDED || fail "the shared library needs another"
  if command -v c++ >/dev/null; then
    printf '#include "kernel.h"\nint main() { kernel_args args{}; return kernel_units(&args) != 0; }\n' > "$work/d.cpp"
    c++ -Wall -Wextra -Werror -I "$work/long" "$work/d.cpp" "$work/long/kernel-x86_64.o" -o "$work/d"
    "$work/d"
  fi
  python3 -m json.tool "$work/long/kernel.json" >/dev/null
}

# What CPUs get what, asked of CPUs that qemu plays.
choice() {
  need qemu-x86_64
  make fat --bare --target x86-64-v2,x86-64-v3,x86-64-v4 "${long[@]}" "${captured[@]}"
  for row in core2duo= Nehalem=x86-64-v2 Haswell=x86-64-v3; do
    LINK=-static build "${row%=*}" fat x86_64 cc -DREAL=float -DROWS=37 -DKEYS=53 -DTARGET="\"${row#*=}\""
    qemu-x86_64 -cpu "${row%=*}" "$work/${row%=*}" 2>"$work/log" || fail "$row: $(cat "$work/log")"
  done
}

aarch64() {
  need qemu-aarch64 aarch64-linux-gnu-gcc aarch64-linux-gnu-nm
  for case in "long 37 53" "few 1 1301" "few 5 1301"; do
    set -- $case
    local -n shape=$1
    make "$1" --bare --target aarch64,x86-64-v3 "${shape[@]}" "${captured[@]}"
    [ -z "$(aarch64-linux-gnu-nm -u "$work/$1/kernel-aarch64.o")" ] || fail "an object for aarch64 needs something"
    [ -f "$work/$1/kernel-x86_64.o" ] || fail "no object for the other architecture"
    LINK=-static build "$1.run" "$1" aarch64 aarch64-linux-gnu-gcc -DREAL=float -DROWS="$2" -DKEYS="$3" -DTARGET='"aarch64"'
    qemu-aarch64 "$work/$1.run"
  done
  for case in "long 37 53" "few 5 1301"; do
    set -- $case
    local -n shape=$1
    make "$1.f64" --bare --target aarch64 --dtype f64 --score-mod 'score + sin(score)' "${shape[@]}"
    LINK=-static build "$1.f64.run" "$1.f64" aarch64 aarch64-linux-gnu-gcc -DREAL=double -DROWS="$2" -DKEYS="$3" -DWITH_SIN -DTARGET='"aarch64"'
    qemu-aarch64 "$work/$1.f64.run"
  done
}

runtime() {
  make long --target "x86-64-v2,x86-64-v3,x86-64-v4" "${long[@]}" "${captured[@]}"
  LINK="-L $libraries -lattnjit -Wl,-rpath,$libraries" build a long x86_64 cc -DRUNTIME -DREAL=float -DROWS=37 -DKEYS=53 -DTARGET="\"$(best | sed 's/+bf16//')\""
  ! ldd "$work/a" | grep -E 'libLLVM|libMLIR' || fail "a compiler is linked"
  ATTNJIT_COMPILER_LIBRARY=/nowhere "$work/a"
  # For GPUs: images, PTX, and cubins where there is an assembler.
  make gpu --target sm_80,sm_90a --dtype bf16 --shape H=2,S=256,D=64 --mask-mod 'q_idx >= kv_idx'
  for target in sm_80 sm_90a; do
    grep -q "^.target $target" "$work/gpu/kernel-$target.ptx" || fail "no PTX for $target"
    ! command -v ptxas >/dev/null || [ "$(head -c 4 "$work/gpu/kernel-$target.cubin")" = $'\x7fELF' ] || fail "no cubin for $target"
  done
  printf '#include "kernel.h"\n#include <stdio.h>\nint main(void) { kernel_args args = {0}; args.M = args.B = args.Hq = args.Hkv = 1; if (kernel(&args) == 0) return 1; puts(kernel_error()); return 0; }\n' > "$work/g.c"
  cc -Wall -Wextra -Werror -I "$work/gpu" "$work/g.c" "$work/gpu/kernel-x86_64.o" -L "$libraries" -lattnjit -Wl,-rpath,"$libraries" -o "$work/g"
  ATTNJIT_CUDA_LIBRARY=/nowhere "$work/g" | grep -q /nowhere || fail "no word about the missing driver"
}

"$part"
