#!/usr/bin/env bash
# Checks attnjit on this machine's GPU: the cases of the conformance grids against f64, in their own dtypes, bf16 and f16, as code for this GPU and for
# sm_80; then how fast it is. Lies at the top of the static bundle, where it needs nothing but the driver; in a checkout it takes build/release.
# Usage: gpu-check.sh [--quick] [FILTER]    --quick: bf16 as code for this GPU only; FILTER: only cases with that in their command line, and no benchmark
# Exit status: 0 all right, 1 a case is wrong or was not computed, 77 no GPU.
set -uo pipefail
here=$(dirname "$(realpath "$0")")
if [ -d "$here/bin" ]; then
  bin=$here/bin runner=$here/bin/attnjit-conformance grids=$here/share/attnjit/conformance benchGrid=$here/share/attnjit/bench/gpu.grid
else
  root=$here/..
  bin=$root/build/release/bin runner=$root/build/release/bin/attnjit-conformance grids=$root/test/Conformance benchGrid=$here/attnjit-bench/grids/gpu.grid
fi
dtypes="own bf16 f16" targets="native-gpu sm_80" filter=
for argument in "$@"; do
  case "$argument" in
    --quick) dtypes=bf16 targets=native-gpu ;;
    -*) sed -n 2,5p "$0" >&2; exit 1 ;;
    *) filter=$argument ;;
  esac
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$bin/attnjit-run" --target native-gpu --shape H=1,S=64,D=64 --dtype bf16 --check --cache-dir "$work/cache" || { echo "gpu-check.sh: no GPU that attnjit can use" >&2; exit 77; }

# One process per grid, dtype and target: the assembler and the f64 reference take the time, each on one processor.
one() { # GRID DTYPE TARGET
  local flags=(--target "$3" --filter "$filter" --refusals)
  [ "$2" = own ] || flags+=(--dtype "$2")
  "$runner" "$grids/$1.grid" "${flags[@]}" >"$work/$1.$2.$3" 2>&1
  echo "status $?" >>"$work/$1.$2.$3"
}
names=$(cd "$grids" && ls -S ./*.grid | sed 's|^\./||; s|\.grid$||') # the longest first
for name in $names; do
  for dtype in $dtypes; do
    for target in $targets; do
      while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
      one "$name" "$dtype" "$target" &
    done
  done
done
wait

failed=0
printf '%-12s %-6s %-11s %7s %7s %8s  %s\n' grid dtype target passed failed refused "largest mean error, of its bound"
for name in $names; do
  for dtype in $dtypes; do
    for target in $targets; do
      log=$work/$name.$dtype.$target
      if summary=$(grep -E '^[0-9]+ cases passed' "$log"); then
        read -r passed _ _ wrong _ refused _ _ _ _ _ _ error _ <<<"$summary"
        printf '%-12s %-6s %-11s %7s %7s %8s  %s\n' "$name" "$dtype" "$target" "$passed" "$wrong" "$refused" "$error"
      elif ! grep -q '^no case at all' "$log" || [ -z "$filter" ]; then
        printf '%-12s %-6s %-11s %s\n' "$name" "$dtype" "$target" "$(grep -v '^status' "$log" | tail -1)"
        failed=1
      fi
      if grep -q '^FAILED' "$log"; then
        failed=1
        grep -A1 '^FAILED' "$log" | head -6
      fi
    done
  done
done
echo
[ -n "$filter" ] || "$bin/attnjit-bench" --target native-gpu --grid "$benchGrid" --passes 5 || failed=1
exit $failed
