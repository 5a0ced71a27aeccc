"""Length-scaled softmax: the temperature grows with the number of visible keys."""
#! --shape Hq=2,M=90,N=120,D=32 --score-mod 'log_n' --mask-mod 'lambda b, h, q, kv: q >= kv'

def log_n(score, b, h, q_idx, kv_idx):
    return score * torch.log((q_idx + 2).float()) / math.log(64)
