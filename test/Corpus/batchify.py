"""A batch laid out along the sequence: the mask gets back its batch index."""
#! --shape Hq=2,M=160,N=160,D=32 --mask-mod 'batchify_mask_mod(causal, 40)'
#! --shape Hq=2,M=160,N=160,D=32 --score-mod 'batchify_score_mod(alibi, 40)' --capture slopes=alibi:2

def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx


def alibi(score, b, h, q_idx, kv_idx):
    return score + slopes[h] * (kv_idx - q_idx) * (b + 1)


def batchify_mask_mod(mask_mod, seqlen):
    def batched_mask_mod(b, h, q_idx, kv_idx):
        q_batch, kv_batch = q_idx // seqlen, kv_idx // seqlen
        return torch.where(q_batch == kv_batch, mask_mod(q_batch, h, q_idx % seqlen, kv_idx % seqlen), False)

    return batched_mask_mod


def batchify_score_mod(score_mod, seqlen):
    def batched_score_mod(score, b, h, q_idx, kv_idx):
        q_batch, kv_batch = q_idx // seqlen, kv_idx // seqlen
        inner = score_mod(score, q_batch, h, q_idx % seqlen, kv_idx % seqlen)
        return torch.where(q_batch == kv_batch, inner, float("-inf"))

    return batched_score_mod
