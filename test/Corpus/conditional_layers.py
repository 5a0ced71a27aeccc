"""One function for many layers, decided while it is built."""
#! --shape Hq=2,M=90,N=90,D=32 --score-mod 'build({0|1|2})'

def build(layer, cap=30.0, slope=0.02):
    if layer == 0:
        def mod(score, b, h, q_idx, kv_idx):
            return score
    elif layer % 2 == 1:
        def mod(score, b, h, q_idx, kv_idx):
            return cap * torch.tanh(score / cap)
    else:
        mod = lambda score, b, h, q_idx, kv_idx: score - slope * (q_idx - kv_idx).abs()
    return mod
