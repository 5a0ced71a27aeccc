"""Decoding a batch: every sequence stands at its own position."""
#! --shape B=3,Hq=2,M={1|4},N=150,D=32 --mask-mod 'offset_causal' --capture offset=below:3:i32:140

def offset_causal(b, h, q_idx, kv_idx):
    return q_idx + offset[b] >= kv_idx
