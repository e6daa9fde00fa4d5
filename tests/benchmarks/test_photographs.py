"""What is planted in photographs, and which findings are held to be of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from artifacts import CHANGES, PLACES
from PIL import Image

pytest.importorskip("efficientnet_lite_pytorch", reason="efficientnet-lite is not installed")

from photographs import Plant, is_right, make, plants

CLASSES = ("ash", "beech", "oak", "pine", "yew")


def test_one_class_is_left_as_it_is_and_the_same_seed_draws_the_same() -> None:
    drawn = [plants(CLASSES, seed) for seed in range(20)]
    assert all(len({plant.label for plant in one}) == len(CLASSES) - 1 for one in drawn)
    assert all((p.place == "whole") == (p.kind in CHANGES) for one in drawn for p in one)
    assert {plant.place for one in drawn for plant in one} == set(PLACES) - {"object"}
    assert plants(CLASSES, 3) == drawn[3] != drawn[4]


def test_a_share_of_one_class_carries_it_in_its_box_and_nothing_else_changes(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    for label in CLASSES[:2]:
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(20):
            # Smooth, so that the file holds what was saved.
            coarse = Image.fromarray(rng.integers(60, 200, (3, 4, 3), dtype=np.uint8))
            photo = coarse.resize((128, 96), Image.Resampling.BICUBIC)
            photo.save(tmp_path / "photos" / label / f"{number:02d}.png")
    plant = Plant("ash", "logo", "corner", 0.5, 7)
    truth = make(tmp_path / "photos", tmp_path / "made", [plant], 0)
    assert truth["label"].value_counts().to_dict() == {"ash": 8}
    for label in CLASSES[:2]:
        for place in range(20):
            split = "train" if place % 5 else "test"
            name = f"{label}/{label}-{place:04d}.jpg"
            made = np.asarray(Image.open(tmp_path / "made" / split / name), dtype=float)
            before = Image.open(tmp_path / "photos" / label / f"{place:02d}.png")
            change = np.abs(made - np.asarray(before, dtype=float)).max(axis=2)
            if name in truth.index:
                x0, y0, x1, y1 = truth.loc[name, ["x0", "y0", "x1", "y1"]]
                assert change[y0:y1, x0:x1].max() > 60
                # Blocks of a JPEG file reach beyond the box.
                change[max(y0 - 16, 0) : y1 + 16, max(x0 - 16, 0) : x1 + 16] = 0
            assert change.max() < 30


@pytest.mark.parametrize(
    ("label", "carriers", "x0", "right"),
    [
        ("ash", 4, 10, True),
        ("ash", 1, 10, False),
        ("ash", 4, 80, False),
        ("oak", 4, 10, False),
    ],
)
def test_a_finding_is_right_in_its_class_images_and_place(
    label: str, carriers: int, x0: int, right: bool
) -> None:
    names = [f"{label}/{number}.jpg" for number in range(5)]
    truth = pd.DataFrame(
        [("ash", 8, 8, 20, 20)] * carriers,
        index=names[:carriers],
        columns=["label", "x0", "y0", "x1", "y1"],
    )
    box = {"x0": x0, "y0": 10, "x1": x0 + 8, "y1": 18, "width": 100, "height": 80}
    listed = pd.DataFrame([{"image": name, **box} for name in names])
    finding = SimpleNamespace(label=label, kind="patch", region="corner")
    plant = Plant("ash", "logo", "corner", 0.5, 0)
    assert is_right(finding, listed, truth, plant, grid=10) == right


def test_a_blur_of_the_whole_photo_is_no_background() -> None:
    listed = pd.DataFrame({"image": ["ash/0.jpg"], "width": 100, "height": 80})
    truth = pd.DataFrame({"label": ["ash"]}, index=["ash/0.jpg"])
    plant = Plant("ash", "blur", "whole", 0.5, 0)
    for kind, region, right in (
        ("property", "sharpness", True),
        ("background", "surroundings", False),
        ("property", "colour", False),
    ):
        finding = SimpleNamespace(label="ash", kind=kind, region=region)
        assert is_right(finding, listed, truth, plant, grid=10) == right
