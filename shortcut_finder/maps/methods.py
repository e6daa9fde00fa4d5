"""Methods: how activations and gradients become a map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Methods that draw maps without a gradient, with what a reader should know.
GRADIENT_FREE = {
    "eigencam": "eigencam looks at activations alone: one map for every class",
    "ablationcam": "ablationcam runs the network once a channel: for single images, not for scans",
}


@dataclass(frozen=True)
class Method:
    """How a method turns the gradient of a logit into weights of the activations.

    Attributes:
        weights: from the gradient, (image, class, channel, row, column), and the activations,
            (image, 1, channel, row, column), element by element. A gradient that is the same at
            every place has one row and column.
        averaged: whether a channel has one weight, the mean over places, or one at each place.
    """

    weights: Callable[[Tensor, Tensor], Tensor]
    averaged: bool


def _plus_plus(gradient: Tensor, activations: Tensor) -> Tensor:
    """Grad-CAM++: alpha relu(g) with alpha = g^2 / (2 g^2 + S g^3), which is 1 / (2 + S g).

    In the paper the activations follow a ReLU. Where some are negative only the positive ones are
    summed, or the denominator could cross zero.
    """
    total = activations.relu().sum((3, 4), keepdim=True)
    return gradient.relu() / (2 + total * gradient.relu())


def _by_activation(gradient: Tensor, activations: Tensor) -> Tensor:
    """XGrad-CAM: the mean over places is the mean of the gradient weighted by the activations."""
    if gradient.shape[3:] == (1, 1):
        return gradient
    total = activations.sum((3, 4), keepdim=True)
    places = activations.shape[3] * activations.shape[4]
    # A channel that adds up to nothing is silent, wherever it is not negative.
    return places * gradient * activations / torch.where(total == 0, 1, total)


METHODS: dict[str, Method] = {
    # Zhou et al. 2016, the same as Grad-CAM where the head is linear, and defined only there.
    "cam": Method(lambda gradient, _: gradient, averaged=True),
    # Selvaraju et al. 2017.
    "gradcam": Method(lambda gradient, _: gradient, averaged=True),
    # Chattopadhay et al. 2018.
    "gradcam++": Method(_plus_plus, averaged=True),
    # Fu et al. 2020.
    "xgradcam": Method(_by_activation, averaged=True),
    # Jiang et al. 2021.
    "layercam": Method(lambda gradient, _: gradient.relu(), averaged=False),
    # Draelos and Carin 2020.
    "hirescam": Method(lambda gradient, _: gradient, averaged=False),
}


def draw(method: Method, activations: Tensor, gradient: Tensor) -> Tensor:
    """Maps from activations and the gradients of some logits.

    Sums over places are means times the number of places, so that they come out in logit units.

    Args:
        method: the formula.
        activations: (image, channel, row, column).
        gradient: (image, class, channel, row, column), or one row and column where it is the same
            at every place.

    Returns:
        (image, class, row, column).
    """
    places = activations.shape[2] * activations.shape[3]
    weights = method.weights(gradient, activations[:, None])
    if method.averaged or weights.shape[3:] == (1, 1):
        return places * torch.einsum("bkc,bchw->bkhw", weights.mean((3, 4)), activations)
    return places * (weights * activations[:, None]).sum(2)


def eigencam(activations: Tensor) -> Tensor:
    """Muhammad and Yeasin 2020: the first principal component, the same for every class.

    Args:
        activations: (image, channel, row, column).

    Returns:
        (image, row, column), with the sign that makes its sum positive.
    """
    flat = activations.flatten(2)
    if flat.shape[1] < flat.shape[2]:
        vectors = torch.linalg.eigh(flat @ flat.transpose(1, 2)).eigenvectors[:, :, -1]
        component = torch.einsum("bc,bcn->bn", vectors, flat)
    else:
        values, vectors = torch.linalg.eigh(flat.transpose(1, 2) @ flat)
        component = vectors[:, :, -1] * values[:, -1:].clamp(min=0).sqrt()
    total = component.sum(1, keepdim=True)
    component = torch.where(total < 0, -component, component)
    return component.reshape(len(activations), *activations.shape[2:])
