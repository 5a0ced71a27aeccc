"""Keys weighted by what a router gave them: the mean over its experts, and only where one of them was sure."""
#! --shape B=2,Hq=2,M=60,N=70,D=32 --score-mod 'routed' --mask-mod 'was_chosen(0.6)' --capture gates=random:2x70x8:f32
#! --shape B=2,Hq=2,M=60,N=70,D=32 --score-mod 'mixed' --capture gates=random:2x70x8:f32 --capture mix=random:2x8:f32

def routed(score, b, h, q_idx, kv_idx):
    return score + gates[b, kv_idx].mean(-1)


def mixed(score, b, h, q_idx, kv_idx):
    return score + (gates[b, kv_idx] * mix[h]).sum(-1) - mix.sum(dim=-1)[h] / mix.shape[1]


def was_chosen(least):
    def mask_mod(b, h, q_idx, kv_idx):
        return (gates[b, kv_idx].amax(-1) > least) | (q_idx == kv_idx)

    return mask_mod
