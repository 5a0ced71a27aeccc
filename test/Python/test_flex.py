"""flex_attention against PyTorch's eager one in f64."""
import math
import warnings

import pytest

torch = pytest.importorskip("torch")
from torch.nn.attention import flex_attention as theirs  # noqa: E402

import attnjit  # noqa: E402
from attnjit.nn.attention.flex_attention import AuxOutput, AuxRequest, and_masks, create_block_mask, flex_attention, or_masks  # noqa: E402
from conftest import needs_tracer  # noqa: E402

RNG = torch.Generator().manual_seed(5)
SLOPES = torch.rand(6, generator=RNG, dtype=torch.float64)
DOCUMENT = torch.sort(torch.randint(0, 5, (150,), generator=RNG)).values.to(torch.int32)
BIAS = torch.randn(6, 300, generator=RNG, dtype=torch.float64)
WINDOW = 17

# name, text, the same for PyTorch, captures
SCORES = [
    ("none", None, None, {}),
    ("alibi", "score + slopes[h] * (kv_idx - q_idx)", lambda score, b, h, q_idx, kv_idx: score + SLOPES[h] * (kv_idx - q_idx), {"slopes": SLOPES}),
    ("relative", "score + bias[h, kv_idx - q_idx + 149]", lambda score, b, h, q_idx, kv_idx: score + BIAS[h, kv_idx - q_idx + 149], {"bias": BIAS}),
    ("softcap", "20 * torch.tanh(score / 20)", lambda score, b, h, q_idx, kv_idx: 20 * torch.tanh(score / 20), {}),
    ("heads and batches", "score * (1 + b) - 0.125 * h", lambda score, b, h, q_idx, kv_idx: score * (1 + b) - 0.125 * h, {}),
]
MASKS = [
    ("none", None, None, {}),
    ("causal", "q_idx >= kv_idx", lambda b, h, q_idx, kv_idx: q_idx >= kv_idx, {}),
    ("window", "(q_idx >= kv_idx) & (q_idx - kv_idx <= window)", lambda b, h, q_idx, kv_idx: (q_idx >= kv_idx) & (q_idx - kv_idx <= WINDOW), {"window": WINDOW}),
    ("document", "document[q_idx] == document[kv_idx]", lambda b, h, q_idx, kv_idx: DOCUMENT[q_idx] == DOCUMENT[kv_idx], {"document": DOCUMENT}),
    ("empty rows", "(q_idx > 20) & (q_idx >= kv_idx)", lambda b, h, q_idx, kv_idx: (q_idx > 20) & (q_idx >= kv_idx), {}),
]


def operands(B=2, Hq=6, Hkv=3, M=77, N=150, D=40, Dv=24, dtype=torch.float64, Bkv=None):
    shapes = ((B, Hq, M, D), (Bkv or B, Hkv, N, D), (Bkv or B, Hkv, N, Dv))
    return tuple(torch.randn(shape, generator=RNG, dtype=torch.float64).to(dtype) for shape in shapes)


def mod_of(kind, text, captures):
    return None if text is None else attnjit.Mod(**{kind: text}, captures=captures)


def expected(q, k, v, score=None, mask=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        block_mask = None if mask is None else theirs.create_block_mask(mask, q.shape[0], q.shape[1], q.shape[2], k.shape[2], device="cpu")
        return theirs.flex_attention(q, k, v, score, block_mask, return_aux=theirs.AuxRequest(lse=True), enable_gqa=True, **options)


def check(q, k, v, score=(None, None), mask=(None, None), **options):
    block_mask = None if mask[0] is None else create_block_mask(mask[0], q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    out, aux = flex_attention(q, k, v, score[0], block_mask, enable_gqa=True, return_aux=AuxRequest(lse=True), **options)
    want, want_aux = expected(q, k, v, score[1], mask[1], **options)
    torch.testing.assert_close(out, want, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(aux.lse, want_aux.lse, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mask", MASKS, ids=lambda case: case[0])
@pytest.mark.parametrize("score", SCORES, ids=lambda case: case[0])
def test_text(score, mask):
    check(*operands(), (mod_of("score_mod", score[1], score[3]), score[2]), (mod_of("mask_mod", mask[1], mask[3]), mask[2]))


@needs_tracer
@pytest.mark.parametrize("mask", MASKS, ids=lambda case: case[0])
@pytest.mark.parametrize("score", SCORES, ids=lambda case: case[0])
def test_callables(score, mask):
    check(*operands(), (score[2], score[2]), (mask[2], mask[2]))


def test_captures_of_the_same_name_stay_apart():
    q, k, v = operands()
    score, mask = torch.randn(6, generator=RNG, dtype=torch.float64), torch.randint(0, 100, (6,), generator=RNG)
    check(q, k, v, (attnjit.Mod("score + t[h]", captures={"t": score}), lambda s, b, h, i, j: s + score[h]),
          (attnjit.Mod(mask_mod="q_idx + t[h] >= kv_idx", captures={"t": mask}), lambda b, h, i, j: i + mask[h] >= j))


@pytest.mark.parametrize("joined, theirs_joined", [(and_masks, theirs.and_masks), (or_masks, theirs.or_masks)])
def test_mask_logic(joined, theirs_joined):
    causal, window = (lambda b, h, i, j: i >= j), (lambda b, h, i, j: (i - j).abs() < 9)
    ours = joined("q_idx >= kv_idx", attnjit.Mod(mask_mod="abs(q_idx - kv_idx) < w", captures={"w": 9}))
    check(*operands(), mask=(ours, theirs_joined(causal, window)))


def test_scale_and_max_scores():
    q, k, v = operands()
    check(q, k, v, scale=0.3)
    out, aux = flex_attention(q, k, v, enable_gqa=True, return_aux=AuxRequest(max_scores=True))
    scores = torch.einsum("bhmd,bhnd->bhmn", q, k.repeat_interleave(2, 1)) / math.sqrt(q.shape[-1])
    torch.testing.assert_close(aux.max_scores, scores.amax(-1))
    assert isinstance(aux, AuxOutput) and aux.lse is None
    assert flex_attention(q, k, v, enable_gqa=True, return_aux=AuxRequest())[1] == AuxOutput(None, None)


def test_empty_rows_are_zero():
    q, k, v = operands()
    out, aux = flex_attention(q, k, v, block_mask=create_block_mask("q_idx > 20", None, None, 77, 150), enable_gqa=True, return_aux=AuxRequest(True, True))
    assert (out[:, :, :21] == 0).all() and (aux.lse[:, :, :21] == -math.inf).all() and (aux.max_scores[:, :, :21] == -math.inf).all()


def test_one_batch_of_keys_serves_all():
    q, k, v = operands(B=3, Bkv=1)
    wide = (k.expand(3, -1, -1, -1), v.expand(3, -1, -1, -1))
    block_mask = create_block_mask("q_idx >= kv_idx", 3, None, 77, 150)
    got = flex_attention(q, k, v, block_mask=block_mask, enable_gqa=True)
    torch.testing.assert_close(got, expected(q, *wide, mask=MASKS[1][2])[0])
    torch.testing.assert_close(flex_attention(q, k, v, enable_gqa=True), expected(q, *wide)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_dtypes(dtype):
    q, k, v = operands(dtype=dtype)
    out, aux = flex_attention(q, k, v, enable_gqa=True, return_aux=AuxRequest(lse=True))
    want, _ = expected(q.double(), k.double(), v.double())
    assert out.dtype is dtype and aux.lse.dtype is torch.float32
    assert (out.double() - want).abs().max() <= 8 * torch.finfo(dtype).eps * want.abs().max()


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_keys_of_8_bits(dtype):
    q, k, v = operands(dtype=torch.float32)
    k8, v8 = k.to(dtype), v.to(dtype)
    got = flex_attention(q, k8, v8, enable_gqa=True)
    torch.testing.assert_close(got.double(), expected(q.double(), k8.double(), v8.double())[0], rtol=1e-4, atol=1e-5)


def strided(x, way):
    if way == "transposed heads":
        return x.transpose(1, 2).contiguous().transpose(1, 2)
    if way == "columns":
        return x.transpose(2, 3).contiguous().transpose(2, 3)
    return torch.cat([x, x + 1], 3)[..., :x.shape[3]]


@pytest.mark.parametrize("way", ["transposed heads", "columns", "rows of a wider one"])
def test_strides(way):
    q, k, v = operands()
    got = flex_attention(*(strided(x, way) for x in (q, k, v)), enable_gqa=True)
    torch.testing.assert_close(got, expected(q, k, v)[0])
    if way == "transposed heads":
        assert got.transpose(1, 2).is_contiguous()  # query's order of dimensions, as in PyTorch
    assert got.stride(-1) == 1


def test_lengths_of_zero():
    q, k, v = operands(N=0)
    assert (flex_attention(q, k, v, enable_gqa=True) == 0).all()
    assert flex_attention(*operands(M=0), enable_gqa=True).shape == (2, 6, 0, 24)


def test_kernel_options():
    q, k, v = operands()
    plain = flex_attention(q, k, v, enable_gqa=True)
    tiled = flex_attention(q, k, v, enable_gqa=True, kernel_options={"BLOCK_M": 32, "BLOCK_N": 32, "num_warps": 4, "BACKEND": "AUTO"})
    torch.testing.assert_close(plain, tiled)


def test_another_number_is_no_new_kernel():
    q, k, v = operands()
    call = lambda window: flex_attention(q, k, v, attnjit.Mod(mask_mod="q_idx - kv_idx < window", captures={"window": window}), enable_gqa=True)
    call(3)
    before = attnjit.engine().counters()
    outs = [call(window) for window in range(4, 10)]
    after = attnjit.engine().counters()
    assert (after["compiles"], after["memory_misses"]) == (before["compiles"], before["memory_misses"])
    assert not torch.equal(outs[0], outs[-1])


def test_beyond_pytorch():
    q, k, v = operands()
    sinks = torch.randn(6, generator=RNG, dtype=torch.float64)
    out, lse = attnjit.attention(q, k, v, sinks=sinks, softcap=5.0, return_lse=True)
    scores = 5 * torch.tanh(torch.einsum("bhmd,bhnd->bhmn", q, k.repeat_interleave(2, 1)) / math.sqrt(40) / 5)
    all_scores = torch.cat([scores, sinks.view(1, -1, 1, 1).expand(2, -1, 77, 1)], -1)
    torch.testing.assert_close(lse, all_scores.logsumexp(-1))
    torch.testing.assert_close(out, all_scores.softmax(-1)[..., :-1] @ v.repeat_interleave(2, 1))
    halved = attnjit.attention(q, k, v, prob_mod="p / 2")
    torch.testing.assert_close(halved * 2, attnjit.attention(q, k, v))
    dropped = [attnjit.attention(q, k, v, dropout=(0.5, 7, 0)) for _ in range(2)]
    assert torch.equal(*dropped) and not torch.equal(dropped[0], halved * 2)
    into = torch.empty(2, 6, 77, 24, dtype=torch.float32)
    assert attnjit.attention(q, k, v, out=into) is into
    torch.testing.assert_close(into.double(), halved * 2, rtol=1e-5, atol=1e-6)
