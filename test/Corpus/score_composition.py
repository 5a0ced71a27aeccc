"""Score mods applied one after the other."""
#! --shape Hq=2,M=80,N=100,D=32 --score-mod 'compose(relative, softcap(15.0), partial(shift, by=0.5))'
from functools import partial


def compose(*mods):
    def composed(score, b, h, q_idx, kv_idx):
        for mod in mods:
            score = mod(score, b, h, q_idx, kv_idx)
        return score

    return composed


def relative(score, b, h, q_idx, kv_idx):
    return score + 0.01 * (kv_idx - q_idx)


def softcap(cap):
    return lambda score, b, h, q_idx, kv_idx: cap * torch.tanh(score / cap)


def shift(score, b, h, q_idx, kv_idx, *, by):
    return score + by
