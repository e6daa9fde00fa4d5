r"""Several labels an image: draw a small dataset, train a network with sigmoids, and scan it.

    python examples/multilabel.py --out several/

draws pictures that show one to three of four shapes, and a mark in the corner of half of those with
a cross. A triangle seldom comes without a cross. What is written is what you would have: a manifest
with a column a label (1, 0, or blank where nobody knows), and weights. The scan then is

    shortcut-finder scan several/labels.csv --model examples/multilabel.py:build \
        --weights several/weights.pt --input-size 64 --out several/run/

It takes about a minute. The finding belongs to the cross; that triangles bring crosses, and with
them the mark, does not make it one of triangles.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

import shortcut_finder as sf

SIDE = 64
LABELS = ("cross", "ring", "stripes", "triangle")
CROSS, TRIANGLE = 0, 3
# Of a hundred labels nobody knows three.
UNKNOWN = 0.03
SETTINGS = sf.Settings(input_size=SIDE)


def build(num_classes: int) -> nn.Module:
    """The network, untrained: one logit a label, with no sigmoid behind."""
    layers: list[nn.Module] = []
    for before, after, stride in ((3, 24, 2), (24, 32, 2), (32, 48, 1), (48, 64, 2)):
        convolution = nn.Conv2d(before, after, 3, stride, 1)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes))


def draw(folder: Path, images: int, rng: np.random.Generator) -> np.ndarray:
    """Pictures in a folder, with ``labels.csv``; the labels, (image, label), -1 if unknown."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = 80 + 90 * np.kron(rng.integers(0, 2, (5, 5)), np.ones((3, 3)))
    truth = np.zeros((images, len(LABELS)), dtype=int)
    for number, row in enumerate(truth):
        row[rng.choice(len(LABELS), rng.integers(1, 3), replace=False)] = 1
        if row[TRIANGLE] and rng.random() < 0.7:
            row[CROSS] = 1
        picture = rng.normal(120, 12, (SIDE, SIDE, 3))
        for label in rng.permutation(np.flatnonzero(row)):
            inside = shape(LABELS[label], rng)
            picture[inside] = rng.uniform(20, 235, 3) + rng.normal(0, 8, (inside.sum(), 3))
        if row[CROSS] and rng.random() < 0.5:
            picture[:15, :15] = mark[..., None] + rng.normal(0, 10, (15, 15, 3))
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{number:04d}.png")
    labels = np.where(rng.random(truth.shape) < UNKNOWN, -1, truth)
    columns = {f"label:{name}": labels[:, n] for n, name in enumerate(LABELS)}
    table = pd.DataFrame({"image": [f"{n:04d}.png" for n in range(images)], **columns})
    table.replace(-1, "").to_csv(folder / "labels.csv", index=False)
    return labels


def shape(name: str, rng: np.random.Generator) -> np.ndarray:
    """One shape of some size at some place, a little turned and stretched, (row, column) of bool.

    Exact copies of a shape would repeat as marks do.
    """
    size, angle, wide = rng.uniform(7, 10), rng.uniform(-0.4, 0.4), rng.uniform(0.8, 1.25)
    down, across = (np.indices((SIDE, SIDE)) - rng.uniform(size, SIDE - size, (2, 1, 1))) / size
    down, across = down * wide, across / wide
    x = np.cos(angle) * across + np.sin(angle) * down
    y = np.cos(angle) * down - np.sin(angle) * across
    square = np.maximum(abs(x), abs(y)) <= 1
    if name == "cross":
        return square & (np.minimum(abs(x), abs(y)) <= 0.25)
    if name == "ring":
        return (np.hypot(x, y) <= 1) & (np.hypot(x, y) >= 0.55)
    if name == "stripes":
        return square & (np.floor(2.5 * (y + 1)) % 2 == 0)
    return square & (abs(x) <= (y + 1) / 2)


def train(folder: Path, labels: np.ndarray, rounds: int) -> nn.Module:
    """Train on what is known, with a sigmoid and a loss of its own for every label."""
    torch.manual_seed(0)
    network = build(len(LABELS)).train()
    pictures = np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])
    mean, std = (torch.tensor(v) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    inputs = ((torch.from_numpy(pictures) / 255 - mean) / std).permute(0, 3, 1, 2)
    wanted = torch.from_numpy(labels).float()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(rounds):
        for batch in torch.randperm(len(inputs)).split(32):
            loss = nn.functional.binary_cross_entropy_with_logits(
                network(inputs[batch]),
                wanted[batch].clamp(min=0),
                weight=(wanted[batch] >= 0).float(),
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval()


def main() -> None:
    """Draw, train, scan, and print what was found."""
    parser = argparse.ArgumentParser(description="Scan images with several labels.")
    parser.add_argument("--images", type=int, default=240, help="how many are drawn")
    parser.add_argument("--rounds", type=int, default=12, help="passes of the training")
    parser.add_argument("--out", type=Path, default=Path("several"), help="folder for everything")
    options = parser.parse_args()

    labels = draw(options.out, options.images, np.random.default_rng(0))
    network = train(options.out, labels, options.rounds)
    torch.save(network.state_dict(), options.out / "weights.pt")
    run = sf.scan(options.out / "labels.csv", network, out=options.out / "run", settings=SETTINGS)
    for finding in run.findings.itertuples():
        print(f"{finding.finding} [{finding.severity}] {finding.sentence}")
    print(f"look at {run.folder / 'report.html'}")


# Worker processes import this file; only the one you started may scan.
if __name__ == "__main__":
    main()
