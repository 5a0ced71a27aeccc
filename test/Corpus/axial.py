"""Axial attention: a token sees its row or its column of the image."""
#! --shape Hq=2,M=120,N=120,D=32 --mask-mod 'axial(12)'

def axial(width):
    def mask_mod(b, h, q_idx, kv_idx):
        if h % 2 == 0:
            return q_idx // width == kv_idx // width
        return q_idx % width == kv_idx % width

    return mask_mod
