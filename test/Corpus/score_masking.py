"""A mask inside the score_mod, as minus infinity."""
#! --shape Hq=2,M=80,N=100,D=32 --score-mod 'causal_score'
#! --shape Hq=2,M=80,N=100,D=32 --score-mod 'masked(window(20))'

def causal_score(score, b, h, q_idx, kv_idx):
    return torch.where(q_idx >= kv_idx, score, -float("inf"))


def window(size):
    return lambda b, h, q_idx, kv_idx: (q_idx - kv_idx).abs() <= size


def masked(mask_mod):
    def score_mod(score, b, h, q_idx, kv_idx):
        return score.masked_fill(~mask_mod(b, h, q_idx, kv_idx), float("-inf"))

    return score_mod
