#!/usr/bin/env bash
# Packages a build folder as a wheel, installs it into a new virtual environment and runs attention there.
# Usage: wheel.sh PYTHON SOURCE BUILD
set -euo pipefail
python=$1 source=$2 build=$3
if ! "$python" -c 'import scikit_build_core, nanobind, numpy, pip' 2>/dev/null; then
  echo "skipped: $python lacks scikit-build-core, nanobind, numpy or pip; tools/setup.sh --full installs them"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m pip wheel "$source" --quiet --no-deps --no-build-isolation -w "$work" \
  -C cmake.define.ATTNJIT_PREBUILT="$build" -C build-dir="$work/build"
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-deps --no-index "$work"/attnjit-*.whl

# NumPy is the only thing that it needs besides; it is borrowed from the Python that the wheel was built with.
numpy=$("$python" -c 'import numpy, pathlib; print(pathlib.Path(numpy.__file__).parent)')
site=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
ln -s "$numpy" "$site/numpy"
[ ! -e "$numpy.libs" ] || ln -s "$numpy.libs" "$site/numpy.libs"

link=$(sed -n 's/^ATTNJIT_LINK:STRING=//p' "$build/CMakeCache.txt")
cd "$work"
env -u PYTHONPATH -u ATTNJIT_COMPILER_LIBRARY XDG_CACHE_HOME="$work/cache" "$work/venv/bin/python" -c '
import importlib.metadata, pathlib, sys
import numpy as np
import attnjit
from attnjit.nn.attention.flex_attention import create_block_mask, flex_attention
assert pathlib.Path(attnjit.__file__).is_relative_to(sys.prefix), attnjit.__file__
assert importlib.metadata.version("attnjit") == attnjit.__version__
assert (pathlib.Path(attnjit.__file__).parent / "py.typed").exists()
q = np.random.default_rng(0).standard_normal((1, 2, 200, 16))
out = flex_attention(q, q, q, "score / 2", create_block_mask("q_idx >= kv_idx", None, None, 200, 200))
scores = np.where(np.tril(np.ones((200, 200), bool)), np.einsum("bhmd,bhnd->bhmn", q, q) / 8, -np.inf)
weights = np.exp(scores - scores.max(-1, keepdims=True))
np.testing.assert_allclose(out, weights / weights.sum(-1, keepdims=True) @ q, rtol=1e-10)
if sys.argv[1] == "static":
    others = {line.split("/")[-1].strip() for line in open("/proc/self/maps") if "/libLLVM" in line or "/libMLIR" in line or "/libtbb" in line}
    assert not others, f"the wheel of a static build needs {others}"
print("attnjit", attnjit.__version__, "in", sys.prefix, attnjit.engine().counters()["compiles"], "kernel compiled")
' "$link"
