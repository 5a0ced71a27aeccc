"""Causal, aligned to the last key: what a decoder with a cache of earlier keys needs."""
#! --shape Hq=2,M=40,N=170,D=32 --mask-mod 'causal_lower_right(40, 170)'
#! --shape Hq=2,M=1,N=130,D=32 --mask-mod 'causal_lower_right(1, 130)'

def causal_lower_right(q_len: int, kv_len: int):
    offset = kv_len - q_len

    def mask_mod(b, h, q_idx, kv_idx):
        return q_idx + offset >= kv_idx

    return mask_mod
