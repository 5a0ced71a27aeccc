#!/usr/bin/env bash
# Installs what a build of attnjit needs on Debian 12 and does nothing where it is all there.
# Usage: tools/setup.sh [--full]     --full: also clang, clang-tidy and the sanitizer runtimes of `tools/test.sh --full` and CI, and PyTorch in
#                                    build/torch for the Python package and the tests that compare with it, and qemu-user, a compiler for AArch64 and lintian
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(g++ cmake ninja-build ccache xz-utils
  llvm-22-dev libmlir-22-dev mlir-22-tools llvm-22-tools lld-22
  python3 libfmt-dev libtbb-dev libxxhash-dev libcli11-dev nlohmann-json3-dev doctest-dev zlib1g-dev)
if [ "${1:-}" = --full ]; then
  packages+=(clang-22 clang-tidy-22 clang-format-22 libclang-rt-22-dev libzstd-dev git python3-venv python3-dev
    qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross pkg-config dpkg-dev lintian man-db)
fi

missing=()
for package in "${packages[@]}"; do
  # A tool that came another way (pip's cmake and ninja, say) serves as well.
  case $package in
    g++ | cmake | ccache | git) command -v "$package" >/dev/null && continue ;;
    ninja-build) command -v ninja >/dev/null && continue ;;
    python3-dev) [ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] && continue ;;
    python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null && continue ;;
  esac
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -ne 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "attnjit: this system has no apt-get; please install the equivalents of: ${missing[*]}" >&2
    exit 1
  fi
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "attnjit: please install as root: apt-get install ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  echo "attnjit: installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

# A release of its own for the tests that hold attnjit against it, and what builds and tests the Python package. Without a way to the package index they are
# skipped, and say so.
torch=2.13.0
have="import hypothesis, ml_dtypes, mypy, nanobind, numpy, pytest, scikit_build_core, torch, transformers; assert torch.__version__.split('+')[0] == '$torch'"
if [ "${1:-}" = --full ] && ! build/torch/bin/python -c "$have" 2>/dev/null; then
  echo "attnjit: installing torch $torch and what the Python package needs into build/torch"
  if ! { python3 -m venv --clear build/torch &&
    build/torch/bin/pip install -q --retries 1 --extra-index-url https://download.pytorch.org/whl/cpu "torch==$torch" \
      numpy nanobind scikit-build-core pytest hypothesis ml_dtypes mypy transformers; }; then
    rm -rf build/torch
    echo "attnjit: torch $torch could not be installed; the parity tests and the Python package will be skipped" >&2
  fi
fi
