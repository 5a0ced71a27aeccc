"""A bias whose middle is distance 0, cut out of a larger table."""
#! --shape Hq=2,M=60,N=60,D=32 --score-mod 'centred(bias)' --capture bias=random:2x200:f32

def centred(bias):
    middle = bias[:, 30:160]
    width = middle.shape[1]

    def score_mod(score, b, h, q_idx, kv_idx):
        return score + middle[h, kv_idx - q_idx + width // 2]

    return score_mod
