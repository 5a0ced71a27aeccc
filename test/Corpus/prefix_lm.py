"""Prefix LM: the prompt sees itself whole, the rest is causal."""
#! --shape Hq=2,M=150,N=150,D=32 --mask-mod 'generate_prefix_lm_mask({1|40|150})'
#% --shape S=65536,D=32 --mask-mod 'generate_prefix_lm_mask(5000)'
from torch.nn.attention.flex_attention import or_masks


def causal_mask(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx


def generate_prefix_lm_mask(prefix_length: int):
    def prefix_mask(b, h, q_idx, kv_idx):
        return kv_idx < prefix_length

    prefix_lm_causal_mask = or_masks(prefix_mask, causal_mask)
    prefix_lm_causal_mask.__name__ = f"prefix_lm_causal_mask_{prefix_length}"
    return prefix_lm_causal_mask
