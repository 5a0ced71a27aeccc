#!/usr/bin/env bash
# Builds attnjit (release) and runs every test.
# Usage: tools/test.sh            set-up, g++ release build, all tests
#        tools/test.sh --full     also: address+undefined and thread sanitizers, clang's warnings, clang-tidy, fuzzers for a minute, static bundle
#        tools/test.sh --only NAME   one step of --full: release | clang | asan | tsan | tidy | fuzz | static
set -euo pipefail
cd "$(dirname "$0")/.."

jobs=$(nproc)
# Relative paths let the presets share one cache.
export CCACHE_BASEDIR=$PWD CCACHE_SLOPPINESS=pch_defines,time_macros
export CTEST_OUTPUT_ON_FAILURE=1

step() { printf '\n== %s\n' "$*"; }

release() {
  step "release: g++, everything"
  cmake --preset release -DATTNJIT_TESTS=ON
  cmake --build --preset release -j "$jobs"
  ctest --test-dir build/release -j "$jobs"
}

# What clang says about the compiler rooms. Of the others it builds what is fuzzed, and clang-tidy reads what changed.
clang() {
  step "clang 22: rooms with MLIR, syntax only"
  tools/cmake/clang-syntax.sh build/release "$jobs"
}

# lib/ is instrumented; mlir/ and LLVM come uninstrumented from the release build's compiler library, built once for both. Kernels for another machine are
# all the same to lib/, and what PyTorch says is too.
sanitized() {
  step "$1: lib/ instrumented, compiler from the release build"
  local targets=() tests=(-E "[-](avx2|sse|sm_90a)$|parity") # CMake 4's ctest reads a leading dash as an option
  if [ "$1" = tsan ]; then # for tests that have threads
    targets=(UnitTest BlockMaskTest ReferenceTest DeciderTest SelectTest ExecuteTest GpuRuntimeTest EndToEndTest SoakTest AttentionTest
      AttentionEndToEndTest CDoorTest)
    tests=(-R "^($(IFS='|'; echo "${targets[*]}"))\$")
  fi
  cmake --preset "$1" -DATTNJIT_COMPILER=OFF
  cmake --build --preset "$1" -j "$jobs" --target "${targets[@]:-all}"
  ATTNJIT_COMPILER_LIBRARY=$PWD/build/release/lib/libattnjit-compiler.so \
  ASAN_OPTIONS=detect_leaks=1 LSAN_OPTIONS=suppressions=$PWD/test/sanitizers/lsan.supp \
  UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=suppressions=$PWD/test/sanitizers/tsan.supp \
    ctest --test-dir "build/$1" -j "$jobs" "${tests[@]}"
}

# For clang-tidy, changed since ATTNJIT_BASE, else since what origin has, else by the last commit.
tidy() {
  step "clang-format on all files, clang-tidy on changed ones"
  git rev-parse -q --verify HEAD >/dev/null 2>&1 || { echo "no history here, so nothing to compare with"; return 0; }
  git ls-files '*.cpp' '*.h' '*.c' | xargs -r clang-format-22 --dry-run --Werror
  base=${ATTNJIT_BASE:-$(git merge-base HEAD origin/main 2>/dev/null || true)}
  if [ -z "$base" ] || [ "$base" = "$(git rev-parse HEAD)" ]; then base=$(git rev-parse -q --verify HEAD~1 || git rev-parse HEAD); fi
  git diff --name-only --diff-filter=AMR "$base" -- 'lib/*.cpp' 'tools/*.cpp' |
    xargs -r -n 4 -P "$jobs" clang-tidy-22 -p build/release --quiet
}

fuzz() {
  step "fuzzers, one minute"
  cmake --preset clang -B build/fuzz -DATTNJIT_COMPILER=OFF -DATTNJIT_FUZZERS=ON
  cmake --build build/fuzz -j "$jobs" --target fuzzers
  for fuzzer in build/fuzz/fuzz/*Fuzzer; do
    name=$(basename "$fuzzer")
    corpus=$(find test -type d -path "*fuzz/corpus/$name")
    work=$(mktemp -d)
    "$fuzzer" -max_total_time=30 -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$work/" "$work" ${corpus:+"$corpus"}
    rm -r "$work"
  done
}

static() {
  step "static bundle"
  cmake --preset static
  cmake --build --preset static -j "$jobs"
  (cd build/static && cpack)
  test/Install/bundle.sh build/static/attnjit-*-static.tar.xz
  if [ -x build/torch/bin/python ]; then test/Python/wheel.sh "$PWD/build/torch/bin/python" "$PWD" "$PWD/build/static"; fi
}

case "${1:-}" in
  "") tools/setup.sh; release ;;
  --full) tools/setup.sh --full; release; clang; sanitized asan; sanitized tsan; tidy; fuzz; static ;;
  --only)
    tools/setup.sh --full
    case "${2:-}" in
      release | clang | tidy | fuzz | static) "$2" ;;
      asan | tsan) sanitized "$2" ;;
      *) echo "tools/test.sh: --only takes release, clang, asan, tsan, tidy, fuzz or static" >&2; exit 1 ;;
    esac ;;
  *) sed -n '2,5p' "$0" >&2; exit 1 ;;
esac
