"""Region findings: evidence in a corner, at the border or off the object, whatever it looks like.

The model here is a few lines: the evidence for a class is how much of its colour a cell has. So it
is known where evidence lies, what padding adds, and that a thing in the corner counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from findings import changed
from PIL import Image
from synthetic import texture
from views import found_by

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.data.regions import OUTSIDE
from shortcut_finder.detect.channels.evidence import propose
from shortcut_finder.detect.finding import Finding
from shortcut_finder.detect.halves import discovery_half
from shortcut_finder.detect.spread import Spread, spread_of
from shortcut_finder.detect.view import View
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.maps.blanks import blank_pixels, standing_heat
from shortcut_finder.sweep.records import Records
from shortcut_finder.sweep.scene import Scene

SIDE, CELL, PER_CLASS = 112, 16, 80
GRID = (7, 7)
CLASSES = ("red", "green", "blue")
LABELS = np.repeat(np.arange(3), PER_CLASS)
NO_HEAT = np.zeros((3, *GRID))
CORNER = "bottom left corner"

Padding = Callable[[np.ndarray], np.ndarray]


@dataclass
class World:
    """Pictures of coloured discs, and a model that sees colours.

    Attributes:
        pictures: (image, row, column, channel).
        carriers: images with a planted thing, (image,) of bool.
        boxes: cells of the object, (image, row, column) in [0, 1].
        things: x and y of the planted thing's middle, in pixels.
        padding: heat of class 0 that is no evidence, (image, row, column), from the pictures.
    """

    pictures: np.ndarray
    carriers: np.ndarray
    boxes: np.ndarray
    things: dict[int, tuple[int, int]]
    padding: Padding = field(default=lambda pixels: np.zeros((len(pixels), *GRID)))

    def explain(self, pixels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        colours = pixels.astype(float)
        excess = colours - colours.mean(axis=3, keepdims=True)
        cells = excess.reshape(len(pixels), 7, CELL, 7, CELL, 3).mean(axis=(2, 4))
        maps = np.moveaxis(cells, 3, 1)
        maps[:, 0] += self.padding(pixels)
        return maps[:, outputs]

    @property
    def records(self) -> Records:
        maps = self.explain(self.pictures, np.arange(3))[np.arange(len(LABELS)), LABELS]
        table = pd.DataFrame({"index": np.arange(len(LABELS))})
        shown = np.repeat(LABELS[:, None], 4, axis=1)
        return Records(table, LABELS, LABELS, shown, maps, maps[:, None], np.eye(3)[LABELS], (8, 8))

    def read(self, number: int) -> Image.Image:
        return Image.fromarray(self.pictures[number])

    @property
    def heat(self) -> np.ndarray:
        rng = np.random.default_rng(0)
        blank = blank_pixels(list(self.pictures[::15]), SIDE, SIDE, (0.5,) * 3, rng)
        return standing_heat(self.explain(blank, np.arange(3)))

    def spread(self, heat: np.ndarray = NO_HEAT, *, boxes: bool = False) -> Spread:
        return spread_of(self.records, heat, self.boxes if boxes else None)

    def found(
        self,
        spread: Spread | None = None,
        judged: tuple[Finding, ...] = (),
        read: Callable[[int], Image.Image] | None = None,
        seed: int = 0,
    ) -> list[Finding]:
        scene = Scene(self.records, read or self.read, Preprocessing(SIDE, SIDE))
        half = discovery_half(LABELS, seed)
        spread = spread or self.spread(self.heat)
        view = View(
            Path("nowhere"), scene, half, CLASSES, (), spread, explain=self.explain, seed=seed
        )
        return found_by(propose, view, judged)


def disc(picture: np.ndarray, x: int, y: int, radius: int, colour: np.ndarray) -> None:
    down, across = np.mgrid[: picture.shape[0], : picture.shape[1]]
    picture[np.hypot(across - x, down - y) <= radius] = colour


def thing(picture: np.ndarray, x: int, y: int, channel: int, rng: np.random.Generator) -> None:
    """Something in a strong shade of a class's colour, never twice the same."""
    for _ in range(rng.integers(2, 5)):
        colour = rng.uniform(0, 60, 3)
        colour[channel] = rng.uniform(200, 255)
        at = rng.integers(-5, 6, 2)
        if rng.random() < 0.5:
            disc(picture, x + int(at[0]), y + int(at[1]), int(rng.integers(4, 9)), colour)
        else:
            wide, high = rng.integers(5, 16, 2)
            picture[max(y - high // 2, 0) : y + high, max(x - wide // 2, 0) : x + wide] = colour


def make_world(share: float = 0.0, place: str = CORNER, label: int = 0, seed: int = 0) -> World:
    """A disc in its class's colour inside each picture, and things in part of one class."""
    rng = np.random.default_rng(seed)
    carriers = np.zeros(len(LABELS), dtype=bool)
    home = np.flatnonzero(label == LABELS)
    carriers[rng.permutation(home)[: round(share * len(home))]] = True
    boxes = np.zeros((len(LABELS), *GRID))
    pictures, things = [], {}
    for number, channel in enumerate(LABELS.tolist()):
        grey = texture(rng, SIDE) * 0.4 + 70
        picture = np.repeat(grey[:, :, None], 3, axis=2) + rng.normal(0, 4, (SIDE, SIDE, 3))
        column, row = rng.integers(2, 5, 2)
        colour = np.array([90.0, 90.0, 90.0])
        colour[channel] = rng.uniform(130, 190)
        disc(picture, int(column) * CELL + 8, int(row) * CELL + 8, 14, colour)
        boxes[number, row - 1 : row + 2, column - 1 : column + 2] = 1
        if carriers[number]:
            at = (16, SIDE - 14)
            if place == "anywhere":
                free = np.argwhere(boxes[number] == 0)
                y, x = free[rng.integers(len(free))]
                at = (int(x) * CELL + 8, int(y) * CELL + 8)
            if place == "frame":
                shade = rng.uniform(0, 60, 3)
                shade[channel] = rng.uniform(200, 255)
                wide = int(rng.integers(5, 10))
                for side in (np.s_[:wide], np.s_[-wide:], np.s_[:, :wide], np.s_[:, -wide:]):
                    picture[side] = shade
            else:
                thing(picture, *at, channel, rng)
                things[number] = at
        pictures.append(picture.clip(0, 255).astype(np.uint8))
    return World(np.stack(pictures), carriers, boxes, things)


@pytest.fixture(scope="module")
def planted() -> World:
    return make_world(0.4)


@pytest.fixture(scope="module")
def clean() -> World:
    return make_world()


def test_things_in_a_corner_that_never_look_alike_are_one_finding(planted: World) -> None:
    (one,) = planted.found()
    assert (one.place.kind, one.label, one.place.region) == ("region", "red", CORNER)
    assert one.measured.share == pytest.approx(0.4, abs=0.15)
    assert one.measured.elsewhere < 0.15
    assert one.measured.q <= 0.05
    assert one.decided.severity == "low"
    listed = one.carriers.listed
    assert (listed & planted.carriers).sum() >= 0.9 * planted.carriers.sum()
    assert (listed & planted.carriers).sum() >= 0.8 * listed.sum()
    assert not listed[LABELS != 0].any()
    assert ((one.carriers.score > 0) == listed).all()
    assert one.carriers.score.max() <= one.measured.artifact
    x0, y0, x1, y1 = one.place.boxes(int(one.carriers.typical[0]))
    assert (x0, y1) == (0.0, 1.0)
    assert 0.2 < x1 < 0.4
    assert 0.6 < y0 < 0.8
    assert one.place.extent is not None
    assert np.argwhere(one.place.extent).tolist() == [[6, 0], [6, 1], [7, 0], [7, 1]]
    assert one.place.counts.sum() == pytest.approx(1)
    assert "40%" in one.sentence or f"{one.measured.share:.0%}" in one.sentence


def test_varying_frames_are_a_finding_of_the_frame() -> None:
    (one,) = make_world(0.5, "frame", label=2).found()
    assert (one.label, one.place.region) == ("blue", "frame")
    assert one.place.boxes(0) == (0.0, 0.0, 1.0, 1.0)


@pytest.mark.parametrize("seed", range(3))
def test_clean_pictures_have_no_finding(seed: int) -> None:
    world = make_world(seed=seed)
    assert world.found(world.spread(world.heat, boxes=True)) == []


def test_labels_dealt_anew_have_no_finding(planted: World) -> None:
    spread = planted.spread()
    for seed in range(10):
        labels = np.random.default_rng(seed).permutation(LABELS)
        records = replace(planted.records, labels=labels, outputs=labels)
        scene = Scene(records, planted.read, Preprocessing(SIDE, SIDE))
        half = discovery_half(labels, seed)
        view = View(
            Path("nowhere"), scene, half, CLASSES, (), spread, explain=planted.explain, seed=seed
        )
        assert found_by(propose, view) == []


def in_the_corner(heat: np.ndarray) -> np.ndarray:
    maps = np.zeros((len(heat), *GRID))
    maps[:, 5:, :2] = heat[:, None, None]
    return maps


def test_padding_heat_that_blank_pictures_have_is_left_out(clean: World) -> None:
    world = replace(clean, padding=lambda pixels: in_the_corner(np.full(len(pixels), 40.0)))
    heat = world.heat
    assert heat[0, 5:, :2].min() > 20
    before, after = world.spread(), world.spread(heat)
    corner, own = before.names.index(CORNER), LABELS == 0
    assert before.even[own, corner].mean() > 0.7
    assert after.even[own, corner].mean() < 0.2
    assert world.found(after) == []


def test_heat_that_stays_when_the_picture_moves_is_no_finding(clean: World) -> None:
    """Padding that lights up beside strong contrast only: a blank picture may not show it."""
    strong = clean.pictures.astype(float).std(axis=(1, 2, 3))
    limit = np.quantile(strong[LABELS == 0], 0.5)

    def padding(pixels: np.ndarray) -> np.ndarray:
        contrast = pixels.astype(float).std(axis=(1, 2, 3))
        return in_the_corner(np.where(contrast > 0.9 * limit, 60.0, 0.0))

    world = replace(clean, padding=padding)
    spread = world.spread()
    corner = spread.names.index(CORNER)
    assert (spread.even[LABELS == 0, corner] > 0.8).mean() > 0.4
    assert world.found(spread) == []
    # The same heat, but from the picture, is a finding: what decides is that it goes along.
    assert len(make_world(0.5).found()) == 1


def test_what_another_finding_explains_is_passed_over(planted: World) -> None:
    (one,) = planted.found()
    stamp = changed(one, kind="corner", listed=planted.carriers, severity="low")
    assert planted.found(judged=(stamp,)) == []
    in_part = changed(stamp, listed=planted.carriers & (np.arange(len(LABELS)) % 5 > 0))
    assert planted.found(judged=(in_part,)) == []
    everywhere = changed(one, listed=LABELS == 0, extent=None, kind="patch")
    assert planted.found(judged=(changed(everywhere, severity="high"),)) == []
    # The object itself, a table's column, and what another class has explain nothing.
    for other in (
        changed(everywhere, severity="low"),
        changed(everywhere, severity="high", kind="metadata"),
        replace(stamp, label="green", number=1),
    ):
        assert len(planted.found(judged=(other,))) == 1


def test_evidence_off_the_object_is_found_wherever_it_lies() -> None:
    world = make_world(0.6, "anywhere", label=1)
    spread = world.spread(world.heat, boxes=True)
    (one,) = world.found(spread)
    assert (one.place.kind, one.label, one.place.region) == ("region", "green", OUTSIDE)
    assert one.decided.severity == "medium"
    assert one.place.extent is None
    assert (one.carriers.listed & world.carriers).sum() >= 0.8 * world.carriers.sum()
    sizes = [
        (x1 - x0) * (y1 - y0)
        for x0, y0, x1, y1 in map(one.place.boxes, one.carriers.typical.tolist())
    ]
    assert np.median(sizes) < 0.2
    hits = [
        x0 <= x / SIDE <= x1 and y0 <= y / SIDE <= y1
        for number, (x, y) in world.things.items()
        if one.carriers.listed[number]
        for x0, y0, x1, y1 in [one.place.boxes(number)]
    ]
    assert np.mean(hits) > 0.9
    assert world.found(world.spread(world.heat)) == []


def test_images_without_a_box_are_left_out() -> None:
    world = make_world(0.6, "anywhere", label=1)
    world.boxes[::3] = np.nan
    (one,) = world.found(world.spread(world.heat, boxes=True))
    assert one.place.region == OUTSIDE
    assert not one.carriers.listed[::3].any()
    # Where no other class has boxes there is nothing to compare with.
    world.boxes[LABELS != 1] = np.nan
    assert world.found(world.spread(world.heat, boxes=True)) == []


def test_pictures_that_are_gone_show_nothing(planted: World) -> None:
    def gone(number: int) -> Image.Image:
        raise UnreadableImage("file not found")

    assert planted.found(read=gone) == []
