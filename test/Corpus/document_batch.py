"""Packed documents, packed otherwise in every row of the batch."""
#! --shape B=2,Hq=2,M=150,N=150,D=32 --mask-mod 'packed' --capture doc=docs:2x150:6

def packed(b, h, q_idx, kv_idx):
    ids = doc[b]
    return (ids[q_idx] == ids[kv_idx]) & (q_idx >= kv_idx)
