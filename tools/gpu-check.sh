#!/usr/bin/env bash
# Checks attnjit on this machine's GPU: the cases of the conformance grids against f64, in their own dtypes, bf16 and f16, as code for this GPU and for
# sm_80; programs that call functions made ahead of time and that launch the kernels of a gpu.module; then how fast it is. Lies at the top of the static
# bundle, where it needs nothing but the driver; in a checkout it takes build/release.
# Usage: gpu-check.sh [--quick] [FILTER]    --quick: bf16 as code for this GPU only; FILTER: only cases with that in their command line, nothing else
# Exit status: 0 all right, 1 a case is wrong or was not computed, 77 no GPU.
set -uo pipefail
here=$(dirname "$(realpath "$0")")
if [ -d "$here/bin" ]; then
  bin=$here/bin runner=$here/bin/attnjit-conformance grids=$here/share/attnjit/conformance benchGrid=$here/share/attnjit/bench/gpu.grid
  programs=$here/libexec/attnjit modules=$here/share/attnjit/gpu
else
  root=$here/..
  bin=$root/build/release/bin runner=$root/build/release/bin/attnjit-conformance grids=$root/test/Conformance benchGrid=$here/attnjit-bench/grids/gpu.grid
  programs=$root/build/release/test/Gpu modules=$programs
fi
dtypes="own bf16 f16" targets="native-gpu sm_80" filter=
for argument in "$@"; do
  case "$argument" in
    --quick) dtypes=bf16 targets=native-gpu ;;
    -*) sed -n 2,6p "$0" >&2; exit 1 ;;
    *) filter=$argument ;;
  esac
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$bin/attnjit-run" --target native-gpu --shape H=1,S=64,D=64 --dtype bf16 --check --cache-dir "$work/cache" || { echo "gpu-check.sh: no GPU that attnjit can use" >&2; exit 77; }

# Many processes: the assembler and the f64 reference take the time, each on one processor.
parts=6
one() { # GRID DTYPE TARGET PART
  local flags=(--target "$3" --filter "$filter" --part "$4/$parts") log=$work/$1.$2.$3.$4
  [ "$2" = own ] || flags+=(--dtype "$2")
  "$runner" "$grids/$1.grid" "${flags[@]}" >"$log" 2>&1
  local status=$?
  # A part without a case is none; any other end without a summary is a crash, or no GPU any more.
  grep -qE '^([0-9]+ cases passed|no case at all)' "$log" || echo "FAILED status $status: $(tail -1 "$log")" >>"$log"
}
names=$(cd "$grids" && ls -S ./*.grid | sed 's|^\./||; s|\.grid$||') # the longest first
for name in $names; do
  for dtype in $dtypes; do
    for target in $targets; do
      for part in $(seq $parts); do
        while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
        one "$name" "$dtype" "$target" "$part" &
      done
    done
  done
done
wait

failed=0
printf '%-12s %-6s %-11s %7s %7s %8s  %s\n' grid dtype target passed failed refused "largest mean error, of its bound"
for name in $names; do
  for dtype in $dtypes; do
    for target in $targets; do
      logs=("$work/$name.$dtype.$target".*)
      cat "${logs[@]}" | awk -v name="$name" -v dtype="$dtype" -v target="$target" '
        / cases passed, / { passed += $1; wrong += $4; refused += $6; if ($13 > error) error = $13 }
        END { printf "%-12s %-6s %-11s %7d %7d %8d  %.2f\n", name, dtype, target, passed, wrong, refused, error }'
      grep -h -A1 '^FAILED' "${logs[@]}" && failed=1
    done
  done
done

program() { # COMMAND...
  local status=0
  "$@" >"$work/log" 2>&1 || status=$?
  printf '%-12s %d passed, status %d\n' "$(basename "$1")" "$(grep -c '^ok' "$work/log")" $status
  [ $status = 0 ] || { grep -v '^ok' "$work/log"; failed=1; }
}
[ -n "$filter" ] || { program "$programs/aot-on-gpu"; program "$programs/launch-module" "$modules"/attention-*.mlir; }
echo
[ -n "$filter" ] || "$bin/attnjit-bench" --target native-gpu --grid "$benchGrid" --passes 5 || failed=1
exit $failed
