"""JAX's segment ids, for queries and keys apart; id 0 is padding."""
#! --shape B=2,Hq=2,M=80,N=120,D=32 --mask-mod 'segments' --capture q_seg=docs:2x80:4 --capture kv_seg=docs:2x120:4

def segments(b, h, q_idx, kv_idx):
    q_id, kv_id = q_seg[b, q_idx], kv_seg[b, kv_idx]
    return (q_id == kv_id) & (kv_id > 0)
