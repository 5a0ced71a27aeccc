"""StreamingLLM: the first tokens stay visible beside a window."""
#! --shape Hq=2,M=180,N=180,D=32 --mask-mod 'streaming(4, {10|60})'
#% --shape S=65536,D=32 --mask-mod 'streaming(4, 4096)'

def streaming(num_sinks: int, window: int):
    def mask_mod(b, h, q_idx, kv_idx):
        if kv_idx < num_sinks:
            return q_idx >= kv_idx
        return (q_idx >= kv_idx) & (q_idx - kv_idx < window)

    return mask_mod
