"""Neighbourhood attention over a video."""
#! --shape Hq=2,M=150,N=150,D=32 --mask-mod 'natten3d((6, 5, 5), (3, 3, 5))'

def natten3d(canvas, kernel):
    def coordinates(idx):
        place = []
        for size in reversed(canvas):
            place = [idx % size] + place
            idx = idx // size
        return place

    def mask_mod(b, h, q_idx, kv_idx):
        inside = True
        for q, kv, size, window in zip(coordinates(q_idx), coordinates(kv_idx), canvas, kernel):
            center = q.clamp(window // 2, size - 1 - window // 2)
            inside = inside & ((center - kv).abs() <= window // 2)
        return inside

    return mask_mod
