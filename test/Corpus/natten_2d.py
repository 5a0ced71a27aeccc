"""Neighbourhood attention over an image."""
#! --shape Hq=2,M=144,N=144,D=32 --mask-mod 'generate_natten(12, 12, {3|7}, 5)'

def generate_natten(canvas_w: int, canvas_h: int, kernel_w: int, kernel_h: int):
    def get_x_y(idx):
        return idx // canvas_w, idx % canvas_w

    def natten_mask_mod(b, h, q_idx, kv_idx):
        q_y, q_x = get_x_y(q_idx)
        kv_y, kv_x = get_x_y(kv_idx)
        kernel_x = q_x.clamp(kernel_w // 2, (canvas_w - 1) - kernel_w // 2)
        kernel_y = q_y.clamp(kernel_h // 2, (canvas_h - 1) - kernel_h // 2)
        hori_mask = (kernel_x - kv_x).abs() <= kernel_w // 2
        vert_mask = (kernel_y - kv_y).abs() <= kernel_h // 2
        return hori_mask & vert_mask

    natten_mask_mod.__name__ = f"natten_c{canvas_w}x{canvas_h}_k{kernel_w}x{kernel_h}"
    return natten_mask_mod
