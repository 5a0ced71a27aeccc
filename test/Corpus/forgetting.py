"""Forgetting transformer: sums of log gates, captured as their prefix sums."""
#! --shape B=2,Hq=2,M=100,N=100,D=32 --score-mod 'forget' --mask-mod 'causal' --capture cumulated=random:2x2x100:f32

def forget(score, b, h, q_idx, kv_idx):
    gates = cumulated[b, h]
    return score + (gates[q_idx] - gates[kv_idx])


def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx
