"""Retrieval heads see everything, the others a window; a captured flag tells which."""
#! --shape Hq=4,M=130,N=130,D=32 --mask-mod 'duo(sink=4, recent=20)' --capture retrieval=random:4:bool

def duo(sink, recent):
    def mask_mod(b, h, q_idx, kv_idx):
        streaming = (kv_idx < sink) | (q_idx - kv_idx < recent)
        return (q_idx >= kv_idx) & torch.where(retrieval[h], True, streaming)

    return mask_mod
