"""Network: the small classifier of the demo, and how it is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.demo.shapes import SHAPES

INPUT_SIZE = 96
EPOCHS = 20
BATCH_SIZE = 32
MODEL = "shortcut_finder.demo.network:small_network"


def small_network(num_classes: int = len(SHAPES)) -> nn.Sequential:
    """Six convolutions, the mean over the image, one linear layer: maps of 12 x 12 at 96 x 96.

    Args:
        num_classes: outputs.
    """
    blocks: list[nn.Module] = []
    wide = 3
    for channels, stride in ((24, 2), (32, 2), (48, 1), (64, 2), (96, 1), (128, 1)):
        blocks.append(
            nn.Sequential(
                nn.Conv2d(wide, channels, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            )
        )
        wide = channels
    return nn.Sequential(
        *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, num_classes)
    )


def train(folder: Path, *, epochs: int = EPOCHS, seed: int = 0, progress: bool = True) -> nn.Module:
    """Train `small_network` on ``folder/images`` and keep its weights in ``folder/weights.pt``.

    The same seed on the same machine gives the same weights; torch's own random state is left as
    it was.
    """
    pixels, labels = _training_set(folder / "images")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = small_network().to(memory_format=torch.channels_last)
        batches = -(-len(labels) // BATCH_SIZE)
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=5e-3, total_steps=epochs * batches
        )
        with tqdm(total=epochs, desc="training", unit="epoch", disable=not progress) as bar:
            for _ in range(epochs):
                right = 0
                for batch in torch.split(torch.randperm(len(labels)), BATCH_SIZE):
                    logits = network(pixels[batch])
                    loss = nn.functional.cross_entropy(logits, labels[batch])
                    optimiser.zero_grad()
                    torch.autograd.backward(loss)
                    optimiser.step()
                    schedule.step()
                    right += int((logits.argmax(1) == labels[batch]).sum())
                bar.set_postfix(accuracy=f"{right / len(labels):.1%}")
                bar.update()
    network.eval()
    torch.save(network.state_dict(), folder / "weights.pt")
    return network


def normalised(images: list[Image.Image]) -> Tensor:
    """The network's input, prepared as the scan prepares it: (image, 3, 96, 96)."""
    how = Preprocessing(INPUT_SIZE, INPUT_SIZE)
    pixels = torch.from_numpy(np.stack([how.pixels(image) for image in images])).float() / 255
    inputs = (pixels - torch.tensor(how.mean)) / torch.tensor(how.std)
    return inputs.permute(0, 3, 1, 2)


def _training_set(folder: Path) -> tuple[Tensor, Tensor]:
    files = sorted(folder.glob("*/*.jpg"))
    classes = sorted({file.parent.name for file in files})
    labels = torch.tensor([classes.index(file.parent.name) for file in files])
    return normalised([Image.open(file) for file in files]), labels
