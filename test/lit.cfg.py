# The lit suites: every .mlir and .test file below this folder.
# Run them by `ctest -R lit`, or some of them by  <llvm>/bin/lit -v build/<preset>/test/Dialect
import os
import sys

import lit.formats

config.name = "attnjit"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.attnjit_build_root, "test")

config.environment["PATH"] = os.path.pathsep.join((config.attnjit_tools_dir, config.llvm_tools_dir, os.environ.get("PATH", "")))
# Tests must not see a developer's cache.
config.environment["XDG_CACHE_HOME"] = os.path.join(config.test_exec_root, "cache")
config.substitutions.append(("%{python}", sys.executable))
config.substitutions.append(("%{source}", config.attnjit_source_root))

# Modules of somebody else's: stock tools of the same LLVM, with us as a plugin.
config.substitutions.append(("%{plugin}", os.path.join(config.attnjit_library_dir, "attnjit-mlir-plugin.so")))
for name in ("mlir_runner_utils", "mlir_c_runner_utils"):
    config.substitutions.append(("%{" + name + "}", os.path.join(config.llvm_library_dir, "lib" + name + ".so")))

# ptxas checks our PTX where a CUDA toolkit is at hand; `REQUIRES: ptxas`.
if any(os.access(os.path.join(folder, "ptxas"), os.X_OK) for folder in config.environment["PATH"].split(os.path.pathsep)):
    config.available_features.add("ptxas")
