"""A learned bias per distance, far distances share the last one."""
#! --shape Hq=3,M=90,N=120,D=32 --score-mod 'clipped(rel, 20)' --capture rel=random:3x41:f32

def clipped(rel, reach):
    def score_mod(score, b, h, q_idx, kv_idx):
        distance = torch.clamp(kv_idx - q_idx, -reach, reach) + reach
        return score + rel[h][distance]

    return score_mod
