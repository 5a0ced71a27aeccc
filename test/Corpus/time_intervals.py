"""Events with time stamps: a query sees what happened in the last while."""
#! --shape Hq=2,M=100,N=100,D=32 --mask-mod 'recent(0.25)' --capture stamp=steps:100:f32:0.0078125

def recent(span):
    def mask_mod(b, h, q_idx, kv_idx):
        age = stamp[q_idx] - stamp[kv_idx]
        return (age >= 0) & (age < span)

    return mask_mod
