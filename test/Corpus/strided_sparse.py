"""Strided sparse transformer: a local window and every `stride`-th column."""
#! --shape Hq=2,M=130,N=130,D=32 --mask-mod 'strided({8|32})'

def strided(stride):
    def mask_mod(b, h, i, j):
        causal = i >= j
        local = i - j < stride
        summary = (i - j) % stride == 0
        return causal & (local | summary)

    return mask_mod
