"""Every function of the language that PyTorch has, in each form in which PyTorch has it; and the tracer's table against the parser's own."""

from __future__ import annotations

import pathlib
import re

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")

import torch.nn.functional as F  # noqa: E402

from attnjit._trace import names  # noqa: E402
from trace_tools import check_trace  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPACES = {"torch": torch, "F": F, "special": torch.special}

# The arguments after the first, where there are any; x is a float, q and kv are ints, c is a bool.
ARGUMENTS = {
    "add": "x * 2", "sub": "x * 2", "subtract": "x * 2", "rsub": "x * 2", "mul": "x + 1", "multiply": "x + 1", "floor_divide": "x.abs() + 1",
    "remainder": "x.abs() + 1", "fmod": "x.abs() + 1", "pow": "2", "maximum": "q", "minimum": "q", "fmax": "x - 1", "fmin": "x - 1", "clamp": "-0.5, 0.5",
    "clip": "min=-0.5, max=0.5", "clamp_min": "0.0", "clamp_max": "0.0", "addcmul": "x, x + 1, value=0.5", "addcdiv": "x, x.abs() + 1, value=0.5",
    "heaviside": "x * 0", "true_divide": "q + 1", "div": "q + 1", "divide": "q + 1, rounding_mode='floor'", "float_power": "3", "copysign": "-x",
    "lerp": "x + 1, 0.25", "ldexp": "kv", "logaddexp": "x + 1", "logaddexp2": "x + 1", "xlogy": "x.abs() + 1", "xlog1py": "x.abs()", "atan2": "x + 1",
    "arctan2": "x + 1", "hypot": "x + 1", "threshold": "0.1, 2.0", "prelu": "torch.tensor([0.25], dtype=torch.float64)", "masked_fill": "c, 7.0",
    "eq": "kv", "ne": "kv", "not_equal": "kv", "lt": "kv", "less": "kv", "le": "kv", "less_equal": "kv", "gt": "kv", "greater": "kv", "ge": "kv",
    "greater_equal": "kv", "logical_and": "c", "logical_or": "c", "logical_xor": "c", "isclose": "x + 1e-6", "bitwise_and": "kv", "bitwise_or": "kv",
    "bitwise_xor": "kv", "bitwise_left_shift": "kv", "bitwise_right_shift": "kv", "rrelu": "0.1, 0.3, False",
}
FIRST = {name: "q" for name in ("eq ne not_equal lt less le less_equal gt greater ge greater_equal bitwise_and bitwise_or bitwise_xor bitwise_not "
                                "bitwise_left_shift bitwise_right_shift").split()}
FIRST |= {name: "x * 0.3" for name in "asin arcsin acos arccos atanh arctanh erfinv".split()}
FIRST |= {name: "x.abs() + 1" for name in "log log2 log10 log1p sqrt rsqrt acosh arccosh entr reciprocal float_power".split()}
FIRST |= {"logit": "torch.sigmoid(x)"}
NOT_TORCH = {"rand", "randint",   # attnjit's own
             "fabs", "radians", "degrees", "swish"}  # Python's math has them, and jax


def forms():
    for name in names.ELEMENTWISE:
        if name in NOT_TORCH or name == "where":
            continue
        rest, first = ARGUMENTS.get(name, ""), FIRST.get(name, "x")
        for space, module in SPACES.items():
            if hasattr(module, name):
                yield pytest.param(f"{space}.{name}({first}{', ' if rest else ''}{rest})", id=f"{space}.{name}")
        if hasattr(torch.Tensor, name):
            yield pytest.param(f"({first}).{name}({rest})", id=f"x.{name}")


@pytest.mark.parametrize("expression", list(forms()))
def test_function(expression):
    source = f"def mod(x, b, h, q, kv):\n    c = kv > q\n    return ({expression}) * 1.0\n"
    space = dict(SPACES)
    exec(source, space)
    if "rrelu" in expression:  # eager PyTorch draws a slope, or has no vmap of it
        exec("def eager(x, b, h, q, kv):\n    return F.leaky_relu(x, 0.2)\n", space)
    check_trace(space["mod"], "score_mod", eager=space.get("eager"))


def test_every_function_is_tried():
    tried = {form.id.rpartition(".")[2] for form in forms()}
    assert set(names.ELEMENTWISE) - tried == NOT_TORCH | {"where"}


def builtin_rows():
    source = (ROOT / "lib/Expr/Builtins.cpp").read_text()
    table = source[source.index("kBuiltins[] = {"):]
    for row in re.findall(r'(?:ROW|FLOAT|FLOAT2|BINARY|COMPARE)\("([^"]+)"', table):
        yield from (name.lstrip(".") for name in row.split())


@pytest.mark.skipif(not (ROOT / "lib/Expr/Builtins.cpp").exists(), reason="the sources are not here")
def test_table_is_the_parsers():
    from attnjit._trace.functions import is_function

    missing = sorted(name for name in builtin_rows() if not is_function(name) and name not in ("half", "bfloat16", "tolist"))
    assert not missing
    parsers = set(builtin_rows())
    assert sorted(name for name in names.ELEMENTWISE if name not in parsers) == []


@pytest.mark.parametrize("name", sorted(names.MATH))
def test_python_math(name):
    import math

    first = {"acosh": "x.abs() + 1", "asin": "x / 9", "acos": "x / 9", "atanh": "x / 9"}.get(name, "x.abs() + 0.5")
    rest = {"fmod": ", 0.7", "pow": ", 3.0", "atan2": ", 2.0", "hypot": ", 2.0", "copysign": ", -1.0", "isclose": ", 2.0"}.get(name, "")
    torchs = {"fabs": "abs", "degrees": "rad2deg", "radians": "deg2rad", "isclose": "isclose"}.get(name, name)
    space: dict = {"math": math, "torch": torch}
    rest_tensor = f", torch.tensor({rest[2:]}, dtype=torch.float64)" if rest else ""
    exec(f"def mod(x, b, h, q, kv):\n    return math.{name}({first}{rest}) * 1.0\n"
         f"def eager(x, b, h, q, kv):\n    return torch.{torchs}({first}{rest_tensor}) * 1.0\n", space)
    if name == "isclose":
        return  # Python's tolerances are others
    check_trace(space["mod"], "score_mod", eager=space["eager"])


@pytest.mark.parametrize("expression", ["np.exp(x)", "np.where(x > 0, x, -x)", "np.maximum(x, 0.5)", "np.clip(x, -1, 1)", "np.abs(x) ** 2", "np.sqrt(np.square(x))",
                                        "np.float64(2) * x", "x * np.float32(0.5)", "np.power(x, 2)", "np.logical_and(x > 0, q > kv) * 1.0", "np.rint(x)"])
def test_numpy(expression):
    space: dict = {"np": np, "torch": torch}
    in_torch = expression.replace("np.float64(2)", "2.0").replace("np.float32(0.5)", "0.5").replace("np.power", "torch.pow").replace("np.rint", "torch.round")
    in_torch = in_torch.replace("np.maximum(x, 0.5)", "x.clamp(min=0.5)").replace("np.", "torch.")
    exec(f"def mod(x, b, h, q, kv):\n    return {expression}\ndef eager(x, b, h, q, kv):\n    return {in_torch}\n", space)
    check_trace(space["mod"], "score_mod", eager=space["eager"])
