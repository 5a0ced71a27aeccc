"""Text is causal, the patches of an image see each other."""
#! --shape Hq=2,M=150,N=150,D=32 --mask-mod 'transfusion([(10, 30), (70, 40)])'
#% --shape S=65536,D=32 --mask-mod 'transfusion([(1000, 3000), (30000, 4000)])'

def transfusion(modalities):
    def span(offset, length):
        return lambda b, h, q, kv: (q >= offset) & (q < offset + length) & (kv >= offset) & (kv < offset + length)

    causal = lambda b, h, q, kv: q >= kv
    return or_masks(causal, *[span(offset, length) for offset, length in modalities])
