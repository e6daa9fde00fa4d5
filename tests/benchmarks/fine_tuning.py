"""Fine-tuning for benchmarks on photographs, as `examples/train_classifier.py` does it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.preprocessing import Preprocessing

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from clean_and_retrain import tests_of
from train_classifier import LITE0, TrainingImages, accuracy, build, preprocessing, train

__all__ = [
    "LITE0",
    "TrainingImages",
    "accuracy",
    "build",
    "fine_tuned",
    "preprocessing",
    "tests_of",
]


def fine_tuned(
    images: ImageDataset,
    how: Preprocessing,
    *,
    epochs: int,
    seed: int,
    weights: Sequence[float] | None = None,
    outputs: int | None = None,
    loss_of: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
) -> nn.Module:
    """EfficientNet-Lite0 that learned the images, from its ImageNet weights.

    Args:
        images: to learn.
        how: what is done to them first.
        epochs: passes over the images.
        seed: of the new layer and of the order of the images.
        weights: how often each image is drawn; evenly if None.
        outputs: of the network; one a class if None.
        loss_of: of logits and labels of a batch.
    """
    torch.manual_seed(seed)
    network = build(LITE0, outputs or len(images.classes), pretrained=False)
    network = network.to(memory_format=torch.channels_last)
    train(network, images, how, epochs, weights, loss_of)
    return network
