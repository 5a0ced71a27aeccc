"""Every mod of test/Corpus as text and as callable: the text that a trace makes, and what attnjit computes, against eager PyTorch in f64."""

from __future__ import annotations

import ast
import functools
import itertools
import math
import pathlib
import re
import shlex

import pytest

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")

from torch.nn.attention.flex_attention import and_masks, noop_mask, or_masks  # noqa: E402

from attnjit._trace import trace  # noqa: E402
from attnjit._trace.tracing import _by_source as by_source  # noqa: E402
from trace_tools import check_trace, over_positions, text_as_mod  # noqa: E402

CORPUS = pathlib.Path(__file__).resolve().parents[1] / "Corpus"
RNG = np.random.default_rng(7)


def flags(line: str) -> dict:
    """One line of cases: the flags of attnjit-run that matter here."""
    words = shlex.split(line)
    captures = dict(words[i + 1].split("=", 1) for i, word in enumerate(words) if word == "--capture")
    values = {word: words[i + 1] for i, word in enumerate(words) if word in ("--shape", "--score-mod", "--mask-mod")}
    return {"captures": captures, **values}


def generate(form: str, shape: dict):
    """A captured value of the kind that attnjit-run makes of `form`."""
    kind, _, rest = form.partition(":")
    if not rest:
        return ast.literal_eval(form)
    arguments = rest.split(":")
    sizes = [int(size) for size in arguments[0].split("x")]
    if kind == "alibi":
        return torch.exp2(-8 * torch.arange(1, sizes[0] + 1, dtype=torch.float64) / sizes[0])
    if kind == "docs":
        return torch.sort(torch.randint(0, int(arguments[1]), sizes)).values.to(torch.int32)
    dtype = {"bool": "bool", "u8": "uint8"}.get(arguments[1]) or {"i": "int", "f": "float"}[arguments[1][0]] + arguments[1][1:]
    dtype = torch.float64 if dtype.startswith("float") else getattr(torch, dtype)
    if kind == "random" and dtype is torch.float64:
        return torch.rand(sizes, dtype=dtype) * 2 - 1
    if kind == "random":
        return torch.randint(0, 2 if dtype is torch.bool else 100, sizes).to(dtype)
    if kind == "below":
        return torch.randint(0, int(arguments[2]), sizes).to(dtype)
    if kind == "const":
        return torch.full(sizes, float(arguments[2])).to(dtype)
    count = torch.arange(math.prod(sizes)).reshape(sizes)
    return (count if kind == "iota" else (count + 1) * float(arguments[2])).to(dtype)


def cases():
    for path in sorted(CORPUS.glob("*.py")):
        for line in re.findall(r"^#! (.*)$", path.read_text(), re.MULTILINE):
            if " => " in line:
                continue
            parts = [part.split("|") if i % 2 else [part] for i, part in enumerate(re.split(r"[{}]", line))]
            for chosen in itertools.product(*parts):
                case = flags("".join(chosen))
                for kind in ("score_mod", "mask_mod"):
                    text = case.get("--" + kind.replace("_", "-"))
                    if text:
                        yield pytest.param(path, case, kind, text, id=f"{path.stem}: {text}")


def make(path: pathlib.Path, case: dict, text: str):
    """The callable that `text` names in the module, its shape and its captures."""
    torch.manual_seed(3)
    shape = {"B": 1, "Hq": 1, **{key: int(value) for key, value in (item.split("=") for item in case["--shape"].split(","))}}
    captures = {name: generate(form, shape) for name, form in case["captures"].items()}
    space = {"torch": torch, "math": math, "F": torch.nn.functional, "functools": functools, "partial": functools.partial, "and_masks": and_masks,
             "or_masks": or_masks, "noop_mask": noop_mask, "__name__": path.stem, **captures}
    exec(compile(path.read_text(), str(path), "exec"), space)
    return eval(text, space), (shape["B"], shape["Hq"], shape["M"], shape["N"]), captures


@pytest.mark.parametrize("path, case, kind, text", list(cases()))
def test_callable(path, case, kind, text):
    mod, shape, _ = make(path, case, text)
    traced = check_trace(mod, kind, shape)
    assert trace(mod, kind).text is traced.text


@pytest.mark.parametrize("path, case, kind, text", list(cases()))
def test_computed(path, case, kind, text):
    """What attnjit computes, of the text with its module and of the callable."""
    attnjit = pytest.importorskip("attnjit")
    mod, shape, captures = make(path, case, text)
    as_text = attnjit.Mod(**{kind: text}, captures=captures, module=path.read_text(), module_name=path.name)
    for given in (as_text, attnjit.Mod(**{kind: mod})):
        compare(given, mod, kind, shape)


@pytest.mark.parametrize("path, case, kind, text", list(cases()))
def test_source(path, case, kind, text):
    """The second way of the tracer, for all that has a source, though the first one serves them."""
    attnjit = pytest.importorskip("attnjit")
    mod, shape, _ = make(path, case, text)
    if text.startswith("lambda"):
        pytest.skip("a callable made by eval has no source")
    traced, _ = by_source(mod, kind)
    compare(attnjit.Mod(**{kind: traced.text}, captures=traced.captures), mod, kind, shape)


def compare(given, mod, kind, shape):
    """attnjit's output of float64 attention with the mod, against softmax over all scores."""
    from attnjit.nn.attention.flex_attention import flex_attention

    batches, heads, queries, keys = shape
    q, k, v = (torch.randn(batches, heads, length, 8, dtype=torch.float64) for length in (queries, keys, keys))
    scores = q @ k.transpose(-1, -2) / math.sqrt(8)
    given_scores = scores if kind == "score_mod" else None
    try:
        given_result = over_positions(mod, kind, shape, given_scores).broadcast_to(shape)
    except RuntimeError:  # eager PyTorch maps no run-time `if`; test_callable compares this text position by position
        given_result = over_positions(text_as_mod(trace(mod, kind), kind), kind, shape, given_scores).broadcast_to(shape)
    scores = given_result.to(torch.float64) if kind == "score_mod" else scores.masked_fill(~given_result, -math.inf)
    expected = torch.softmax(scores, -1).nan_to_num() @ v
    found = flex_attention(q, k, v, score_mod=given)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9)
