"""The same tree, as an interval of descendants per node."""
#! --shape Hq=2,M=60,N=60,D=32 --mask-mod 'descends' --capture last=iota:60:i32

def descends(b, h, q_idx, kv_idx):
    return (kv_idx <= q_idx) & (q_idx <= last[kv_idx] + 7)
