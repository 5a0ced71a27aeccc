"""How the tracer refuses: the user's own line, why, and what to write instead."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from attnjit._trace import TraceError, trace  # noqa: E402

SIZE = 3
SLOPES = torch.tensor([0.5, 0.25, 2.0], dtype=torch.float64)

REFUSED = {
    "bound of range": (lambda score, b, h, q, kv: sum(score for _ in range(q)), "needs a number that is known", "capture a tensor"),
    "index of a list": (lambda score, b, h, q, kv: score + [1.0, 2.0, 3.0][h], "needs a number that is known", "torch.where"),
    "key": (lambda score, b, h, q, kv: score + {0: 1.0}[h], "cannot be a key", "torch.where"),
    "softmax": (lambda score, b, h, q, kv: torch.softmax(score, -1), "no function 'softmax'", "attention's own"),
    "method": (lambda score, b, h, q, kv: score.cholesky(), "'cholesky' is nothing", "docs/language.md"),
    "half": (lambda score, b, h, q, kv: score.half(), "'half' is nothing", "drop the cast"),
    "to half": (lambda score, b, h, q, kv: score.to(torch.float16), "has no float16", "drop the cast"),
    "draw": (lambda score, b, h, q, kv: score + torch.rand_like(score), "no function 'rand_like'", "attnjit.rand(seed, offset)"),
    "index of a number": (lambda score, b, h, q, kv: score[0], "a single number has no elements", "leave an index out"),
    "too many indices": (lambda score, b, h, q, kv: score + SLOPES[h, q], "2 indices for 1 dimensions", "leave an index out"),
    "float index": (lambda score, b, h, q, kv: score + SLOPES[q / 2], "an index must be an int, found a float", "'//'"),
    "a row": (lambda score, b, h, q, kv: score + SLOPES, "a tensor of 1 dimensions", "index or reduce it"),
    "truth of a row": (lambda score, b, h, q, kv: score if SLOPES > 0 else -score, "ambiguous", ".any() or .all()"),
    "minus a bool": (lambda score, b, h, q, kv: score + -(q > kv), "'-' of a bool", "~x"),
    "assignment": (lambda score, b, h, q, kv: score.__setitem__(0, 1), "cannot be assigned", "torch.where"),
    "table of run-time values": (lambda score, b, h, q, kv: torch.tensor([score, score])[h], "makes no tensors of run-time values", "capture a tensor"),
    "nothing": (lambda score, b, h, q, kv: None, "returns nothing", "return"),
    "a pair": (lambda score, b, h, q, kv: (score, score), "returns a tuple", "return"),
    "few arguments": (lambda score, b, h: score, "called with score, b, h, q_idx, kv_idx", "any names"),
    "large int": (lambda score, b, h, q, kv: score + (q & 2 ** 70), "more than 64 bits", "64 bits"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal(name):
    mod, why, cure = REFUSED[name]
    with pytest.raises(TraceError) as caught:
        trace(mod, "score_mod")
    message = str(caught.value)
    assert why in message and cure in message
    assert f'File "{__file__}", line {mod.__code__.co_firstlineno}' in message
    assert isinstance(caught.value, TypeError) and isinstance(caught.value, NotImplementedError)


def test_refusals_of_other_things():
    with pytest.raises(TraceError, match="a callable or a text, found int"):
        trace(3, "score_mod")
    with pytest.raises(ValueError, match="kind is one of"):
        trace(lambda b, h, q, kv: q >= kv, "mask")
    with pytest.raises(ZeroDivisionError):
        trace(lambda score, b, h, q, kv: score + 1 // (SIZE - SIZE), "score_mod")
    with pytest.raises(NameError):
        trace(lambda score, b, h, q, kv: no_such_name, "score_mod")  # noqa: F821
    with pytest.raises(TraceError, match="complex"):
        table = torch.zeros(3, dtype=torch.complex64)
        trace(lambda score, b, h, q, kv: score + table[h], "score_mod")


def test_error_shows_the_caret():
    with pytest.raises(TraceError) as caught:
        trace(lambda score, b, h, q, kv: score + torch.softmax(score, -1), "score_mod")
    *_, code, caret, cure = str(caught.value).splitlines()
    start = caret.index("^")
    assert code[start:start + len("torch.softmax(score, -1)")] == "torch.softmax(score, -1)"


def test_what_the_parser_says_leads_to_the_users_line():
    pytest.importorskip("attnjit")
    table = torch.zeros(3, 4)

    def mod(score, b, h, q_idx, kv_idx):
        row = table[h]
        return score + row.flatten(3)[0]

    with pytest.raises(TraceError) as caught:
        trace(mod, "score_mod")
    assert f"line {mod.__code__.co_firstlineno + 2}" in str(caught.value) and "row.flatten(3)" in str(caught.value)
