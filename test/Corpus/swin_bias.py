"""Swin: a bias by the offset of two patches in their window."""
#! --shape B=2,Hq=3,M=49,N=49,D=32 --score-mod 'swin(table, 7)' --capture table=random:169x3:f32

def swin(table, window):
    def score_mod(score, b, h, q_idx, kv_idx):
        dy = q_idx // window - kv_idx // window + window - 1
        dx = q_idx % window - kv_idx % window + window - 1
        return score + table.view(2 * window - 1, 2 * window - 1, -1)[dy, dx, h]

    return score_mod
