"""Transplants: parts that turn other images into their class are told from all others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import PIXELS, Thing, World, make_world

from shortcut_finder.detect.channels.transplants import (
    FIRST,
    FURTHER,
    MOST,
    PLACES,
    potent_parts,
    transplant,
)
from shortcut_finder.sweep.scene import Scene

ANT = 0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), [Thing(ANT, 0.4)])


def reads_edges(pixels: np.ndarray) -> np.ndarray:
    """A model that takes for an ant what has the hard edges of the stamp; all else for no class."""
    steps = np.abs(np.diff(pixels.astype(float).mean(axis=-1), axis=2))
    hard = (steps > 200).sum(axis=(1, 2))
    none = np.zeros(len(pixels))
    return np.stack([hard - 12.0, none - 1, none - 1, none], axis=1)


def asked(world: World, predict: object = reads_edges, seed: int = 0, **options: int) -> object:
    return transplant(world.scene(), world.half(), predict, seed=seed, **options)  # type: ignore


def test_potent_parts_are_those_with_the_cue(world: World) -> None:
    parts = asked(world)
    carriers = world.carriers[0]
    potent = set(world.order[parts.images[parts.potent]].tolist())
    assert len(potent) >= 5
    assert len(potent - carriers) <= 0.1 * len(potent)
    assert set(parts.labels[parts.potent]) == {ANT}


def test_only_the_discovery_half_takes_part(world: World) -> None:
    half, touched = world.half(), set[int]()
    scene = world.scene()

    def read(number: int) -> object:
        touched.add(number)
        return scene.read(number)

    transplant(Scene(scene.records, read, scene.preprocessing), half, reads_edges)  # type: ignore
    assert touched
    assert touched <= set(np.flatnonzero(half).tolist())


def test_same_seed_same_parts_whatever_the_batch(world: World) -> None:
    first, second = asked(world), asked(world, batch=5)
    for name in ("images", "cells", "turned", "potent"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert not np.array_equal(asked(world, seed=1).turned, first.turned)


def test_passes_of_the_model_are_limited(world: World) -> None:
    seen = []

    def counted(pixels: np.ndarray) -> np.ndarray:
        seen.append(len(pixels))
        return reads_edges(pixels)

    parts = asked(world, counted)
    own = [int((world.half() & (world.records.labels == n)).sum()) for n in range(3)]
    assert len(parts.images) == PLACES * sum(min(count, MOST) for count in own)
    assert sum(seen) <= len(parts.images) * (FIRST + FURTHER / 3)


def test_half_of_the_donors_are_those_the_model_is_surest_of(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shortcut_finder.detect.channels.transplants.MOST", 12)
    own = np.flatnonzero(world.half() & (world.records.labels == ANT))
    logits = world.records.logits.copy()
    surest = np.random.default_rng(3).permutation(own)[:6]
    logits[surest, ANT] = 5.0
    scene = world.scene()
    scene = Scene(replace(scene.records, logits=logits), scene.read, scene.preprocessing)
    parts = transplant(scene, world.half(), reads_edges)  # type: ignore[arg-type]
    donors = np.unique(parts.images[parts.labels == ANT])
    assert len(donors) == 12
    assert set(surest.tolist()) <= set(donors.tolist())


def test_parts_do_not_overlap(world: World) -> None:
    parts = asked(world)
    rows, columns = np.divmod(parts.cells, world.records.cell_grid[1])
    for image in np.unique(parts.images):
        one, other = np.flatnonzero(parts.images == image)
        apart = max(abs(rows[one] - rows[other]), abs(columns[one] - columns[other]))
        assert apart * PIXELS >= 0.125 * 64


def test_a_class_is_held_against_the_usual_other_class() -> None:
    labels = np.repeat(np.arange(4), 20)
    turned = np.where(labels == 0, 0.6, 0.5)
    assert not potent_parts(labels, turned).any()
    turned = np.where(labels == 0, 0.6, 0.2)
    assert set(labels[potent_parts(labels, turned)]) == {0}
    # A cue in a second class does not hide the first.
    turned = np.where(labels <= 1, 0.6, 0.2)
    assert set(labels[potent_parts(labels, turned)]) == {0, 1}


def test_nothing_is_tried_where_all_is_of_one_class(tmp_path: Path) -> None:
    world = make_world(tmp_path, [], counts=(20, 0, 0))
    parts = asked(world)
    assert len(parts.images) == 0
    assert parts.strongest(ANT).tolist() == []
