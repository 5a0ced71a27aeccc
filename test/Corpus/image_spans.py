"""Tokens of one image see each other both ways; ids of 0 are text."""
#! --shape Hq=2,M=140,N=140,D=32 --mask-mod 'bidirectional_images' --capture image=docs:140:4
#% --shape S=65536,D=32 --mask-mod 'bidirectional_images' --capture image=docs:65536:40

def bidirectional_images(b, h, q_idx, kv_idx):
    both = (image[q_idx] > 0) & (image[q_idx] == image[kv_idx])
    return both | (q_idx >= kv_idx)
