"""Packed documents whose offsets stand in the text, and ALiBi with its slopes in a table; which of them, a configuration says."""
#! --shape Hq=4,M=120,N=120,D=32 --score-mod 'alibi(4)' --mask-mod 'packed([0, 50, 51, 120])'
#! --shape Hq=6,M=90,N=90,D=32 --score-mod 'alibi(6)' --mask-mod 'masks(dict(kind="packed", lengths=[30, 60]))'
#! --shape Hq=2,M=90,N=90,D=32 --mask-mod 'masks(dict(kind="window", size=9))'
#! --shape Hq=2,M=90,N=90,D=32 --mask-mod 'masks(dict())'

def alibi(H: int):
    def get_slopes(n):
        return 2.0 ** (-(2.0 ** -(math.log2(n) - 3)) * torch.arange(1, n + 1))

    closest = 2 ** math.floor(math.log2(H))
    slopes = get_slopes(closest)
    if closest < H:
        slopes = torch.cat([slopes, get_slopes(2 * closest)[0::2][: H - closest]])

    def alibi_mod(score, b, h, q_idx, kv_idx):
        return score + slopes[h] * (kv_idx - q_idx)

    return alibi_mod


def packed(offsets):
    offsets = torch.tensor(offsets, dtype=torch.int32)
    counts = offsets[1:] - offsets[:-1]
    ids = torch.repeat_interleave(torch.arange(len(counts), dtype=torch.int32), counts)

    def mask_mod(b, h, q_idx, kv_idx):
        return (ids[q_idx] == ids[kv_idx]) & (q_idx >= kv_idx)

    return mask_mod


def masks(config):
    try:
        kind = config["kind"]
    except KeyError:
        kind = "causal"
    match kind:
        case "packed":
            return packed([0] + torch.cumsum(torch.tensor(config["lengths"]), 0).tolist())
        case "window" | "sliding_window":
            return lambda b, h, q_idx, kv_idx: (q_idx >= kv_idx) & (q_idx - kv_idx < config["size"])
        case "causal":
            return lambda b, h, q_idx, kv_idx: q_idx >= kv_idx
        case _:
            raise ValueError(f"no mask is called {kind!r}")
