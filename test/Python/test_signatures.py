"""Every public name of torch.nn.attention is here, with the same parameters in the same order; parameters of our own come after them."""
import importlib
import inspect

import pytest

pytest.importorskip("torch")

MODULES = ["nn.attention", "nn.attention.flex_attention", "nn.attention.bias", "nn.attention.varlen", "nn.attention.experimental._paged_attention"]
FUNCTIONS = ["nn.attention:sdpa_kernel", "nn.attention.flex_attention:create_block_mask", "nn.attention.flex_attention:create_mask",
             "nn.attention.flex_attention:flex_attention", "nn.attention.varlen:varlen_attn", "nn.attention.varlen:varlen_attn_out",
             "nn.attention.flex_attention:BlockMask", "nn.attention.flex_attention:BlockMask.from_kv_blocks", "nn.attention.flex_attention:BlockMask.as_tuple",
             "nn.attention.flex_attention:BlockMask.to_string", "nn.attention.flex_attention:BlockMask.to", "nn.attention.flex_attention:BlockMask._adjust",
             "nn.attention.experimental._scaled_dot_product_attention_quantized:_scaled_dot_product_attention_quantized", "nn.attention.bias:CausalBias", "nn.attention.experimental._paged_attention:PagedAttention",
             "nn.attention.experimental._paged_attention:PagedAttention.reserve", "nn.attention.experimental._paged_attention:PagedAttention.erase",
             "nn.attention.experimental._paged_attention:PagedAttention.assign",
             "nn.attention.experimental._paged_attention:PagedAttention.convert_logical_block_mask",
             "nn.attention.experimental._paged_attention:PagedAttention.get_mask_mod",
             "nn.attention.experimental._paged_attention:PagedAttention.get_score_mod"]


def both(path):
    module, _, name = path.partition(":")
    found = []
    for package in ("torch", "attnjit"):
        value = importlib.import_module(f"{package}.{module}")
        for part in filter(None, name.split(".")):
            value = getattr(value, part)
        found.append(value)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_public_names(module):
    theirs, ours = both(module)
    names = getattr(theirs, "__all__", None) or ["PagedAttention"]
    assert [name for name in names if not hasattr(ours, name)] == []


@pytest.mark.parametrize("path", FUNCTIONS)
def test_parameters(path):
    theirs, ours = (list(inspect.signature(value).parameters.values()) for value in both(path))
    assert [p.name for p in ours][:len(theirs)] == [p.name for p in theirs]
    for mine, their in zip(ours, theirs):
        assert mine.kind == their.kind, mine
        empty = (mine.default is inspect.Parameter.empty, their.default is inspect.Parameter.empty)
        assert empty[0] == empty[1], mine
        if isinstance(their.default, (int, float, bool, tuple)) or their.default is None:
            assert mine.default == their.default, mine


def test_scaled_dot_product_attention_takes_pytorchs_arguments():
    from attnjit.nn.functional import scaled_dot_product_attention

    expected = ["query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa"]
    assert list(inspect.signature(scaled_dot_product_attention).parameters) == expected


def test_members_of_block_mask():
    theirs, ours = both("nn.attention.flex_attention:BlockMask")
    made = ours.from_kv_blocks(*lists())
    public = [name for name in dir(theirs.from_kv_blocks(*lists())) if not name.startswith("_")]
    assert [name for name in public if not hasattr(made, name)] == []


def lists():
    import torch

    return torch.ones(1, 1, 2, dtype=torch.int32), torch.zeros(1, 1, 2, 2, dtype=torch.int32)


def test_backends_have_pytorchs_numbers():
    theirs, ours = both("nn.attention:SDPBackend")
    for backend in ours:
        assert int(getattr(theirs, backend.name)) == int(backend)
