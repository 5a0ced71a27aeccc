"""A learned temperature per head, kept positive."""
#! --shape Hq=4,M=60,N=90,D=32 --score-mod 'scaled' --capture temperature=random:4:f32

def scaled(score, b, h, q_idx, kv_idx):
    return score * F.softplus(temperature[h]).clamp(min=0.1)
