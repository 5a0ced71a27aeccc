"""What the tests of the tracer share: a formula's text, run by Python itself over all positions, and callables."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types

import torch

from attnjit._trace import Traced, trace

ARGUMENTS = {"score_mod": ("score", "b", "h", "q", "kv"), "mask_mod": ("b", "h", "q", "kv")}


# Python's math, where torch calls it otherwise.
MATH = types.SimpleNamespace(floor=lambda x: torch.floor(x).long(), ceil=lambda x: torch.ceil(x).long(), trunc=lambda x: torch.trunc(x).long(),
                             fabs=torch.abs, degrees=torch.rad2deg, radians=torch.deg2rad)

# vmap has no rrelu.
RRELU = types.SimpleNamespace(rrelu=lambda x, lower, upper, *_: torch.nn.functional.leaky_relu(x, (lower + upper) / 2))


class Lifted:
    """torch, whose functions take numbers where they want tensors, as they do in a formula."""

    def __init__(self, *spaces):
        self._spaces = spaces

    def __getattr__(self, name):
        found = next(getattr(space, name) for space in self._spaces if hasattr(space, name))
        if not callable(found) or isinstance(found, torch.dtype):
            return found

        def call(*args, **kwargs):
            try:
                return found(*args, **kwargs)
            except TypeError:
                return found(*(torch.tensor(argument) if isinstance(argument, (bool, int, float)) else argument for argument in args), **kwargs)

        return call


@contextlib.contextmanager
def one_float():
    """A formula has one float, which is float64 here: so is what PyTorch makes of ints and of x.float()."""
    dtype, method = torch.get_default_dtype(), torch.Tensor.float
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.Tensor.float = method


def over_positions(mod, kind, shape, scores=None):
    """What a mod gives for every [b, h, q, kv]; scores are given for a score_mod."""
    axes = [torch.arange(size) for size in shape]
    run = mod
    for axis in range(3, -1, -1):
        dims = tuple(0 if place == axis else None for place in range(4))
        run = torch.vmap(run, in_dims=dims if kind == "mask_mod" else (0, *dims))
    with one_float():
        return run(*axes) if kind == "mask_mod" else run(scores, *axes)


def at_positions(mod, kind, scores, places):
    """The same for single positions, of a mod with conditions that PyTorch cannot map."""
    with one_float():
        return torch.stack([torch.as_tensor(mod(*(() if kind == "mask_mod" else (scores[tuple(place)],)), *place)) for place in places])


def text_as_mod(traced: Traced, kind: str):
    """The traced text, as a callable for eager PyTorch."""
    lifted = Lifted(torch, torch.special, math)
    space = {"torch": lifted, "F": Lifted(RRELU, torch.nn.functional, torch), "math": Lifted(MATH, torch, math)}
    for name, value in traced.captures.items():
        if isinstance(value, (bool, int, float)):
            value = torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
        space[name] = torch.as_tensor(value)
    exec(traced.text, space)
    return space[kind]


def check_trace(mod, kind, shape=(2, 3, 7, 9), eager=None) -> Traced:
    """Traces a mod and compares what its text gives with the mod itself (or with `eager`, where eager PyTorch cannot run it)."""
    traced = trace(mod, kind)
    scores = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) if kind == "score_mod" else None
    found = over_positions(text_as_mod(traced, kind), kind, shape, scores).broadcast_to(shape)
    try:
        expected = over_positions(eager or mod, kind, shape, scores).broadcast_to(shape)
    except RuntimeError:  # a run-time `if`, which vmap cannot do
        places = torch.cartesian_prod(*map(torch.arange, shape))
        places = places[torch.randperm(len(places), generator=torch.Generator().manual_seed(2))[:1000]]
        expected, found = at_positions(eager or mod, kind, scores, places), found[tuple(places.T)]
    if kind == "mask_mod":
        assert expected.dtype == found.dtype == torch.bool
    assert torch.allclose(found.to(torch.float64), expected.to(torch.float64), rtol=1e-12, atol=1e-12, equal_nan=True), traced.text
    return traced


# --- callables that several tests trace


def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx


def within(size):
    return lambda b, h, q_idx, kv_idx: q_idx - kv_idx < size


@dataclasses.dataclass(frozen=True)
class Frozen:
    size: int


class Sliding:
    def __init__(self, size, slopes):
        self.size, self.slopes, self.options = size, slopes, {"sink": 1}

    @property
    def half(self):
        return self.size // 2

    def mask(self, b, h, q_idx, kv_idx):
        return self.inner(q_idx - kv_idx) | (kv_idx < self.options["sink"])

    def inner(self, distance):
        return distance < self.half

    def __call__(self, score, b, h, q_idx, kv_idx):
        return score + self.slopes[h] * self.size

    @staticmethod
    def doubled(x):
        return x * 2
