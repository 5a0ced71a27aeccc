"""Block-sparse by a table of chosen blocks per query block, causal inside."""
#! --shape Hq=2,M=128,N=128,D=32 --mask-mod 'selected_blocks(chosen, 16)' --capture chosen=random:2x8x8:bool

def selected_blocks(chosen, block):
    def mask_mod(b, h, q_idx, kv_idx):
        q_block, kv_block = q_idx // block, kv_idx // block
        own = q_block == kv_block
        return (q_idx >= kv_idx) & (own | chosen[h, q_block, kv_block])

    return mask_mod
