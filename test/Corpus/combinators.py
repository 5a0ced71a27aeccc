"""Masks made of masks."""
#! --shape Hq=2,M=110,N=110,D=32 --mask-mod 'or_masks(and_masks(causal, window(30)), prefix(10), diagonal)'
#! --shape Hq=2,M=110,N=110,D=32 --mask-mod 'xor_masks(causal, window(9))'
#! --shape Hq=2,M=110,N=110,D=32 --mask-mod 'and_masks(not_mask(prefix(20)), noop_mask)'
#% --shape S=65536,D=32 --mask-mod 'or_masks(and_masks(causal, window(3000)), prefix(1000), diagonal)'
import functools


def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx

window = lambda size: lambda b, h, q_idx, kv_idx: (q_idx - kv_idx).abs() < size
prefix = lambda size: lambda b, h, q_idx, kv_idx: kv_idx < size

def diagonal(b, h, q_idx, kv_idx):
    return q_idx == kv_idx

def not_mask(mask):
    return lambda *position: ~mask(*position)

def xor_masks(*masks):
    return lambda *position: functools.reduce(lambda x, y: x ^ y, [mask(*position) for mask in masks])
