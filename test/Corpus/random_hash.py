"""A pseudo-random mask from the positions alone."""
#! --shape Hq=2,M=90,N=90,D=32 --mask-mod 'hashed(0.3)'

def hashed(keep):
    def mask_mod(b, h, q_idx, kv_idx):
        code = (q_idx * 7919 + kv_idx * 104729 + h * 31) % 1000
        return (code < keep * 1000) | (q_idx == kv_idx)

    return mask_mod
