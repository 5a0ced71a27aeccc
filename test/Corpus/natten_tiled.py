"""Neighbourhood attention with tokens in the order of tiles."""
#! --shape Hq=2,M=144,N=144,D=32 --mask-mod 'generate_tiled_natten(12, 12, 5, 5, 4, 4)'

def generate_tiled_natten(W, H, K_W, K_H, T_W, T_H):
    def get_idx_tiled(idx):
        t_size = T_H * T_W
        t_id = idx // t_size
        t_x, t_y = t_id % (W // T_W), t_id // (W // T_W)
        t_offset = idx % t_size
        i_x, i_y = t_offset % T_W, t_offset // T_W
        return t_x * T_W + i_x, t_y * T_H + i_y

    def tiled_natten_mask(b, h, q, kv):
        q_x, q_y = get_idx_tiled(q)
        kv_x, kv_y = get_idx_tiled(kv)
        kernel_x = q_x.clamp(K_W // 2, (W - 1) - K_W // 2)
        kernel_y = q_y.clamp(K_H // 2, (H - 1) - K_H // 2)
        return ((kernel_x - kv_x).abs() <= K_W // 2) & ((kernel_y - kv_y).abs() <= K_H // 2)

    return tiled_natten_mask
