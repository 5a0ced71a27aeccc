#!/usr/bin/env bash
# The Debian packages: made, looked at by lintian, and used from a root of their own. Usage: deb.sh CPACK BUILD-DIR SOURCE-DIR CXX-COMPILER
set -euo pipefail
cpack=$1 build=$2 source=$3 cxx=$4
for tool in dpkg-deb dpkg-shlibdeps; do
  command -v "$tool" > /dev/null || { echo "skipped: there is no $tool"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$build" && "$cpack" -G DEB -B "$work/debs") > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
debs=("$work"/debs/*.deb)
[ ${#debs[@]} -eq 5 ] || { echo "not five packages: ${debs[*]}" >&2; exit 1; }
if command -v lintian > /dev/null; then
  lintian --allow-root --fail-on error,warning "${debs[@]}" || exit 1
fi

for deb in "${debs[@]}"; do
  dpkg-deb -x "$deb" "$work/root"
done
libdir=$(dirname "$(find "$work/root/usr/lib" -name libattnjit.so)")
[ "$libdir" = "$work/root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)" ] ||
  { echo "libraries are in ${libdir#"$work"/root}: this build folder was configured with another CMAKE_INSTALL_LIBDIR (cmake -U CMAKE_INSTALL_LIBDIR forgets it)" >&2; exit 1; }
dpkg-deb -f "$work"/debs/libattnjit0_*.deb Depends | grep -q 'libc6' || { echo "libattnjit0 does not name what it needs" >&2; exit 1; }
dpkg-deb -f "$work"/debs/attnjit-compiler_*.deb Depends | grep -q 'libmlir' || { echo "attnjit-compiler does not name what it needs" >&2; exit 1; }
! dpkg-deb -f "$work"/debs/libattnjit0_*.deb Depends | grep -E 'llvm|mlir'
export LD_LIBRARY_PATH=$libdir XDG_CACHE_HOME=$work/cache
unset ATTNJIT_COMPILER_LIBRARY
"$work/root/usr/bin/attnjit-run" --shape H=2,S=64,D=32 --mask-mod 'q_idx >= kv_idx' --check | grep -q 'ok:'
"$cxx" -std=c++20 -I "$work/root/usr/include" "$source/test/Install/consumer/main.cpp" -L "$libdir" -lattnjit -o "$work/consumer"
"$work/consumer" with-compiler
for tool in "$work"/root/usr/bin/*; do
  zcat "$work/root/usr/share/man/man1/$(basename "$tool").1.gz" | grep -q '^\.SH NAME' || { echo "no manual page for $tool" >&2; exit 1; }
done
