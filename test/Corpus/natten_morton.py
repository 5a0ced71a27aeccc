"""Neighbourhood attention with tokens in Morton order: every other bit is a coordinate."""
#! --shape Hq=2,M=256,N=256,D=16 --mask-mod 'generate_morton_natten(16, 16, 5, 5)'

def generate_morton_natten(canvas_w, canvas_h, kernel_w, kernel_h):
    def deinterleave(code):
        code = code & 0x55555555
        for shift, keep in ((1, 0x33333333), (2, 0x0F0F0F0F), (4, 0x00FF00FF)):
            code = (code | (code >> shift)) & keep
        return code

    def get_x_y(idx):
        return deinterleave(idx), deinterleave(idx >> 1)

    def mask_mod(b, h, q_idx, kv_idx):
        q_x, q_y = get_x_y(q_idx)
        kv_x, kv_y = get_x_y(kv_idx)
        kernel_x = torch.clamp(q_x, kernel_w // 2, (canvas_w - 1) - kernel_w // 2)
        kernel_y = torch.clamp(q_y, kernel_h // 2, (canvas_h - 1) - kernel_h // 2)
        return (torch.abs(kernel_x - kv_x) <= kernel_w // 2) & (torch.abs(kernel_y - kv_y) <= kernel_h // 2)

    return mask_mod
