#!/usr/bin/env python3
"""Runs the same formulas through attnjit and through PyTorch's eager flex_attention in f64, and compares output and lse.

Usage: parity.py ATTNJIT_RUN [--backend NAME]

The formulas are text: attnjit gets them as they stand, PyTorch gets them by exec. Inputs are random, of odd sizes, with grouped heads. The error is
relative to the f64 result, as a multiple of f32's machine epsilon, so that one bound serves every case. Exits with 77 (skipped) without torch.
"""
import argparse
import math
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    from torch.nn.attention.flex_attention import flex_attention, create_mask
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

# name, score_mod, mask_mod, captures (name -> numpy array)
RNG = np.random.default_rng(7)
B, HQ, HKV, M, N, D = 2, 4, 2, 77, 93, 40
SLOPES = (2.0 ** -np.arange(1, HQ + 1)).astype(np.float32)
DOCUMENT = np.sort(RNG.integers(0, 5, size=max(M, N))).astype(np.int32)
BIAS = RNG.standard_normal((HQ, M + N)).astype(np.float32)
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


def pytorch(score_text, mask_text, captures, q, k, v):
    names = {"torch": torch, "math": math}
    names.update({name: torch.from_numpy(array) for name, array in captures.items()})
    score_mod = eval(score_text, names) if score_text else None
    q, k, v = (torch.from_numpy(x).double() for x in (q, k, v))
    if mask_text:  # eager flex takes masks as block masks; as a score of -inf the meaning is the same and needs no multiple of 128
        visible = create_mask(eval(mask_text, names), B, HQ, M, N, device="cpu")
        inner = score_mod

        def score_mod(score, b, h, q_idx, kv_idx):
            t = inner(score, b, h, q_idx, kv_idx) if inner else score
            return torch.where(visible[b, h, q_idx, kv_idx], t, -math.inf)
    out, lse = flex_attention(q, k, v, score_mod=score_mod, enable_gqa=True, return_lse=True)
    return out.numpy(), lse.numpy()


def attnjit(binary, backend, score_text, mask_text, captures, q, k, v, folder):
    command = [binary, "--shape", f"B={B},Hq={HQ},Hkv={HKV},M={M},N={N},D={D}", "--dtype", "f32", "--backend", backend,
               "--q", folder / "q.npy", "--k", folder / "k.npy", "--v", folder / "v.npy", "--out", folder / "out.npy", "--lse", folder / "lse.npy"]
    for name, array in (("q", q), ("k", k), ("v", v), *captures.items()):
        np.save(folder / f"{name}.npy", array)
    for name in captures:
        command += ["--capture", f"{name}={folder / f'{name}.npy'}"]
    if score_text:
        command += ["--score-mod", score_text]
    if mask_text:
        command += ["--mask-mod", mask_text]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"attnjit-run said ({done.returncode}): {done.stderr.strip()}")
    return np.load(folder / "out.npy").astype(np.float64), np.load(folder / "lse.npy").astype(np.float64)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--backend", default="FLASH_ATTENTION")
    options = parser.parse_args()
    q = RNG.standard_normal((B, HQ, M, D)).astype(np.float32)
    k = RNG.standard_normal((B, HKV, N, D)).astype(np.float32)
    v = RNG.standard_normal((B, HKV, N, D)).astype(np.float32)
    epsilon = np.finfo(np.float32).eps
    failures = 0
    for name, score_text, mask_text, captures in CASES:
        with tempfile.TemporaryDirectory() as folder:
            out, lse = attnjit(options.binary, options.backend, score_text, mask_text, captures, q, k, v, pathlib.Path(folder))
        expected, expected_lse = pytorch(score_text, mask_text, captures, q, k, v)
        empty = ~np.isfinite(expected_lse)  # eager PyTorch calls a row without keys lse = -inf and out = 0 or NaN; attnjit says 0 (A5)
        expected = np.where(empty[..., None], 0, expected)
        error = np.abs(out - expected).mean() / (np.abs(expected).mean() * epsilon)
        finite = ~empty
        lse_error = np.abs(lse[finite] - expected_lse[finite]).max() / (max(1, np.abs(expected_lse[finite]).max()) * epsilon)
        ok = error <= 4 and lse_error <= 16 and np.array_equal(np.isneginf(lse), empty)
        failures += not ok
        print(f"{'ok  ' if ok else 'FAIL'} {name:16} mean error {error:5.2f} eps, lse {lse_error:5.2f} eps, {int(empty.sum())} empty rows")
    sys.exit(1 if failures else 0)


main()
