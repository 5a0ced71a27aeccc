"""Causal between blocks, full inside: autoregression over frames."""
#! --shape Hq=2,M=150,N=150,D=32 --mask-mod 'frames(24)'
#% --shape S=65536,D=32 --mask-mod 'frames(1500)'

def frames(tokens_per_frame):
    frame = lambda i: i // tokens_per_frame
    return lambda b, h, q_idx, kv_idx: frame(q_idx) >= frame(kv_idx)
