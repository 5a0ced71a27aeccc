"""Padding as a table of flags, as tokenizers give it."""
#! --shape B=2,Hq=2,M=100,N=100,D=32 --mask-mod 'and_masks(attention_mask, causal)' --capture mask=random:2x100:bool

def attention_mask(b, h, q_idx, kv_idx):
    return mask[b][kv_idx]


def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx
