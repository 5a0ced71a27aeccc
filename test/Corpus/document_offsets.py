"""Documents stated by cumulative lengths: a token belongs to the first document whose end lies behind it."""
#! --shape Hq=2,M=120,N=120,D=32 --mask-mod 'by_offsets(ends, 4)' --capture ends=steps:4:i64:30
#% --shape S=65536,D=32 --mask-mod 'by_offsets(ends, 16)' --capture ends=steps:16:i64:4096

def by_offsets(ends, num_docs: int):
    def document(i):
        number = 0
        for d in range(num_docs):
            number = number + (i >= ends[d]).int()
        return number

    def mask_mod(b, h, q_idx, kv_idx):
        return document(q_idx) == document(kv_idx)

    return mask_mod
