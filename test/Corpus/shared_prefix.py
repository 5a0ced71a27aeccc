"""Many questions behind one shared prompt."""
#! --shape Hq=2,M=180,N=180,D=32 --mask-mod 'shared_prefix(50, question)' --capture question=docs:180:6
#% --shape S=65536,D=32 --mask-mod 'shared_prefix(4000, question)' --capture question=docs:65536:40

def shared_prefix(prefix_len, question):
    def mask_mod(b, h, q_idx, kv_idx):
        in_prefix = kv_idx < prefix_len
        same_question = question[q_idx] == question[kv_idx]
        return (q_idx >= kv_idx) & (in_prefix | same_question)

    return mask_mod
