#!/usr/bin/env python3
"""Runs a test of the package that ATTNJIT_PYTHON_PATH has. Exits with 77 (skipped) where the tool is not installed.

Usage: run.py pytest FILE | run.py mypy CONFIG CACHE
"""
import importlib.util
import os
import subprocess
import sys

tool, *arguments = sys.argv[1:]
if importlib.util.find_spec(tool) is None:
    print(f"skipped: {sys.executable} has no {tool}; tools/setup.sh --full installs it")
    sys.exit(77)
if tool == "pytest":
    done = subprocess.run([sys.executable, "-B", "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--show-capture=no", *arguments])
    sys.exit(77 if done.returncode == 5 else done.returncode)  # 5: the whole file was skipped
config, cache = arguments
sys.exit(subprocess.run([sys.executable, "-m", "mypy", "--config-file", config, "--cache-dir", cache, "-p", "attnjit"], cwd=os.environ["ATTNJIT_PYTHON_PATH"]).returncode)
