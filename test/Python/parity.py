#!/usr/bin/env python3
"""Runs the same formulas through attnjit and through PyTorch's eager flex_attention in f64, and compares output and lse.

Usage: parity.py ATTNJIT_RUN [--backend NAME] [CORPUS.py ...]

The formulas are text: attnjit gets them as they stand, PyTorch gets them by exec and eval. Without files a list of short formulas runs; a file is a module of mods
with cases in its lines "#! ..." (see test/Corpus). Inputs are random, of odd sizes, with grouped heads. The error is relative to the f64 result, as a multiple of
f32's machine epsilon, so that one bound serves most cases; where scores are large, it is held against PyTorch's own error in f32. What PyTorch itself refuses (a run-time `if`) is counted and passed over. Exits with 77 (skipped)
without torch.
"""
import argparse
import functools
import itertools
import math
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    from torch.nn.attention.flex_attention import and_masks, create_mask, flex_attention, noop_mask, or_masks
except ImportError as error:
    print(f"skipped: {error}; tools/setup.sh --full installs PyTorch, or name a Python that has it: -DATTNJIT_TORCH_PYTHON=PATH")
    sys.exit(77)

RNG = np.random.default_rng(7)
SHAPE = {"B": 2, "Hq": 4, "Hkv": 2, "M": 77, "N": 93, "D": 40}
SLOPES = (2.0 ** -np.arange(1, SHAPE["Hq"] + 1)).astype(np.float32)
DOCUMENT = np.sort(RNG.integers(0, 5, size=max(SHAPE["M"], SHAPE["N"]))).astype(np.int32)
BIAS = RNG.standard_normal((SHAPE["Hq"], SHAPE["M"] + SHAPE["N"])).astype(np.float32)
# name, score_mod, mask_mod, captures (name -> numpy array)
CASES = [
    ("plain", "", "", {}),
    ("causal", "", "lambda b, h, q_idx, kv_idx: q_idx >= kv_idx", {}),
    ("alibi", "lambda score, b, h, q_idx, kv_idx: score + slopes[h] * (kv_idx - q_idx)", "", {"slopes": SLOPES}),
    ("softcap causal", "lambda score, b, h, q_idx, kv_idx: 20 * torch.tanh(score / 20)", "lambda b, h, q_idx, kv_idx: q_idx >= kv_idx", {}),
    ("sliding window", "", "lambda b, h, q_idx, kv_idx: (q_idx >= kv_idx) & (q_idx - kv_idx <= 17)", {}),
    ("prefix", "", "lambda b, h, q_idx, kv_idx: (kv_idx < 13) | (q_idx >= kv_idx)", {}),
    ("document", "", "lambda b, h, q_idx, kv_idx: document[q_idx] == document[kv_idx]", {"document": DOCUMENT}),
    ("relative bias", "lambda score, b, h, q_idx, kv_idx: score + bias[h, kv_idx - q_idx + 76]", "", {"bias": BIAS}),
    ("dilated", "", "lambda b, h, q_idx, kv_idx: (q_idx - kv_idx) % 3 == 0", {}),
    ("per head", "lambda score, b, h, q_idx, kv_idx: torch.where(h % 2 == 0, score * 2, -score)", "", {}),
    ("floor", "lambda score, b, h, q_idx, kv_idx: score + ((q_idx - kv_idx) // 7) * 0.125", "", {}),
    ("masked rows", "", "lambda b, h, q_idx, kv_idx: (q_idx > 20) & (q_idx >= kv_idx)", {}),
    ("exp", "lambda score, b, h, q_idx, kv_idx: score * torch.exp(-0.01 * (q_idx - kv_idx).abs())", "", {}),
]
DTYPES = {"f64": np.float64, "f32": np.float32, "f16": np.float16, "bool": np.bool_, "i8": np.int8, "u8": np.uint8, "i16": np.int16,
          "i32": np.int32, "i64": np.int64}


def generate(form):
    """A value of --capture. The numbers need not be those of attnjit-run's generators, only their ranges."""
    kind, _, rest = form.partition(":")
    arguments = rest.split(":")
    if not rest:
        return np.array(float(form) if "." in form else int(form))
    sizes = [int(size) for size in arguments[0].split("x")]
    if kind == "alibi":
        return np.exp2(-8 * np.arange(1, sizes[0] + 1) / sizes[0]).astype(np.float32)
    if kind == "docs":
        places = np.arange(sizes[-1]) / sizes[-1]
        rows = [np.floor(places ** (0.5 / (1 + row)) * int(arguments[1])) for row in range(int(np.prod(sizes[:-1])))]
        return np.stack(rows).reshape(sizes).astype(np.int32)
    dtype = DTYPES[arguments[1]]
    if kind == "random" and np.issubdtype(dtype, np.floating):
        return RNG.uniform(-1, 1, sizes).astype(dtype)
    if kind == "random":
        return RNG.integers(0, 2 if dtype == np.bool_ else 100, sizes).astype(dtype)
    if kind == "below":
        return RNG.integers(0, int(arguments[2]), sizes).astype(dtype)
    if kind == "const":
        return np.full(sizes, float(arguments[2])).astype(dtype)
    if kind == "iota":
        return np.arange(np.prod(sizes)).reshape(sizes).astype(dtype)
    assert kind == "steps", form
    return ((np.arange(np.prod(sizes)) + 1) * float(arguments[2])).reshape(sizes).astype(dtype)


def read_corpus(path):
    """(name, module text, shape, score_mod, mask_mod, captures) for each case of a module that is no error."""
    text = path.read_text()
    for line in re.findall(r"^#! (.*)$", text, re.MULTILINE):
        if " => " in line:
            continue
        parts = [part.split("|") if i % 2 else [part] for i, part in enumerate(re.split(r"[{}]", line))]
        for chosen in itertools.product(*parts):
            parser = argparse.ArgumentParser()
            for flag in ("--shape", "--score-mod", "--mask-mod", "--values"):
                parser.add_argument(flag, default="")
            parser.add_argument("--capture", action="append", default=[])
            options = parser.parse_args(shlex.split("".join(chosen)))
            shape = {"B": 1, "Hq": 1, **{key: int(value) for key, value in (item.split("=") for item in options.shape.split(","))}}
            shape.setdefault("Hkv", shape["Hq"])
            captures = {name: generate(form) for name, form in (item.split("=", 1) for item in options.capture)}
            name = f"{path.stem}: {options.score_mod} {options.mask_mod}"
            yield name, path, shape, options.score_mod, options.mask_mod, captures


def pytorch(module, shape, score_text, mask_text, captures, q, k, v, dtype=torch.float64):
    names = {"torch": torch, "math": math, "F": torch.nn.functional, "functools": functools, "partial": functools.partial, "and_masks": and_masks,
             "or_masks": or_masks, "noop_mask": noop_mask}
    widened = {name: torch.from_numpy(array) for name, array in captures.items()}
    names.update({name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in widened.items()})
    if module:
        exec(compile(module.read_text(), module, "exec"), names)
    score_mod = eval(score_text, names) if score_text else None
    q, k, v = (torch.from_numpy(x).to(dtype) for x in (q, k, v))
    if mask_text:  # eager flex takes masks as block masks; as a score of -inf the meaning is the same and needs no multiple of 128
        visible = create_mask(eval(mask_text, names), shape["B"], shape["Hq"], shape["M"], shape["N"], device="cpu")
        inner = score_mod

        def score_mod(score, b, h, q_idx, kv_idx):
            t = inner(score, b, h, q_idx, kv_idx) if inner else score
            return torch.where(visible[b, h, q_idx, kv_idx], t, -math.inf)
    out, lse = flex_attention(q, k, v, score_mod=score_mod, enable_gqa=True, return_lse=True)
    return out.numpy(), lse.numpy()


def mean_error(out, expected):
    """In units of f32's epsilon."""
    scale = np.abs(expected).mean() * np.finfo(np.float32).eps
    return np.abs(out - expected).mean() / scale if scale else np.abs(out).max(initial=0)


def attnjit(options, module, shape, score_text, mask_text, captures, q, k, v, folder):
    command = [options.binary, "--shape", ",".join(f"{key}={value}" for key, value in shape.items()), "--dtype", "f32", "--backend", options.backend,
               "--q", folder / "q.npy", "--k", folder / "k.npy", "--v", folder / "v.npy", "--out", folder / "out.npy", "--lse", folder / "lse.npy"]
    for name, array in (("q", q), ("k", k), ("v", v), *captures.items()):
        np.save(folder / f"{name}.npy", array)
    for name in captures:
        command += ["--capture", f"{name}={folder / f'{name}.npy'}"]
    for flag, value in (("--mods", module), ("--score-mod", score_text), ("--mask-mod", mask_text)):
        if value:
            command += [flag, value]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if "no compiler to make it" in done.stderr:
        print("skipped: this build has no compiler")
        sys.exit(77)
    if done.returncode != 0:
        raise RuntimeError(f"attnjit-run said ({done.returncode}): {done.stderr.strip()}")
    return np.load(folder / "out.npy").astype(np.float64), np.load(folder / "lse.npy").astype(np.float64)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--backend", default="FLASH_ATTENTION")
    parser.add_argument("corpus", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    cases = [(name, None, SHAPE, *rest) for name, *rest in CASES] if not options.corpus else [
        case for path in options.corpus for case in read_corpus(path)]
    epsilon = np.finfo(np.float32).eps
    failures = refused = 0
    for name, module, shape, score_text, mask_text, captures in cases:
        q, k, v = (RNG.standard_normal((shape["B"], shape[heads], shape[length], shape["D"])).astype(np.float32)
                   for heads, length in (("Hq", "M"), ("Hkv", "N"), ("Hkv", "N")))
        with tempfile.TemporaryDirectory() as folder:
            out, lse = attnjit(options, module, shape, score_text, mask_text, captures, q, k, v, pathlib.Path(folder))
        try:
            expected, expected_lse = pytorch(module, shape, score_text, mask_text, captures, q, k, v)
        except Exception as error:
            refused += 1
            print(f"n/a  {name:60} PyTorch refuses: {str(error).splitlines()[0][:90]}")
            continue
        empty = ~np.isfinite(expected_lse)  # eager PyTorch calls a row without keys lse = -inf and out = 0 or NaN; attnjit says 0 (A5)
        expected = np.where(empty[..., None], 0, expected)
        error, allowed = mean_error(out, expected), 4
        if error > allowed:
            plain, _ = pytorch(module, shape, score_text, mask_text, captures, q, k, v, torch.float32)
            allowed = 2 * mean_error(np.where(empty[..., None], 0, plain), expected)
        finite = ~empty
        lse_error = np.abs(lse[finite] - expected_lse[finite]).max() / (max(1, np.abs(expected_lse[finite]).max()) * epsilon) if finite.any() else 0
        ok = error <= allowed and lse_error <= 16 and np.array_equal(np.isneginf(lse), empty)
        failures += not ok
        print(f"{'ok  ' if ok else 'FAIL'} {name:60} mean error {error:5.2f} of {allowed:.2f} eps, lse {lse_error:5.2f} eps, {int(empty.sum())} empty rows")
    print(f"{len(cases)} cases, {failures} failed, {refused} that PyTorch refuses")
    sys.exit(1 if failures else 0)


main()
