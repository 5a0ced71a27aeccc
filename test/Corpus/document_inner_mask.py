"""Packed documents with any mask inside each: positions start anew in every document."""
#! --shape Hq=2,M=200,N=200,D=32 --mask-mod 'generate_doc_mask_mod(sliding_window(20), document_id, starts)' --capture document_id=docs:200:4 --capture starts=const:4:i32:0

def sliding_window(size):
    return lambda b, h, q, kv: (q >= kv) & (q - kv < size)


def generate_doc_mask_mod(mask_mod, document_id, starts):
    def doc_mask_mod(b, h, q_idx, kv_idx):
        same_doc = document_id[q_idx] == document_id[kv_idx]
        q_logical = q_idx - starts[document_id[q_idx]]
        kv_logical = kv_idx - starts[document_id[kv_idx]]
        inner_mask = mask_mod(b, h, q_logical, kv_logical)
        return same_doc & inner_mask

    return doc_mask_mod
