"""The types of the package reach those who use it, and the stubs say what the extension module has."""

import ast
import pathlib
import subprocess
import sys

import pytest

import attnjit

PACKAGE = pathlib.Path(attnjit.__file__).resolve().parent


def test_a_program_of_a_user_is_typed(tmp_path):
    """What people write is checked: the package carries its types (py.typed)."""
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text("import attnjit\nfrom attnjit.nn.attention.flex_attention import create_block_mask\n"
                       "mask = create_block_mask('q_idx >= kv_idx', None, None, 128, 128)\nreveal_type(mask.sparsity())\ncreate_block_mask(3)\n")
    environment = {"MYPYPATH": str(PACKAGE.parent), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "mypy", str(program)], capture_output=True, text=True, env=environment)
    assert '"builtins.float"' in done.stdout or '"float"' in done.stdout, done.stdout
    assert "Missing positional arguments" in done.stdout, done.stdout


def test_stubs_name_what_the_module_has():
    from attnjit import _core

    tree = ast.parse((PACKAGE / "_core.pyi").read_text(encoding="utf-8"))
    stubs = {node.name: node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    there = {name for name, thing in vars(_core).items() if not name.startswith("_") and (callable(thing) or isinstance(thing, type))}
    assert there == set(stubs)
    for name, node in stubs.items():
        if isinstance(node, ast.ClassDef) and not issubclass(getattr(_core, name), Exception):
            members = {member.name for member in node.body if isinstance(member, ast.FunctionDef) and not member.name.startswith("_")}
            members |= {member.target.id for member in node.body if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name)}
            own = {member for member in vars(getattr(_core, name)) if not member.startswith("_")}
            assert own == members, f"{name}: {sorted(own ^ members)}"
