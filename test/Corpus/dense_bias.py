"""An additive bias of full size, as AlphaFold's pair bias."""
#! --shape B=2,Hq=2,M=70,N=90,D=32 --score-mod 'pair_bias' --capture bias=random:2x70x90x2:f32

def pair_bias(score, b, h, q_idx, kv_idx):
    return score + bias.permute(0, 3, 1, 2)[b, h, q_idx, kv_idx]
