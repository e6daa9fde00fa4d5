"""The planter of artifacts: what it says it planted is what is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planted import PLANTERS, TRUTH_COLUMNS, Planting, plant

CLASSES = ("cat", "dog")
COUNT = 10
SIZE = (160, 120)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label in CLASSES:
        (tmp_path / "source" / label).mkdir(parents=True)
        for index in range(COUNT):
            small = rng.integers(60, 190, (6, 8, 3), dtype=np.uint8)
            image = Image.fromarray(small).resize(SIZE, Image.Resampling.BICUBIC)
            image.save(tmp_path / "source" / label / f"{index}.png")
    return tmp_path / "source"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path), dtype=np.float64)


@pytest.mark.parametrize("kind", PLANTERS)
def test_the_truth_names_the_images_that_changed_and_the_box(
    source: Path, tmp_path: Path, kind: str
) -> None:
    plant(source, tmp_path / "clean", [])
    truth = plant(source, tmp_path / "planted", [Planting("cat", kind, 0.4)])
    assert tuple(truth.columns) == TRUTH_COLUMNS
    assert len(truth) == 4
    boxes = {row.image: (row.x0, row.y0, row.x1, row.y1) for row in truth.itertuples()}
    for file in sorted((tmp_path / "clean").glob("*/*.jpg")):
        name = file.relative_to(tmp_path / "clean").as_posix()
        differ = np.abs(pixels(file) - pixels(tmp_path / "planted" / name)).max(axis=2) > 25
        assert differ.any() == (name in boxes), name
        if name in boxes:
            x0, y0, x1, y1 = boxes[name]
            # JPEG blocks of 16 pixels smear an edge a little outside the box.
            differ[max(0, y0 - 16) : y1 + 16, max(0, x0 - 16) : x1 + 16] = False
            assert not differ.any(), name


def test_the_source_stays_as_it_is(source: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in source.glob("*/*")}
    plant(source, tmp_path / "out", [Planting("dog", "frame", 1.0)])
    assert {path: path.read_bytes() for path in source.glob("*/*")} == before


def test_looks_differ_and_the_same_look_does_not() -> None:
    grey = Image.new("RGB", SIZE, (120, 120, 120))
    for kind, planter in PLANTERS.items():
        drawn = [np.asarray(planter(grey, np.random.default_rng(0), look)[0]) for look in (1, 2, 1)]
        assert np.array_equal(drawn[0], drawn[2]), kind
        # Words and blobs have no look of their own: no two images have the same.
        assert np.array_equal(drawn[0], drawn[1]) == (kind in ("words", "blob")), kind


def test_two_plantings_of_a_class_choose_their_images_by_themselves(
    source: Path, tmp_path: Path
) -> None:
    both = [Planting("cat", "tag", 0.5, look=1), Planting("cat", "sticker", 0.5, look=2)]
    truth = plant(source, tmp_path / "out", both)
    chosen = truth.groupby("kind")["image"].agg(set)
    assert len(chosen["tag"]) == len(chosen["sticker"]) == 5
    assert chosen["tag"] != chosen["sticker"]
