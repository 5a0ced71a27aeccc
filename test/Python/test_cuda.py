"""Tensors on a GPU: every function against PyTorch's operations in f64. Also a program: `python test_cuda.py`."""
import sys

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import attnjit
from attnjit.nn.attention.bias import causal_lower_right
from attnjit.nn.attention.experimental._paged_attention import PagedAttention
from attnjit.nn.attention.experimental._scaled_dot_product_attention_quantized import _scaled_dot_product_attention_quantized
from attnjit.nn.attention.flex_attention import AuxRequest, BlockMask, create_block_mask, create_mask, flex_attention
from attnjit.nn.attention.varlen import AuxRequest as VarlenAux
from attnjit.nn.attention.varlen import varlen_attn
from attnjit.nn.functional import scaled_dot_product_attention
from cuda_tools import DTYPES, close, operands, reference


def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx


def window(b, h, q_idx, kv_idx):
    return (q_idx >= kv_idx) & (q_idx - kv_idx < 70)


def softcap(score, b, h, q_idx, kv_idx):
    return 20 * torch.tanh(score / 20)


def alibi_of(slopes):
    return lambda score, b, h, q_idx, kv_idx: score + slopes[h] * (kv_idx - q_idx)


def documents_of(ids):
    return lambda b, h, q_idx, kv_idx: ids[b, q_idx] == ids[b, kv_idx]


def slopes_of(heads, device="cuda"):
    return torch.exp2(-torch.arange(1, heads + 1, device=device, dtype=torch.float32))


def ids_of(batches, length, device="cuda"):
    return (torch.arange(length) // 90 + torch.arange(batches)[:, None]).to(device)


# --- flex_attention


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("D", [64, 128, 80])
@pytest.mark.parametrize("mask_mod", [None, causal, window], ids=["full", "causal", "window"])
def test_dtypes_and_masks(dtype, D, mask_mod):
    query, key, value = operands(D=D, dtype=dtype)
    block_mask = None if mask_mod is None else create_block_mask(mask_mod, None, None, 300, 300, device="cuda")
    out = flex_attention(query, key, value, block_mask=block_mask)
    assert out.device == query.device and out.dtype == dtype
    close(out, reference(query, key, value, mask_mod=mask_mod)[0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mod", ["softcap", "alibi", "bias", "table"])
def test_score_mods_with_captured_tensors(dtype, mod):
    query, key, value = operands(dtype=dtype, M=257, N=300)
    bias, table = torch.randn(4, 257, 300, device="cuda", dtype=dtype), torch.randn(4, 601, device="cuda", dtype=dtype)
    mods = {"softcap": softcap, "alibi": alibi_of(slopes_of(4)), "bias": lambda score, b, h, q, kv: score + bias[h, q, kv],
            "table": lambda score, b, h, q, kv: score + table[h, q - kv + 300]}
    out = flex_attention(query, key, value, mods[mod])
    close(out, reference(query, key, value, mods[mod])[0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_grouped_heads_lse_and_largest_scores(dtype):
    query, key, value = operands(Hq=8, Hkv=2, M=70, N=500, dtype=dtype, Dv=32)
    block_mask = create_block_mask(lambda b, h, q, kv: kv <= q + 430, None, None, 70, 500, device="cuda")
    out, aux = flex_attention(query, key, value, alibi_of(slopes_of(8)), block_mask, enable_gqa=True, return_aux=AuxRequest(lse=True, max_scores=True))
    expected = reference(query, key, value, alibi_of(slopes_of(8)), block_mask.mask_mod)
    for given, wanted in zip((out, aux.lse, aux.max_scores), expected):
        close(given, wanted, dtype)
    assert aux.lse.dtype == (torch.float64 if dtype == torch.float64 else torch.float32) and aux.lse.is_cuda


@pytest.mark.parametrize("M", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_decoding(dtype, M):
    query, key, value = operands(Hq=32, Hkv=8, M=M, N=5000, D=128, dtype=dtype)
    offset = 5000 - M
    block_mask = create_block_mask(lambda b, h, q, kv: kv <= q + offset, None, None, M, 5000, device="cuda")
    close(flex_attention(query, key, value, softcap, block_mask, enable_gqa=True), reference(query, key, value, softcap, block_mask.mask_mod)[0])


def test_rows_that_see_nothing():
    query, key, value = operands(dtype=torch.bfloat16)
    block_mask = create_block_mask(lambda b, h, q, kv: (q >= kv) & (q >= 100), None, None, 300, 300, device="cuda")
    out, lse = flex_attention(query, key, value, block_mask=block_mask, return_lse=True)
    assert torch.all(out[:, :, :100] == 0) and torch.all(lse[:, :, :100] == float("-inf"))
    close(out, reference(query, key, value, mask_mod=block_mask.mask_mod)[0])


def test_layout_of_the_output_follows_query():
    query, key, value = (x.transpose(1, 2) for x in (torch.randn(2, 100, 4, 64, device="cuda", dtype=torch.float16) for _ in range(3)))
    out = flex_attention(query, key, value)
    assert out.stride() == query.stride()
    close(out, reference(query, key, value)[0])


def test_strides_that_no_tensor_copy_takes():
    query, key, value = (torch.randn(2, 4, 64, 101, device="cuda", dtype=torch.bfloat16).transpose(2, 3) for _ in range(3))
    close(flex_attention(query, key, value), reference(query, key, value)[0])


def test_key_and_value_of_a_narrower_dtype_and_one_batch():
    query, key, value = operands(dtype=torch.bfloat16)
    key, value = (x[:1].to(torch.float8_e4m3fn) for x in (key, value))
    out = flex_attention(query, key, value)
    close(out, reference(query, key.float().expand(2, -1, -1, -1), value.float().expand(2, -1, -1, -1))[0])


def test_what_pytorch_computes_of_captured_tensors_is_computed_on_the_gpu():
    lengths = torch.tensor([100, 50, 150], device="cuda")
    query, key, value = operands(B=1)

    def mask_mod(b, h, q_idx, kv_idx):
        ends = lengths.cumsum(0)
        return (q_idx < ends[0]) == (kv_idx < ends[0])

    out = flex_attention(query, key, value, block_mask=create_block_mask(mask_mod, None, None, 300, 300))
    close(out, reference(query, key, value, mask_mod=lambda b, h, q, kv: (q < 100) == (kv < 100))[0])


def test_a_captured_tensor_in_host_memory_travels_up_to_a_size():
    query, key, value = operands()
    out = flex_attention(query, key, value, alibi_of(slopes_of(4, "cpu")))
    close(out, reference(query, key, value, alibi_of(slopes_of(4)))[0])
    large = torch.zeros(4, 300, 300)
    with pytest.raises(ValueError, match="Keep it on the GPU"):
        flex_attention(query, key, value, lambda score, b, h, q, kv: score + large[h, q, kv])


def test_attention_with_sinks_softcap_and_dropout():
    query, key, value = operands(dtype=torch.bfloat16)
    sinks = torch.tensor([0.5, -1.0, 2.0, 0.0], device="cuda")
    out, lse = attnjit.attention(query, key, value, sinks=sinks, softcap=15.0, return_lse=True)
    plain, plain_lse, _ = reference(query, key, value, lambda score, b, h, q, kv: 15 * torch.tanh(score / 15))
    whole = torch.logaddexp(plain_lse, sinks.double()[None, :, None])
    close(lse, whole, torch.bfloat16)
    close(out, plain * torch.exp(plain_lse - whole)[..., None])
    once, again = (attnjit.attention(query, key, value, dropout=(0.3, 7, 1000)) for _ in range(2))
    assert torch.equal(once, again) and not torch.equal(once, attnjit.attention(query, key, value, dropout=(0.3, 8, 1000)))


def test_merge_states():
    query, key, value = operands(dtype=torch.float32)
    halves = [attnjit.attention(query, key[:, :, part], value[:, :, part], return_lse=True) for part in (slice(0, 120), slice(120, 300))]
    out, lse = attnjit.merge_states(halves)
    expected = reference(query, key, value)
    close(out, expected[0]), close(lse, expected[1])


# --- block masks


@pytest.mark.parametrize("separate", [True, False])
def test_documents_in_captured_tensors(separate):
    query, key, value = operands(B=3, dtype=torch.bfloat16, M=700, N=700)
    ids = ids_of(3, 700)
    block_mask = create_block_mask(documents_of(ids), 3, None, 700, 700, separate_full_blocks=separate)
    assert block_mask.kv_indices.is_cuda and block_mask.sparsity() > 50
    close(flex_attention(query, key, value, block_mask=block_mask), reference(query, key, value, mask_mod=documents_of(ids))[0])
    close(flex_attention(query, key, value, alibi_of(slopes_of(4)), block_mask), reference(query, key, value, alibi_of(slopes_of(4)), documents_of(ids))[0])


def test_captured_tensors_of_a_mask_are_read_on_the_gpu_whatever_their_size():
    ids = ids_of(300, 700)  # 1.6 MiB, more than travels with a launch
    query, key, value = operands(B=1, M=700, N=700)
    block_mask = create_block_mask(lambda b, h, q, kv: ids[299, q] == ids[299, kv], None, None, 700, 700)
    close(flex_attention(query, key, value, block_mask=block_mask), reference(query, key, value, mask_mod=lambda b, h, q, kv: ids[299, q] == ids[299, kv])[0])


def test_masks_made_of_masks():
    ids = ids_of(2, 512)
    query, key, value = operands(M=512, N=512, dtype=torch.float16)
    whole = create_block_mask(documents_of(ids), 2, None, 512, 512)
    rows = whole[:, :, 1:3]
    close(flex_attention(query[:, :, 128:384], key, value, block_mask=rows), reference(query, key, value, mask_mod=documents_of(ids))[0][:, :, 128:384])
    one = whole[1]
    close(flex_attention(query[1:], key[1:], value[1:], block_mask=one), reference(query, key, value, mask_mod=documents_of(ids))[0][1:])
    cut = whole._adjust(300, 400)
    close(flex_attention(query[:, :, :300], key[:, :, :400], value[:, :, :400], block_mask=cut),
          reference(query[:, :, :300], key[:, :, :400], value[:, :, :400], mask_mod=documents_of(ids))[0])
    grown = create_block_mask(documents_of(ids), 2, None, 200, 200).grow(512, 512)
    close(flex_attention(query, key, value, block_mask=grown), reference(query, key, value, mask_mod=documents_of(ids))[0])
    assert torch.equal(grown.to_dense(), whole.to_dense()) and whole.to("cpu").kv_indices.device.type == "cpu"


def test_lists_on_the_gpu_decide():
    query, key, value = operands(M=384, N=384)
    counts = torch.tensor([1, 2, 1], dtype=torch.int32, device="cuda").reshape(1, 1, 3)
    indices = torch.tensor([[0, 1, 2], [0, 2, 1], [2, 0, 1]], dtype=torch.int32, device="cuda").reshape(1, 1, 3, 3)
    block_mask = BlockMask.from_kv_blocks(counts, indices, BLOCK_SIZE=128, mask_mod=causal)

    def mask_mod(b, h, q_idx, kv_idx):
        row, col = q_idx // 128, kv_idx // 128
        listed = ((row == 0) & (col == 0)) | ((row == 1) & (col != 1)) | ((row == 2) & (col == 2))
        return listed & (q_idx >= kv_idx)

    close(flex_attention(query, key, value, block_mask=block_mask), reference(query, key, value, mask_mod=mask_mod)[0])


def test_small_blocks_that_cut_the_tiles():
    query, key, value = operands(M=300, N=300, dtype=torch.bfloat16)
    made = create_block_mask(window, None, None, 300, 300, device="cuda", BLOCK_SIZE=(20, 30))
    lists = BlockMask.from_kv_blocks(made.kv_num_blocks, made.kv_indices, made.full_kv_num_blocks, made.full_kv_indices, (20, 30), window, (300, 300))
    for block_mask in (made, lists):
        close(flex_attention(query, key, value, block_mask=block_mask), reference(query, key, value, mask_mod=window)[0])


def test_tensors_of_masks_are_pytorchs():
    from torch.nn.attention import flex_attention as theirs

    ids = ids_of(2, 512)
    ours, other = (make(documents_of(ids), 2, 1, 512, 512, device="cuda") for make in (create_block_mask, theirs.create_block_mask))
    for name in ("kv_num_blocks", "full_kv_num_blocks", "q_num_blocks", "full_q_num_blocks"):
        assert torch.equal(getattr(ours, name), getattr(other, name)), name
    assert torch.equal(ours.to_dense(), other.to_dense())
    assert torch.equal(create_mask(documents_of(ids), 2, 1, 512, 512, device="cuda"), theirs.create_mask(documents_of(ids), 2, 1, 512, 512, device="cuda"))
    query, key, value = operands(M=512, N=512)
    close(flex_attention(query, key, value, block_mask=ours), theirs.flex_attention(query.double(), key.double(), value.double(), block_mask=other))


# --- scaled_dot_product_attention


def exact(query, key, value, mask=None, **options):
    with sdpa_kernel(SDPBackend.MATH):
        mask = mask.double() if mask is not None and mask.is_floating_point() else mask
        return F.scaled_dot_product_attention(query.double(), key.double(), value.double(), mask, **options)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sdpa(dtype):
    query, key, value = operands(M=300, N=300, dtype=dtype)
    close(scaled_dot_product_attention(query, key, value), exact(query, key, value))
    close(scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.3), exact(query, key, value, is_causal=True, scale=0.3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("sizes", [(300, 257), (4, 300, 257), (2, 1, 300, 257), (2, 4, 1, 257)], ids=str)
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_sdpa_masks(dtype, sizes, kind):
    query, key, value = operands(M=300, N=257, dtype=dtype)
    mask = torch.rand(sizes, device="cuda") > 0.3 if kind == "bool" else torch.randn(sizes, device="cuda", dtype=dtype)
    close(scaled_dot_product_attention(query, key, value, mask), exact(query, key, value, mask))


def test_sdpa_grouped_heads_other_ranks_and_broadcast():
    query, key, value = operands(Hq=8, Hkv=2, dtype=torch.bfloat16)
    close(scaled_dot_product_attention(query, key, value, enable_gqa=True), exact(query, key, value, enable_gqa=True))
    query, key, value = operands()
    close(scaled_dot_product_attention(query[0, 0], key[0, 0], value[0, 0]), exact(query[0, 0], key[0, 0], value[0, 0]))
    close(scaled_dot_product_attention(query, key[:1], value[:1, :1]), exact(query, key[:1].expand_as(key), value[:1, :1].expand_as(value)))
    close(scaled_dot_product_attention(query[:, :, :50], key, value, causal_lower_right(50, 300)), reference(query[:, :, :50], key, value, mask_mod=lambda b, h, q, kv: kv <= q + 250)[0])


def test_sdpa_dropout_and_no_dropout():
    query, key, value = operands(dtype=torch.bfloat16)
    torch.manual_seed(3)
    once = scaled_dot_product_attention(query, key, value, dropout_p=0.5)
    torch.manual_seed(3)
    assert torch.equal(once, scaled_dot_product_attention(query, key, value, dropout_p=0.5))
    mean = torch.stack([scaled_dot_product_attention(query, key, value, dropout_p=0.2).double() for _ in range(200)]).mean(0)
    assert (mean - exact(query, key, value)).abs().max() < 0.15


def test_quantized():
    query, key, value = (x.to(torch.float8_e4m3fn) for x in operands(dtype=torch.bfloat16))
    factors = [torch.rand(2, 4, device="cuda") + 0.5 for _ in range(3)]
    out = _scaled_dot_product_attention_quantized(query, key, value, True, None, *factors)
    wide = [x.double() * factor[..., None, None].double() for x, factor in zip((query, key, value), factors)]
    assert out.dtype == torch.bfloat16
    close(out, exact(*wide, is_causal=True))


# --- packed sequences and pages


def packed(lengths_q, lengths_k, Hq=4, Hkv=4, D=64, dtype=torch.bfloat16):
    query, key, value = (torch.randn(sum(n), heads, D, device="cuda", dtype=dtype) for n, heads in ((lengths_q, Hq), (lengths_k, Hkv), (lengths_k, Hkv)))
    starts = [torch.tensor([0, *n], dtype=torch.int32).cumsum(0, dtype=torch.int32) for n in (lengths_q, lengths_k)]
    return query, key, value, *starts


def each_sequence(query, key, value, starts_q, starts_k, mask_of=None):
    """The reference of every sequence, [Tq, Hq, D], and its lse, [Hq, Tq]."""
    outs, states = [], []
    for s in range(len(starts_q) - 1):
        rows, keys = slice(starts_q[s], starts_q[s + 1]), slice(starts_k[s], starts_k[s + 1])
        q, k, v = (x.transpose(0, 1)[None] for x in (query[rows], key[keys], value[keys]))
        out, lse, _ = reference(q, k, v, mask_mod=None if mask_of is None else mask_of(q.shape[2], k.shape[2]))
        outs.append(out[0].transpose(0, 1)), states.append(lse[0])
    return torch.cat(outs), torch.cat(states, 1)


@pytest.mark.parametrize("where", ["cpu", "cuda"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_varlen(dtype, where):
    query, key, value, starts_q, starts_k = packed([5, 130, 1, 64], [60, 130, 33, 200], 8, 2, dtype=dtype)
    given = starts_q.to(where), starts_k.to(where)
    out, lse = varlen_attn(query, key, value, *given, 130, 200, enable_gqa=True, return_aux=VarlenAux(lse=True))
    expected, expected_lse = each_sequence(query, key, value, starts_q, starts_k)
    close(out, expected), close(lse, expected_lse, dtype)
    out = varlen_attn(query, key, value, *given, 130, 200, enable_gqa=True, window_size=(-1, 0))
    close(out, each_sequence(query, key, value, starts_q, starts_k, lambda M, N: lambda b, h, q, kv: kv <= q + N - M)[0])


def test_varlen_with_a_score_mod_that_captures():
    query, key, value, starts_q, starts_k = packed([5, 130], [60, 130])
    slopes = slopes_of(4)
    out = varlen_attn(query, key, value, starts_q, starts_k, 130, 130, score_mod=alibi_of(slopes))
    first = reference(*(x.transpose(0, 1)[None] for x in (query[:5], key[:60], value[:60])), alibi_of(slopes))[0]
    close(out[:5], first[0].transpose(0, 1))


def pool(pages=20, page_size=16, heads=2, D=64, dtype=torch.bfloat16):
    return [torch.zeros(1, heads, pages * page_size, D, device="cuda", dtype=dtype) for _ in range(2)]


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_pages(where):
    books = PagedAttention(20, 16, 4, device="cuda")
    k_cache, v_cache = pool()
    lengths = {1: 50, 3: 33}
    for batch, length in lengths.items():
        books.reserve(batch, length)
    k_val, v_val = (torch.randn(2, 2, 50, 64, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for first, count in ((0, 33), (33, 17)):  # the second write is for sequence 1 alone
        batches = [1, 3] if first == 0 else [1]
        at = torch.arange(first, first + count).expand(len(batches), -1).to(where)
        part = [x[: len(batches), :, first:first + count] for x in (k_val, v_val)]
        books.assign(torch.tensor(batches, device=where), at, *part, k_cache, v_cache)
    query = torch.randn(2, 4, 3, 64, device="cuda", dtype=torch.bfloat16)
    kv_len = torch.tensor([50, 33], device=where)
    out, lse = books.attend(query, k_cache, v_cache, [1, 3], kv_len, window_size=(-1, 0), return_lse=True)
    for i, length in enumerate((50, 33)):
        expected = reference(query[i:i + 1], k_val[i:i + 1, :, :length], v_val[i:i + 1, :, :length], mask_mod=lambda b, h, q, kv: kv <= q + length - 3)
        close(out[i:i + 1], expected[0]), close(lse[i:i + 1], expected[1], torch.bfloat16)
    assert books.page_table.is_cuda


def test_pages_with_a_converted_mask():
    books = PagedAttention(24, 128, 2, device="cuda")
    k_cache, v_cache = pool(24, 128)
    k_val, v_val = (torch.randn(2, 2, 512, 64, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for batch in (1, 0):
        books.reserve(batch, 512)
    books.assign([0, 1], torch.arange(512, device="cuda").expand(2, -1), k_val, v_val, k_cache, v_cache)
    query, ids = torch.randn(2, 2, 512, 64, device="cuda", dtype=torch.bfloat16), ids_of(2, 512)
    logical = create_block_mask(documents_of(ids), 2, None, 512, 512)
    out = flex_attention(query, k_cache, v_cache, books.get_score_mod(alibi_of(slopes_of(2))), books.convert_logical_block_mask(logical))
    close(out, reference(query, k_val, v_val, alibi_of(slopes_of(2)), documents_of(ids))[0])


def test_shared_pages_are_copied_before_they_are_written_to():
    books = PagedAttention(20, 16, 2, device="cuda")
    k_cache, v_cache = pool()
    books.reserve(0, 40)
    k_val, v_val = (torch.randn(1, 2, 40, 64, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    books.assign([0], torch.arange(40)[None], k_val, v_val, k_cache, v_cache)
    books.share(0, 1, 40)
    new_k, new_v = (torch.randn(1, 2, 3, 64, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    with pytest.raises(RuntimeError, match="sequence 1 shares pages.*input_pos in host memory"):
        books.assign([1], torch.arange(37, 40, device="cuda")[None], new_k, new_v, k_cache, v_cache)
    books.assign([1], torch.arange(37, 40)[None], new_k, new_v, k_cache, v_cache)
    query = torch.randn(2, 2, 1, 64, device="cuda", dtype=torch.bfloat16)
    out = books.attend(query, k_cache, v_cache, [0, 1], torch.tensor([40, 40]))
    close(out[:1], reference(query[:1], k_val, v_val)[0])
    mixed = [torch.cat([old[:, :, :37], new], 2) for old, new in ((k_val, new_k), (v_val, new_v))]
    close(out[1:], reference(query[1:], *mixed)[0])


def test_assign_refuses_what_does_not_fit():
    books = PagedAttention(20, 16, 2, device="cuda")
    k_cache, v_cache = pool()
    books.reserve(0, 16)
    values = torch.zeros(1, 2, 3, 64, device="cuda", dtype=torch.bfloat16)
    for at, wrong, message in ((torch.arange(20, 23), values, "position 20.*reserve"), (torch.arange(3), values[:, :, :2], "k_val"),
                               (torch.arange(3, device="cuda"), values.float(), "k_val"), (torch.arange(3), values.cpu(), "same device")):
        with pytest.raises(RuntimeError, match=message):
            books.assign([0], at[None], wrong, values, k_cache, v_cache)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-v", "-rs", "-p", "no:cacheprovider", *sys.argv[1:]]))
