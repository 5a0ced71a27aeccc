"""A window around every position, in both directions."""
#! --shape Hq=2,M=150,N=180,D=32 --mask-mod 'local({5|60})'
#! --shape Hq=2,M=150,N=180,D=32 --mask-mod 'local(20, right=3)'
#% --shape S=65536,D=32 --mask-mod 'local(2000, right=300)'

def local(left, right=None):
    right = left if right is None else right
    return lambda b, h, q_idx, kv_idx: (kv_idx >= q_idx - left) & (kv_idx <= q_idx + right)
