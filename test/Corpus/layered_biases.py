"""Score mods put together by decorators, from a table of settings."""
#! --shape B=2,Hq=4,Hkv=2,M=70,N=90,D=32 --score-mod '{make("alibi")|make("decay", scale=0.25, cap=20.0)|relu_gate|sum_of("alibi", "decay", weight=0.5)}'
import functools
import operator
from typing import Callable

import torch

DEFAULTS: dict[str, float] = {"scale": 0.5, "cap": 30.0}
REGISTRY = {}
NAMES = []


def registered(name: str) -> Callable:
    def decorate(function):
        REGISTRY[name] = function
        NAMES.append(name)
        return function

    return decorate


def capped(make):
    """The mods of a factory, with tanh around them."""

    @functools.wraps(make)
    def wrapped(*, cap, **options):
        mod = make(**options)
        return lambda score, b, h, q_idx, kv_idx: cap * torch.tanh(mod(score, b, h, q_idx, kv_idx) / cap)

    return wrapped


@registered("alibi")
@capped
def alibi(scale):
    return lambda score, b, h, q_idx, kv_idx: score - scale * (q_idx - kv_idx).abs() / (h + 1)


@registered("decay")
@capped
def decay(scale):
    def mod(score, b, h, q_idx, kv_idx):
        *_, last = distances = [(q_idx - kv_idx).abs(), q_idx // 16, kv_idx // 16]
        if isinstance(scale, (int, float)) and scale > 0:
            distances.append(distances.pop(0))
        return score - scale * (distances[-1] + (distances[0] - last).abs())

    return mod


def make(name, **options):
    if name not in REGISTRY:
        raise ValueError("%s is none of %s" % (name, ", ".join(sorted(NAMES))))
    return REGISTRY[name](**{**DEFAULTS, **options})


def gated(by):
    def decorate(mod):
        @functools.wraps(mod)
        def wrapped(score, *position):
            return torch.where(by(score), mod(score, *position), score - 1.0)

        return wrapped

    return decorate


@torch.no_grad()
@gated(lambda score: score > 0)
def relu_gate(score, b, h, q_idx, kv_idx):
    return score * 2


def sum_of(*names, weight):
    mods = [make(name) for name in names]

    def mod(score, b, h, q_idx, kv_idx):
        with torch.no_grad():
            return functools.reduce(operator.add, (weight * one(score, b, h, q_idx, kv_idx) for one in mods))

    return mod


def main():
    from attn_gym import visualize_attention_scores

    for name, make in REGISTRY.items():
        with open(f"{name}.txt") as file:
            print(f"{name=} {make!r:>{20}}", file=file)
        match name:
            case "alibi":
                visualize_attention_scores(make())


if __name__ == "__main__":
    try:
        main()
    finally:
        print("done")
