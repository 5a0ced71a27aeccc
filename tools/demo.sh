#!/usr/bin/env bash
# Installs what is missing (Debian 12), builds a release and runs the tour: several attention variants, JIT-compiled and run on this machine,
# with compile and run times, the share of this machine's measured FMA peak, the error against f64, and a picture of each mask.
# Usage: tools/demo.sh [flags of attnjit-run --demo]
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh
export CCACHE_BASEDIR=$PWD
cmake --preset release -DATTNJIT_TESTS=OFF
cmake --build --preset release -j "$(nproc)" --target attnjit-run attnjit-dump attnjit-compiler
exec build/release/bin/attnjit-run --demo "$@"
