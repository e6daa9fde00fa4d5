"""Outputs: what a network returns, read as one logit for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from shortcut_finder.errors import ModelError, SettingsError

# Operations that change the shape of what they are given and nothing else.
_RESHAPING = ("Squeeze", "Unsqueeze", "View", "UnsafeView", "Reshape", "Select", "Alias", "Slice")


@dataclass(frozen=True)
class Outputs:
    """How the outputs of a network are read.

    Attributes:
        sigmoid: whether each output says by itself whether the image has its class, and not the
            classes share one softmax.
        positive: the class that a single logit speaks for; ``None`` with an output for each class.
    """

    sigmoid: bool = False
    positive: str | None = None

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probability of each class, from logits (..., class)."""
        return logits.sigmoid() if self.sigmoid else logits.softmax(-1)


def logits_of(output: Any) -> Tensor | None:
    """The logits, (image, class), in whatever a network returns; None where there are none.

    A tensor is taken as it is; an object or mapping by its ``logits``; a tuple or mapping by its
    first value that holds some (the main output comes before the auxiliary ones).
    """
    return _found(output, 2)


def _found(output: Any, axes: int) -> Tensor | None:
    if isinstance(output, Tensor):
        return output if output.dim() == axes else None
    if getattr(output, "logits", None) is not None:
        return _found(output.logits, axes)
    if isinstance(output, Mapping):
        output = [output["logits"]] if "logits" in output else list(output.values())
    if isinstance(output, (tuple, list)):
        return next((f for f in (_found(one, axes) for one in output) if f is not None), None)
    return None


def listed_logits(output: Any) -> Tensor | None:
    """Logits, (image, class); one number an image, (image,), counts as one class."""
    logits = logits_of(output)
    if logits is None and (numbers := _found(output, 1)) is not None:
        return numbers[:, None]
    return logits


def tell_both(module: nn.Module, classes: Sequence[str], positive: str | None) -> str:
    """Make a network with one logit for two classes return a logit for each of them.

    With z the logit, that of the positive class becomes z / 2 and that of the other -z / 2. So the
    maps of the two are negatives of each other, their softmax is the sigmoid of z, and their
    log-odds are z: all exact, as halving is. Modules keep their names, as this is but a hook.

    Args:
        module: the network; it is changed.
        classes: the two names.
        positive: which of them the logit speaks for; the second if ``None``.

    Returns:
        The name of the positive class.

    Raises:
        SettingsError: there is no class of that name.
    """
    chosen = classes[1] if positive is None else positive
    if chosen not in classes:
        raise SettingsError(f"--positive {chosen}: no such class; choose {' or '.join(classes)}")
    signs = [-0.5, 0.5] if chosen == classes[1] else [0.5, -0.5]

    def both(_: nn.Module, __: tuple[Any, ...], output: Any) -> Tensor | None:
        logit = listed_logits(output)
        return None if logit is None else logit * logit.new_tensor(signs)

    module.register_forward_hook(both)
    return chosen


def give_columns(module: nn.Module) -> None:
    """Make a network that returns one number an image return them as (image, class)."""
    module.register_forward_hook(lambda _, __, output: listed_logits(output))


def leave_sigmoid_out(module: nn.Module, images: Tensor, name: str) -> bool:
    """Make a network that ends in a sigmoid return the logits before it.

    Args:
        module: the network, in eval mode; a last ``nn.Sigmoid`` lets its input through from now on.
        images: what to try it on, (image, channel, row, column).
        name: of the network, for the message.

    Returns:
        Whether there was a sigmoid.

    Raises:
        ModelError: it ends in one that is no module, so that the logits cannot be had.
    """
    calls: list[tuple[nn.Module, Tensor]] = []
    handles = [
        child.register_forward_hook(lambda child, _, output: calls.append((child, output)))
        for child in module.modules()
        if isinstance(child, nn.Sigmoid)
    ]
    try:
        with torch.enable_grad():
            # A leaf could not be changed in place, which some networks do.
            output = listed_logits(module(images.detach().requires_grad_().clone()))
    finally:
        for handle in handles:
            handle.remove()
    if output is None or not _ends_in_sigmoid(output):
        return False
    last = calls[-1] if calls and calls[-1][1].data_ptr() == output.data_ptr() else None
    if last is None or sum(child is last[0] for child, _ in calls) > 1:
        raise ModelError(
            f"{name}: ends in torch.sigmoid, so it returns probabilities; return the logits, or "
            "end in an nn.Sigmoid of its own, which is left out"
        )
    last[0].register_forward_hook(lambda _, inputs, __: inputs[0])
    return True


def _ends_in_sigmoid(output: Tensor) -> bool:
    """Whether a sigmoid made these numbers, by the graph that led to them."""
    step = output.grad_fn
    while step is not None and step.name().startswith(_RESHAPING):
        step = step.next_functions[0][0]
    return step is not None and step.name().startswith("Sigmoid")
