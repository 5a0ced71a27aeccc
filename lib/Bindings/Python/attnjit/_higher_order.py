"""The higher order operator that carries score_mods through Dynamo; torch_ops.py says why.

This is the one place that reaches into PyTorch's private parts: the registry that tells Dynamo how to trace functions as operands. PyTorch's own
flex_attention registers there too, and its way of tracing mods is taken as it is.
"""

from __future__ import annotations

import keyword
import re
from typing import Any, Callable, Optional
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch._dynamo.variables import higher_order_ops as dynamo
from torch._ops import HigherOrderOperator
from torch._subclasses import FakeTensorMode
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode
from torch.utils._python_dispatch import _disable_current_modes

from ._trace import trace
from .torch_ops import Blocks, Formula, call

_NAME = "attnjit_flex_attention"


class _HigherOrder(HigherOrderOperator):
    def __init__(self) -> None:
        super().__init__(_NAME, cacheable=True)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, score_mod: Callable[..., Any], block_mask: tuple[Any, ...], scale: Optional[float], options: dict[str, Any],
                 score_operands: tuple[Any, ...] = (), mask_operands: tuple[Any, ...] = ()) -> tuple[Tensor, Tensor, Tensor]:
        return super().__call__(query, key, value, score_mod, block_mask, scale, options, score_operands, mask_operands)


higher_order = _HigherOrder()


class _Variable(dynamo.FlexAttentionHigherOrderVariable):
    """How Dynamo traces a call: as PyTorch's flex_attention, operands in the same places."""

    _HOP_NAME = _NAME


dynamo._hop_name_to_variable_class[_NAME] = _Variable


@higher_order.py_impl(DispatchKey.CompositeImplicitAutograd)
def _to_operator(query: Tensor, key: Tensor, value: Tensor, score_mod: GraphModule, block_mask: tuple[Any, ...], scale: Optional[float], options: dict[str, Any],
                 score_operands: tuple[Any, ...], mask_operands: tuple[Any, ...]) -> tuple[Tensor, Tensor, Tensor]:
    texts, lists, rest = options["texts"], options["lists"], list(block_mask[:-1])
    sizes = tuple(rest.pop(0) for _ in range(4)) if lists else ()
    blocks = Blocks(sizes, tuple(rest.pop(0) for _ in range(lists)))
    formulas = []
    for kind, text, graph, operands in (("score_mod", texts[0], score_mod, score_operands), ("mask_mod", texts[1], block_mask[-1], mask_operands)):
        if text is None:
            formulas.append(_formula(graph, kind, operands))
        elif text:
            formulas.append(Formula(text[0], text[1], {name: rest.pop(0) for name in text[2]}))
    sinks = rest.pop(0) if options["sinks"] else None
    return call(formulas, query, key, value, blocks, scale, {name: options[name] for name in ("kernel_options", "lse", "max_scores")}, sinks)


@higher_order.py_impl(FakeTensorMode)
@higher_order.py_impl(ProxyTorchDispatchMode)
def _in_mode(mode: Any, *operands: Any) -> tuple[Tensor, Tensor, Tensor]:
    with mode:
        return _to_operator(*operands)


@higher_order.py_functionalize_impl
def _functionalized(context: Any, *operands: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _to_operator(*operands)


# --- small graphs as formulas ---

# What has been traced: the text, and which operand each capture is. Every stage of a compilation asks about the same graphs again.
_known: "WeakKeyDictionary[GraphModule, tuple[str, dict[str, int]]]" = WeakKeyDictionary()


def _formula(graph: GraphModule, kind: str, operands: tuple[Any, ...]) -> Formula:
    """The formula of what Dynamo made of a mod, over the operands that it captured."""
    known = _known.get(graph)
    if known is None:
        known = _known[graph] = _trace_graph(graph, kind, operands)
    text, places = known
    return Formula(kind, text, {name: operands[place] for name, place in places.items()})


def _trace_graph(graph: GraphModule, kind: str, operands: tuple[Any, ...]) -> tuple[str, dict[str, int]]:
    """Runs the graph's function over stand-ins for its operands: a number that changes from call to call is a tensor without dimensions there."""
    arguments = [node.target for node in graph.graph.nodes if node.op == "placeholder"]
    names = _readable(arguments[len(arguments) - len(operands):])
    with _disable_current_modes():
        stand_ins = [_stand_in(operand) for operand in operands]
    given = ", ".join(f"a{i}" for i in range(len(arguments) - len(operands)))
    space: dict[str, Any] = {"forward": type(graph).forward, "graph": _constants(graph), **dict(zip(names, stand_ins))}
    exec(f"def mod({given}): return forward({', '.join(['graph', given, *names])})", space)
    traced = trace(space["mod"], kind)
    places = {id(stand_in): place for place, stand_in in enumerate(stand_ins)}
    return traced.text, {name: places[id(value)] for name, value in traced.captures.items()}


def _stand_in(operand: Any) -> Tensor:
    if isinstance(operand, Tensor):
        return torch.empty([_hint(size) for size in operand.shape], dtype=operand.dtype, device="meta")
    is_bool, is_int = isinstance(operand, (bool, torch.SymBool)), isinstance(operand, (int, torch.SymInt))
    return torch.empty((), dtype=torch.bool if is_bool else torch.int64 if is_int else torch.float64, device="meta")


def _hint(size: Any) -> int:
    return size if isinstance(size, int) else size.node.hint


def _readable(targets: list[str]) -> list[str]:
    """Dynamo's `l_bias_` as `bias`, made unique."""
    names: list[str] = []
    for target in targets:
        name = base = re.sub(r"^[lg]_(?=[^_])", "", target.lower() if target[:2] in ("L_", "G_") else target).strip("_") or "captured"
        count = 1
        while name in names or name in ("forward", "graph") or keyword.iskeyword(name):
            count += 1
            name = f"{base}_{count}"
        names.append(name)
    return names


def _constants(graph: GraphModule) -> Optional[GraphModule]:
    """What the function gets as `self`: only a graph with constants of its own looks at it."""
    return graph if any(node.op in ("get_attr", "call_module") for node in graph.graph.nodes) else None
