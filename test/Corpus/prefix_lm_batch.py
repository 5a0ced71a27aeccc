"""Prefix LM with one prefix length per sequence."""
#! --shape B=3,Hq=2,M=130,N=130,D=32 --mask-mod 'prefix_lm' --capture prefix_length=below:3:i64:130

def prefix_lm(b, h, q_idx, kv_idx):
    return (kv_idx < prefix_length[b]) | (q_idx >= kv_idx)
