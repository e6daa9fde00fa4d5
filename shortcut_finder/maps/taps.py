"""Taps: what single layers give while a batch goes through the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shortcut_finder.errors import ModelError
from shortcut_finder.maps.probe import Layer, tensor_of

# Cells finer than this are averaged: they are compared by the thousand.
MOST_CELLS = 20


class Tap:
    """A forward hook on one layer.

    It keeps the output, makes it the start of the head's graph, or passes on copies of it that each
    lack one channel.
    """

    def __init__(self, module: nn.Module, layer: Layer, *, cuts: bool) -> None:
        self.layer = layer
        self.cut = False
        self.fills = False
        self.without: Tensor | None = None
        self._calls = 0
        self._output: Tensor | None = None
        self._cuts = cuts
        self._handle = module.get_submodule(layer.name).register_forward_hook(self._see)

    def _see(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        call, self._calls = self._calls, self._calls + 1
        tensor = tensor_of(output)
        if call != self.layer.call or tensor is None:
            return None
        if self.without is not None:
            return _replaced(output, self._lacking(tensor, self.without))
        if not self.cut:
            self._output = tensor
            return None
        # The clone may be changed in place by what follows (DenseNet's ReLU does); a leaf may not.
        start = torch.ones_like(tensor) if self.fills else tensor.detach()
        self._output = start.requires_grad_().clone()
        return _replaced(output, self._output)

    def _lacking(self, tensor: Tensor, channels: Tensor) -> Tensor:
        copies = tensor.expand(len(channels), *tensor.shape[1:]).clone()
        self.layer.layout.arranged(copies)[torch.arange(len(channels)), channels] = 0
        return copies

    @property
    def empty(self) -> bool:
        """Whether it holds no output."""
        return self._output is None

    def start(self, *, graph: bool) -> None:
        """Forget the last pass and get ready for one with or without a graph of the head."""
        self.cut = graph and self._cuts
        self._calls, self._output = 0, None

    def take(self) -> Tensor:
        """The output of the pass that just ended, as later layers left it."""
        output, self._output = self._output, None
        if output is None:
            raise ModelError(
                f"layer {self.layer.name} did not run for every batch; choose another with --layer"
            )
        return output

    def remove(self) -> None:
        """Take the hook off the layer."""
        self._handle.remove()


@dataclass(frozen=True, eq=False)
class Pass:
    """One forward pass.

    Attributes:
        pixels: uint8, (image, row, column, channel).
        logits: (image, class) float32, with the head's graph where there is one.
        output: of the map layer, as it came.
        activations: the same as (image, channel, row, column) float32, without a graph.
        cells: of the cell layer, as they came.
        fine: of the layer of fine cells, likewise; ``None`` without one.
    """

    pixels: Tensor
    logits: Tensor
    output: Tensor
    activations: Tensor
    cells: Tensor
    fine: Tensor | None


@dataclass(frozen=True, eq=False)
class LinearHead:
    """A head that is logits = rows @ pooled features + bias.

    Attributes:
        rows: (class, channel).
        bias: (class,).
    """

    rows: Tensor
    bias: Tensor

    def misfit(self, features: Tensor, logits: Tensor, shown: Tensor) -> Tensor:
        """How far logits are from what the head says, relative to what it adds up; (image,)."""
        terms = self.rows[shown] * features[:, None]
        gap = terms.sum(2) + self.bias[shown] - logits.gather(1, shown)
        scale = terms.abs().sum(2) + self.bias[shown].abs()
        return (gap.abs() / scale.clamp(min=torch.finfo(scale.dtype).tiny)).amax(1)


def averaged(cells: Tensor) -> Tensor:
    """Cells, (image, channel, row, column), averaged down to at most 20 a side."""
    rows, columns = cells.shape[2:]
    factor = -(-max(rows, columns) // MOST_CELLS)
    if factor == 1:
        return cells
    return F.adaptive_avg_pool2d(cells, (-(-rows // factor), -(-columns // factor)))


def _replaced(output: Any, tensor: Tensor) -> Any:
    """What a layer returned, with other features in it."""
    return (tensor, *output[1:]) if isinstance(output, tuple) else tensor
