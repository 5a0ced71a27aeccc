"""Every head has a window of its own."""
#! --shape Hq=4,M=160,N=160,D=32 --mask-mod 'window_per_head' --capture windows=below:4:i32:100
#% --shape Hq=4,S=65536,D=32 --mask-mod 'window_per_head' --capture windows=below:4:i32:9000

def window_per_head(b, h, q_idx, kv_idx):
    distance = q_idx - kv_idx
    return (distance >= 0) & (distance < windows[h])
