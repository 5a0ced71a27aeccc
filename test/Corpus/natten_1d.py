"""Neighbourhood attention in one dimension: windows are kept inside the sequence."""
#! --shape Hq=2,M=130,N=130,D=32 --mask-mod 'natten(130, {7|31})'
#% --shape S=65536,D=32 --mask-mod 'natten(65536, 1001)'

def natten(length, kernel):
    def mask_mod(b, h, q_idx, kv_idx):
        center = torch.clamp(q_idx, kernel // 2, (length - 1) - kernel // 2)
        return (center - kv_idx).abs() <= kernel // 2

    return mask_mod
