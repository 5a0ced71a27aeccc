"""Arrays of every library: zero-copy in and out, results in the library of query."""
import array

import numpy as np
import pytest

import attnjit
from attnjit import _core, _tensors
from attnjit.nn.attention.flex_attention import create_block_mask, create_mask, flex_attention

RNG = np.random.default_rng(3)


def reference(q, k, v):
    scores = np.einsum("bhmd,bhnd->bhmn", q.astype(float), k.astype(float)) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v.astype(float)


def operands(dtype=np.float64):
    return tuple(RNG.standard_normal((1, 2, length, 16)).astype(dtype) for length in (9, 11, 11))


def test_numpy():
    q, k, v = operands()
    out = flex_attention(q, k, v)
    assert type(out) is np.ndarray and out.dtype == np.float64
    np.testing.assert_allclose(out, reference(q, k, v), rtol=1e-12)


def test_numpy_strides_and_readonly():
    q, k, v = operands()
    k = k[:, :, ::-1][:, :, ::-1]
    backwards = v[:, :, ::-1, :]
    backwards.flags.writeable = False
    np.testing.assert_allclose(flex_attention(q, k[:, :, ::-1], backwards), reference(q, k, v), rtol=1e-12)
    wide = np.zeros((1, 2, 9, 32))
    wide[..., ::2] = q
    np.testing.assert_allclose(flex_attention(wide[..., ::2], k, v), reference(q, k, v), rtol=1e-12)
    order = np.ascontiguousarray(q.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    assert flex_attention(order, k, v).transpose(0, 2, 1, 3).flags.c_contiguous


def test_views_share_memory():
    q, _, _ = operands()
    view = _tensors.view(q)
    assert view.data == q.__array_interface__["data"][0] and view.strides == tuple(s // 8 for s in q.strides)
    assert np.shares_memory(view.numpy(), q)
    out = np.empty((1, 2, 9, 16))
    k = v = operands()[1]
    assert attnjit.attention(q, k, v, out=out) is out


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_ml_dtypes(name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = getattr(ml_dtypes, name)
    q, k, v = operands(np.float32)
    k, v = k.astype(dtype), v.astype(dtype)
    np.testing.assert_allclose(flex_attention(q, k, v), reference(q, k, v), rtol=1e-3, atol=1e-4)
    low = q.astype(ml_dtypes.bfloat16)
    out = flex_attention(low, k, v)
    assert out.dtype == ml_dtypes.bfloat16
    np.testing.assert_allclose(out.astype(float), reference(low, k, v), rtol=0.02, atol=0.02)
    assert _tensors.view(k).numpy().dtype == dtype


def test_float16():
    q, k, v = operands(np.float16)
    assert flex_attention(q, k, v).dtype == np.float16


def test_buffer_protocol():
    q, k, v = operands()
    out = flex_attention(memoryview(q), memoryview(k), memoryview(v))
    assert type(out) is np.ndarray
    np.testing.assert_allclose(out, reference(q, k, v), rtol=1e-12)
    slopes = array.array("d", [0.5, 0.25])
    mod = attnjit.Mod("score + slopes[h] * kv_idx", captures={"slopes": slopes})
    np.testing.assert_allclose(flex_attention(q, k, v, mod), flex_attention(q, k, v, attnjit.Mod("score + kv_idx / 2 ** (h + 1)")), rtol=1e-12)


class Exchanged:
    """Speaks DLPack and nothing else."""

    def __init__(self, inner):
        self.inner = inner

    def __dlpack__(self, **options):
        return self.inner.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.inner.__dlpack_device__()


def test_dlpack():
    q, k, v = operands(np.float32)
    np.testing.assert_allclose(flex_attention(*map(Exchanged, (q, k, v))), reference(q, k, v), rtol=1e-4, atol=1e-5)


def test_a_producer_of_dlpack_waits_for_the_stream_that_reads():
    class OnGpu(Exchanged):
        def __dlpack_device__(self):
            return 2, 0

        def __dlpack__(self, *, stream=None, **_):
            streams.append(stream)
            return super().__dlpack__()

    streams = []
    for stream in (None, 0, 1234):
        assert _tensors.view(OnGpu(np.ones(3, np.float32)), stream).shape == (3,)
    assert streams == [None, 1, 1234]
    assert _tensors.view(Exchanged(np.ones(3, np.float32)), 1234).shape == (3,)


def test_jax():
    jnp = pytest.importorskip("jax.numpy")
    q, k, v = (jnp.asarray(x) for x in operands(np.float32))
    out = flex_attention(q, k, v)
    assert type(out) is type(q)
    np.testing.assert_allclose(np.asarray(out), reference(*map(np.asarray, (q, k, v))), rtol=1e-4, atol=1e-5)


def test_block_mask_tensors_are_of_the_library_of_captures():
    torch = pytest.importorskip("torch")
    document = np.sort(RNG.integers(0, 3, 300))
    same = "document[q_idx] == document[kv_idx]"
    ours = create_block_mask(attnjit.Mod(mask_mod=same, captures={"document": document}), None, None, 300, 300)
    assert type(ours.kv_indices) is np.ndarray
    theirs = create_block_mask(attnjit.Mod(mask_mod=same, captures={"document": torch.from_numpy(document)}), None, None, 300, 300)
    assert isinstance(theirs.kv_indices, torch.Tensor) and theirs.kv_indices.dtype is torch.int32
    np.testing.assert_array_equal(theirs.kv_indices.numpy(), ours.kv_indices)
    assert create_mask("q_idx >= kv_idx", None, None, 3, 3).dtype == torch.bool
    assert create_block_mask("q_idx >= kv_idx", None, None, 300, 300, device="cpu").to_dense().device.type == "cpu"


def test_what_is_no_array():
    q, k, v = operands()
    with pytest.raises(TypeError, match="list is no array"):
        flex_attention([1.0], k, v)
    with pytest.raises(TypeError, match="i64"):
        flex_attention(q.astype(np.int64), k, v)
    with pytest.raises(TypeError, match="complex128"):
        flex_attention(q.astype(complex), k, v)
    with pytest.raises(TypeError, match="byte order"):
        flex_attention(q.astype(">f8"), k, v)
    with pytest.raises(ValueError, match="at most 6"):
        _tensors.view(np.zeros((1,) * 7))


def test_numbers_of_numpy_are_numbers():
    mod = attnjit.Mod("score * factor + add", captures={"factor": np.float32(2), "add": np.int64(3)})
    assert dict((name, rank) for name, _, rank in mod.core.captures) == {"factor": -1, "add": -1}


def test_the_view_keeps_its_array():
    view = _tensors.view(np.arange(1000.0) + 1)
    np.empty(1000)[:] = 0
    assert view.numpy()[10] == 11
    assert _core.Tensor.of(np.ones(3)).numpy().sum() == 3
