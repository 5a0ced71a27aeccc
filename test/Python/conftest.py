"""The package under test is the build's (ATTNJIT_PYTHON_PATH, set by ctest), else an installed one."""
import importlib.util
import os
import sys

import pytest

if os.environ.get("ATTNJIT_PYTHON_PATH"):
    sys.path.insert(0, os.environ["ATTNJIT_PYTHON_PATH"])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [sys.path[0], os.environ.get("PYTHONPATH")]))  # for tests that start a Python

has_tracer = importlib.util.find_spec("attnjit._trace") is not None
needs_tracer = pytest.mark.skipif(not has_tracer, reason="this build has no tracer for Python callables")
