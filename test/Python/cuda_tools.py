"""What the tests on a GPU share: inputs, attention written out in f64, and how near a dtype comes to it."""
import math

import pytest
import torch

if not torch.cuda.is_available():
    pytest.skip("PyTorch sees no CUDA GPU", allow_module_level=True)

TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
DTYPES = list(TOLERANCE)


def operands(B=2, Hq=4, Hkv=4, M=300, N=300, D=64, Dv=None, dtype=torch.float32, device="cuda", seed=0):
    """query, key and value."""
    generator = torch.Generator("cpu").manual_seed(seed)
    sizes = ((B, Hq, M, D), (B, Hkv, N, D), (B, Hkv, N, Dv or D))
    return [torch.randn(size, generator=generator, dtype=torch.float64).to(device, dtype) for size in sizes]


def positions(B, H, M, N, device="cuda"):
    """b, h, q_idx and kv_idx, each along its own dimension of [B, H, M, N]."""
    return [torch.arange(size, device=device).reshape([-1 if i == dim else 1 for i in range(4)]) for dim, size in enumerate((B, H, M, N))]


def reference(query, key, value, score_mod=None, mask_mod=None, scale=None):
    """out, lse and max_scores by PyTorch's operations, in f64. A row that sees nothing is 0, with -inf."""
    groups = query.shape[1] // key.shape[1]
    q, k, v = query.double(), key.double().repeat_interleave(groups, 1), value.double().repeat_interleave(groups, 1)
    scores = q @ k.transpose(-1, -2) * (scale if scale is not None else 1 / math.sqrt(q.shape[-1]))
    at = positions(*scores.shape, device=query.device)
    if score_mod is not None:
        scores = score_mod(scores, *at)
    if mask_mod is not None:
        scores = torch.where(mask_mod(*at), scores, float("-inf"))
    lse, most = torch.logsumexp(scores, -1), scores.amax(-1)
    weights = torch.exp(scores - lse[..., None]).nan_to_num(0.0)
    return weights @ v, lse, most


def close(given, expected, dtype=None):
    """Whether a result is as near to f64's as its dtype lets it be."""
    torch.testing.assert_close(given.double(), expected.double(), atol=TOLERANCE[dtype or given.dtype], rtol=TOLERANCE[dtype or given.dtype], equal_nan=True)


def sleep(milliseconds=200):
    """A kernel on the current stream that takes about so long and does nothing."""
    torch.cuda._sleep(int(milliseconds * 1.5e6))
