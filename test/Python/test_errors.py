"""Mistakes raise what PyTorch raises for them, with a message that says where and how to mend it."""
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.nn.attention import flex_attention as theirs  # noqa: E402

import attnjit  # noqa: E402
from attnjit.nn.attention import flex_attention as ours  # noqa: E402


def operands(B=1, Hq=2, Hkv=2, M=8, N=8, D=16):
    return torch.randn(B, Hq, M, D), torch.randn(B, Hkv, N, D), torch.randn(B, Hkv, N, D)


def causal(module, Q, KV):
    mask = "q_idx >= kv_idx" if module is ours else lambda b, h, q_idx, kv_idx: q_idx >= kv_idx
    return module.create_block_mask(mask, None, None, Q, KV, device="cpu")


q, k, v = operands()
MISTAKES = {
    "one dimension": lambda m: m.flex_attention(q[0, 0, 0], k, v),
    "three dimensions": lambda m: m.flex_attention(q[0], k[0], v[0]),
    "embedding": lambda m: m.flex_attention(q, k[..., :8], v),
    "gradient": lambda m: m.flex_attention(q.clone().requires_grad_(), k, v),
    "heads": lambda m: m.flex_attention(q, k[:, :1], v[:, :1]),
    "groups": lambda m: m.flex_attention(*operands(Hq=4, Hkv=3), enable_gqa=True),
    "batch": lambda m: m.flex_attention(torch.cat([q] * 3), torch.cat([k] * 2), torch.cat([v] * 2)),
    "mask too short": lambda m: m.flex_attention(q, k, v, block_mask=causal(m, 4, 4)),
    "mask too long": lambda m: m.flex_attention(q, k, v, block_mask=causal(m, 300, 300)),
    "lse twice": lambda m: m.flex_attention(q, k, v, return_lse=True, return_aux=m.AuxRequest(lse=True)),
    "internal option": lambda m: m.flex_attention(q, k, v, kernel_options={"OUTPUT_MAX": True}),
    "unknown backend": lambda m: m.flex_attention(q, k, v, kernel_options={"BACKEND": "CUDA"}),
    "two ways to say a kernel": lambda m: m.flex_attention(q, k, v, kernel_options={"BACKEND": "TRITON", "FORCE_USE_FLEX_ATTENTION": True}),
    "no mask_mods": lambda m: m.and_masks(3),
    "nested": lambda m: m.flex_attention(torch.nested.nested_tensor([q[0]]), k, v),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_as_pytorch(name):
    raised = []
    for module in (theirs, ours):
        with warnings.catch_warnings(), pytest.raises(Exception) as caught:
            warnings.simplefilter("ignore")
            MISTAKES[name](module)
        raised.append(caught.type)
    assert raised[0] is raised[1] or issubclass(raised[1], raised[0])


def test_deprecated_lse(monkeypatch):
    monkeypatch.setattr(ours, "_warned_of_return_lse", False)
    with pytest.warns(FutureWarning):
        out, lse = ours.flex_attention(q, k, v, return_lse=True)
    assert lse.shape == q.shape[:3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.flex_attention(q, k, v, return_lse=True)


def test_gradients_are_refused_only_where_they_are_recorded():
    needs = q.clone().requires_grad_()
    bias = torch.randn(2, requires_grad=True)
    mod = attnjit.Mod("score + bias[h]", captures={"bias": bias})
    with pytest.raises(NotImplementedError, match="bias requires a gradient"):
        ours.flex_attention(q, k, v, mod)
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            assert not ours.flex_attention(needs, k, v, mod).requires_grad


def test_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ours.flex_attention(q, k, v).dtype is torch.bfloat16
        assert attnjit.nn.functional.scaled_dot_product_attention(q, k, v).dtype is torch.bfloat16
        assert ours.flex_attention(q.double(), k.double(), v.double()).dtype is torch.float64


def test_formula_errors_say_where():
    with pytest.raises(attnjit.FormulaError, match=r"(?s)slop\b.*did you mean 'slope'") as caught:
        attnjit.Mod("score + slop[h]", captures={"slope": np.ones(2)})
    assert (caught.value.text, caught.value.line, caught.value.column) == ("score_mod", 1, 9)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(attnjit.FormulaError):
        ours.create_block_mask("q_idx >", None, None, 8, 8)


def test_captures():
    with pytest.raises(TypeError, match="'table' is a str"):
        attnjit.Mod("score", captures={"table": "text"})
    with pytest.raises(TypeError, match="score_mod is a int"):
        ours.flex_attention(q, k, v, 3)
    with pytest.raises(ValueError, match="a callable brings its own"):
        attnjit.Mod(attnjit.Mod("score"), captures={"x": 1})
    with pytest.raises(IndexError, match="table"):
        ours.flex_attention(q, k, v, attnjit.Mod("score + table[kv_idx]", captures={"table": torch.ones(4)}))


def test_key_of_a_wider_dtype():
    with pytest.raises(ValueError, match="f64"):
        ours.flex_attention(q, k.double(), v.double())


def test_options():
    with pytest.raises(TypeError, match="no option 'tile'"):
        attnjit.explain(q, k, v, tile=(1, 2))
    with pytest.raises(ValueError, match="when_missing"):
        attnjit.attention(q, k, v, when_missing="never")
    with pytest.raises(TypeError, match="block_mask is a builtins.function; make it with create_block_mask"):
        ours.flex_attention(q, k, v, block_mask=causal)
    with pytest.raises(ValueError, match="target"):
        attnjit.Engine(target="pdp-11")


def test_gradients_of_whatever_is_captured_or_given():
    q, k, v = (torch.randn(1, 2, 8, 16) for _ in range(3))
    wanting = torch.zeros(2, requires_grad=True)
    with pytest.raises(NotImplementedError, match="sinks requires a gradient"):
        attnjit.attention(q, k, v, sinks=wanting)
    for name in ("slopes", "query"):
        mod = attnjit.Mod(f"score + {name}[h]", captures={name: wanting})
        with pytest.raises(NotImplementedError, match=f"{name} requires a gradient"):
            attnjit.attention(q, k, v, score_mod=mod)
        with torch.no_grad():
            assert attnjit.attention(q, k, v, score_mod=mod).shape == q.shape
