"""BlockMask against PyTorch's: index tensors, pictures, slices, and the pattern of decoding."""
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.utils._pytree as pytree  # noqa: E402
from torch.nn.attention import flex_attention as theirs  # noqa: E402

import attnjit  # noqa: E402
from attnjit.nn.attention._torch_block_mask import as_ours  # noqa: E402
from attnjit.nn.attention.flex_attention import BlockMask, create_block_mask, create_mask, flex_attention, noop_mask  # noqa: E402
from conftest import needs_tracer  # noqa: E402

TENSORS = ["kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices", "q_num_blocks", "q_indices", "full_q_num_blocks", "full_q_indices"]
DOCUMENT = torch.sort(torch.randint(0, 6, (600,), generator=torch.Generator().manual_seed(1))).values
WINDOW = 100
# name, text, callable, captures
MASKS = [
    ("causal", "q_idx >= kv_idx", lambda b, h, q_idx, kv_idx: q_idx >= kv_idx, {}),
    ("window", "(q_idx - kv_idx < 70) & (kv_idx <= q_idx)", lambda b, h, q_idx, kv_idx: (q_idx - kv_idx < 70) & (kv_idx <= q_idx), {}),
    ("document", "document[q_idx] == document[kv_idx]", lambda b, h, q_idx, kv_idx: DOCUMENT[q_idx] == DOCUMENT[kv_idx], {"document": DOCUMENT}),
    ("heads", "(q_idx + 100 * h >= kv_idx) & (kv_idx >= 64 * b)", lambda b, h, q_idx, kv_idx: (q_idx + 100 * h >= kv_idx) & (kv_idx >= 64 * b), {}),
    ("empty", "kv_idx < 0", lambda b, h, q_idx, kv_idx: kv_idx < 0, {}),
    ("everything", "kv_idx >= 0", lambda b, h, q_idx, kv_idx: kv_idx >= 0, {}),
]


def pair(case, B=2, H=3, Q=300, KV=500, **options):
    mod = attnjit.Mod(mask_mod=case[1], captures=case[3])
    return create_block_mask(mod, B, H, Q, KV, device="cpu", **options), theirs.create_block_mask(case[2], B, H, Q, KV, device="cpu", **options)


def assert_same(ours, want, counts_only=False):
    for name in TENSORS:
        mine, their = getattr(ours, name), getattr(want, name)
        assert (mine is None) == (their is None), name
        if mine is None:
            continue
        assert mine.dtype is torch.int32 and mine.shape == their.shape, name
        if name.endswith("num_blocks"):
            assert torch.equal(mine, their), name
        else:  # entries past a row's count are nobody's business
            count = getattr(want, name.replace("indices", "num_blocks"))
            used = torch.arange(their.shape[-1]) < count[..., None]
            assert torch.equal(mine[used], their[used]), name


@pytest.mark.parametrize("block_size", [128, 64, (32, 100)])
@pytest.mark.parametrize("case", MASKS, ids=lambda case: case[0])
def test_tensors(case, block_size):
    ours, want = pair(case, BLOCK_SIZE=block_size)
    assert_same(ours, want)
    assert ours.shape == want.shape and ours.seq_lengths == want.seq_lengths and ours.BLOCK_SIZE == want.BLOCK_SIZE and ours.numel() == want.numel()
    assert torch.equal(ours.to_dense(), want.to_dense())
    assert ours.to_string(limit=6) == want.to_string(limit=6) and ours.to_string((3, 2), limit=6) == want.to_string((3, 2), limit=6)
    assert ours.to_string(-1, limit=6) == want.to_string(-1, limit=6) and "(4 more:" in ours.to_string(limit=2)


@pytest.mark.parametrize("case", MASKS, ids=lambda case: case[0])
def test_whole_blocks_have_pytorchs_sparsity_and_text(case):
    ours, want = pair(case, B=1, Q=256, KV=512)
    assert ours.sparsity() == pytest.approx(want.sparsity()) and str(ours) == str(want)
    assert repr(ours).splitlines()[-4:-2] == repr(want).splitlines()[-4:-2]


@pytest.mark.parametrize("case", MASKS, ids=lambda case: case[0])
def test_full_blocks_listed_as_partial(case):
    # PyTorch 2.13 has no such argument in every build; the meaning is checked instead.
    ours = create_block_mask(attnjit.Mod(mask_mod=case[1], captures=case[3]), 2, 3, 300, 500, separate_full_blocks=False, device="cpu")
    assert ours.full_kv_num_blocks is None and ours.full_q_indices is None
    assert torch.equal(ours.to_dense(), pair(case)[1].to_dense())


@needs_tracer
@pytest.mark.parametrize("case", MASKS, ids=lambda case: case[0])
def test_callables(case):
    assert_same(create_block_mask(case[2], 2, 3, 300, 500, device="cpu"), pair(case)[1])


@pytest.mark.parametrize("case", MASKS, ids=lambda case: case[0])
def test_create_mask(case):
    got = create_mask(attnjit.Mod(mask_mod=case[1], captures=case[3]), 2, 3, 50, 60, device="cpu")
    assert got.dtype is torch.bool and torch.equal(got, theirs.create_mask(case[2], 2, 3, 50, 60, device="cpu"))


def test_create_mask_of_a_score_mod():
    got = create_mask(attnjit.Mod("torch.where(q_idx >= kv_idx, score, -math.inf)"), None, None, 5, 7, device="cpu")
    assert torch.equal(got[0, 0], torch.ones(5, 7, dtype=torch.bool).tril())


def lists(**changes):
    given = dict(kv_num_blocks=torch.tensor([[[1, 2]]], dtype=torch.int32), kv_indices=torch.tensor([[[[1, 0], [1, 0]]]], dtype=torch.int32),
                 full_kv_num_blocks=torch.tensor([[[1, 0]]], dtype=torch.int32), full_kv_indices=torch.tensor([[[[0, 1], [0, 1]]]], dtype=torch.int32), BLOCK_SIZE=16)
    return {**given, **changes}


def test_from_kv_blocks():
    ours, want = BlockMask.from_kv_blocks(**lists()), theirs.BlockMask.from_kv_blocks(**lists())
    assert_same(ours, want)
    assert ours.shape == want.shape == (1, 1, 32, 32) and torch.equal(ours.to_dense(), want.to_dense())
    q, k, v = (torch.randn(1, 2, 32, 16, dtype=torch.float64) for _ in range(3))
    torch.testing.assert_close(flex_attention(q, k, v, block_mask=ours), theirs.flex_attention(q, k, v, block_mask=want))
    assert BlockMask.from_kv_blocks(**lists(), compute_q_blocks=False).q_indices is None
    by_numpy = BlockMask.from_kv_blocks(**{name: np.asarray(value) if torch.is_tensor(value) else value for name, value in lists().items()})
    assert type(by_numpy.q_indices) is np.ndarray
    whole = ours.as_tuple()
    again = BlockMask(whole[:2], *whole[2:10], BLOCK_SIZE=whole[-3:-1], mask_mod=whole[-1])
    assert_same(again, want)
    assert len(whole) == len(want.as_tuple()) and len(ours.as_tuple(flatten=False)) == len(want.as_tuple(flatten=False))


def test_leading_dimensions_may_be_left_out():
    given = lists()
    short = {name: value[0] if torch.is_tensor(value) else value for name, value in given.items()}
    assert BlockMask.from_kv_blocks(**short).shape == theirs.BlockMask.from_kv_blocks(**short).shape == (1, 32, 32)


@pytest.mark.parametrize("index", [0, (slice(0, 1), slice(1, 3)), (1, 2), (slice(None), slice(None), 1), (-1, slice(None), slice(1, 3)),
                                   (slice(None), slice(None), torch.tensor([2, 0]))], ids=str)
def test_slices(index):
    ours, want = pair(MASKS[3])
    assert_same(ours[index], want[index])


def test_a_slice_brings_its_mask_mod():
    ours, _ = pair(MASKS[3], B=2, H=2, Q=300, KV=500)
    q, k, v = (torch.randn(2, 2, n, 16, dtype=torch.float64) for n in (300, 500, 500))
    whole = flex_attention(q, k, v, block_mask=ours)
    part = flex_attention(q[1:, :, 128:256], k[1:], v[1:], block_mask=ours[1, :, 1])
    torch.testing.assert_close(part, whole[1:, :, 128:256])


def test_decoding():
    """The pattern of PyTorch's documentation: slice the row of blocks that the position is in, and shift the mask_mod."""
    causal, _ = pair(MASKS[0], B=None, H=None, Q=500, KV=500)
    q, k, v = (torch.randn(1, 2, 500, 16, dtype=torch.float64) for _ in range(3))
    whole = flex_attention(q, k, v, block_mask=causal)
    for position in (0, 127, 128, 300, 499):
        step = causal[:, :, position // 128]
        step.seq_lengths = (1, 500)
        step.mask_mod = attnjit.Mod(mask_mod="q_idx + position >= kv_idx", captures={"position": torch.tensor(position)})
        torch.testing.assert_close(flex_attention(q[:, :, position:position + 1], k, v, block_mask=step), whole[:, :, position:position + 1])


def test_rows_picked_by_an_array_want_a_mask_mod():
    ours, _ = pair(MASKS[0], B=None, H=None, Q=256, KV=256)
    rows = ours[:, :, torch.tensor([1])]
    q = torch.randn(1, 1, 128, 16)
    k = torch.randn(1, 1, 256, 16)
    with pytest.raises(RuntimeError, match="mask_mod"):
        flex_attention(q, k, k, block_mask=rows)
    rows.mask_mod = "q_idx + 128 >= kv_idx"
    torch.testing.assert_close(flex_attention(q, k, k, block_mask=rows), flex_attention(torch.cat([q, q], 2), k, k, block_mask=ours)[:, :, 128:])


def test_adjust_grow_to():
    ours, want = pair(MASKS[0], Q=300, KV=500)
    assert_same(ours._adjust(256, 384), want._adjust(256, 384))
    assert_same(pair(MASKS[0], Q=200, KV=300)[0].grow(300, 500), want)
    moved = ours.to("cpu")
    assert_same(moved, want)


def test_assigned_attributes():
    ours, _ = pair(MASKS[0], B=None, H=None, Q=256, KV=256)
    q, k, v = (torch.randn(1, 1, 256, 16, dtype=torch.float64) for _ in range(3))
    ours.mask_mod = noop_mask
    visible = ours.to_dense().bool().repeat_interleave(128, 2).repeat_interleave(128, 3)
    torch.testing.assert_close(flex_attention(q, k, v, block_mask=ours), torch.nn.functional.scaled_dot_product_attention(q, k, v, visible))
    ours.kv_num_blocks = torch.zeros_like(ours.kv_num_blocks)
    assert ours.q_num_blocks.sum() == 0 and ours.sparsity() > 50


@pytest.mark.parametrize("case", MASKS, ids=lambda case: case[0])
def test_pytorchs_own_masks_are_taken(case):
    _, want = pair(case, B=2, H=2)
    q, k, v = (torch.randn(2, 2, n, 16, dtype=torch.float64) for n in (300, 500, 500))
    torch.testing.assert_close(flex_attention(q, k, v, block_mask=want), theirs.flex_attention(q, k, v, block_mask=want))
    torch.testing.assert_close(attnjit.attention(q, k, v, block_mask=want), theirs.flex_attention(q, k, v, block_mask=want))
    layer = torch.compile(lambda q, k, v: flex_attention(q, k, v, block_mask=want) * 2, backend="eager", fullgraph=True)
    torch.testing.assert_close(layer(q, k, v), 2 * theirs.flex_attention(q, k, v, block_mask=want))


def test_a_mask_of_pytorch_is_converted_again_when_it_changed():
    mask = theirs.create_block_mask(MASKS[0][2], 1, 1, 256, 256, device="cpu")
    q, k, v = (torch.randn(1, 1, 256, 16, dtype=torch.float64) for _ in range(3))
    assert as_ours(mask) is as_ours(mask) and as_ours(mask) is not mask and as_ours(None) is None

    def check(visible):
        torch.testing.assert_close(flex_attention(q, k, v, block_mask=mask), torch.nn.functional.scaled_dot_product_attention(q, k, v, visible))

    distance = torch.arange(256)[:, None] - torch.arange(256)
    is_diagonal = torch.block_diag(*[torch.ones(128, 128, dtype=torch.bool)] * 2)
    check(distance >= 0)
    mask.mask_mod = lambda b, h, q_idx, kv_idx: (q_idx - kv_idx >= 0) & (q_idx - kv_idx < 20)
    check((distance >= 0) & (distance < 20) | (distance >= 0) & ~is_diagonal)  # full blocks are not asked
    mask.full_kv_num_blocks.zero_()
    check((distance >= 0) & (distance < 20) & is_diagonal)
    with pytest.raises(ValueError, match="q_len=255"):
        flex_attention(q[:, :, 1:], k, v, block_mask=mask)


def test_trees_of_tensors():
    ids = DOCUMENT.clone()
    mask = create_block_mask(lambda b, h, q_idx, kv_idx: (ids[q_idx] == ids[kv_idx]) & (kv_idx >= WINDOW * b), 2, None, 600, 600, device="cpu")
    by_lists = BlockMask.from_kv_blocks(mask.kv_num_blocks, mask.kv_indices, mask.full_kv_num_blocks, mask.full_kv_indices, 128, mask.mask_mod, (600, 600))
    q, k, v = (torch.randn(2, 2, 600, 16, dtype=torch.float64) for _ in range(3))
    for each in (mask, by_lists, mask[1], mask[:, :, 2:4]):
        leaves, spec = pytree.tree_flatten({"mask": each})
        assert len(leaves) == (5 if each is by_lists else 1) and all(torch.is_tensor(leaf) for leaf in leaves)
        assert pytree.tree_unflatten(leaves, spec)["mask"] is each
        other = pytree.tree_map(torch.clone, each)
        assert other is not each and pytree.tree_flatten({"mask": other})[1] == spec and hash(str(spec))
        assert torch.equal(other.to_dense(), each.to_dense()) and other.shape == each.shape
        rows = slice(256, 512) if each.seq_lengths[0] == 256 else slice(None)
        operands = q[-each.shape[0]:, :, rows], k[-each.shape[0]:], v[-each.shape[0]:]
        torch.testing.assert_close(flex_attention(*operands, block_mask=other), flex_attention(*operands, block_mask=each))
        assert [str(path[0]) for path, _ in pytree.tree_flatten_with_path(each)[0]][-1] == ".mask_mod_ids"
    assert pytree.tree_flatten(mask)[1] != pytree.tree_flatten(by_lists)[1]

    class Layer(torch.nn.Module):
        def forward(self, q, k, v, mask):
            return flex_attention(q, k, v, block_mask=mask)

    exported = torch.export.export(Layer(), (q, k, v, mask), strict=False)
    torch.testing.assert_close(exported.module()(q, k, v, mask), flex_attention(q, k, v, block_mask=mask))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("case", MASKS, ids=lambda case: case[0])
def test_write_orders_of_a_backward_pass(case, descending):
    ours, want = pair(case, compute_dq_write_order=True, dq_kv_order=descending)
    assert ours.dq_kv_order_spt == want.dq_kv_order_spt == descending and ours.dq_kv_order is None
    for mine, their in ((ours, want), (ours[1], want[1]), (ours._adjust(200, 300), want._adjust(200, 300))):
        for name, counts in (("dq_write_order", mine.q_num_blocks), ("dq_write_order_full", mine.full_q_num_blocks)):
            order, expected = getattr(mine, name), getattr(their, name)
            used = torch.arange(expected.shape[-1]) < counts[..., None]
            assert order.dtype is expected.dtype and order.shape == expected.shape and torch.equal(order[used], expected[used]), name
    assert pair(case)[0].dq_write_order is None


def test_a_million_positions():
    million = create_block_mask("q_idx >= kv_idx", None, None, 1 << 20, 1 << 20)
    assert million.sparsity() == pytest.approx(49.99, abs=0.01) and million.numel() == 1 << 40


def test_errors():
    with pytest.raises(AssertionError):
        create_block_mask(lambda score, b, h, q_idx, kv_idx: score, None, None, 8, 8)
    with pytest.raises(AssertionError):
        create_block_mask(lambda a: a, None, None, 8, 8)
    with pytest.raises(ValueError, match="dq_kv_order"):
        create_block_mask("q_idx >= kv_idx", None, None, 8, 8, dq_kv_order=None)
    with pytest.warns(DeprecationWarning):
        create_block_mask("q_idx >= kv_idx", None, None, 8, 8, _compile=True)
    with pytest.raises(RuntimeError, match="2 dimensions"):
        BlockMask.from_kv_blocks(torch.tensor(1), torch.tensor([0]))
    with pytest.raises(AssertionError, match="full_kv"):
        BlockMask.from_kv_blocks(**lists(full_kv_indices=None))
    with pytest.raises(ValueError):
        BlockMask.from_kv_blocks(**lists(kv_indices=torch.tensor([[[[7, 0], [1, 0]]]], dtype=torch.int32)))
    with pytest.raises(IndexError):
        pair(MASKS[0])[0][0, 0, 0, 0]
    with pytest.raises(IndexError):
        pair(MASKS[0])[0][2]
    with pytest.raises(IndexError, match="document"):
        create_block_mask(attnjit.Mod(mask_mod="document[q_idx + kv_idx] > 1", captures={"document": DOCUMENT}), None, None, 600, 600)


def test_no_secret_state_is_pickled_by_accident():
    with pytest.raises(TypeError):
        pickle.dumps(pair(MASKS[0])[0])
