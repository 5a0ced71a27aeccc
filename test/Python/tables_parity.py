#!/usr/bin/env python3
"""Tensors that a text makes, as attnjit computes them when it reads the text, against PyTorch's: elements and dtype.

Usage: tables_parity.py ATTNJIT_DUMP

Elements are equal, but for functions such as log and sums of floats, which PyTorch rounds in another order: those are within two units of f32. Exits with 77 (skipped) without torch.
"""
import math
import re
import subprocess
import sys

try:
    import torch
except ImportError as error:
    print(f"skipped: {error}; tools/setup.sh --full installs PyTorch, or name a Python that has it: -DATTNJIT_TORCH_PYTHON=PATH")
    sys.exit(77)

DTYPES = {"f64": "float64", "f32": "float32", "bf16": "bfloat16", "f16": "float16", "i64": "int64", "i32": "int32", "i8": "int8", "u8": "uint8", "bool": "bool"}
ROUNDED = ("log", "cumsum", "sin", "exp", "pow", "**", "mean")

EXPRESSIONS = """
torch.tensor([0.1, 0.2, 3])
torch.tensor([[1, 2], [3, 4]], dtype=torch.int32)
torch.tensor([0.1, 1e-9, 70000.], dtype=torch.float16)
torch.tensor([0.1, 1/3], dtype=torch.bfloat16)
torch.arange(10, 0, -3)
torch.arange(0.5, 3, 0.3)
torch.arange(0, 1, 0.1)
torch.arange(5, dtype=torch.float64) / 3
torch.linspace(-1, 2, 7)
torch.linspace(0, 1, 10, dtype=torch.float64)
torch.exp2(-(torch.arange(8) + 1) * 8.0 / 8)
2 ** (-8 / 12 * torch.arange(1, 13))
torch.pow(2 ** (-8 / 12), torch.arange(1, 13))
0.1 * torch.arange(20)
torch.arange(20) / 7
torch.arange(-9, 9) // 4
torch.arange(-9, 9) % 4
torch.fmod(torch.arange(-9, 9), 4)
torch.arange(9) ** 2
torch.log(torch.arange(1, 20).float())
torch.sin(torch.arange(0, 20) * 0.37)
torch.tensor([1.5, 2.5, -0.5]).round()
torch.cumsum(torch.linspace(0, 1, 50), 0)
torch.cumsum(torch.tensor([[1, 2], [3, 4]], dtype=torch.int32), 1)
torch.cumsum(torch.tensor([True, True, False]), 0)
torch.cumprod(torch.arange(1, 9), 0)
torch.repeat_interleave(torch.arange(3), torch.tensor([2, 0, 3]))
torch.repeat_interleave(torch.tensor([[1, 2], [3, 4]]), 2, dim=1)
torch.repeat_interleave(torch.tensor([2, 1, 3]))
torch.cat([torch.arange(2), torch.tensor([0.5])])
torch.cat([torch.tensor([1], dtype=torch.int32), torch.tensor([2])])
torch.stack([torch.arange(3), torch.arange(3) * 2], dim=-1)
torch.eye(3) * 2 + 1
torch.ones(3, 3).tril(-1) + torch.ones(3, 3).triu(1) * 2
torch.flip(torch.arange(6).view(2, 3), [0, 1])
torch.roll(torch.arange(6).view(2, 3), 1, 1)
torch.arange(10)[torch.tensor([3, -1, 0])]
torch.arange(10)[torch.arange(10) % 3 == 0]
torch.arange(12).view(3, 4)[:, torch.tensor([0, 2])]
torch.arange(12).view(3, 4).T[1:, ::2]
torch.arange(12).reshape(2, 2, 3).permute(2, 0, 1)
torch.arange(12).view(3, 4).sum(0)
torch.arange(12).view(3, 4).float().mean(1, keepdim=True)
torch.arange(12).view(3, 4).amax(dim=(0,))
torch.tensor([3, 1, 2]).argsort()
torch.tensor([3.5, 1, 2]).sort(descending=True)[0]
torch.tensor([[3, 1], [1, 3]]).argmax(1)
torch.unique(torch.tensor([3, 1, 3]))
torch.bincount(torch.tensor([3, 1, 3]))
torch.diff(torch.tensor([1, 4, 9]))
torch.where(torch.arange(5) > 2, torch.arange(5), 0.5)
torch.arange(5).clamp(1, 3)
torch.full((2, 2), 3)
torch.full((2,), 0.1)
torch.zeros(2, 3, dtype=torch.bool)
torch.arange(300).to(torch.uint8)
torch.arange(300).to(torch.int8)
torch.tensor([-1.7, 1.7]).int()
torch.tensor([True, False]) | torch.tensor([False, False])
torch.tensor([1, 2]) @ torch.tensor([3, 4]) + torch.arange(2)
torch.eye(2) @ torch.tensor([[1., 2.], [3., 4.]])
torch.maximum(torch.arange(4), torch.tensor(2))
torch.logical_not(torch.arange(3))
torch.isnan(torch.tensor([math.nan, 1.]))
"""


def attnjit(dump, expression):
    """The dtype and the elements of the table in the canonical text, or the error."""
    formula = f"({expression}).flatten()[q_idx].float() + score"
    run = subprocess.run([dump, "--shape", "S=64,D=32", "--score-mod", formula, "--emit", "expr"], capture_output=True, text=True, check=False)
    table = re.search(r"capture #t0 : (\S+) rank 1 = \[\d+\] ?(.*)", run.stdout)
    return (DTYPES[table[1]], [float(x) for x in table[2].split()]) if table else (run.stderr, [])


def same(a, b, tolerance):
    return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= tolerance * abs(b)


def main():
    expressions = EXPRESSIONS.strip().splitlines()
    failures = 0
    for expression in expressions:
        wanted = eval(expression)
        dtype, elements = attnjit(sys.argv[1], expression)
        expected = [float(x) for x in wanted.flatten().tolist()]
        tolerance = 2.4e-7 if any(word in expression for word in ROUNDED) else 0
        ok = dtype == str(wanted.dtype)[len("torch."):] and len(elements) == len(expected) and all(map(same, elements, expected, [tolerance] * len(expected)))
        failures += not ok
        if not ok:
            print(f"FAIL {expression}\n  attnjit {dtype} {elements[:8]}\n  torch   {wanted.dtype} {expected[:8]}")
    print(f"{len(expressions)} expressions, {failures} failed")
    sys.exit(1 if failures else 0)


main()
