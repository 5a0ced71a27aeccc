"""Longformer: a window, and some tokens that see and are seen everywhere."""
#! --shape Hq=2,M=150,N=150,D=32 --mask-mod 'longformer(12)' --capture is_global=random:150:bool

def longformer(window):
    def mask_mod(b, h, q_idx, kv_idx):
        local = (q_idx - kv_idx).abs() <= window
        return local | is_global[q_idx] | is_global[kv_idx]

    return mask_mod
