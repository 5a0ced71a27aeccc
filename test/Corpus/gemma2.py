"""Gemma 2: softcap and a window, on every other layer."""
#! --shape Hq=4,Hkv=2,M=120,N=120,D=32 --score-mod 'layer(3).score_mod' --mask-mod 'mask(3)' => invalid-formula
#! --shape Hq=4,Hkv=2,M=120,N=120,D=32 --score-mod 'softcap' --mask-mod 'mask({2|3})'
CAP = 50.0
WINDOW = 40


def softcap(score, b, h, q_idx, kv_idx):
    return CAP * torch.tanh(score / CAP)


def mask(layer_idx):
    def causal(b, h, q_idx, kv_idx):
        return q_idx >= kv_idx

    def local(b, h, q_idx, kv_idx):
        return causal(b, h, q_idx, kv_idx) & (q_idx - kv_idx < WINDOW)

    return local if layer_idx % 2 == 0 else causal
