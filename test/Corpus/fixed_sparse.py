"""Fixed sparse transformer: blocks, and the last columns of earlier blocks as summaries."""
#! --shape Hq=2,M=140,N=140,D=32 --mask-mod 'fixed(32, 4)'

def fixed(stride, c):
    def mask_mod(b, h, i, j):
        same = i // stride == j // stride
        summary = j % stride >= stride - c
        return (i >= j) & (same | summary)

    return mask_mod
