#!/usr/bin/env bash
# Installs the build into a fresh prefix, builds programs against it with find_package and pkg-config, moves the prefix, and runs.
# Usage: install.sh CMAKE BUILD-DIR SOURCE-DIR with-compiler|without-compiler CXX-COMPILER LINK-FLAGS
set -euo pipefail
cmake=$1 build=$2 source=$3 mode=$4 cxx=$5 flags=${6:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$cmake" --install "$build" --prefix "$work/prefix" > "$work/install.log"

# configure FOLDER PART: a consumer that asks for one component.
configure() {
  "$cmake" -G Ninja -S "$source/test/Install/$1" -B "$work/$1-$2" -DPART="$2" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_EXE_LINKER_FLAGS="$flags" > "$work/configure.log" 2>&1
}
build() { "$cmake" --build "$work/$1" > "$work/build.log" || { cat "$work/build.log" >&2; exit 1; }; }
parts=(runtime)
if [ "$mode" = with-compiler ]; then
  parts+=(engine)
  configure mlir-consumer mlir || { cat "$work/configure.log" >&2; exit 1; }
  build mlir-consumer-mlir
  "$work/mlir-consumer-mlir/consumer"
else
  ! configure consumer engine || { echo "the component engine was found without a compiler" >&2; exit 1; }
  tr -s ' \n' ' ' < "$work/configure.log" | grep -q 'ask for the component runtime' || { cat "$work/configure.log" >&2; exit 1; }
fi
for part in "${parts[@]}"; do
  configure consumer "$part" || { cat "$work/configure.log" >&2; exit 1; }
  build "consumer-$part"
done
# Headers must stand on their own: the consumer saw the prefix only.
libdir=$(dirname "$(find "$work/prefix" -name libattnjit.so)")
if command -v pkg-config > /dev/null; then
  export PKG_CONFIG_PATH=$libdir/pkgconfig
  [ "$(pkg-config --variable=compiler attnjit)" -ef "$libdir/attnjit/libattnjit-compiler.so" ] || [ "$mode" = without-compiler ]
  for package in attnjit-runtime attnjit; do
    "$cxx" -std=c++20 "$source/test/Install/consumer/main.cpp" $(pkg-config --cflags --libs "$package") $flags -o "$work/by-$package"
  done
  # The C door, from C.
  if [ "$mode" = with-compiler ]; then
    "$cxx" -x c -std=c99 -pedantic-errors "$source/docs/examples/c_causal.c" -x none $(pkg-config --cflags --libs attnjit) -lm $flags -o "$work/by-c"
  fi
fi

# Binaries must not remember where they were built, nor where they were installed first.
mv "$work/prefix" "$work/moved"
unset ATTNJIT_COMPILER_LIBRARY
libdir=${libdir/prefix/moved}
for program in "$work"/consumer-*/consumer "$work"/by-*; do
  [ -e "$program" ] || continue
  LD_LIBRARY_PATH=$libdir "$program" "$mode"
done
if ldd "$libdir/libattnjit.so" | grep -E 'libLLVM|libMLIR|not found'; then
  echo "libattnjit.so must need neither a compiler nor anything that is missing" >&2
  exit 1
fi
for binary in "$work"/moved/bin/* "$libdir"/*.so "$libdir"/attnjit/*.so; do
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
