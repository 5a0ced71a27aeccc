"""Cross attention: every query sees one interval of keys."""
#! --shape Hq=2,M=70,N=130,D=32 --mask-mod 'interval' --capture first=below:70:i32:60 --capture count=below:70:i32:70

def interval(b, h, q_idx, kv_idx):
    begin = first[q_idx]
    end = begin + count[q_idx]
    return (begin <= kv_idx) & (kv_idx < end)
