"""A Gaussian around a centre per head."""
#! --shape Hq=3,M=80,N=100,D=32 --score-mod 'gaussian(12.0)' --capture shift=random:3:f32

def gaussian(sigma):
    def score_mod(score, b, h, q_idx, kv_idx):
        offset = (kv_idx - q_idx) - shift[h] * 10
        return score - 0.5 * (offset / sigma) ** 2

    return score_mod
