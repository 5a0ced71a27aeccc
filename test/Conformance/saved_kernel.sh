#!/usr/bin/env bash
# A saved kernel is checked against its own formula, whatever the flags leave out. Usage: saved_kernel.sh BIN-DIR
set -euo pipefail
run=$1/attnjit-run dump=$1/attnjit-dump
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
shape=(--shape S=700,D=64) keep=(--capture keep=random:700:bool)
mask='(q_idx >= kv_idx) & (q_idx - kv_idx < 16) & keep[kv_idx]'
if ! "$run" "${shape[@]}" --mask-mod "$mask" "${keep[@]}" --no-cache --save-kernel "$work/kernel" > "$work/message" 2>&1; then
  cat "$work/message"
  grep -q 'no compiler to make it' "$work/message" && exit 77
  exit 1
fi

# expect STATUS WORDS COMMAND...
expect() {
  local status=0 wanted=$1 words=$2
  shift 2
  "$@" > "$work/message" 2>&1 || status=$?
  if [ "$status" -ne "$wanted" ] || ! grep -qF -- "$words" "$work/message"; then
    echo "exit status $status, expected $wanted and '$words': $*" >&2
    cat "$work/message" >&2
    exit 1
  fi
}
expect 0 'check     ok' "$run" "${shape[@]}" "${keep[@]}" --kernel "$work/kernel" --check
expect 0 'check     ok' "$run" "${shape[@]}" "${keep[@]}" --kernel "$work/kernel" --mask-mod "$mask" --check
expect 1 'computes another formula' "$run" "${shape[@]}" "${keep[@]}" --kernel "$work/kernel" --mask-mod 'q_idx >= kv_idx' --check
expect 1 '--capture keep: the kernel' "$run" "${shape[@]}" --kernel "$work/kernel" --check
expect 1 'a tensor of bool with 1 dimension' "$run" "${shape[@]}" --capture keep=random:700:f32 --kernel "$work/kernel"

# Softcap, dropout and sinks are compiled in; their numbers come with each call.
"$run" "${shape[@]}" --softcap 5 --dropout 0.3 1 2 --sinks random --no-cache --save-kernel "$work/options" > "$work/message" 2>&1
expect 0 'check     ok' "$run" "${shape[@]}" --softcap 3 --dropout 0.5 7 --sinks random --kernel "$work/options" --check
expect 0 'check     ok' "$run" "${shape[@]}" --softcap 3 --dropout 0.5 7 --sinks random --kernel "$work/options" --score-mod 'score' --check
expect 1 'the call has no sinks' "$run" "${shape[@]}" --softcap 3 --dropout 0.5 --kernel "$work/options"

# A mask that was widened at attn takes its formula along: with a plan of the old one this check would fail.
"$dump" "${shape[@]}" --mask-mod "$mask" "${keep[@]}" --emit attn,tile -o "$work/stages"
for stage in attn tile; do
  sed -E 's/constant 16 : (i32|i64)/constant 300 : \1/' "$work/stages/$stage.mlir" > "$work/$stage.mlir"
  "$dump" --from "$stage" "$work/$stage.mlir" --emit image -o "$work/$stage.kernel"
done
expect 0 'check     ok' "$run" "${shape[@]}" "${keep[@]}" --kernel "$work/attn.kernel" --check
expect 0 'plan ' "$run" "${shape[@]}" "${keep[@]}" --kernel "$work/attn.kernel" --out "$work/attn.npy"
# Widened below attn it computes the same, without any plan, and says why it cannot be checked.
expect 0 "edited 'tile' text" "$run" "${shape[@]}" "${keep[@]}" --kernel "$work/tile.kernel" --out "$work/tile.npy"
if grep -q '^plan ' "$work/message"; then
  echo "a kernel from an edited tile text ran with a plan" >&2
  exit 1
fi
cmp "$work/attn.npy" "$work/tile.npy"
expect 1 'nothing to compare' "$run" "${shape[@]}" "${keep[@]}" --kernel "$work/tile.kernel" --check
