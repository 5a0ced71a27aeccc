"""attnjit as an `attn_implementation` of the Transformers library.

    import attnjit.transformers                                   # registers the name
    model = AutoModelForCausalLM.from_pretrained(..., attn_implementation="attnjit")

Masks stay formulas: of causal, sliding and chunked masks, padding and packed sequences no matrix is ever built, and a decoding step, which sees the
same formula with another offset, compiles nothing. Grouped heads, softcaps, position biases and attention sinks are computed on every machine.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

import torch
from torch.nn.attention.flex_attention import BlockMask as TorchBlockMask
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import add_offsets_to_mask_function, and_masks, causal_mask_function, padding_mask_function, prepare_padding_mask

from attnjit.nn.attention.flex_attention import BlockMask, attend, check_operands, create_block_mask

__all__ = ["NAME", "Mask", "attention_forward", "attention_mask", "register"]

NAME = "attnjit"


class Mask(TorchBlockMask):
    """A BlockMask of attnjit [B, H, L, S] on its way through a model: by this type Transformers knows a mask that is already made. PyTorch's tensors of blocks are not
    there; `block_mask` has them."""

    def __init__(self, block_mask: BlockMask):
        self.block_mask = block_mask

    @property
    def shape(self) -> tuple[int, ...]:
        """[B, H, L, S]; a 1 serves all."""
        return self.block_mask.shape

    def __repr__(self) -> str:
        return f"Mask({self.block_mask!r})"

    def __str__(self) -> str:
        return str(self.block_mask)

    def to(self, device: Any) -> Mask:
        """The same mask: it is a formula, and lies nowhere."""
        return self


def attention_forward(module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any,
                      dropout: float = 0.0, scaling: Optional[float] = None, softcap: Optional[float] = None,
                      s_aux: Optional[torch.Tensor] = None, position_bias: Optional[torch.Tensor] = None,
                      **kwargs: Any) -> tuple[torch.Tensor, None]:
    """One layer's attention, as Transformers calls it.

    query [B, Hq, L, E], key [B, Hkv, S, E], value [B, Hkv, S, Ev]; `attention_mask` is what :func:`attention_mask` made, a tensor that
    broadcasts to [B, Hq, L, S] (bool: True is visible; float: added), or None. `softcap` and the sinks `s_aux` [Hq] are those of Gemma and
    gpt-oss, `position_bias` broadcasts to [B, Hq, L, S]. Answers ([B, L, Hq, Ev], None): weights are never formed.
    """
    if dropout > 0:
        raise ValueError("attn_implementation='attnjit' is for inference and has no dropout: call model.eval(), or set attention_dropout to 0 in the "
                         "model's config")
    if isinstance(attention_mask, Mask):
        attention_mask = attention_mask.block_mask
    block_mask = attention_mask if isinstance(attention_mask, BlockMask) else None
    score_mod = _score_mod(query, key, softcap, attention_mask if block_mask is None else None, position_bias)
    check_operands(query, key, value, enable_gqa=True)
    out, _, _ = attend(query, key, value, score_mod, block_mask, scaling, sinks=s_aux)
    return out.transpose(1, 2).contiguous(), None


def attention_mask(batch_size: int, q_length: int, kv_length: int, q_offset: Any = 0, kv_offset: int = 0,
                   mask_function: Callable[..., Any] = causal_mask_function, attention_mask: Optional[torch.Tensor] = None,
                   device: Any = "cpu", **kwargs: Any) -> Mask:
    """The mask of a forward pass, [batch_size, 1, q_length, kv_length], from Transformers' `mask_function` over absolute
    positions; query i stands at q_offset + i, key j at kv_offset + j. `attention_mask` [batch_size, seen] is False for padding."""
    padding = prepare_padding_mask(attention_mask, kv_length, kv_offset)
    # Inside a graph nobody can look whether there is padding.
    if padding is not None and (torch.compiler.is_compiling() or not bool(padding.all())):
        mask_function = and_masks(mask_function, padding_mask_function(padding))
    mask_mod = add_offsets_to_mask_function(mask_function, q_offset, kv_offset)
    return Mask(create_block_mask(mask_mod, batch_size, None, q_length, kv_length, device=str(device)))


def register(name: str = NAME) -> None:
    """Makes `attn_implementation=name` known to Transformers; importing this module has done so for "attnjit"."""
    AttentionInterface.register(name, attention_forward)
    AttentionMaskInterface.register(name, attention_mask)


def _score_mod(query: torch.Tensor, key: torch.Tensor, softcap: Optional[float], *biases: Optional[torch.Tensor]) -> Optional[Callable[..., Any]]:
    """What happens to a score: the cap, then the biases, in the order of Transformers' eager attention; None where nothing does."""
    scores = (*query.shape[:3], key.shape[2])
    tensors = [bias[..., : key.shape[2]].expand(scores) for bias in biases if bias is not None]
    if softcap is None and not tensors:
        return None

    def score_mod(score: Any, b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        if softcap is not None:
            score = softcap * torch.tanh(score / softcap)
        for tensor in tensors:
            term = tensor[b, h, q_idx, kv_idx]
            score = torch.where(term, score, float("-inf")) if tensor.dtype == torch.bool else score + term
        return score

    return score_mod


register()
