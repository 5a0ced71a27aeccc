"""Tiny models with random weights generate the same tokens with attnjit as with Transformers' own eager attention."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import attnjit.transformers  # noqa: E402,F401  registers the name

TINY = dict(vocab_size=97, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
            max_position_embeddings=256, pad_token_id=0, bos_token_id=1, eos_token_id=None, tie_word_embeddings=False)
MODELS = {
    "llama": lambda: transformers.LlamaConfig(**TINY),
    "mistral": lambda: transformers.MistralConfig(**TINY, sliding_window=7),
    "gemma2": lambda: transformers.Gemma2Config(**TINY, sliding_window=9, attn_logit_softcapping=2.0, query_pre_attn_scalar=16),
    "gpt_oss": lambda: transformers.GptOssConfig(**TINY, sliding_window=8, num_local_experts=2, num_experts_per_tok=1),
}


def make(name, implementation, **options):
    torch.manual_seed(0)
    config = MODELS[name]()
    for option, value in options.items():
        setattr(config, option, value)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=implementation).eval()
    with torch.no_grad():  # wide enough that softmax and softcap matter, and that sinks are not all zero
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    return model


def prompt(lengths):
    torch.manual_seed(1)
    width = max(lengths)
    ids = torch.randint(2, 97, (len(lengths), width))
    seen = torch.stack([torch.arange(width) >= width - length for length in lengths]).long()  # padded on the left, as generate() wants it
    return {"input_ids": ids * seen, "attention_mask": seen}


@pytest.mark.parametrize("lengths", [(23,), (23, 11, 5)], ids=["one", "padded"])
@pytest.mark.parametrize("name", MODELS)
def test_same_tokens_as_eager(name, lengths):
    given = prompt(lengths)
    tokens = {}
    for implementation in ("eager", "attnjit"):
        tokens[implementation] = make(name, implementation).generate(**given, max_new_tokens=20, do_sample=False)
    assert len(set(tokens["eager"][0, -20:].tolist())) > 3, "a model that repeats one token shows nothing"
    assert torch.equal(tokens["eager"], tokens["attnjit"])


@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_caches_of_a_fixed_length(name):
    """generate() makes their masks ahead of the model, for more keys than there are yet."""
    given = prompt((23, 11))
    tokens = [make(name, implementation).generate(**given, max_new_tokens=12, do_sample=False, cache_implementation="static", disable_compile=True)
              for implementation in ("eager", "attnjit")]
    assert torch.equal(*tokens)


@pytest.mark.parametrize("name", MODELS)
def test_a_compiled_model(name):
    """Without a graph break, masks included."""
    given = prompt((19, 8))
    visible = given["attention_mask"].bool()
    model = make(name, "attnjit")
    with torch.no_grad():
        whole = torch.compile(model, fullgraph=True, backend="aot_eager")(**given, use_cache=False).logits
        torch.testing.assert_close(whole[visible], model(**given, use_cache=False).logits[visible], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_same_logits_as_eager(name):
    given = prompt((19, 8))
    with torch.no_grad():
        eager, ours = (make(name, implementation)(**given).logits for implementation in ("eager", "attnjit"))
    visible = given["attention_mask"].bool()
    torch.testing.assert_close(ours[visible], eager[visible], rtol=2e-4, atol=2e-4)


def test_masks_that_come_as_tensors():
    """A prepared mask [B, 1, L, S], of bools and of floats."""
    from attnjit.transformers import attention_forward

    torch.manual_seed(0)
    q, k, v = torch.randn(2, 4, 9, 16), torch.randn(2, 2, 9, 16), torch.randn(2, 2, 9, 16)
    visible = torch.rand(2, 1, 9, 9) < 0.7
    visible |= torch.eye(9, dtype=torch.bool)
    added = torch.zeros(2, 1, 9, 9).masked_fill(~visible, float("-inf"))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=visible, enable_gqa=True).transpose(1, 2)
    for mask in (visible, added):
        ours, weights = attention_forward(torch.nn.Module(), q, k, v, mask)
        assert weights is None
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_position_bias_broadcasts():
    from attnjit.transformers import attention_forward

    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, 7, 16) for _ in range(3))
    bias = torch.randn(1, 4, 7, 7)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2)
    torch.testing.assert_close(attention_forward(torch.nn.Module(), q, k, v, None, position_bias=bias)[0], expected, rtol=1e-5, atol=1e-5)


def test_dropout_is_refused():
    from attnjit.transformers import attention_forward

    q = torch.randn(1, 1, 4, 16)
    with pytest.raises(ValueError, match="inference"):
        attention_forward(torch.nn.Module(), q, q, q, None, dropout=0.1)


def test_decoding_compiles_nothing_new():
    """The mask of a step is the formula of the step before with another offset."""
    import attnjit

    model = make("mistral", "attnjit")
    given = prompt((12,))
    model.generate(**given, max_new_tokens=4, do_sample=False)
    before = attnjit.engine().counters()["compiles"]
    model.generate(**given, max_new_tokens=16, do_sample=False)
    assert attnjit.engine().counters()["compiles"] == before
