"""T5's relative bias: exact buckets near, logarithmic ones far."""
#! --shape Hq=4,M=110,N=130,D=32 --score-mod 't5(table, 32, 128)' --capture table=random:32x4:f32

def t5(table, num_buckets, max_distance):
    def bucket(relative):
        half = num_buckets // 2
        offset = (relative > 0).to(torch.long) * half
        distance = torch.abs(relative)
        max_exact = half // 2
        large = max_exact + (
            torch.log(torch.clamp(distance, min=1).float() / max_exact) / math.log(max_distance / max_exact) * (half - max_exact)
        ).to(torch.long)
        large = torch.minimum(large, torch.full_like(large, half - 1))
        return offset + torch.where(distance < max_exact, distance, large)

    def score_mod(score, b, h, q_idx, kv_idx):
        return score + table[bucket(kv_idx - q_idx), h]

    return score_mod
