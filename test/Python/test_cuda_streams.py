"""Tensors on a GPU: streams, graphs, devices, torch.compile, memory and errors. Also a program: `python test_cuda_streams.py`."""
import gc
import importlib.util
import sys

import pytest

torch = pytest.importorskip("torch")

import attnjit
from attnjit.nn.attention.experimental._paged_attention import PagedAttention
from attnjit.nn.attention.experimental._scaled_dot_product_attention_quantized import _scaled_dot_product_attention_quantized
from attnjit.nn.attention.flex_attention import create_block_mask, flex_attention
from attnjit.nn.attention.varlen import varlen_attn
from attnjit.nn.functional import scaled_dot_product_attention
from cuda_tools import close, operands, reference, sleep


def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx


SLOPES = torch.tensor([0.5, 0.25, 0.125, 0.0625], device="cuda")
IDS = (torch.arange(300) // 90).to("cuda")


def alibi(score, b, h, q_idx, kv_idx):
    return score + SLOPES[h] * (kv_idx - q_idx)


def documents(b, h, q_idx, kv_idx):
    return IDS[q_idx] == IDS[kv_idx]


def paged(query, key, value):
    """attend() over pages that assign() has filled, both on the current stream; positions are read in host memory."""
    books = PagedAttention(40, 16, 2, device="cuda")
    caches = [torch.zeros(1, key.shape[1], 640, key.shape[-1], device="cuda", dtype=key.dtype) for _ in range(2)]
    for batch in (0, 1):
        books.reserve(batch, 300)
    books.assign([0, 1], torch.arange(300).expand(2, -1), key, value, *caches)
    return books.attend(query, *caches, [0, 1], torch.tensor([300, 300]))


def varlen(query, key, value):
    starts = torch.tensor([0, 300, 600])
    return varlen_attn(*(x.transpose(1, 2).flatten(0, 1) for x in (query, key, value)), starts, starts, 300, 300).unflatten(0, (2, 300)).transpose(1, 2)


def quantized(query, key, value):
    return _scaled_dot_product_attention_quantized(query, key, value)


MASK = create_block_mask(causal, None, None, 300, 300, device="cuda")
DOCUMENTS = create_block_mask(documents, None, None, 300, 300)
# what is called, and the same for the reference
CALLS = {
    "plain": (flex_attention, {}),
    "score_mod": (lambda q, k, v: flex_attention(q, k, v, alibi), {"score_mod": alibi}),
    "block_mask": (lambda q, k, v: flex_attention(q, k, v, block_mask=MASK), {"mask_mod": causal}),
    "documents": (lambda q, k, v: flex_attention(q, k, v, alibi, DOCUMENTS), {"score_mod": alibi, "mask_mod": documents}),
    "attention": (lambda q, k, v: attnjit.attention(q, k, v, mask_mod=causal), {"mask_mod": causal}),
    "sdpa": (lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=True), {"mask_mod": causal}),
    "quantized": (quantized, {}),
    "varlen": (varlen, {}),
    "pages": (paged, {}),
}
each_call = pytest.mark.parametrize("name", CALLS)


@pytest.fixture(autouse=True)
def no_wait_is_left_over():
    yield
    torch.cuda.synchronize()


# --- streams


@each_call
def test_calls_are_in_the_order_of_the_current_stream(name):
    """What the stream is still at when the call is made has happened before it: operands that a slow stream writes, results that it reads."""
    call, what = CALLS[name]
    real = operands(dtype=torch.bfloat16)
    call(*real)  # compiled
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    late = [torch.zeros_like(x) for x in real]
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        sleep()
        for zeros, x in zip(late, real):
            zeros.copy_(x)
        out = call(*late)
        assert not stream.query(), "the call waited for its stream"
        copied = out + 0
        for x in late:
            x.zero_()
    stream.synchronize()
    expected = reference(*real, **what)[0]
    close(out, expected), close(copied, expected)


def test_two_streams_at_once():
    streams, inputs, outs = [torch.cuda.Stream() for _ in range(4)], [operands(dtype=torch.bfloat16, seed=i) for i in range(4)], []
    torch.cuda.synchronize()
    for stream, each in zip(streams, inputs):
        with torch.cuda.stream(stream):
            outs.append([CALLS["documents"][0](*each) for _ in range(5)][-1])
    torch.cuda.synchronize()
    for out, each in zip(outs, inputs):
        close(out, reference(*each, **CALLS["documents"][1])[0])


def test_an_event_orders_two_streams():
    real = operands(dtype=torch.bfloat16)
    first, second, event = torch.cuda.Stream(), torch.cuda.Stream(), torch.cuda.Event()
    late = [torch.zeros_like(x) for x in real]
    torch.cuda.synchronize()
    with torch.cuda.stream(first):
        sleep()
        for zeros, x in zip(late, real):
            zeros.copy_(x)
        event.record()
    with torch.cuda.stream(second):
        second.wait_event(event)
        out = flex_attention(*late, alibi)
    second.synchronize()
    close(out, reference(*real, alibi)[0])


def test_memory_of_captured_tensors_may_end_after_the_call():
    query, key, value = operands(dtype=torch.bfloat16)
    biases = [torch.randn(4, 300, 300, device="cuda") for _ in range(3)]
    outs = []
    for bias in biases:
        mine = bias.clone()
        outs.append(flex_attention(query, key, value, lambda score, b, h, q, kv: score + mine[h, q, kv]))
        del mine
        torch.full((4, 300, 300), 1e9, device="cuda")  # takes the memory again, behind the call
    for bias, out in zip(biases, outs):
        close(out, reference(query, key, value, lambda score, b, h, q, kv: score + bias[h, q, kv])[0])


# --- CUDA graphs


@each_call
def test_cuda_graphs(name):
    call, what = CALLS[name]
    inputs = operands(dtype=torch.bfloat16)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call(*inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call(*inputs)
    for seed in (1, 2):
        for x, new in zip(inputs, operands(dtype=torch.bfloat16, seed=seed)):
            x.copy_(new)
        graph.replay()
        close(out, reference(*inputs, **what)[0])


def test_what_has_to_be_read_on_the_host_is_refused_in_a_capture():
    query, key, value = (x.transpose(1, 2).flatten(0, 1) for x in operands(dtype=torch.bfloat16))
    starts = torch.tensor([0, 300, 600], device="cuda")
    varlen_attn(query, key, value, starts, starts, 300, 300)
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        with pytest.raises(RuntimeError, match="cannot capture: give lengths in host memory"):
            varlen_attn(query, key, value, starts, starts, 300, 300)
        with pytest.raises(RuntimeError, match="make block masks before the capture"):
            create_block_mask(documents, None, None, 300, 300)


# --- torch.compile


needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton")


@needs_triton
@pytest.mark.parametrize("mode", [None, "reduce-overhead"])
@pytest.mark.parametrize("mask", [None, MASK, DOCUMENTS], ids=["full", "causal", "documents"])
def test_torch_compile(mode, mask):
    torch._dynamo.reset()

    @torch.compile(fullgraph=True, mode=mode)
    def layer(query, key, value, slopes):
        out = flex_attention(query * 2, key, value, lambda score, b, h, q_idx, kv_idx: score + slopes[h] * (kv_idx - q_idx), mask)
        return out + 1

    with torch.no_grad():
        for seed in range(3):
            query, key, value = operands(dtype=torch.bfloat16, seed=seed)
            out = layer(query, key, value, SLOPES).clone()
            close(out - 1, reference(query * 2, key, value, alibi, None if mask is None else mask.mask_mod)[0])


@needs_triton
def test_torch_compile_with_lists():
    from attnjit.nn.attention.flex_attention import BlockMask

    torch._dynamo.reset()
    mask = BlockMask.from_kv_blocks(MASK.kv_num_blocks, MASK.kv_indices, MASK.full_kv_num_blocks, MASK.full_kv_indices, 128, causal, (300, 300))
    layer = torch.compile(lambda query, key, value: flex_attention(query, key, value, block_mask=mask) + 1, fullgraph=True)
    query, key, value = operands(dtype=torch.bfloat16)
    close(layer(query, key, value) - 1, reference(query, key, value, mask_mod=causal)[0])


@needs_triton
def test_pytorchs_own_masks():
    from torch.nn.attention import flex_attention as theirs

    torch._dynamo.reset()
    mask = theirs.create_block_mask(documents, None, None, 300, 300, device="cuda")
    query, key, value = operands(dtype=torch.bfloat16)
    expected = reference(query, key, value, alibi, documents)[0]
    close(flex_attention(query, key, value, alibi, mask), expected)
    close(torch.compile(lambda query, key, value: flex_attention(query, key, value, alibi, mask), fullgraph=True)(query, key, value), expected)


def test_models_of_transformers():
    transformers = pytest.importorskip("transformers")
    import attnjit.transformers  # noqa: F401  registers the name

    sizes = dict(vocab_size=97, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16, pad_token_id=0,
                 bos_token_id=1, eos_token_id=None, tie_word_embeddings=False)
    configs = [transformers.LlamaConfig(**sizes), transformers.MistralConfig(**sizes, sliding_window=7)]
    if hasattr(transformers, "GptOssConfig"):
        configs.append(transformers.GptOssConfig(**sizes, sliding_window=8, num_local_experts=2, num_experts_per_tok=1))
    ids = torch.randint(2, 97, (3, 23), generator=torch.Generator().manual_seed(1))
    seen = (torch.arange(23) >= torch.tensor([[0], [12], [18]])).long()
    for config in configs:
        tokens = []
        for implementation in ("eager", "attnjit"):
            torch.manual_seed(0)
            model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=implementation).eval().cuda()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.normal_(0, 0.3)
            tokens.append(model.generate((ids * seen).cuda(), attention_mask=seen.cuda(), max_new_tokens=15, do_sample=False))
        assert torch.equal(*tokens), type(config).__name__


# --- other libraries


def test_cupy():
    cupy = pytest.importorskip("cupy")
    query, key, value = (cupy.asarray(x) for x in operands())
    stream = cupy.cuda.Stream(non_blocking=True)
    expected = reference(*map(torch.from_dlpack, (query, key, value)), alibi)[0]
    slopes = cupy.asarray(SLOPES)
    mod = attnjit.Mod("score + slopes[h] * (kv_idx - q_idx)", captures={"slopes": slopes})
    flex_attention(query, key, value, mod)
    late = cupy.zeros_like(query)
    cupy.cuda.Device().synchronize()
    with stream, torch.cuda.stream(torch.cuda.ExternalStream(stream.ptr)):
        sleep()
        late[:] = query
        out = flex_attention(late, key, value, mod)
        assert isinstance(out, cupy.ndarray) and not stream.done
    stream.synchronize()
    close(torch.from_dlpack(out), expected)


def test_arrays_of_another_library_are_waited_for():
    """The producer of a DLPack array makes the stream that reads it wait."""
    cupy = pytest.importorskip("cupy")
    query, key, value = operands()
    flex_attention(query, cupy.asarray(key), value)
    theirs, ours = torch.cuda.Stream(), torch.cuda.Stream()
    late = cupy.zeros(key.shape, cupy.float32)
    torch.cuda.synchronize()
    with cupy.cuda.ExternalStream(theirs.cuda_stream):
        with torch.cuda.stream(theirs):
            sleep()
        late[:] = cupy.asarray(key)
        with torch.cuda.stream(ours):
            out = flex_attention(query, late, value)
    ours.synchronize()
    close(out, reference(query, key, value)[0])


def test_autocast():
    query, key, value = operands()
    with torch.autocast("cuda", torch.bfloat16):
        out, sdpa = flex_attention(query, key, value), scaled_dot_product_attention(query, key, value)
    assert out.dtype == sdpa.dtype == torch.bfloat16
    close(out, reference(query, key, value)[0]), close(sdpa, reference(query, key, value)[0])


# --- devices, memory, errors


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_another_gpu_than_the_current_one():
    inputs = operands(dtype=torch.bfloat16, device="cuda:1")
    assert torch.cuda.current_device() == 0
    slopes = SLOPES.to("cuda:1")
    out = flex_attention(*inputs, lambda score, b, h, q, kv: score + slopes[h] * (kv - q))
    assert out.device == inputs[0].device and torch.cuda.current_device() == 0
    close(out, reference(*inputs, lambda score, b, h, q, kv: score + slopes[h] * (kv - q))[0])
    close(scaled_dot_product_attention(*inputs), reference(*inputs)[0])
    with pytest.raises(ValueError, match="another GPU"):
        flex_attention(*inputs, alibi)


def test_memory_is_flat():
    inputs = operands(dtype=torch.bfloat16)

    def run(times):
        for _ in range(times):
            for name in ("documents", "sdpa", "varlen"):
                CALLS[name][0](*inputs)
        torch.cuda.synchronize()
        gc.collect()
        return torch.cuda.memory_allocated(), torch.cuda.mem_get_info()[0]

    allocated, free = run(20)
    later, free_later = run(300)
    assert later == allocated and free - free_later < 8 << 20


def test_an_engine_for_the_gpu():
    query, key, value = operands(dtype=torch.bfloat16, D=128)
    report = attnjit.explain(query, key, value)
    assert report.chosen == "FLASH_ATTENTION", report.text()
    kernel = attnjit.prepare(query, key, value)
    assert ".target sm_" in kernel.ptx
    assert attnjit.engine(0).target.startswith("sm_")


def test_errors():
    query, key, value = operands()
    with pytest.raises(ValueError, match="same device type"):
        flex_attention(query, key.cpu(), value)
    with pytest.raises(ValueError, match="key lies in host memory and query on a GPU"):
        attnjit.attention(query, key.cpu(), value)
    with pytest.raises(RuntimeError, match="key lies in host memory and query on a GPU"):
        scaled_dot_product_attention(query, key.cpu(), value)
    with pytest.raises(ValueError, match="SLOPES lies on a GPU and query in host memory"):
        flex_attention(query.cpu(), key.cpu(), value.cpu(), alibi)
    with pytest.raises(ValueError, match="IDS lies on a GPU and query in host memory"):
        flex_attention(query.cpu(), key.cpu(), value.cpu(), block_mask=DOCUMENTS)
    with pytest.raises(RuntimeError, match="attn_mask lies on a GPU and query in host memory"):
        scaled_dot_product_attention(query.cpu(), key.cpu(), value.cpu(), torch.zeros(300, 300, device="cuda"))
    with pytest.raises(NotImplementedError, match="query requires a gradient"):
        flex_attention(query.requires_grad_(), key, value)
    with pytest.raises(ValueError, match="on meta"):
        flex_attention(*(x.detach().to("meta") for x in (query, key, value)))


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-v", "-rs", "-p", "no:cacheprovider", *sys.argv[1:]]))
