"""Sliding window: causal, at most `window_size` keys back."""
#! --shape Hq=2,M=200,N=200,D=32 --mask-mod 'generate_sliding_window({1|16|77})'
#! --shape Hq=1,M=90,N=130,D=16 --mask-mod 'generate_sliding_window(window_size=40)'
#% --shape S=65536,D=32 --mask-mod 'generate_sliding_window(4096)'
from torch.nn.attention.flex_attention import and_masks


def generate_sliding_window(window_size: int):
    if window_size <= 0:
        raise ValueError(f"window_size must be positive, got {window_size}")

    def sliding_window(b, h, q_idx, kv_idx):
        return q_idx - kv_idx <= window_size

    def causal_mask(b, h, q_idx, kv_idx):
        return q_idx >= kv_idx

    mask = and_masks(sliding_window, causal_mask)
    mask.__name__ = f"sliding_window_{window_size}"
    return mask
