"""Random expression trees over all functions of the language, as Python callables: the text that a trace makes, and what attnjit computes of it,
against eager PyTorch in f64."""

from __future__ import annotations

import math
import os
import re

import pytest

hypothesis = pytest.importorskip("hypothesis")
torch = pytest.importorskip("torch")

from hypothesis import HealthCheck, given, settings, strategies as st  # noqa: E402

from trace_tools import check_trace, over_positions  # noqa: E402

EXAMPLES = int(os.environ.get("ATTNJIT_EXAMPLES", "200"))

FLOAT_UNARY = """torch.abs({0}) -{0} {0}.sign() {0}.square() torch.exp(-{0}.abs()) torch.exp2(-{0}.abs()) torch.expm1(-{0}.abs()) torch.log({0}.abs()+1)
    torch.log2({0}.abs()+1) torch.log10({0}.abs()+1) {0}.abs().log1p() {0}.abs().sqrt() torch.rsqrt({0}.abs()+1) {0}.sin() torch.cos({0}) torch.atan({0})
    torch.tanh({0}) torch.sinh(torch.tanh({0})) torch.cosh(torch.tanh({0})) torch.asin(torch.tanh({0})) {0}.asinh() torch.erf({0}) torch.special.erfc({0})
    torch.sigmoid({0}) F.relu({0}) F.relu6({0}) F.gelu({0}) F.gelu({0},approximate='tanh') F.silu({0}) F.mish({0}) F.softplus({0}) F.logsigmoid({0})
    F.softsign({0}) F.tanhshrink({0}) F.elu({0},alpha=0.5) F.celu({0}) F.selu({0}) F.leaky_relu({0},0.2) F.hardtanh({0},-2.0,2.0) F.hardsigmoid({0})
    F.hardswish({0}) torch.special.entr({0}.abs()+0.5) torch.sinc({0}) torch.deg2rad({0}) {0}.reciprocal().clamp(-9,9) {0}.clamp(min=-3.0) {0}**2 {0}**3
    ({0}.abs()+1)**0.5 ({0}.abs()+1)**-1 {0}.nan_to_num() {0}*alpha {0}/(beta+3) {0}-0.25 2.5-{0} {0}.floor() torch.ceil({0}) {0}.trunc() {0}.frac()""".split()
FLOAT_BINARY = """({0}+{1}) ({0}-{1}) {0}*{1} {0}/({1}.abs()+1) torch.maximum({0},{1}) torch.minimum({0},{1}) torch.fmax({0},{1}) {0}.fmin({1})
    torch.atan2({0},{1}) torch.hypot({0},{1}) torch.logaddexp({0},{1}) torch.lerp({0},{1},0.25) torch.copysign({0},{1}) torch.add({0},{1},alpha=2)
    torch.sub({0},{1},alpha=3) torch.addcmul({0},{0},{1},value=0.5) torch.xlogy({0},{1}.abs()+1) torch.remainder({0},{1}.abs()+1) torch.fmod({0},{1}.abs()+1)
    {0}//({1}.abs()+1) {0}%({1}.abs()+1) torch.true_divide({0},{1}.square()+1)""".split()
INT_UNARY = "-{0} {0}.abs() ~{0} {0}//3 {0}%5 {0}*2 ({0}+window) {0}.sign() {0}**2 {0}.clamp(-4,9) ({0}>>1) ({0}&7) torch.fmod({0},4) torch.div({0},3,rounding_mode='trunc')".split()
INT_BINARY = "({0}+{1}) ({0}-{1}) {0}*{1} ({0}&{1}) ({0}|{1}) ({0}^{1}) torch.maximum({0},{1}) {0}//({1}.abs()+1) {0}%({1}.abs()+1)".split()
COMPARE = "({0}<{1}) ({0}<={1}) ({0}>{1}) ({0}>={1}) torch.eq({0},{1}) {0}.ne({1})".split()
BOOL = "({0}&{1}) ({0}|{1}) ({0}^{1}) torch.logical_and({0},{1}) torch.logical_or({0},~{1}) ~{0}".split()


@st.composite
def ints(draw, depth=2):
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(["q", "kv", "b", "h", "(q-kv)", "ids[q]", "ids[kv]"]))
    form = draw(st.sampled_from(INT_UNARY + INT_BINARY))
    return f"({form.format(draw(ints(depth - 1)), draw(ints(depth - 1)) if '{1}' in form else '')})"


@st.composite
def bools(draw, depth):
    form = draw(st.sampled_from(COMPARE + BOOL if depth else COMPARE))
    below = bools(depth - 1) if form in BOOL else ints() if draw(st.booleans()) else floats(depth - 1 if depth else 0)
    return f"({form.format(draw(below), draw(below) if '{1}' in form else '')})"


@st.composite
def floats(draw, depth):
    if depth == 0:
        leaf = draw(st.sampled_from(["x", "x", "slopes[h]", "bias[h,kv]", "bias[h][q%5]", ""]))
        return leaf or f"({draw(ints())}).float()"
    form = draw(st.sampled_from(FLOAT_UNARY + FLOAT_BINARY + ["torch.where({2},{0},{1})", "{0}.masked_fill({2},0.5)"]))
    below = floats(depth - 1)
    return f"({form.format(draw(below), draw(below) if '{1}' in form else '', draw(bools(1)) if '{2}' in form else '')})"


SCORES, MASKS = floats(4), bools(2)
CAPTURES = {"slopes": torch.tensor([0.5, -1.25, 2.0], dtype=torch.float64), "bias": torch.linspace(-2, 2, 60, dtype=torch.float64).view(3, 20),
            "ids": torch.tensor([0, 0, 0, 1, 1, 4, 4, 4, 9]), "alpha": 0.75, "beta": 2, "window": 5}
SHAPE = (2, 3, 7, 9)


def callable_of(kind: str, expression: str):
    space = {"torch": torch, "F": torch.nn.functional, **CAPTURES}
    first = "x, " if kind == "score_mod" else ""
    exec(f"def mod({first}b, h, q, kv):\n    return {expression}\n", space)
    return space["mod"]


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(SCORES)
def test_score(expression):
    check_trace(callable_of("score_mod", f"x + {expression}"), "score_mod", SHAPE)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(MASKS)
def test_mask(expression):
    check_trace(callable_of("mask_mod", re.sub(r"\bx\b", "bias[h,kv]", expression)), "mask_mod", SHAPE)


@st.composite
def conditions(draw, depth=2):
    form = draw(st.sampled_from(["({0}) if {2} else ({1})", "({0}) if {2} and {3} else ({1})", "({0}) if {2} or not {3} else ({1})", "max({0}, 0.5)",
                                 "({0}) + (1.0 if h in (0, 2) else alpha)", "({0}) if 0 <= q - kv < window else ({1})"]))
    below = conditions(depth - 1) if depth else floats(1)
    return form.format(draw(below), draw(below) if "{1}" in form else "", draw(bools(0)), draw(bools(0)))


@settings(max_examples=EXAMPLES // 4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(conditions())
def test_conditions(expression):
    """Python's own conditions over run-time values, position by position."""
    check_trace(callable_of("score_mod", f"torch.as_tensor({expression}) + 0.0"), "score_mod", (1, 3, 6, 5))


@settings(max_examples=EXAMPLES // 8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(SCORES)
def test_computed(expression):
    """The whole way: trace, parse, compile, run."""
    pytest.importorskip("attnjit").Mod  # the extension is there
    from attnjit.nn.attention.flex_attention import flex_attention

    mod = callable_of("score_mod", f"torch.tanh({expression})")
    torch.manual_seed(5)
    batches, heads, queries, keys = SHAPE
    q, k, v = (torch.randn(batches, heads, length, 8, dtype=torch.float64) for length in (queries, keys, keys))
    scores = over_positions(mod, "score_mod", SHAPE, q @ k.transpose(-1, -2) / math.sqrt(8)).broadcast_to(SHAPE)
    expected = torch.softmax(scores.to(torch.float64), -1) @ v
    found = flex_attention(q, k, v, score_mod=mod)
    # Where a comparison or a rounding stands at an edge, the last bit of its operand decides: single rows may differ, not many.
    near = torch.isclose(found, expected, rtol=1e-8, atol=1e-8, equal_nan=True).all(-1)
    assert near.double().mean() > 0.9, expression
