#!/usr/bin/env python3
"""Compares lib/Attention with PyTorch on the CPU: scaled_dot_product_attention in f64 over ranks, broadcast shapes, masks, biases and grouped heads,
and PagedAttention's page tables after random reserve and erase.

Usage: attention_parity.py ATTENTION_DRIVER. Exits with 77 (skipped) without torch.
"""
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.attention.bias import causal_lower_right, causal_upper_left
    from torch.nn.attention.experimental._paged_attention import PagedAttention
except ImportError as error:
    print(f"skipped: {error}; tools/setup.sh --full installs PyTorch, or name a Python that has it: -DATTNJIT_TORCH_PYTHON=PATH")
    sys.exit(77)

DRIVER = sys.argv[1]
RNG = np.random.default_rng(11)

# name, q, k, v shapes, mask (shape and kind, or None), keyword arguments of PyTorch's, flags of the driver
CASES = [
    ("rank 2", (7, 24), (9, 24), (9, 24), None, {}, []),
    ("rank 3, Ev", (3, 7, 24), (3, 9, 24), (3, 9, 40), None, {}, []),
    ("rank 5", (2, 3, 2, 7, 24), (2, 3, 2, 9, 24), (2, 3, 2, 9, 24), None, {}, []),
    ("causal, L < S", (2, 3, 7, 24), (2, 3, 11, 24), (2, 3, 11, 24), None, {"is_causal": True}, ["--causal"]),
    ("causal, L > S", (2, 3, 11, 24), (2, 3, 7, 24), (2, 3, 7, 24), None, {"is_causal": True}, ["--causal"]),
    ("bool [L, S]", (2, 3, 7, 24), (2, 3, 9, 24), (2, 3, 9, 24), ((7, 9), bool), {}, []),
    ("bool [B, 1, 1, S]", (2, 3, 7, 24), (2, 3, 9, 24), (2, 3, 9, 24), ((2, 1, 1, 9), bool), {}, []),
    ("bool [S]", (2, 3, 7, 24), (2, 3, 9, 24), (2, 3, 9, 24), ((9,), bool), {}, []),
    ("float [H, L, S]", (2, 3, 7, 24), (2, 3, 9, 24), (2, 3, 9, 24), ((3, 7, 9), float), {}, []),
    ("float [B, H, L, 1]", (2, 3, 7, 24), (2, 3, 9, 24), (2, 3, 9, 24), ((2, 3, 7, 1), float), {}, []),
    ("rows of False", (1, 2, 7, 24), (1, 2, 9, 24), (1, 2, 9, 24), ((7, 9), "rows"), {}, []),
    ("grouped", (2, 6, 7, 24), (2, 2, 9, 24), (2, 2, 9, 24), ((6, 7, 9), float), {"enable_gqa": True}, ["--gqa"]),
    ("negative scale", (2, 3, 7, 24), (2, 3, 9, 24), (2, 3, 9, 24), None, {"scale": -0.3}, ["--scale", "-0.3"]),
    ("broadcast batch", (2, 3, 7, 24), (1, 3, 9, 24), (3, 9, 24), None, {}, []),
    ("broadcast heads", (2, 3, 7, 24), (2, 1, 9, 24), (2, 1, 9, 24), None, {}, []),
    ("broadcast query", (7, 24), (2, 3, 9, 24), (2, 3, 9, 24), None, {}, []),
    ("crossed batches", (2, 3, 4, 7, 24), (2, 1, 4, 9, 24), (3, 4, 9, 24), ((2, 1, 1, 7, 9), float), {}, []),
    ("upper left", (1, 2, 7, 24), (1, 2, 11, 24), (1, 2, 11, 24), causal_upper_left, {}, ["--upper"]),
    ("lower right", (1, 2, 7, 24), (1, 2, 11, 24), (1, 2, 11, 24), causal_lower_right, {}, ["--lower"]),
]


def mask_of(spec):
    if spec is None or callable(spec):
        return None
    shape, kind = spec
    if kind is float:
        return RNG.standard_normal(shape)
    mask = RNG.random(shape) < 0.6
    if kind == "rows":
        mask[2:4] = False
    return mask


def check_sdpa(case):
    name, q_shape, k_shape, v_shape, mask_spec, arguments, flags = case
    q, k, v = (RNG.standard_normal(shape) for shape in (q_shape, k_shape, v_shape))
    mask = mask_of(mask_spec)
    with sdpa_kernel(SDPBackend.MATH) if not callable(mask_spec) else tempfile.TemporaryDirectory():
        attn_mask = None if mask is None else torch.from_numpy(mask)
        if callable(mask_spec):  # the bias dispatches by itself; its dense mask says what it means
            attn_mask = mask_spec(q_shape[-2], k_shape[-2])._materialize(torch.device("cpu"))
        expected = F.scaled_dot_product_attention(*(torch.from_numpy(x) for x in (q, k, v)), attn_mask=attn_mask, **arguments).numpy()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for file, array in (("q", q), ("k", k), ("v", v), ("mask", mask)):
            if array is not None:
                np.save(folder / f"{file}.npy", array)
        command = [DRIVER, "sdpa", str(folder), ",".join(map(str, expected.shape)), *flags]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            return f"driver: {done.stderr.strip()}"
        error = np.abs(np.load(folder / "out.npy") - expected).max()
    return "" if error < 1e-12 else f"largest difference {error:.2e}"


def check_paged(seed):
    rng = np.random.default_rng(seed)
    pages, page_size, batches = int(rng.integers(4, 40)), int(rng.integers(1, 130)), int(rng.integers(1, 6))
    theirs = PagedAttention(pages, page_size, batches, device="cpu")
    operations = []
    for _ in range(60):
        batch = int(rng.integers(batches))
        if rng.random() < 0.25:
            operations.append(f"erase {batch}")
            theirs.erase(torch.tensor([batch]))
        else:
            tokens = int(rng.integers(1, pages * page_size))
            operations.append(f"reserve {batch} {tokens}")
            try:
                theirs.reserve(torch.tensor(batch), torch.tensor(tokens))
            except AssertionError:
                pass  # not enough pages: both refuse
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "ops.txt").write_text("\n".join(operations))
        subprocess.run([DRIVER, "paged", str(folder), str(pages), str(page_size), str(batches)], check=True)
        table, inverse = np.load(folder / "table.npy"), np.load(folder / "inverse.npy")
    if not np.array_equal(table, theirs.page_table.numpy()):
        return "page tables differ"
    # PyTorch leaves traces of erased sequences in physical_to_logical; only the entries of live pages are compared.
    live = inverse >= 0
    if not np.array_equal(inverse[live], theirs.physical_to_logical.numpy()[live]):
        return "physical_to_logical differs"
    return ""


def main():
    failures = 0
    for case in CASES:
        problem = check_sdpa(case)
        failures += bool(problem)
        print(f"{'FAIL' if problem else 'ok  '} sdpa {case[0]:20} {problem}")
    for seed in range(20):
        problem = check_paged(seed)
        failures += bool(problem)
        if problem or seed == 19:
            print(f"{'FAIL' if problem else 'ok  '} paged, random operations {seed} {problem}")
    sys.exit(1 if failures else 0)


main()
