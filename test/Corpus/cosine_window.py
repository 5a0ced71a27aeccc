"""A soft window: the score fades by a cosine, beyond it nothing is seen."""
#! --shape Hq=2,M=90,N=90,D=32 --score-mod 'fade(24)' --mask-mod 'near(24)'

def near(size):
    return lambda b, h, q_idx, kv_idx: (q_idx - kv_idx).abs() < size


def fade(size):
    def score_mod(score, b, h, q_idx, kv_idx):
        distance = (q_idx - kv_idx).abs().clamp(max=size)
        return score + torch.log(torch.cos(distance * (math.pi / (2 * size + 2))))

    return score_mod
