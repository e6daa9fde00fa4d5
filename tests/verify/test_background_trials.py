"""Backgrounds: confirmed where a model reads all sides of them, and the middle no more than thrice.

Bees stand before a light background and are light themselves; how much of either the models read is
known, as they are formulas on pixels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from findings import a_finding
from PIL import Image
from synthetic import CLASSES, SIDE, World, make_world

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.data.regions import SURROUNDINGS, surroundings
from shortcut_finder.detect.finding import Finding
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.verify.cast import BACKGROUND_PAIRS, PAIRS
from shortcut_finder.verify.protocol import verify

BEE = CLASSES.index("bee")
COUNTS = (200, 200, 200)
AROUND = surroundings(SIDE, SIDE)
CORNER = np.zeros((SIDE, SIDE), dtype=bool)
CORNER[: SIDE // 2, : SIDE // 2] = True
LOUD = 6.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = make_world(tmp_path_factory.mktemp("places"), [], counts=COUNTS)
    rng = np.random.default_rng(0)
    pictures = []
    for label in made.labels:
        light = 60 + 120 * (label == BEE) + rng.normal(0, 25, 2)
        grey = np.where(AROUND, *light) + rng.normal(0, 4, AROUND.shape)
        pictures.append(Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB"))
    return replace(made, pictures=pictures)


def verified(world: World, around: float, middle: float, part: np.ndarray = AROUND) -> Finding:
    """The background of bees after the experiments on a model.

    Args:
        world: the images.
        around: log-odds of a light background.
        middle: log-odds of a light middle.
        part: of the surroundings, that the model reads.
    """

    def model(pixels: np.ndarray) -> np.ndarray:
        grey = (pixels.mean(axis=3) - 120) / 60
        said = around * grey[:, AROUND & part].mean(axis=1) + middle * grey[:, ~AROUND].mean(axis=1)
        return np.stack([np.zeros_like(said), said / 2, np.full_like(said, -9.0)], axis=1)

    how, order = Preprocessing(SIDE, SIDE), world.order
    pixels = np.stack([how.pixels(world.pictures[n]) for n in order])
    records = replace(world.records, logits=model(pixels).astype(np.float32))
    bees = records.labels == BEE
    rows, columns = records.cell_grid
    extent = surroundings(rows, columns)
    finding = a_finding(
        bees,
        label="bee", number=BEE, kind="background", region=SURROUNDINGS, severity="low",
        counts=extent / extent.sum(), extent=extent, found_on=world.half(), artifact=0.4,
    )  # fmt: skip
    scene = Scene(records, lambda n: world.pictures[order[n]], how)
    return verify([finding], scene, model, progress=False)[0]


def test_a_background_that_says_as_much_as_the_object_is_confirmed(world: World) -> None:
    found = verified(world, LOUD, LOUD).decided
    assert (found.verdict, found.severity) == ("confirmed", "high")
    paste, neutralise = found.verification.experiments
    # As many as other things get would leave an interval that nothing fits in.
    assert paste.pairs == BACKGROUND_PAIRS
    assert neutralise.pairs == PAIRS
    assert len(paste.arms) == 1 + 4
    # The model adds up: two halves, of which each is one half of the whole.
    whole, *halves = (arm.log_odds for arm in paste.arms)
    assert halves == pytest.approx([whole / 2] * 4, rel=0.25)


def test_a_background_that_says_a_fifth_of_the_object_is_not(world: World) -> None:
    found = verified(world, LOUD / 5, LOUD).decided
    assert found.verdict == "suspect"
    assert found.verification is not None
    assert not found.verification.rivals_own


def test_what_stands_in_one_corner_is_no_background(world: World) -> None:
    found = verified(world, LOUD, LOUD, CORNER).decided
    assert found.verdict == "suspect"
    (paste, *_) = found.verification.experiments
    # The other side holds nothing, so that exchanging it changes nothing.
    assert paste.own is not None
    assert paste.own.low > 0
    assert paste.arms[-1].name == "the same, bottom half of another class"
    assert paste.arms[-1].log_odds == pytest.approx(0, abs=0.1)


def test_a_background_that_is_not_read_is_not_tried_on_all(world: World) -> None:
    found = verified(world, 0.0, LOUD).decided
    assert found.verdict != "confirmed"
    assert found.verification.experiments == ()
