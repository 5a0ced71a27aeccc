"""scaled_dot_product_attention, sdpa_kernel, biases, packed sequences and pages against PyTorch in f64."""
import itertools
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from torch.nn.attention.bias import causal_lower_right as their_lower_right, causal_upper_left as their_upper_left  # noqa: E402
from torch.nn.attention.experimental._paged_attention import PagedAttention as TheirPages  # noqa: E402

import attnjit  # noqa: E402
from attnjit import _tensors  # noqa: E402
from attnjit._merge import _merge_on_gpu  # noqa: E402
from attnjit.nn import attention  # noqa: E402
from attnjit.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from attnjit.nn.attention.bias import CausalBias, CausalVariant, causal_lower_right, causal_upper_left  # noqa: E402
from attnjit.nn.attention.experimental._paged_attention import PagedAttention  # noqa: E402
from attnjit.nn.attention.experimental._device_pages import rows_on_gpu, write_on_gpu  # noqa: E402
from attnjit.nn.attention.flex_attention import create_block_mask, flex_attention  # noqa: E402
from attnjit.nn.attention.varlen import AuxRequest, varlen_attn, varlen_attn_out  # noqa: E402
from attnjit.nn.functional import scaled_dot_product_attention  # noqa: E402

RNG = torch.Generator().manual_seed(9)


def random(*shape):
    return torch.randn(shape, generator=RNG, dtype=torch.float64)


SDPA_CASES = {
    "rank 2": ((7, 24), (9, 24), (9, 24), {}),
    "rank 3, Ev": ((3, 7, 24), (3, 9, 24), (3, 9, 40), {}),
    "rank 5": ((2, 3, 2, 7, 24), (2, 3, 2, 9, 24), (2, 3, 2, 9, 24), {}),
    "causal": ((2, 3, 7, 24), (2, 3, 11, 24), (2, 3, 11, 24), {"is_causal": True}),
    "grouped": ((2, 6, 7, 24), (2, 2, 9, 24), (2, 2, 9, 24), {"enable_gqa": True}),
    "scale": ((2, 3, 7, 24), (2, 3, 9, 24), (2, 3, 9, 24), {"scale": -0.3}),
    "broadcast": ((2, 3, 7, 24), (1, 3, 9, 24), (3, 9, 24), {}),
}
MASKS = {"bool": lambda: torch.rand(7, 9, generator=RNG) < 0.6, "rows of False": lambda: torch.zeros(7, 9, dtype=torch.bool),
         "of a batch": lambda: torch.rand(2, 1, 1, 9, generator=RNG) < 0.6, "float": lambda: random(3, 7, 9), "column": lambda: random(2, 3, 7, 1)}


@pytest.mark.parametrize("case", SDPA_CASES.values(), ids=SDPA_CASES.keys())
def test_sdpa(case):
    *shapes, options = case
    operands = [random(*shape) for shape in shapes]
    torch.testing.assert_close(scaled_dot_product_attention(*operands, **options), F.scaled_dot_product_attention(*operands, **options))


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_sdpa_masks(mask):
    q, k, v, mask = random(2, 3, 7, 24), random(2, 3, 9, 24), random(2, 3, 9, 24), mask()
    torch.testing.assert_close(scaled_dot_product_attention(q, k, v, mask), F.scaled_dot_product_attention(q, k, v, mask))


@pytest.mark.parametrize("ours, theirs", [(causal_upper_left, their_upper_left), (causal_lower_right, their_lower_right)])
def test_biases(ours, theirs):
    q, k, v = random(2, 3, 7, 24), random(2, 3, 11, 24), random(2, 3, 11, 24)
    bias, dense = ours(7, 11), theirs(7, 11)._materialize("cpu")
    want = F.scaled_dot_product_attention(q, k, v, dense)
    torch.testing.assert_close(scaled_dot_product_attention(q, k, v, bias), want)
    torch.testing.assert_close(scaled_dot_product_attention(q, k, v, theirs(7, 11)), want)
    torch.testing.assert_close(flex_attention(q, k, v, block_mask=create_block_mask(bias.mod, None, None, 7, 11)), want)
    assert torch.equal(bias._materialize("cpu"), dense)
    with pytest.raises(ValueError):
        scaled_dot_product_attention(q, k, v, bias, is_causal=True)
    with pytest.raises(AssertionError):
        ours(7)
    with pytest.raises(AssertionError):
        CausalBias(1, 7, 11)
    with pytest.warns(UserWarning):
        CausalBias(CausalVariant.LOWER_RIGHT, 9, 3)


def test_dropout_follows_the_generator():
    q = random(1, 2, 64, 16)
    outs = []
    for _ in range(2):
        torch.manual_seed(3)
        outs.append(scaled_dot_product_attention(q, q, q, dropout_p=0.5))
    assert torch.equal(*outs) and not torch.equal(outs[0], scaled_dot_product_attention(q, q, q, dropout_p=0.5))


SDPA_MISTAKES = [
    (lambda f: f(random(4), random(4), random(4)), "dimensions"),
    (lambda f: f(random(2, 3, 7, 24), random(2, 3, 9, 16), random(2, 3, 9, 16)), "E"),
    (lambda f: f(random(2, 3, 7, 24), random(5, 3, 9, 24), random(5, 3, 9, 24)), "batch"),
    (lambda f: f(random(7, 24), random(9, 24), random(9, 24), torch.ones(7, 9, dtype=torch.bool), is_causal=True), "both"),
    (lambda f: f(random(2, 3, 7, 24), random(2, 3, 9, 24), random(2, 3, 9, 24), torch.ones(5, 9, dtype=torch.bool)), "mask"),
]


@pytest.mark.parametrize("call, _", SDPA_MISTAKES, ids=[name for _, name in SDPA_MISTAKES])
def test_sdpa_raises_as_pytorch_does(call, _):
    raised = []
    for function in (F.scaled_dot_product_attention, scaled_dot_product_attention):
        with pytest.raises(Exception) as caught:
            call(function)
        raised.append(caught.type)
    assert raised[0] is raised[1]


def test_sdpa_kernel():
    q = random(1, 2, 64, 16)

    def chosen():
        return attnjit.explain(q, q, q).chosen

    usual = chosen()
    with sdpa_kernel(SDPBackend.MATH) as nothing:
        assert nothing == {} and chosen() == "MATH"
        with sdpa_kernel([torch.nn.attention.SDPBackend.FLASH_ATTENTION, SDPBackend.MATH], set_priority=True):
            assert chosen() == "FLASH_ATTENTION"
        assert chosen() == "MATH"
    with pytest.raises(ZeroDivisionError), sdpa_kernel(SDPBackend.MATH):
        1 / 0
    assert chosen() == usual

    @sdpa_kernel(SDPBackend.MATH)
    def decorated():
        return chosen()

    assert decorated() == "MATH" and decorated() == "MATH"
    for none in ([], [SDPBackend.ERROR]):
        with sdpa_kernel(none), pytest.raises(RuntimeError):
            scaled_dot_product_attention(q, q, q)
        with sdpa_kernel(none), pytest.raises(RuntimeError):
            flex_attention(q, q, q)
    with pytest.raises(AssertionError):
        with sdpa_kernel("MATH"):
            pass


def test_warn_for_unfused_kernels(monkeypatch):
    q = random(1, 2, 64, 16)
    monkeypatch.setattr(attention, "WARN_FOR_UNFUSED_KERNELS", True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flex_attention(q, q, q)  # a fused backend computes it
        with sdpa_kernel(SDPBackend.MATH):
            flex_attention(q, q, q)  # no other is allowed
    wide = random(1, 1, 8, 512)
    report = attnjit.explain(wide, wide, wide)
    if report.chosen == "MATH":
        with pytest.warns(UserWarning, match="FLASH_ATTENTION can't be used because"):
            flex_attention(wide, wide, wide)


class InNumPy:
    """An implementation of FLASH_ATTENTION."""

    calls = 0

    def refusal(self, problem):
        return "" if problem["score_is_identity"] and not problem["has_mask"] else "only plain attention"

    def forward(self, call):
        self.calls += 1
        scores = np.einsum("bhmd,bhnd->bhmn", call.query, call.key) * call.query.shape[-1] ** -0.5
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        call.out[...] = weights / weights.sum(-1, keepdims=True) @ call.value


def test_flash_implementations():
    q = random(1, 2, 64, 16)
    want, mine = flex_attention(q, q, q), InNumPy()
    attention.register_flash_attention_impl("in numpy", register_fn=lambda: mine)
    assert "in numpy" in attention.list_flash_attention_impls() and attention.current_flash_attention_impl() is None
    attention.activate_flash_attention_impl("in numpy")
    try:
        assert attention.current_flash_attention_impl() == "in numpy"
        torch.testing.assert_close(flex_attention(q, q, q), want)
        assert mine.calls == 1
        flex_attention(q, q, q, "score * 2")
        assert mine.calls == 1
        mine.forward = lambda call: 1 / 0
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            flex_attention(q, q, q)
        with pytest.raises(ValueError, match="in numpy"):
            attention.activate_flash_attention_impl("none such")
    finally:
        attention.restore_flash_attention_impl()
    torch.testing.assert_close(flex_attention(q, q, q), want)


def test_quantized():
    from attnjit.nn.attention.experimental._scaled_dot_product_attention_quantized import _scaled_dot_product_attention_quantized as quantized

    q, k, v = random(2, 4, 7, 32), random(2, 2, 9, 32), random(2, 2, 9, 32)
    scales = [torch.rand(2, 2, generator=RNG) + 0.5 for _ in range(3)]
    low = [x.to(torch.float8_e4m3fn) for x in (q, k, v)]
    out = quantized(*low, True, None, *scales)
    meant = [x.double() * s.double().repeat_interleave(x.shape[1] // 2, 1)[..., None, None] for x, s in zip(low, scales)]
    want = F.scaled_dot_product_attention(*meant, is_causal=True, enable_gqa=True)
    assert out.dtype is torch.bfloat16
    torch.testing.assert_close(out.double(), want, rtol=2**-7, atol=1e-3)
    for wrong in (scales[0].double(), scales[0][:1]):
        with pytest.raises(ValueError, match="k_descale"):
            quantized(*low, True, None, scales[0], wrong)


def test_merge_states():
    q, k, v = random(1, 2, 7, 16), random(1, 2, 20, 16), random(1, 2, 20, 16)
    parts = [attnjit.attention(q, k[:, :, part], v[:, :, part], return_lse=True) for part in (slice(0, 3), slice(3, 15), slice(15, 20))]
    for merged, whole in zip(attnjit.merge_states(parts), attnjit.attention(q, k, v, return_lse=True)):
        torch.testing.assert_close(merged, whole)
    with pytest.raises(ValueError, match="no part"):
        attnjit.merge_states([])
    blind = attnjit.attention(q, k, v, mask_mod="(q_idx > 2) & (kv_idx > 30)", return_lse=True)
    for on_gpu, here in zip(_merge_on_gpu([*parts, blind]), attnjit.merge_states([*parts, blind])):
        torch.testing.assert_close(on_gpu, here)
    assert torch.equal(_merge_on_gpu([blind])[0], torch.zeros_like(q))


LENGTHS = [5, 0, 2, 13]


def packed(lengths, *rest):
    return random(sum(lengths), *rest), torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)


@pytest.mark.parametrize("window", [(-1, -1), (-1, 0), (3, 0), (2, 2)])
def test_varlen(window):
    q, cu_q = packed(LENGTHS, 4, 16)
    kv_lengths = [7, 3, 2, 15]
    (k, cu_k), (v, _) = packed(kv_lengths, 2, 16), packed(kv_lengths, 2, 16)
    out, lse = varlen_attn(q, k, v, cu_q, cu_k, 13, 15, window_size=window, enable_gqa=True, return_aux=AuxRequest(lse=True))
    assert lse.shape == (4, sum(LENGTHS))
    for s, (length, kv_length) in enumerate(zip(LENGTHS, kv_lengths)):
        rows, keys = slice(cu_q[s], cu_q[s + 1]), slice(cu_k[s], cu_k[s + 1])
        place = torch.arange(length)[:, None] + kv_length - length
        left, right = (1000 if side < 0 else side for side in window)
        visible = (torch.arange(kv_length) >= place - left) & (torch.arange(kv_length) <= place + right)
        want = F.scaled_dot_product_attention(*(x.transpose(0, 1) for x in (q[rows], k[keys], v[keys])), visible, enable_gqa=True)
        torch.testing.assert_close(out[rows], want.transpose(0, 1))
    into = torch.empty_like(out)
    assert varlen_attn_out(into, q, k, v, cu_q, cu_k, 13, 15, window_size=window, enable_gqa=True) is into
    assert torch.equal(into, out)


def test_varlen_with_mods():
    q, cu = packed(LENGTHS, 2, 16)
    slopes = random(2)
    out = varlen_attn(q, q, q, cu, cu, 13, 13, score_mod=attnjit.Mod("score + slopes[h] * (kv_idx - q_idx)", captures={"slopes": slopes}), mask_mod="q_idx >= kv_idx")
    alone = q[7:].transpose(0, 1)[None]
    want = flex_attention(alone, alone, alone, attnjit.Mod("score + slopes[h] * (kv_idx - q_idx)", "q_idx >= kv_idx", captures={"slopes": slopes}))
    assert torch.equal(out[7:], want[0].transpose(0, 1))


def test_varlen_pages():
    lengths, page = torch.tensor([20, 33]), 16
    table = torch.tensor([[3, 1, 0], [2, 4, 5]], dtype=torch.int32)
    pool_k, pool_v = random(6, page, 2, 16), random(6, page, 2, 16)
    q, cu = packed([1, 3], 2, 16)
    out = varlen_attn(q, pool_k, pool_v, cu, None, 3, 48, window_size=(-1, 0), seqused_k=lengths.int(), block_table=table)
    for s, rows in enumerate((slice(0, 1), slice(1, 4))):
        k, v = (pool[table[s].long()].reshape(-1, 2, 16)[:lengths[s]].transpose(0, 1) for pool in (pool_k, pool_v))
        want = F.scaled_dot_product_attention(q[rows].transpose(0, 1), k, v, their_lower_right(q[rows].shape[0], int(lengths[s]))._materialize("cpu"))
        torch.testing.assert_close(out[rows], want.transpose(0, 1))


def test_varlen_errors():
    q, cu = packed(LENGTHS, 4, 16)
    k, _ = packed(LENGTHS, 2, 16)
    with pytest.raises(ValueError, match="enable_gqa"):
        varlen_attn(q, k, k, cu, cu, 13, 13)
    with pytest.raises(ValueError, match="length 2"):
        varlen_attn(q, q, q, cu, cu, 13, 13, window_size=(1,))
    with pytest.raises(ValueError, match="multiple"):
        varlen_attn(q[:, :3], k, k, cu, cu, 13, 13, enable_gqa=True)
    with pytest.raises(ValueError):
        varlen_attn(q, q, q, cu, cu, 4, 13)


def test_pages():
    ours, theirs = PagedAttention(8, 128, 2, device="cpu"), TheirPages(8, 128, 2, device="cpu")
    for lengths in ((100, 200), (150, 300), (300, 512), (512, 512)):
        for batch, length in enumerate(lengths):
            for books in (ours, theirs):
                books.reserve(torch.tensor([batch]), torch.tensor([length]))
    for name in ("page_table", "physical_to_logical", "capacity", "empty_pages"):
        assert torch.equal(torch.as_tensor(getattr(ours, name)), torch.as_tensor(getattr(theirs, name))), name
    with pytest.raises(AssertionError, match="pages"):
        ours.reserve(torch.tensor([0]), torch.tensor([600]))
    q, k, v = (random(2, 2, 512, 32) for _ in range(3))
    caches = [(torch.zeros(1, 2, 1024, 32, dtype=torch.float64), torch.zeros(1, 2, 1024, 32, dtype=torch.float64)) for _ in range(2)]
    positions = torch.arange(512).expand(2, 512)
    for books, (k_cache, v_cache) in zip((ours, theirs), caches):
        books.assign(torch.tensor([0, 1]), positions, k, v, k_cache, v_cache)
    assert torch.equal(caches[0][0], caches[1][0]) and torch.equal(caches[0][1], caches[1][1])
    k_cache, v_cache = caches[0]
    causal = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    mask = ours.convert_logical_block_mask(create_block_mask("q_idx >= kv_idx", 2, None, 512, 512, BLOCK_SIZE=128))
    score = ours.get_score_mod("score + 0.125 * (kv_idx - q_idx)")
    torch.testing.assert_close(flex_attention(q, k_cache, v_cache, block_mask=mask), causal)
    want = flex_attention(q, k, v, "score + 0.125 * (kv_idx - q_idx)", create_block_mask("q_idx >= kv_idx", None, None, 512, 512))
    torch.testing.assert_close(flex_attention(q, k_cache, v_cache, score, mask), want)
    torch.testing.assert_close(ours.attend(q, k_cache, v_cache, [0, 1], torch.tensor([512, 512]), window_size=(-1, 0)), causal)
    short = torch.tensor([100, 300])
    by_length = create_block_mask(ours.get_mask_mod(None, short), 2, None, 512, 1024, BLOCK_SIZE=128)
    got = flex_attention(q, k_cache, v_cache, block_mask=by_length)
    torch.testing.assert_close(got, F.scaled_dot_product_attention(q, k, v, (torch.arange(512) < short[:, None]).view(2, 1, 1, 512)))
    ours.erase(torch.tensor([0]))
    assert sorted(ours.empty_pages) == [0, 3, 5, 7] and (ours.page_table[0] == -1).all()


def test_page_errors():
    books = PagedAttention(4, 16, 2, device="cpu")
    books.reserve(0, 20)
    cache, tokens = torch.zeros(1, 2, 64, 8), torch.ones(1, 2, 3, 8)
    for mistake in ((torch.tensor([0, 1]), torch.arange(3)[None], tokens, tokens), (torch.tensor([0]), torch.arange(4)[None], tokens, tokens),
                    (torch.tensor([0]), torch.arange(3)[None], tokens[..., :4], tokens), (torch.tensor([0]), torch.arange(3)[None] + 40, tokens, tokens),
                    (torch.tensor([0]), torch.arange(3)[None], tokens.requires_grad_(), tokens)):
        with pytest.raises(RuntimeError):
            books.assign(*mistake, cache, cache.clone())
        tokens = tokens.detach()
    with pytest.raises(RuntimeError, match="page_size"):
        books.convert_logical_block_mask(create_block_mask("q_idx >= kv_idx", 2, None, 32, 32))


def test_what_pages_on_a_gpu_are_written_by():
    """The operations of PyTorch for caches on a GPU, on tensors in host memory, against the core's own loop."""
    filled = random(1, 2, 48, 5)

    def books():
        made = PagedAttention(12, 4, 3, device="cpu")
        made.reserve(0, 10)
        made.reserve(2, 14)
        return made, *(filled.clone() for _ in range(2))

    at = torch.tensor([[3, 0, 9], [13, 5, 6]])
    k_val, v_val = random(2, 3, 2, 5).transpose(1, 2), random(2, 2, 3, 5)
    for share in (False, True):
        results = []
        for is_gpu in (False, True):
            pages, k_cache, v_cache = books()
            if share:
                pages.share(0, 1, 10)
            operands = (at, k_val, v_val, k_cache, v_cache)
            if is_gpu:
                write_on_gpu(pages._pages, 4, [0, 2], operands, tuple(map(_tensors.view, operands)))
            else:
                pages.assign([0, 2], *operands)
            results.append((k_cache, v_cache, pages.page_table))
        assert all(map(torch.equal, *results))
    core = books()[0]._pages
    placed, copies = core.place([0, 2], *map(_tensors.view, operands))
    assert not copies and torch.equal(rows_on_gpu(core, 4, [0, 2], at), torch.from_numpy(placed).flatten())
    for batch, position in ((0, 12), (0, 40), (2, -1)):  # not reserved
        with pytest.raises((RuntimeError, IndexError)):
            k_cache[0].index_copy_(1, rows_on_gpu(core, 4, [batch], torch.tensor([[position]])), torch.zeros(2, 1, 5, dtype=torch.float64))
    core.share(0, 1, 10)
    with pytest.raises(ValueError, match="sequence 1 shares pages"):
        rows_on_gpu(core, 4, [1], at[:1])
    with pytest.raises(ValueError, match="sequence 7 does not exist"):
        rows_on_gpu(core, 4, [7], at[:1])
