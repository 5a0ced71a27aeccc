#!/usr/bin/env bash
# Inputs/attention.mlir as an embedder's compiler for GPUs leaves it: our pass, then MLIR's own, into PTX. What LaunchModule.cpp launches.
# Usage: modules.sh ATTNJIT-OPT MLIR-OPT FOLDER
set -euo pipefail
opt=$1 upstream=$2 folder=$3
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder"
for chip in sm_80 sm_90; do
  "$opt" "$here/Inputs/attention.mlir" --convert-attn-to-gpu=chip=$chip |
    "$upstream" --pass-pipeline='builtin.module(gpu.module(convert-scf-to-cf,convert-to-llvm,reconcile-unrealized-casts),gpu-module-to-binary{format=assembly})' \
      -o "$folder/attention-$chip.mlir"
done
