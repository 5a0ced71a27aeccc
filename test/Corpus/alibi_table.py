"""ALiBi with captured slopes."""
#! --shape Hq=8,Hkv=2,M=100,N=120,D=32 --score-mod 'alibi' --capture slopes=alibi:8

def alibi(score, b, h, q_idx, kv_idx):
    return score - slopes[h] * torch.abs(q_idx - kv_idx)
