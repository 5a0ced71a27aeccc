#!/usr/bin/env bash
# The functions made ahead of time that AotOnGpu.cpp calls. Usage: functions.sh ATTNJIT-DUMP FOLDER
set -euo pipefail
dump=$1 folder=$2
make() { "$dump" --emit aot --name "$@" -o "$folder"; }
captured=(--score-mod 'gain * score + slope[h] * (kv_idx - q_idx - shift)' --mask-mod '(q_idx + shift >= kv_idx) & (q_idx + shift - kv_idx < window)'
  --capture slope=alibi:4 --capture window=19 --capture gain=0.75 --capture shift=0)
long=(--shape Hq=4,Hkv=2,S=1024) few=(--shape Hq=4,Hkv=2,M=3,N=2048)
make of_bf16 "${long[@]},D=64" --dtype bf16 --target sm_80,sm_90a "${captured[@]}"
make of_bf16_sm80 "${long[@]},D=64" --dtype bf16 --target sm_80 "${captured[@]}"
make of_f32 "${long[@]},D=24" --dtype f32 --target sm_80,sm_90a "${captured[@]}"
make few_bf16 "${few[@]},D=64" --dtype bf16 --target sm_80,sm_90a "${captured[@]}"
make documents "${long[@]},D=64" --dtype bf16 --target sm_80,sm_90a --mask-mod 'doc[q_idx] == doc[kv_idx]' --capture doc=docs:1024:6
