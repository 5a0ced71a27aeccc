"""Left padding: sequences end together."""
#! --shape B=3,Hq=2,M=100,N=100,D=32 --mask-mod 'left_padded' --capture pad=below:3:i32:60

def left_padded(b, h, q_idx, kv_idx):
    visible = kv_idx >= pad[b]
    visible &= q_idx >= kv_idx
    return visible
