#!/usr/bin/env bash
# Installs the build into a fresh prefix, builds a program against it with find_package, moves the prefix, and runs.
# Usage: install.sh CMAKE BUILD-DIR SOURCE-DIR with-compiler|without-compiler CXX-COMPILER LINK-FLAGS
set -euo pipefail
cmake=$1 build=$2 source=$3 mode=$4 cxx=$5 flags=${6:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$cmake" --install "$build" --prefix "$work/prefix" > "$work/install.log"
"$cmake" -G Ninja -S "$source/test/Install/consumer" -B "$work/consumer" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_EXE_LINKER_FLAGS="$flags" > "$work/configure.log"
"$cmake" --build "$work/consumer" > "$work/build.log" || { cat "$work/build.log" >&2; exit 1; }

# Headers must stand on their own: the consumer saw the prefix only. Binaries must not remember where they were built.
mv "$work/prefix" "$work/moved"
unset ATTNJIT_COMPILER_LIBRARY
libdir=$(dirname "$(find "$work/moved" -name libattnjit.so)")
LD_LIBRARY_PATH=$libdir "$work/consumer/consumer" "$mode"
if ldd "$libdir/libattnjit.so" | grep -E 'libLLVM|libMLIR|not found'; then
  echo "libattnjit.so must need neither a compiler nor anything that is missing" >&2
  exit 1
fi
for binary in "$work"/moved/bin/* "$libdir"/*.so; do
  [ -e "$binary" ] || continue
  if readelf -d "$binary" | grep -E 'R(UN)?PATH' | grep -F "$build"; then
    echo "$binary points into the build tree" >&2
    exit 1
  fi
done
for tool in "$work"/moved/bin/attnjit-*; do
  [ -e "$tool" ] || continue
  "$tool" --help > /dev/null || { echo "$tool does not start after the move" >&2; exit 1; }
done
