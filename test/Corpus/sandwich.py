"""Sandwich: a bias of cosines of the distance."""
#! --shape Hq=4,M=90,N=110,D=32 --score-mod 'sandwich(8)'

def sandwich(dims):
    def score_mod(score, b, h, q_idx, kv_idx):
        bias = 0.0
        for i in range(dims // 2):
            bias = bias + torch.cos((q_idx - kv_idx) / 10000 ** (2 * i / dims))
        return score + bias / ((h + 1) * 8)

    return score_mod
