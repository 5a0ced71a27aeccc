"""Causal attention."""
#! --shape Hq=2,M={65|200},N={70|200},D=32 --mask-mod 'causal'
#% --shape S=65536,D=32 --mask-mod 'causal'

def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx
