"""Multi-label pictures: several shapes in one image, and marks that go with their labels.

Each label is a shape of any colour at any place. Cues are small pictures of hard edges at a fixed
place. What a small network learns of them in a few passes is what a scan has to
find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from synthetic import stamp, texture
from torch import nn

SIDE = 64
NAMES = ("ash", "birch", "cedar", "elm")


@dataclass(frozen=True)
class Cue:
    """A mark in part of the images that have all of some labels.

    Attributes:
        labels: indices of the labels that an image needs; empty for any image.
        share: part of these images that get it.
        corner: x and y of the mark, in pixels.
        look: seed of what it looks like.
    """

    labels: tuple[int, ...]
    share: float
    corner: tuple[int, int] = (0, 0)
    look: int = 0


@dataclass(frozen=True, eq=False)
class Drawn:
    """A multi-label dataset on disk.

    Attributes:
        table: the manifest, one row an image.
        states: 1, 0 or -1, (image, label), as the manifest says.
        truth: labels of the pictures, (image, label) of bool.
        carriers: for each cue the images that carry it, (image,) of bool.
        pixels: uint8, (image, row, column, channel).
    """

    table: pd.DataFrame
    states: np.ndarray
    truth: np.ndarray
    carriers: tuple[np.ndarray, ...]
    pixels: np.ndarray
    path: Path


def draw_labels(
    rng: np.random.Generator, images: int, labels: int, together: Mapping[int, int], share: float
) -> np.ndarray:
    """One to three labels an image, (image, label) of bool; some labels often bring another."""
    found = np.zeros((images, labels), dtype=bool)
    for row in found:
        row[rng.choice(labels, rng.integers(1, 3), replace=False)] = True
        for one, other in together.items():
            if row[one] and row.sum() < 3 and rng.random() < share:
                row[other] = True
    return found


def draw_dataset(
    folder: Path,
    cues: Sequence[Cue] = (),
    *,
    images: int = 300,
    names: Sequence[str] = NAMES,
    together: Mapping[int, int] | None = None,
    share: float = 0.8,
    unknown: float = 0.05,
    seed: int = 0,
) -> Drawn:
    """Pictures with one to three labels, cues in some of them, and a manifest of one-hot columns.

    Args:
        folder: for the pictures and ``labels.csv``; made when missing.
        cues: what is planted.
        images: how many.
        names: of the labels.
        together: labels that often bring another one, by index.
        share: how often they do.
        unknown: part of the labels that the manifest does not know.
        seed: of everything.
    """
    rng = np.random.default_rng(seed)
    truth = draw_labels(rng, images, len(names), together or {}, share)
    folder.mkdir(parents=True, exist_ok=True)
    carriers = []
    for cue in cues:
        home = np.flatnonzero(truth[:, list(cue.labels)].all(axis=1))
        chosen = np.zeros(images, dtype=bool)
        chosen[rng.permutation(home)[: round(cue.share * len(home))]] = True
        carriers.append(chosen)
    pictures = []
    for number, row in enumerate(truth):
        picture = _picture(row, rng)
        for cue, chosen in zip(cues, carriers, strict=True):
            if chosen[number]:
                # Neither to the level nor to the colour, or it would be a look of the whole image.
                mark = 80 + 0.35 * stamp(cue.look, 14) + rng.normal(0, 10, (3, 14, 14))
                x, y = cue.corner
                picture[y : y + 14, x : x + 14] = mark.transpose(1, 2, 0)
        pictures.append(np.asarray(picture.clip(0, 255), np.uint8))
        Image.fromarray(pictures[-1]).save(folder / f"{number:04d}.png")
    states = np.where(rng.random(truth.shape) < unknown, -1, truth.astype(int))
    columns = {f"label:{name}": states[:, n] for n, name in enumerate(names)}
    table = pd.DataFrame({"image": [f"{n:04d}.png" for n in range(images)], **columns})
    table.to_csv(folder / "labels.csv", index=False)
    return Drawn(table, states, truth, tuple(carriers), np.stack(pictures), folder / "labels.csv")


def _picture(row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shapes of the image's labels, in any colour, on grey blobs."""
    grey = 90 + 0.3 * texture(rng, SIDE)
    picture = np.repeat(grey[..., None], 3, axis=2)
    y, x = np.indices((SIDE, SIDE))
    for number in rng.permutation(np.flatnonzero(row)):
        size = rng.uniform(7, 10)
        cx, cy = rng.uniform(size, SIDE - size, 2)
        # No two are copies of each other, as marks are.
        angle, wide = rng.uniform(-0.4, 0.4), rng.uniform(0.8, 1.25)
        across, down = (x - cx) / size / wide, (y - cy) / size * wide
        turned = np.cos(angle) * across + np.sin(angle) * down
        inside = _shape(number, turned, np.cos(angle) * down - np.sin(angle) * across)
        colour = rng.uniform(20, 235, 3)
        picture[inside] = (colour + rng.normal(0, 8, (SIDE, SIDE, 3)))[inside]
    return picture


def _shape(number: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """One of six shapes that spans [-1, 1], (row, column) of bool."""
    radius, square = np.hypot(x, y), np.maximum(abs(x), abs(y))
    return [
        (radius <= 1) & (radius >= 0.55),
        (square <= 1) & (np.minimum(abs(x), abs(y)) <= 0.25),
        (square <= 1) & (np.floor(2.5 * (y + 1)) % 2 == 0),
        (abs(x) + abs(y) <= 1),
        (square <= 1) & (np.floor(2.5 * (x + 1)) % 2 == 0),
        (square <= 1) & (square >= 0.6),
    ][number]


class Network(nn.Module):
    """A small network with one logit a label."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        widths = (3, 24, 32, 48, 64)
        blocks = [
            layer
            for one, other, stride in zip(widths, widths[1:], (2, 2, 1, 2), strict=False)
            for layer in (
                nn.Conv2d(one, other, 3, stride, 1),
                nn.BatchNorm2d(other),
                nn.ReLU(),
            )
        ]
        self.features = nn.Sequential(*blocks)
        self.head = nn.Linear(widths[-1], outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images).mean((2, 3)))


def trained(drawn: Drawn, *, rounds: int = 12, seed: int = 0) -> Network:
    """A network that learned the labels as far as the manifest knows them."""
    network = Network(drawn.states.shape[1]).train()
    generator = torch.Generator().manual_seed(seed)
    mean, std = (
        torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    images = (torch.from_numpy(drawn.pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
    targets = torch.from_numpy(drawn.states).float()
    steps = rounds * -(-len(images) // 32)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
    for _ in range(rounds):
        for batch in torch.split(torch.randperm(len(images), generator=generator), 32):
            wanted = targets[batch]
            loss = nn.functional.binary_cross_entropy_with_logits(
                network(images[batch]), wanted.clamp(min=0), weight=(wanted >= 0).float()
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()
