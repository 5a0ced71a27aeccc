"""Kerple: a logarithmic or a power penalty."""
#! --shape Hq=3,M=90,N=110,D=32 --score-mod 'kerple_log' --capture r1=const:3:f32:0.7 --capture r2=const:3:f32:0.2
#! --shape Hq=3,M=90,N=110,D=32 --score-mod 'kerple_power' --capture r1=const:3:f32:0.05 --capture r2=const:3:f32:1.3

def kerple_log(score, b, h, q_idx, kv_idx):
    distance = (q_idx - kv_idx).abs().float()
    return score - r1[h] * torch.log1p(r2[h] * distance)


def kerple_power(score, b, h, q_idx, kv_idx):
    distance = (q_idx - kv_idx).abs().float()
    return score - r1[h] * distance ** r2[h]
