"""BigBird: blocks on the diagonal, global blocks, and random blocks by a captured table."""
#! --shape Hq=3,M=160,N=160,D=32 --mask-mod 'bigbird(16, table)' --capture table=random:3x10x10:bool

def bigbird(block, table):
    def mask_mod(b, h, q_idx, kv_idx):
        i, j = q_idx // block, kv_idx // block
        window = (i - j).abs() <= 1
        globals_ = (i == 0) | (j == 0)
        return window | globals_ | table[h, i, j]

    return mask_mod
