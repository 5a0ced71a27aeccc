"""Packed documents: no attention across their borders."""
#! --shape Hq=2,M=220,N=220,D=32 --mask-mod 'document_mask' --capture document_id=docs:220:5
#! --shape Hq=2,M=220,N=220,D=32 --mask-mod 'and_masks(document_mask, causal)' --capture document_id=docs:220:9
#% --shape S=65536,D=32 --mask-mod 'and_masks(document_mask, causal)' --capture document_id=docs:65536:40
#% --shape S=65536,D=32 --mask-mod 'document_mask' --capture document_id=docs:65536:40

def document_mask(b, h, q_idx, kv_idx):
    return document_id[q_idx] == document_id[kv_idx]


def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx
