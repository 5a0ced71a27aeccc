"""Tokens carry sets of tags; a query sees the keys that share one with it, or carry all of its own."""
#! --shape Hq=2,M=50,N=50,D=32 --mask-mod 'share_a_tag' --capture tags=random:50x6:bool
#! --shape Hq=2,M=50,N=50,D=32 --mask-mod 'covers' --capture tags=random:50x6:bool
#! --shape Hq=2,M=50,N=50,D=32 --score-mod 'by_overlap' --capture tags=random:50x6:bool

def share_a_tag(b, h, q_idx, kv_idx):
    return (tags[q_idx] & tags[kv_idx]).any()


def covers(b, h, q_idx, kv_idx):
    return (~tags[q_idx] | tags[kv_idx]).all(-1) | (q_idx == kv_idx)


def by_overlap(score, b, h, q_idx, kv_idx):
    return score + 0.25 * (tags[q_idx] & tags[kv_idx]).sum()
