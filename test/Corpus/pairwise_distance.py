"""Atoms attend by their distance in space: a bias that falls with it, and a cutoff."""
#! --shape Hq=2,M=60,N=60,D=32 --score-mod 'gaussian(2.0)' --mask-mod 'within(1.4)' --capture place=random:60x3:f32
#! --shape Hq=2,M=60,N=60,D=32 --score-mod 'manhattan' --capture place=random:60x3:f32

def gaussian(width):
    def score_mod(score, b, h, q_idx, kv_idx):
        offset = place[q_idx] - place[kv_idx]
        return score - (offset * offset).sum(-1) / (2 * width**2)

    return score_mod


def manhattan(score, b, h, q_idx, kv_idx):
    return score - (place[q_idx] - place[kv_idx]).abs().sum()


def within(radius):
    def mask_mod(b, h, q_idx, kv_idx):
        return (place[q_idx] - place[kv_idx]).square().sum().sqrt() < radius

    return mask_mod
