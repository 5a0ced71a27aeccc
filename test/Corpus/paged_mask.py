"""A physical cache: keys are found through the inverse of a page table."""
#! --shape B=2,Hq=2,M=30,N=128,D=32 --mask-mod 'convert_logical_mask(causal, physical_to_logical, 16)' --capture physical_to_logical=below:2x8:i32:8

def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx


def convert_logical_mask(mask_mod, physical_to_logical, page_size):
    def new_mask_mod(b, h, q_idx, physical_kv_idx):
        physical_kv_block = physical_kv_idx // page_size
        physical_kv_offset = physical_kv_idx % page_size
        logical_block_idx = physical_to_logical[b, physical_kv_block]
        logical_kv_idx = logical_block_idx * page_size + physical_kv_offset
        return torch.where(logical_block_idx >= 0, mask_mod(b, h, q_idx, logical_kv_idx), False)

    return new_mask_mod
