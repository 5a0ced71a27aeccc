"""attnjit inside PyTorch's graphs: no graph breaks, no recompiles for numbers, the answers of eager calls."""

import json
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
import torch._dynamo  # noqa: E402
from torch._dynamo.utils import counters  # noqa: E402

import attnjit  # noqa: E402
from attnjit.nn.attention.flex_attention import AuxRequest, BlockMask, and_masks, create_block_mask, flex_attention  # noqa: E402

BACKENDS = ["eager", "aot_eager", "inductor"]


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)


def operands(B=2, Hq=4, Hkv=2, L=33, S=33, E=16, dtype=torch.float32):
    return torch.randn(B, Hq, L, E, dtype=dtype), torch.randn(B, Hkv, S, E, dtype=dtype), torch.randn(B, Hkv, S, E, dtype=dtype)


def agrees(function, *args, backend="aot_eager", **tolerance):
    """The compiled function gives what the function gives."""
    with torch.no_grad():
        eager = function(*args)
        compiled = torch.compile(function, fullgraph=True, backend=backend)(*args)
    torch.testing.assert_close(compiled, eager, **tolerance)
    return compiled


def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx


@pytest.mark.parametrize("backend", BACKENDS)
def test_mods_that_capture_what_exists_inside_the_graph_only(backend):
    def model(q, k, v, bias, slope):
        doubled = bias * 2

        def score_mod(score, b, h, q_idx, kv_idx):
            return score * slope + doubled[h] * (q_idx - kv_idx)

        return flex_attention(q + 1, k, v, score_mod=score_mod, enable_gqa=True).relu()

    agrees(model, *operands(), torch.randn(4), 0.5, backend=backend, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_module_and_a_block_mask_from_outside(backend):
    documents = torch.arange(33) // 7

    def same_document(b, h, q_idx, kv_idx):
        return documents[q_idx] == documents[kv_idx]

    class Attention(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.proj = torch.nn.Linear(16, 48)
            self.register_buffer("slopes", torch.rand(1))

        def forward(self, x, block_mask):
            q, k, v = self.proj(x).view(*x.shape[:2], 3, 1, 16).permute(2, 0, 3, 1, 4)
            out = flex_attention(q, k, v, lambda score, b, h, q_idx, kv_idx: score - self.slopes[h] * (q_idx - kv_idx), block_mask)
            return out.transpose(1, 2).reshape(x.shape)

    block_mask = create_block_mask(and_masks(causal, same_document), None, None, 33, 33, BLOCK_SIZE=16)
    agrees(Attention(), torch.randn(2, 33, 16), block_mask, backend=backend, rtol=1e-4, atol=1e-5)


def test_a_block_mask_made_inside():
    def model(q, k, v, window):
        block_mask = create_block_mask(lambda b, h, q_idx, kv_idx: (q_idx >= kv_idx) & (q_idx - kv_idx < window), None, None, q.shape[2], k.shape[2])
        return flex_attention(q, k, v, block_mask=block_mask, enable_gqa=True)

    agrees(model, *operands(), 5)


def test_a_block_mask_of_lists_decides():
    """A block that is in no list is not looked at, whatever the mask_mod says."""
    counts, indices = torch.tensor([[[1, 1, 2]]], dtype=torch.int32), torch.tensor([[[[0, 1, 2], [0, 1, 2], [0, 2, 1]]]], dtype=torch.int32)
    block_mask = BlockMask.from_kv_blocks(counts, indices, BLOCK_SIZE=16, mask_mod=causal, seq_lengths=(48, 48))
    q, k, v = operands(L=48, S=48)

    def model(q, k, v):
        return flex_attention(q, k, v, block_mask=block_mask, enable_gqa=True)

    out = agrees(model, q, k, v)
    whole = flex_attention(q, k, v, block_mask=create_block_mask(causal, None, None, 48, 48), enable_gqa=True)
    assert not torch.allclose(out, whole)


def test_text_and_mods():
    q, k, v = operands()
    bias = torch.randn(4)
    mod = attnjit.Mod("score + bias[h] * power", captures={"bias": bias, "power": 2.0})

    def model(q, k, v):
        first = flex_attention(q, k, v, score_mod="score * 0.5", enable_gqa=True)
        return flex_attention(first, k, v, score_mod=mod, block_mask=create_block_mask("q_idx >= kv_idx", None, None, 33, 33), enable_gqa=True)

    agrees(model, q, k, v)


def test_statistics():
    def model(q, k, v):
        out, aux = flex_attention(q, k, v, enable_gqa=True, return_aux=AuxRequest(lse=True, max_scores=True))
        return out, aux.lse, aux.max_scores

    agrees(model, *operands())


@pytest.mark.parametrize("transposed", [False, True])
def test_out_lies_in_memory_as_it_does_eagerly(transposed):
    q, k, v = operands()
    if transposed:
        q = q.transpose(1, 2).contiguous().transpose(1, 2)

    def model(q, k, v):
        return flex_attention(q, k, v, enable_gqa=True)

    assert agrees(model, q, k, v).stride() == model(q, k, v).stride()


def test_numbers_do_not_recompile():
    """A changed number costs one recompile at most, in which PyTorch learns that it changes; attnjit compiles nothing for it."""

    def model(q, k, v, scale, window):
        def score_mod(score, b, h, q_idx, kv_idx):
            return score * scale

        block_mask = create_block_mask(lambda b, h, q_idx, kv_idx: q_idx - kv_idx < window, None, None, 33, 33)
        return flex_attention(q, k, v, score_mod, block_mask, enable_gqa=True)

    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    given = operands()
    with torch.no_grad():
        for step in range(2):
            compiled(*given, 0.5 + step, 3 + step)
            model(*given, 0.5 + step, 3 + step)
        kernels = attnjit.engine().counters()["compiles"]
        for step in range(2, 8):
            torch.testing.assert_close(compiled(*given, 0.5 + step, 3 + step), model(*given, 0.5 + step, 3 + step))
    assert counters["stats"]["unique_graphs"] <= 2
    assert attnjit.engine().counters()["compiles"] == kernels


def test_lengths_do_not_recompile():
    def model(q, k, v):
        return flex_attention(q, k, v, lambda score, b, h, q_idx, kv_idx: score - (q_idx - kv_idx), enable_gqa=True)

    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        for length in (17, 29, 31, 40, 57):
            given = operands(L=length, S=length + 3)
            torch.testing.assert_close(compiled(*given), model(*given))
    assert counters["stats"]["unique_graphs"] <= 2


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients(mode):
    q, k, v = (tensor.requires_grad_() for tensor in operands())
    with mode():
        eager = flex_attention(q, k, v, enable_gqa=True)
        compiled = torch.compile(lambda *given: flex_attention(*given, enable_gqa=True), fullgraph=True, backend="aot_eager")(q, k, v)
    assert not eager.requires_grad and not compiled.requires_grad
    torch.testing.assert_close(compiled, eager)


@pytest.mark.parametrize("compiled", [False, True])
def test_autocast(compiled):
    """As PyTorch: query, key and value in the dtype of autocast, captured tensors as they are."""
    bias = torch.randn(4)

    def model(q, k, v):
        return flex_attention(q, k, v, lambda score, b, h, q_idx, kv_idx: score + bias[h], enable_gqa=True)

    given = operands()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out = torch.compile(model, fullgraph=True, backend="aot_eager")(*given) if compiled else model(*given)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, model(*(tensor.bfloat16() for tensor in given)))


@pytest.mark.parametrize("which", ["query", "capture"])
def test_gradients_are_refused_clearly(which):
    q, k, v = operands()
    bias = torch.randn(4, requires_grad=which == "capture")
    q.requires_grad_(which == "query")

    def model(q, k, v):
        return flex_attention(q, k, v, lambda score, b, h, q_idx, kv_idx: score + bias[h], enable_gqa=True)

    with pytest.raises(NotImplementedError, match="no backward pass"):
        model(q, k, v)
    with pytest.raises(Exception, match="no backward pass"):
        torch.compile(model, fullgraph=True, backend="aot_eager")(q, k, v)


def test_mistakes_are_told_as_eagerly():
    q, k, v = operands()
    with pytest.raises(Exception, match="enable_gqa=True"):
        torch.compile(lambda *given: flex_attention(*given), fullgraph=True, backend="aot_eager")(q, k, v)


def test_make_fx_and_export():
    from torch.fx.experimental.proxy_tensor import make_fx

    q, k, v = operands()
    bias = torch.randn(4)

    def model(q, k, v, bias):
        return flex_attention(q, k, v, lambda score, b, h, q_idx, kv_idx: score + bias[h], enable_gqa=True)

    class Module(torch.nn.Module):
        def forward(self, q, k, v, bias):
            return model(q, k, v, bias)

    with torch.no_grad():
        expected = model(q, k, v, bias)
        for mode in ("real", "fake", "symbolic"):
            graph = make_fx(model, tracing_mode=mode)(q, k, v, bias)
            assert any("attnjit.flex_attention" in str(node.target) for node in graph.graph.nodes), mode
            torch.testing.assert_close(graph(q, k, v, bias), expected)
        for strict in (False, True):
            program = torch.export.export(Module(), (q, k, v, bias), strict=strict)
            torch.testing.assert_close(program.module()(q, k, v, bias), expected)


def test_the_operator_keeps_the_rules_of_operators():
    q, k, v = operands()
    bias = torch.randn(4)
    formulas = json.dumps([["score_mod", "score + bias[h] * n", {"bias": "tensor", "n": "float"}], ["mask_mod", "q_idx >= kv_idx", {}]])
    given = (q, k, v, formulas, [bias], [], [], [2.0], [], [], 0.25,
             '{"kernel_options": {}, "lse": true, "max_scores": false}')
    with torch.no_grad():
        torch.library.opcheck(torch.ops.attnjit.flex_attention.default, given, test_utils=("test_schema", "test_faketensor"))


def test_a_program_that_ends_is_quiet():
    """PyTorch holds registered operators longer than Python lives; nobody is told of leaks."""
    program = "import torch, attnjit.torch_ops; q = torch.randn(1, 1, 4, 8); attnjit.attention(q, q, q, score_mod='score * 2.0')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
