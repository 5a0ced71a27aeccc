"""A pyramid: level n sees every 2^n-th key up to 2^n windows away."""
#! --shape Hq=2,M=130,N=130,D=32 --mask-mod 'pyramid(8, 4)'

def pyramid(window, levels):
    def level(n):
        def mask_mod(b, h, q_idx, kv_idx):
            step = 1 << n
            return (q_idx - kv_idx >= 0) & (q_idx - kv_idx < window * step) & (kv_idx % step == 0)
        return mask_mod

    return or_masks(*(level(n) for n in range(levels)))
