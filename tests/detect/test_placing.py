"""Placing: what repeats exactly gets boxes to the pixel, everything else keeps its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from findings import changed
from PIL import Image
from synthetic import FIXED_CELL, PIXELS, SIDE, Thing, World, make_world
from versions import TAG, picture

from shortcut_finder.detect.finding import Finding
from shortcut_finder.detect.placing import placed_boxes, to_the_pixel
from shortcut_finder.detect.sentences import EXACT
from shortcut_finder.errors import UnreadableImage

STAMP = 16


def test_a_repeated_thing_is_placed_to_the_pixel() -> None:
    rng = np.random.default_rng(0)
    pictures, boxes, truth = {}, {}, {}
    tag = picture(0, tag=True).crop((TAG[0], TAG[1], TAG[2] + 1, TAG[3] + 1))
    for number in range(12):
        image = picture(number).resize((128, 128))
        x, y = (int(value) for value in rng.integers(8, 90, 2))
        image.paste(tag, (x, y))
        truth[str(number)] = (x, y, x + tag.width, y + tag.height)
        off = rng.integers(-5, 6, 2)
        pictures[str(number)] = image
        boxes[str(number)] = (x + off[0] - 8, y + off[1] - 8, x + off[0] + 33, y + off[1] + 21)
    placed = placed_boxes(boxes, pictures.__getitem__)
    assert len(placed) >= 11
    for name, box in placed.items():
        # All of it, and hardly more.
        assert all(box[n] <= truth[name][n] + 1 for n in (0, 1))
        assert all(box[n] >= truth[name][n] - 1 for n in (2, 3))
        assert np.abs(np.subtract(box, truth[name])).max() <= 7


def test_a_thing_at_the_border_is_not_taken_for_its_mirror_image_beyond() -> None:
    rng = np.random.default_rng(2)
    # The same from left and right, with a rim.
    half = rng.integers(0, 2, (7, 4))
    pattern = np.pad(np.concatenate([half, half[:, 2::-1]], axis=1), 1, constant_values=1)
    colours = np.where(pattern[..., None] == 1, (60, 40, 220), (20, 120, 60))
    tag = Image.fromarray(colours.astype(np.uint8))
    pictures, truth = {}, {}
    for number in range(24):
        image = picture(number).resize((64, 64))
        x, y = (int(value) for value in rng.integers(0, 3, 2))
        image.paste(tag, (64 - 9 - x, y))
        pictures[str(number)], truth[str(number)] = image, (64 - 9 - x, y, 64 - x, y + 9)
    placed = placed_boxes(dict.fromkeys(pictures, (50, 0, 64, 18)), pictures.__getitem__)
    assert len(placed) == len(pictures)
    for name, box in placed.items():
        assert np.abs(np.subtract(box, truth[name])).max() <= 4


def test_things_that_do_not_repeat_are_not_placed() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    pictures = {str(n): Image.fromarray(one).resize((128, 128)) for n, one in enumerate(noise)}
    boxes = dict.fromkeys(pictures, (40, 40, 80, 80))
    assert placed_boxes(boxes, pictures.__getitem__) == {}


@pytest.mark.parametrize(("wide", "placed"), [(40, True), (110, False)])
def test_a_banner_that_goes_on_beyond_the_window_is_not_cut_off(wide: int, placed: bool) -> None:
    rng = np.random.default_rng(3)
    banner = np.kron(rng.integers(0, 256, (4, wide // 4, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    pictures = {}
    for number in range(24):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        pictures[number] = coarse.resize((128, 128), Image.Resampling.BICUBIC)
        pictures[number].paste(Image.fromarray(banner), ((128 - wide) // 2, 96))
    left, right = (128 - wide) // 2, (128 + wide) // 2
    boxes = dict.fromkeys(pictures, (left - 8, 88, right + 8, 120))
    found = placed_boxes(boxes, pictures.__getitem__)
    assert bool(found) == placed
    for box in found.values():
        assert np.abs(np.subtract(box, (left, 96, right, 112))).max() <= 7


def world_of(folder: Path, place: int | None, *, rigid: bool = True) -> tuple[World, Finding]:
    thing = Thing(1, 0.4, place, rigid=rigid)
    world = make_world(folder, [thing], counts=(60, 100, 60))
    return world, world.judged().findings[0]


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Finding]:
    return world_of(tmp_path_factory.mktemp("moving"), None)


def stamp_of(world: World, number: int) -> np.ndarray:
    """Where the stamp was put, in pixels, give or take one."""
    maps = world.records.maps[number]
    row, column = np.unravel_index(int(maps.argmax()), maps.shape)
    x, y = (min(max(at * PIXELS - 4, 0), SIDE - STAMP) for at in (column, row))
    return np.array((x, y, x + STAMP, y + STAMP))


@pytest.mark.parametrize(("place", "far"), [(None, 1), (FIXED_CELL, 2)])
def test_boxes_of_what_repeats_exactly_are_drawn_to_the_pixel(
    tmp_path: Path, place: int | None, far: int
) -> None:
    world, found = world_of(tmp_path, place)
    # As cells that see far beyond themselves would draw them.
    around = np.array((-far, -far, far, far)) * PIXELS / SIDE
    boxes = found.place.boxes
    found = changed(found, boxes=lambda n: tuple((np.array(boxes(n)) + around).clip(0, 1)))
    placed = to_the_pixel(found, world.scene())
    assert placed.place.exact
    carriers = [
        n for n in np.flatnonzero(found.carriers.listed) if world.order[n] in world.carriers[0]
    ]
    truth = np.array([stamp_of(world, n) for n in carriers])
    off, before = (
        np.abs(np.array([one.place.boxes(n) for n in carriers]) * SIDE - truth).max(axis=1)
        for one in (placed, found)
    )
    assert np.quantile(off, 0.9) <= 5 < np.quantile(before, 0.9)
    assert off.mean() < before.mean()


def test_images_that_cannot_be_read_keep_the_boxes_of_their_cells(
    moving: tuple[World, Finding],
) -> None:
    world, found = moving
    scene = world.scene()
    gone = int(np.flatnonzero(found.carriers.listed)[0])

    def read(number: int) -> Image.Image:
        if number == gone:
            raise UnreadableImage("gone")
        return scene.read(number)

    placed = to_the_pixel(found, replace(scene, read=read))
    assert placed.place.boxes(gone) == found.place.boxes(gone)
    assert placed is not found


def test_what_does_not_repeat_keeps_its_boxes(
    tmp_path: Path, moving: tuple[World, Finding]
) -> None:
    world, found = world_of(tmp_path, FIXED_CELL, rigid=False)
    # Images that do not agree, and what is not held for an artifact although they do.
    alike = changed(found, parts={**found.measured.parts, "rigidity": 1.0})
    assert to_the_pixel(alike, world.scene()) is alike
    world, found = moving
    natural = changed(found, parts={**found.measured.parts, "rigidity": EXACT - 0.1})
    assert to_the_pixel(natural, world.scene()) is natural


@pytest.mark.parametrize("kind", ["patch", "corner", "edge", "overlay"])
def test_every_kind_with_a_place_is_placed(moving: tuple[World, Finding], kind: str) -> None:
    world, found = moving
    assert to_the_pixel(changed(found, kind=kind), world.scene()).place.exact


@pytest.mark.parametrize("kind", ["frame", "property", "metadata", "region", "background"])
def test_what_has_no_place_of_its_own_is_left_alone(
    moving: tuple[World, Finding], kind: str
) -> None:
    world, found = moving
    whole = changed(found, kind=kind)
    assert to_the_pixel(whole, world.scene()) is whole


def test_images_at_the_limit_that_do_not_show_the_thing_are_listed_no_more(tmp_path: Path) -> None:
    world, found = world_of(tmp_path, FIXED_CELL)
    own = world.records.labels == found.number
    shows = np.isin(world.order, list(world.carriers[0]))
    without, shown = (
        np.flatnonzero(own & ~shows)[:4],
        np.flatnonzero(found.carriers.listed & shows)[:4],
    )
    usual = float(np.median(found.carriers.score[found.carriers.listed]))
    score, carries = found.carriers.score.copy(), found.carriers.listed.copy()
    carries[without] = True
    score[without[:2]] = score[shown] = usual / 2
    score[without[2:]] = usual
    wrong = changed(found, listed=carries, score=score)
    placed = to_the_pixel(wrong, world.scene())
    assert not placed.carriers.listed[without[:2]].any()
    assert not placed.carriers.score[without[:2]].any()
    assert not np.isin(without[:2], placed.carriers.typical).any()
    # Neither alone is enough: not being like a typical member, nor not showing it.
    assert placed.carriers.listed[shown].all()
    assert placed.carriers.listed[without[2:]].all()
