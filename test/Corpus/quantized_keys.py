"""Scales of quantized keys, per token and head, go into the score."""
#! --shape B=2,Hq=4,Hkv=2,M=60,N=90,D=32 --score-mod 'dequantize' --capture k_scale=random:2x2x90:f16

def dequantize(score, b, h, q_idx, kv_idx):
    return score * k_scale[b, h // 2, kv_idx].abs()
