"""Class token: the last block of a vision transformer, run only for the tokens its head reads.

The head reads the class token (and perhaps a distillation token) of the last block, so of that
block only the keys and values need every token. Queries, projection and the dense layers run for
one or two tokens instead of hundreds, forward and backward, and the result is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from shortcut_finder.maps.probe import Layer


@dataclass(frozen=True, eq=False)
class _Projections:
    """The linear maps of a self-attention.

    Attributes:
        inputs: weight, (channel, channel), and bias of the queries, the keys and the values.
        output: what follows the attention.
        heads: how many.
    """

    inputs: Sequence[tuple[Tensor, Tensor | None]]
    output: nn.Linear
    heads: int


class LastBlock:
    """Makes one block run for its first tokens only, from `attach` until `remove`.

    Whether nothing else of the network needed the other tokens is for the caller to check: the
    logits must stay as they were.
    """

    def __init__(
        self, block: nn.Module, norm: nn.Module, attention: nn.Module, prefix: int
    ) -> None:
        self._block = block
        self._norm = norm
        self._attention = attention
        self._prefix = prefix
        self._tokens: Tensor | None = None

    def attach(self) -> None:
        """Trim the block from the next pass on."""
        self._handle = self._block.register_forward_pre_hook(self._trim, with_kwargs=True)
        self._attention.forward = self._attend

    def remove(self) -> None:
        """Leave the block as it was."""
        self._handle.remove()
        del self._attention.forward

    def _trim(
        self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        # The first call of the norm in a pass is the one the maps are drawn on: all tokens.
        self._tokens = self._norm(args[0])
        return (args[0][:, : self._prefix], *args[1:]), kwargs

    def _attend(self, *args: Any, **kwargs: Any) -> Any:
        tokens, self._tokens = self._tokens, None
        assert tokens is not None
        first = tokens[:, : self._prefix]
        if isinstance(self._attention, nn.MultiheadAttention):
            forward = type(self._attention).forward
            return forward(self._attention, first, tokens, tokens, need_weights=False)
        projections = _projections(self._attention)
        assert projections is not None
        query, key, value = (
            _by_head(F.linear(values, *weights), projections.heads)
            for values, weights in zip((first, tokens, tokens), projections.inputs, strict=True)
        )
        gathered = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        output = projections.output(gathered)
        return (output, None) if hasattr(self._attention, "o_proj") else output


def last_block(module: nn.Module, layer: Layer) -> LastBlock | None:
    """The block whose first norm is the map layer; None where its attention is of no known kind.

    Args:
        module: the network.
        layer: tokens before the attention of a block, class token first.
    """
    if layer.layout.axes != "tokens" or not layer.layout.prefix or layer.call:
        return None
    block = module.get_submodule(layer.name.rpartition(".")[0])
    known = [
        child
        for child in block.children()
        if isinstance(child, nn.MultiheadAttention) or _projections(child) is not None
    ]
    if len(known) != 1 or "forward" in vars(known[0]):
        return None
    return LastBlock(block, module.get_submodule(layer.name), known[0], layer.layout.prefix)


def _projections(attention: nn.Module) -> _Projections | None:
    """The projections where they are one fused layer (as in timm) or three (as in transformers)."""
    parts = dict(attention.named_children())
    heads = getattr(attention, "num_heads", getattr(attention, "num_attention_heads", None))
    output = parts.get("proj", parts.get("o_proj"))
    if not isinstance(output, nn.Linear) or not isinstance(heads, int):
        return None
    fused = parts.get("qkv")
    if isinstance(fused, nn.Linear):
        biases = fused.bias.chunk(3) if fused.bias is not None else (None, None, None)
        return _Projections(list(zip(fused.weight.chunk(3), biases, strict=True)), output, heads)
    single = [parts.get(name) for name in ("q_proj", "k_proj", "v_proj")]
    inputs = [(part.weight, part.bias) for part in single if isinstance(part, nn.Linear)]
    return _Projections(inputs, output, heads) if len(inputs) == 3 else None


def _by_head(values: Tensor, heads: int) -> Tensor:
    """(image, token, channel) as (image, head, token, channel of the head)."""
    return values.reshape(*values.shape[:2], heads, -1).transpose(1, 2)
