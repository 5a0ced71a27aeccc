"""Multi-head latent attention: a second dot product for the rotated parts, with one key part for all heads."""
#! --shape B=2,Hq=4,Hkv=1,M=70,N=90,D=32 --score-mod 'decoupled_rope(0.125)' --mask-mod 'causal' --capture q_rope=random:2x4x70x16:f32 --capture k_rope=random:2x90x16:f32
#! --shape B=2,Hq=4,Hkv=1,M=3,N=90,D=32 --score-mod 'decoupled_rope(0.125)' --capture q_rope=random:2x4x3x16:f16 --capture k_rope=random:2x90x16:f16
#! --shape Hq=2,Hkv=1,M=64,N=100,D=64 --score-mod 'unscaled' --capture q_rope=random:1x2x64x64:f32 --capture k_rope=random:1x100x64:f32

def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx


def decoupled_rope(scale):
    def score_mod(score, b, h, q_idx, kv_idx):
        return score + scale * torch.dot(q_rope[b, h, q_idx].float(), k_rope[b, kv_idx].float())

    return score_mod


def unscaled(score, b, h, q_idx, kv_idx):
    return score + torch.dot(q_rope[b, h, q_idx], k_rope[b, kv_idx])
