"""LongNet: segments and dilation by head."""
#! --shape Hq=4,M=128,N=128,D=32 --mask-mod 'longnet((16, 32, 64, 128), (1, 2, 4, 8))'

def longnet(segments, rates):
    def mask_mod(b, h, q_idx, kv_idx):
        visible = False
        for head, (segment, rate) in enumerate(zip(segments, rates)):
            same = (q_idx // segment == kv_idx // segment) & ((q_idx - kv_idx) % rate == 0)
            visible = visible | ((h == head) & same)
        return visible & (q_idx >= kv_idx)

    return mask_mod
