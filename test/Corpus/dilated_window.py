"""Dilated sliding window: every `dilation`-th key within reach."""
#! --shape Hq=2,M=120,N=120,D=32 --mask-mod 'dilated_sliding_window(30, {1|2|5})'

def dilated_sliding_window(window_size, dilation):
    def mask_mod(b, h, q_idx, kv_idx):
        diff = torch.abs(q_idx - kv_idx)
        in_window = diff <= window_size
        is_dilated = (diff % dilation) == 0
        return in_window & is_dilated

    return mask_mod
