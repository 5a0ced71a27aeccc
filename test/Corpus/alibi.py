"""ALiBi: a penalty that grows with the distance, at a slope per head."""
#! --shape Hq=8,M=100,N=120,D=32 --score-mod 'generate_alibi_bias(8)' --mask-mod 'causal'

def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx


def generate_alibi_bias(H: int):
    def alibi_mod(score, b, h, q_idx, kv_idx):
        scale = torch.exp2(-((h + 1) * 8.0 / H))
        bias = (kv_idx - q_idx) * scale
        return score + bias

    return alibi_mod
