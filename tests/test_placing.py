"""Placing: what repeats exactly gets boxes to the pixel, everything else keeps its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import FIXED_CELL, PIXELS, SIDE, Thing, World, make_world

from shortcut_finder.errors import UnreadableImage
from shortcut_finder.findings import Finding
from shortcut_finder.placing import to_the_pixel
from shortcut_finder.suspicion import EXACT

STAMP = 16


def world_of(folder: Path, place: int | None, *, rigid: bool = True) -> tuple[World, Finding]:
    thing = Thing(1, 0.4, place, rigid=rigid)
    world = make_world(folder, [thing], counts=(60, 100, 60))
    return world, world.judged().findings[0]


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
    boxes = found.boxes
    found = replace(found, boxes=lambda n: tuple((np.array(boxes(n)) + around).clip(0, 1)))
    placed = to_the_pixel(found, world.scene())
    assert placed.exact
    carriers = [n for n in np.flatnonzero(found.carries) if world.order[n] in world.carriers[0]]
    truth = np.array([stamp_of(world, n) for n in carriers])
    off, before = (
        np.abs(np.array([one.boxes(n) for n in carriers]) * SIDE - truth).max(axis=1)
        for one in (placed, found)
    )
    assert np.quantile(off, 0.9) <= 5 < np.quantile(before, 0.9)
    assert off.mean() < before.mean()


def test_images_that_cannot_be_read_keep_the_boxes_of_their_cells(tmp_path: Path) -> None:
    world, found = world_of(tmp_path, None)
    scene = world.scene()
    gone = int(np.flatnonzero(found.carries)[0])

    def read(number: int) -> Image.Image:
        if number == gone:
            raise UnreadableImage("gone")
        return scene.read(number)

    placed = to_the_pixel(found, replace(scene, read=read))
    assert placed.boxes(gone) == found.boxes(gone)
    assert placed is not found


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Finding]:
    return world_of(tmp_path_factory.mktemp("moving"), None)


def test_what_does_not_repeat_keeps_its_boxes(
    tmp_path: Path, moving: tuple[World, Finding]
) -> None:
    world, found = world_of(tmp_path, FIXED_CELL, rigid=False)
    # Images that do not agree, and what is not held for an artifact although they do.
    alike = replace(found, parts={**found.parts, "rigidity": 1.0})
    assert to_the_pixel(alike, world.scene()) is alike
    world, found = moving
    natural = replace(found, parts={**found.parts, "rigidity": EXACT - 0.1})
    assert to_the_pixel(natural, world.scene()) is natural


@pytest.mark.parametrize("kind", ["frame", "property", "metadata", "region", "background"])
def test_what_has_no_place_of_its_own_is_left_alone(
    moving: tuple[World, Finding], kind: str
) -> None:
    world, found = moving
    whole = replace(found, kind=kind)
    assert to_the_pixel(whole, world.scene()) is whole
