"""Graphormer: a bias by the length of the shortest path."""
#! --shape B=2,Hq=4,M=60,N=60,D=32 --score-mod 'spatial_bias' --mask-mod 'reachable' --capture path=below:2x60x60:i32:9 --capture bias=random:4x10:f32

def spatial_bias(score, b, h, q_idx, kv_idx):
    return score + bias[h, path[b, q_idx, kv_idx]]


def reachable(b, h, q_idx, kv_idx):
    return (path[b, q_idx, kv_idx] < 8) | (q_idx == kv_idx)
