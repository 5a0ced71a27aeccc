"""Sliding tile attention: the window moves in whole tiles."""
#! --shape Hq=2,M=144,N=144,D=32 --mask-mod 'generate_sta_mask_mod_2d((12, 12), (3, 2), (4, 3))'
#% --shape S=65536,D=32 --mask-mod 'generate_sta_mask_mod_2d((256, 256), (3, 3), (16, 16))'
from typing import Tuple


def generate_sta_mask_mod_2d(canvas_hw: Tuple[int, int], kernel_hw: Tuple[int, int], tile_hw: Tuple[int, int]):
    canvas_h, canvas_w = canvas_hw
    kernel_h, kernel_w = kernel_hw
    tile_h, tile_w = tile_hw
    tile_numel = tile_h * tile_w
    assert canvas_h % tile_h == 0 and canvas_w % tile_w == 0, f"{canvas_hw} is no multiple of {tile_hw}"
    canvas_tile_h, canvas_tile_w = canvas_h // tile_h, canvas_w // tile_w

    def get_tile_xy(idx):
        tile_id = idx // tile_numel
        return tile_id // canvas_tile_w, tile_id % canvas_tile_w

    def sta(b, h, q_idx, kv_idx):
        q_y, q_x = get_tile_xy(q_idx)
        kv_y, kv_x = get_tile_xy(kv_idx)
        center_y = q_y.clamp(kernel_h // 2, (canvas_tile_h - 1) - kernel_h // 2)
        center_x = q_x.clamp(kernel_w // 2, (canvas_tile_w - 1) - kernel_w // 2)
        y_mask = (center_y - kv_y).abs() <= kernel_h // 2
        x_mask = (center_x - kv_x).abs() <= kernel_w // 2
        return y_mask & x_mask

    return sta
