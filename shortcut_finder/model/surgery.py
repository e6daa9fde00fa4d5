"""Surgery: a network whose dense head was replaced by average pooling and one linear layer.

Maps of such a network are exact. The file that `adapt` writes holds the network's own state dict
and, beside it, where the features are taken and the weights of the new head; all of it is data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shortcut_finder.errors import ModelError
from shortcut_finder.model.weights import StateDict, archived_names

KEY = "pooled_head"
AXES = ("channels first", "channels last", "tokens")


@dataclass(frozen=True, eq=False)
class PooledHead:
    """A linear layer on the channels of one layer, averaged over the image.

    Attributes:
        layer: dotted path of the layer.
        call: which of the layer's calls in one forward pass, from 0.
        axes: ``channels first``, ``channels last`` or ``tokens``, as the layer's output lies.
        prefix: tokens before those of the patches.
        rectified: whether negative values count as zero.
        weight: (class, channel) float32.
        bias: (class,) float32.
    """

    layer: str
    call: int
    axes: str
    prefix: int
    rectified: bool
    weight: Tensor
    bias: Tensor

    def pooled(self, output: Tensor) -> Tensor:
        """A layer's output averaged over the image, (image, channel)."""
        values = output.relu() if self.rectified else output
        if self.axes == "tokens":
            return values[:, self.prefix :].mean(1)
        return values.mean((2, 3) if self.axes == "channels first" else (1, 2))


class Adapted(nn.Module):
    """A network that is run up to one layer, followed by a pooled head."""

    def __init__(self, body: nn.Module, head: PooledHead) -> None:
        super().__init__()
        self.body = body
        self.where = head
        self.head = nn.Linear(head.weight.shape[1], head.weight.shape[0])
        self.head.load_state_dict({"weight": head.weight, "bias": head.bias})

    def forward(self, images: Tensor) -> Tensor:
        """The logits of images, (image, class)."""
        return self.head(self.where.pooled(self._features(images)))

    def _features(self, images: Tensor) -> Tensor:
        call = 0

        def stop(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            nonlocal call
            call += 1
            if call > self.where.call:
                raise _Reached(output[0] if isinstance(output, tuple) else output)

        handle = self.body.get_submodule(self.where.layer).register_forward_hook(stop)
        try:
            self.body(images)
        except _Reached as reached:
            return reached.output
        finally:
            handle.remove()
        raise RuntimeError(f"layer {self.where.layer} did not run")


class _Reached(Exception):  # noqa: N818 - no error: the rest of the network is not needed
    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


def save_adapted(path: Path, state: StateDict, head: PooledHead) -> None:
    """Write a network's state dict with its new head, whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": dict(state), KEY: dict(vars(head))}, part)
    part.replace(path)


def read_head(path: Path) -> PooledHead | None:
    """The new head in a file; None where it is a plain state dict.

    Raises:
        ModelError: there is one, but it is damaged.
    """
    if "data.pkl" not in archived_names(path):
        return None
    # The file was read as a state dict before; mapped, looking again costs nothing.
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    values = content.get(KEY) if isinstance(content, Mapping) else None
    if values is None:
        return None
    try:
        head = PooledHead(**values)
        sound = (
            isinstance(head.layer, str)
            and type(head.call) is type(head.prefix) is int
            and min(head.call, head.prefix) >= 0
            and head.axes in AXES
            and isinstance(head.rectified, bool)
            and head.weight.dtype == head.bias.dtype == torch.float32
            and head.weight.shape == (*head.bias.shape, head.weight.shape[1])
        )
    except (TypeError, AttributeError, IndexError, ValueError):
        sound = False
    if not sound:
        raise ModelError(f"{path}: the head that `adapt` put in is damaged; run it again")
    return head


def adapted(module: nn.Module, head: PooledHead, source: str) -> nn.Module:
    """The network with its new head.

    Raises:
        ModelError: it has no such layer.
    """
    try:
        module.get_submodule(head.layer)
    except AttributeError as error:
        raise ModelError(
            f"{source}: was adapted at layer {head.layer}, which this network lacks"
        ) from error
    return Adapted(module, head)
