"""Surroundings: a class that is told by its background, and nothing where it is not.

The models here are formulas on pixels, so it is known whether they go by what surrounds the middle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from findings import changed
from PIL import Image
from views import found_by, no_picture

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.data.regions import SURROUNDINGS, from_middle, surroundings
from shortcut_finder.detect.channels.surroundings import propose
from shortcut_finder.detect.finding import Finding, worth_listing
from shortcut_finder.detect.halves import discovery_half
from shortcut_finder.detect.view import View
from shortcut_finder.sweep.records import Records
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.sweep.shards import ARRAYS, shard_path, write_shard
from shortcut_finder.verify.protocol import verify

SIDE, CELLS, PER_CLASS = 64, 8, 70
CLASSES = ("rose", "tulip", "aster")
LABELS = np.repeat(np.arange(3), PER_CLASS)
AROUND = surroundings(SIDE, SIDE)
DISC = from_middle(SIDE, SIDE) < 0.3
LAND = np.array([70.0, 130.0, 60.0])
WATER = np.array([60.0, 90.0, 150.0])

Model = Callable[[np.ndarray], np.ndarray]


def greenness(pixels: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Green beyond blue, mean of a region, about 1 on land and -1 on water, (image,)."""
    colours = pixels[:, region].astype(float).mean(axis=1)
    return np.asarray((colours[:, 1] - colours[:, 2]) / 65)


def redness(pixels: np.ndarray) -> np.ndarray:
    """Red beyond green of the object, (image,): about 1 for a rose, -1 for the others."""
    colours = pixels[:, DISC].astype(float).mean(axis=1)
    return np.asarray((colours[:, 0] - colours[:, 1]) / 60)


def rose_by(evidence: Callable[[np.ndarray], np.ndarray]) -> Model:
    """A model that takes images for roses by some evidence, and tells the others by nothing."""

    def predict(pixels: np.ndarray) -> np.ndarray:
        grey = pixels.mean(axis=(1, 2, 3)) / 255
        return np.stack([evidence(pixels), 0.1 * grey, -0.1 * grey], axis=1)

    return predict


BY_BACKGROUND = rose_by(lambda pixels: 4 * greenness(pixels, AROUND) + redness(pixels))
BY_OBJECT = rose_by(lambda pixels: 4 * redness(pixels) + 1.2 * greenness(pixels, AROUND))


def by_top_left(pixels: np.ndarray) -> np.ndarray:
    """Evidence of a quarter of the surroundings, as of an object that stands there."""
    quarter = AROUND.copy()
    quarter[SIDE // 2 :] = quarter[:, SIDE // 2 :] = False
    return 4 * greenness(pixels, quarter)


class World:
    """Discs on land or water: roses on land in part, and shards of them."""

    def __init__(self, folder: Path, share: float, *, elsewhere: float = 0.05, all_over=False):
        rng = np.random.default_rng(7)
        likely = np.where(LABELS == 0, share, elsewhere)
        self.on_land = rng.random(len(LABELS)) < likely
        self.pictures = np.stack(
            [
                self._picture(land, label, rng, all_over=all_over)
                for land, label in zip(self.on_land, LABELS, strict=True)
            ]
        )
        self.folder = folder
        grid = self.pictures.astype(float).reshape(-1, CELLS, 8, CELLS, 8, 3)
        cells = np.concatenate([grid.mean(axis=(2, 4)), grid.std(axis=(2, 4))], axis=-1)
        spread = cells.reshape(-1, 6)
        white = ((cells - spread.mean(axis=0)) / spread.std(axis=0)).astype(np.float16)
        for number, part in enumerate(np.array_split(np.arange(len(LABELS)), 3)):
            table = pd.DataFrame({"index": part, "image": [f"{n}.png" for n in part]})
            arrays = {name: np.zeros((len(part), 1)) for name in ARRAYS}
            fine = np.zeros((len(part), 2 * CELLS, 2 * CELLS, 0))
            arrays |= {"cells": white[part], "fine": fine}
            write_shard(shard_path(folder, number), table, arrays)
        self.half = discovery_half(LABELS, 0)

    @staticmethod
    def _picture(land: bool, label: int, rng: np.random.Generator, *, all_over: bool) -> np.ndarray:
        picture = (LAND if land else WATER) + rng.normal(0, 25, 3) * 0.4
        picture = picture + rng.normal(0, 12, (SIDE, SIDE, 1))
        if not all_over:
            colour = rng.uniform(60, 120, 3)
            colour[0] = colour[1] + (60 if label == 0 else -60) + rng.normal(0, 15)
            picture[DISC] = colour + rng.normal(0, 12, (int(DISC.sum()), 1))
        return np.clip(picture, 0, 255).astype(np.uint8)

    def records(self, model: Model = BY_OBJECT) -> Records:
        shown = np.repeat(LABELS[:, None], 4, axis=1)
        maps = np.zeros((len(LABELS), 4, 4), dtype=np.float32)
        table = pd.DataFrame({"index": np.arange(len(LABELS))})
        logits = model(self.pictures).astype(np.float32)
        return Records(
            table, LABELS, LABELS, shown, maps, maps[:, None], logits, (CELLS, CELLS)
        )  # fmt: skip

    def found(self) -> list[Finding]:
        return self.told(self.records(), self.half)

    def told(self, records: Records, half: np.ndarray) -> list[Finding]:
        scene = Scene(records, no_picture, Preprocessing(SIDE, SIDE))
        return found_by(propose, View(self.folder, scene, half, CLASSES))

    def verified(self, model: Model) -> Finding:
        scene = Scene(
            self.records(model),
            lambda number: Image.fromarray(self.pictures[number]),
            Preprocessing(SIDE, SIDE),
        )
        return verify(self.found(), scene, model, progress=False)[0]


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("land"), 0.9)


def test_a_background_lists_the_images_that_have_it(land: World) -> None:
    (found,) = land.found()
    assert (found.label, found.place.kind, found.place.region) == (
        "rose",
        "background",
        SURROUNDINGS,
    )
    assert list(found.carriers.listed) == list((LABELS == 0) & land.on_land)
    assert found.decided.severity == "low"


def test_each_half_finds_and_the_other_tests(land: World) -> None:
    """The clearer of the two is listed, whichever half is called the discovery half."""
    again = land.told(land.records(), ~land.half)
    assert [
        np.array_equal(one.carriers.found_on, land.found()[0].carriers.found_on) for one in again
    ] == [True]


def test_other_classes_may_share_the_background_of_most(land: World) -> None:
    """Tulips and asters are both on water, so it tells neither of them."""
    assert {one.label for one in land.found()} == {"rose"}


def test_backgrounds_that_go_with_no_class_are_not_found(tmp_path: Path) -> None:
    assert World(tmp_path, 0.5, elsewhere=0.5).found() == []


def test_two_by_two_cells_have_no_middle(land: World) -> None:
    records = replace(land.records(), cell_grid=(2, 2))
    assert land.told(records, land.half) == []


def test_what_the_middle_shows_too_is_no_background(tmp_path: Path) -> None:
    assert World(tmp_path, 0.9, all_over=True).found() == []


def test_a_model_that_goes_by_the_background_confirms_it(land: World) -> None:
    found = land.verified(BY_BACKGROUND)
    assert (found.decided.verdict, found.decided.severity) == ("confirmed", "high")
    assert "told by its background" in found.sentence
    assert found.decided.reliance[1] > 0
    assert worth_listing([found])


@pytest.mark.parametrize("model", [BY_OBJECT, rose_by(by_top_left)], ids=["object", "one side"])
def test_other_models_leave_it_out(land: World, model: Model) -> None:
    found = land.verified(model)
    assert found.decided.verdict != "confirmed"
    assert worth_listing([found]) == ()


@pytest.mark.parametrize(("weight", "verdict"), [(1.0, "suspect"), (3.0, "confirmed")])
def test_it_may_say_less_than_the_middle_but_not_much_less(
    land: World, weight: float, verdict: str
) -> None:
    """The first says a fifth of what the middle does, the second seven tenths."""
    model = rose_by(lambda pixels: 4 * redness(pixels) + weight * greenness(pixels, AROUND))
    assert land.verified(model).decided.verdict == verdict


def test_each_image_says_how_much_its_label_hangs_on_it(land: World) -> None:
    found = land.verified(BY_BACKGROUND)
    assert found.decided.verification is not None
    without = found.decided.verification.without
    now = land.records(BY_BACKGROUND).probabilities(list(without))[:, 0]
    assert (now - np.array(list(without.values())) > 0.1).mean() > 0.9


@pytest.mark.parametrize("kind", ["frame", "property"])
def test_what_is_confirmed_in_the_same_images_explains_it(land: World, kind: str) -> None:
    found = land.verified(BY_BACKGROUND)
    frame = changed(found, key="F9", kind=kind, region="frame")
    assert [one.place.kind for one in worth_listing([found, frame])] == [kind]
    doubtful = changed(frame, verdict="suspect", severity="medium")
    assert "background" in [one.place.kind for one in worth_listing([found, doubtful])]


def test_a_look_of_the_background_is_listed_beside_it(land: World) -> None:
    """A background out of focus is both: its images are alike around the middle, and soft."""
    found = land.verified(BY_BACKGROUND)
    soft = changed(found, kind="property", region="sharpness", verdict="suspect", severity="medium")
    assert {one.place.kind for one in worth_listing([found, soft])} == {"background", "property"}


def test_a_piece_of_it_and_what_stands_in_the_middle_do_not_explain_it(land: World) -> None:
    found = land.verified(BY_BACKGROUND)
    few = found.carriers.listed & (
        np.cumsum(found.carriers.listed) <= found.carriers.listed.sum() // 2
    )
    piece = changed(found, key="F9", kind="patch", region="anywhere", listed=few)
    inside = changed(found, key="F9", kind="patch", region="centre")
    for other in (piece, inside):
        assert "background" in [one.place.kind for one in worth_listing([found, other])]
