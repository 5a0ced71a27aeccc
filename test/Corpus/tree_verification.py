"""Speculative decoding: a tree of drafts, each node sees its ancestors. The table of ancestors is captured."""
#! --shape Hq=2,M=24,N=100,D=32 --mask-mod 'tree_mask(ancestors, 76)' --capture ancestors=random:24x24:bool

def tree_mask(ancestors, cache_len):
    def mask_mod(b, h, q_idx, kv_idx):
        in_cache = kv_idx < cache_len
        node = torch.clamp(kv_idx - cache_len, min=0)
        return in_cache | ancestors[q_idx, node]

    return mask_mod
