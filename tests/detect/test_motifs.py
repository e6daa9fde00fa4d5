"""Motifs: how exactly things repeat, and what is known of a class by them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from synthetic import SIDE, paste, stamp, texture

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.detect.motifs import by_motif, repetition_of
from shortcut_finder.detect.study import Model
from shortcut_finder.detect.things import Thing
from shortcut_finder.sweep.scene import Scene

IMAGES, CARRY = 48, 20
CARRIERS, OTHERS = np.arange(CARRY), np.arange(CARRY, 32)
# Images of the class are followed by those of another.
LABELS = (np.arange(IMAGES) >= 32).astype(int)
HALF = np.arange(IMAGES) % 2 == 0
GRID = (8, 8)
STAMP = len(stamp())


def scene_of(
    drawn: str, opacity: float = 1.0, scales: tuple[float, ...] = (1.0,)
) -> tuple[Scene, np.ndarray]:
    """Pictures, and where each is looked at: at a stamp in the first of them, or in all.

    Or they are ``noise``, or ``copies`` of one picture. Each is scaled, in turn, the stamp with it.
    """
    rng = np.random.default_rng(1)
    one = texture(rng, SIDE)
    pictures, corners = [], rng.integers(4, SIDE - 20, (IMAGES, 2))
    if drawn in ("all", "copies"):
        corners[:] = corners[0]
    for number, (x, y) in enumerate(corners.tolist()):
        grey = one if drawn == "copies" else texture(rng, SIDE)
        if drawn == "all" or (drawn == "stamp" and number in CARRIERS):
            grey = paste(grey, stamp(), x, y, opacity)
        side = round(SIDE * scales[number % len(scales)])
        picture = Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
        pictures.append(picture.resize((side, side), Image.Resampling.BICUBIC))
    sizes = pd.DataFrame([one.size for one in pictures], columns=["width", "height"])
    records = SimpleNamespace(table=sizes, labels=LABELS, cell_grid=GRID)
    scene = Scene(records, lambda n: pictures[n], Preprocessing(SIDE, SIDE))
    return scene, (corners + STAMP / 2) / SIDE


def repeats(drawn: str, opacity: float = 1.0, scales: tuple[float, ...] = (1.0,), **given):
    scene, centres = scene_of(drawn, opacity, scales)
    carriers, others = given.get("carriers", CARRIERS), given.get("others", OTHERS)
    return repetition_of(carriers, others, centres, HALF, scene)


def test_pasted_copies_repeat_exactly_and_textures_do_not() -> None:
    assert repeats("stamp").exact > 0.6
    assert repeats("stamp").duplicates == 0
    assert repeats("noise").exact < 0.1


def test_one_sees_through_what_is_laid_over_thinly() -> None:
    assert repeats("stamp", opacity=0.5).opacity < repeats("stamp").opacity
    assert repeats("stamp", opacity=0.5).exact > 0.5


def test_what_the_class_shows_there_without_it_is_aligned_anatomy() -> None:
    assert repeats("all").exact == 0


def test_a_mark_that_is_scaled_with_its_picture_is_told_at_one_size() -> None:
    found = repeats("stamp", scales=(1.0, 1.4, 1.4, 1.0, 1.8))
    assert found.exact > 0.6
    assert found.short > 0
    assert repeats("stamp").short == 0


def test_the_same_picture_again_and_again_is_told() -> None:
    assert repeats("copies").duplicates > 0.8


@pytest.mark.parametrize("carriers", [CARRIERS[:1], CARRIERS[:2]])
def test_a_few_images_repeat_nothing(carriers: np.ndarray) -> None:
    assert repeats("stamp", carriers=carriers).exact == 0


def thing_of(score: np.ndarray, best: np.ndarray, gain: float) -> Thing:
    model = Model(torch.zeros(1), 1, 0.0, gain)
    return Thing(
        label=0,
        models=(model, model),
        witnesses=(gain, gain),
        agreement=0.5,
        test={},
        half=HALF,
        score=score,
        best=best,
    )


def known_by_motif(drawn: str, gain: float = 0.1) -> tuple[Thing | None, np.ndarray]:
    """What a motif makes of a thing that the cells see in half of its images, and its cells."""
    scene, centres = scene_of(drawn)
    seen = CARRIERS[: CARRY // 2]
    score = np.full(IMAGES, -2.0)
    score[seen] = 1.0
    columns, rows = (centres * GRID).astype(int).T
    cells = rows * GRID[1] + columns
    # Elsewhere the cells answer at any place.
    best = np.where(np.isin(np.arange(IMAGES), seen), cells, 0)
    own = np.flatnonzero(LABELS == 0)
    others = np.setdiff1d(own, seen)
    repetition = repetition_of(seen, others, centres, HALF, scene)
    return by_motif(thing_of(score, best, gain), own, repetition, scene), cells


def test_a_motif_finds_what_the_cells_missed_and_where_it_is() -> None:
    thing, cells = known_by_motif("stamp")
    assert thing is not None
    assert np.flatnonzero(thing.score >= 0).tolist() == CARRIERS.tolist()
    assert thing.gain > 0.5
    assert (thing.best[CARRIERS] == cells[CARRIERS]).mean() > 0.8
    assert all(thing.covers[n].any() for n in CARRIERS.tolist())
    # Some of the other class were looked through, and lack it.
    assert thing.strange(LABELS).sum() > 5
    assert (thing.score[thing.strange(LABELS)] < 0).all()


def test_a_motif_that_says_no_more_than_the_cells_changes_nothing() -> None:
    assert known_by_motif("noise")[0] is None
    assert known_by_motif("stamp", gain=5.0)[0] is None
