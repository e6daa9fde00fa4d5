"""Numerics: models and data that are extreme, and every number that is written finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from shortcut_finder.errors import ModelError
from shortcut_finder.run.folder import load_run
from shortcut_finder.scanning import scan
from shortcut_finder.settings import Settings

SETTINGS = Settings(input_size=32, precision="fp32", workers=0)


class Network(nn.Module):
    """Sees how light a cell is; ``change`` does what it likes to its logits."""

    def __init__(self, outputs: int, change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 5, 4, 2), nn.ReLU())
        self.head = nn.Linear(8, outputs)
        self.change = change

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.change(self.head(self.features(images).mean((2, 3))), images)


def nan_for_some(logits: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    some = images.mean((1, 2, 3)) > images.mean()
    return torch.where(some[:, None], torch.full_like(logits, float("nan")), logits)


def infinite_for_some(logits: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    changed = logits.clone()
    changed[images.mean((1, 2, 3)) > images.mean(), 0] = float("inf")
    changed[images.mean((1, 2, 3)) <= images.mean(), 1] = -float("inf")
    return changed


def never_the_first(logits: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return logits - torch.eye(logits.shape[1])[0] * 1000


def by_light(sign: float) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Right or wrong of all images: the first class is dark, the second light."""

    def change(logits: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        light = images.mean((1, 2, 3))[:, None] * sign
        return logits * 1e-3 + torch.cat([-light, light], dim=1) * 100

    return change


CHANGES = {
    "nan": nan_for_some,
    "infinite": infinite_for_some,
    "never": never_the_first,
    "always right": by_light(1.0),
    "always wrong": by_light(-1.0),
}
SILENT = {
    "nothing": lambda logits, _: logits * 0,
    "all nan": lambda logits, _: logits * float("nan"),
}


def draw(root: Path, counts: dict[str, int], *, constant: bool = False) -> Path:
    rng = np.random.default_rng(0)
    for place, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.full((32, 32, 3), 90 + 70 * place, dtype=np.float64)
            if not constant:
                pixels += rng.normal(0, 12, pixels.shape)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
                root / name / f"{number:03d}.png"
            )
    return root


def check(folder: Path, images: int) -> Any:
    run = load_run(folder)
    assert len(run.images) + len(run.unreadable) == images
    for table, columns in (
        (run.regions, ["images", "share", "elsewhere", "lift", "effect", "p", "q"]),
        (run.findings, ["images", "share", "elsewhere", "q", "suspicion", "artifact"]),
        (run.offenders, ["rank", "score", "x0", "y0", "x1", "y1"]),
        (run.images, ["confidence", "label_probability", "top1_probability", "suspicion"]),
    ):
        assert np.isfinite(table[columns].to_numpy(dtype=float)).all(), columns
    for name in ("p", "q"):
        assert run.regions[name].between(0, 1).all()
    assert run.findings["q"].between(0, 1).all()
    assert run.images["confidence"].between(0, 1).all()
    return run


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_the_model_says_every_table_is_complete(tmp_path: Path, change: str) -> None:
    data = draw(tmp_path / "data", {"ant": 30, "bee": 30})
    network = Network(2, CHANGES[change])
    scan(data, network, out=tmp_path / "run", settings=SETTINGS, progress=False)
    run = check(tmp_path / "run", 60)
    if change == "nan":
        assert 0 < len(run.unreadable) < 60
        assert set(run.unreadable["error"]) == {"what the model says of it is not a number (NaN)"}
    if change == "always right":
        assert run.card["accuracy"] == 1
    if change == "always wrong":
        assert run.card["accuracy"] == 0
    if change == "never":
        assert "ant" not in set(run.images["predicted"])


@pytest.mark.parametrize("change", SILENT)
def test_a_model_that_says_nothing_is_one_clear_line(tmp_path: Path, change: str) -> None:
    data = draw(tmp_path / "data", {"ant": 3, "bee": 3})
    with pytest.raises(ModelError, match="so no map can be drawn"):
        scan(
            data, Network(2, SILENT[change]), out=tmp_path / "run", settings=SETTINGS,
            progress=False,
        )  # fmt: skip


def test_constant_images_and_classes_of_one_image(tmp_path: Path) -> None:
    data = draw(tmp_path / "data", {"ant": 25, "bee": 25, "cat": 1, "dog": 1}, constant=True)
    network = Network(4, CHANGES["never"])
    scan(data, network, out=tmp_path / "run", settings=SETTINGS, progress=False)
    check(tmp_path / "run", 52)


def test_more_outputs_than_classes_have_images(tmp_path: Path) -> None:
    data = draw(tmp_path / "data", {"ant": 12, "bee": 12})
    names = ["ant", "bee", *(f"class {number}" for number in range(998))]
    network = Network(1000, lambda logits, _: logits)
    settings = replace(SETTINGS, verify=False)
    scan(data, network, out=tmp_path / "run", classes=names, settings=settings, progress=False)
    check(tmp_path / "run", 24)
