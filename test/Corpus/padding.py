"""Keys behind the length of their sequence are padding."""
#! --shape B=3,Hq=2,M=90,N=110,D=32 --mask-mod 'key_padding' --capture lengths=below:3:i32:110
#% --shape B=3,S=65536,D=32 --mask-mod 'key_padding' --capture lengths=below:3:i32:65536

def key_padding(b, h, q_idx, kv_idx):
    return kv_idx < lengths[b]
