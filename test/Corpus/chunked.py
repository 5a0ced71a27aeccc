"""Chunked causal attention, as in Llama 4's local layers."""
#! --shape Hq=2,M=170,N=170,D=32 --mask-mod 'chunked_causal(chunk_size={32|50})'
#% --shape S=65536,D=32 --mask-mod 'chunked_causal(chunk_size=8192)'

def chunked_causal(*, chunk_size):
    def mask_mod(b, h, q_idx, kv_idx):
        same_chunk = q_idx // chunk_size == kv_idx // chunk_size
        return same_chunk & (q_idx >= kv_idx)

    return mask_mod
