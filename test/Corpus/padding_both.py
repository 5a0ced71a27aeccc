"""Padded queries see nothing, padded keys are not seen."""
#! --shape B=3,Hq=2,M=90,N=110,D=32 --mask-mod 'padded' --capture q_lengths=below:3:i64:90 --capture kv_lengths=below:3:i64:110

def padded(b, h, q_idx, kv_idx):
    if q_idx >= q_lengths[b]:
        return False
    return kv_idx < kv_lengths[b]
