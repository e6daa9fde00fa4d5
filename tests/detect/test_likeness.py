"""Likeness: what looks like an artifact, and how exactly its pictures repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from synthetic import SIDE, paste, stamp, texture

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.detect.likeness import Likeness, exactness_of, shift_of
from shortcut_finder.sweep.scene import Scene

PLAIN = Likeness(evidence=0.3, shift=0.5, border=0.3, exact=0.3)
IMAGES = 24
CARRIERS, OTHERS = np.arange(12), np.arange(12, IMAGES)


@pytest.mark.parametrize("name", ["evidence", "border", "exact"])
def test_more_of_anything_looks_more_like_an_artifact(name: str) -> None:
    levels = [replace(PLAIN, **{name: value}).artifact for value in np.linspace(0.01, 1, 8)]
    assert levels == sorted(levels)
    assert levels[-1] > levels[0] + 0.1
    assert all(0 < level < 1 for level in levels)


def test_without_evidence_nothing_is_an_artifact_unless_it_repeats_at_the_border() -> None:
    assert Likeness(0.0, 0.0, 0.0, 0.0).artifact < 0.01
    assert Likeness(0.1, 0.0, 0.0, 0.0).artifact < 0.15
    assert Likeness(1.0, 0.0, 0.0, 0.0).artifact > 0.5
    assert Likeness(0.1, 0.0, 1.0, 1.0).artifact > 0.5


def test_a_part_of_the_object_raises_the_whole_class() -> None:
    rng = np.random.default_rng(0)
    rest = rng.normal(0, 2, 4000)
    assert shift_of(rng.normal(3, 2, 4000), rest) == pytest.approx(1.5, abs=0.1)
    assert shift_of(rng.normal(-3, 2, 4000), rest) == 0
    assert shift_of(rest[:1], rest) == shift_of(rest, rest[:1]) == 0


def scene_of(drawn: str, opacity: float = 1.0) -> tuple[Scene, np.ndarray]:
    """Pictures, and where each is looked at: at a stamp in the first half of them, or in all.

    Or they are ``noise``, or ``copies`` of one picture.
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
        pictures.append(Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB"))
    return Scene(None, lambda n: pictures[n], Preprocessing(SIDE, SIDE)), (corners + 8) / SIDE


def test_pasted_copies_repeat_exactly_and_textures_do_not() -> None:
    scene, centres = scene_of("stamp")
    found = exactness_of(CARRIERS, OTHERS, centres, scene)
    assert found.exact > 0.8
    assert found.duplicates == 0
    scene, centres = scene_of("noise")
    assert exactness_of(CARRIERS, OTHERS, centres, scene).exact < 0.1


def test_one_sees_through_what_is_laid_over_thinly() -> None:
    opaque, thin = (
        exactness_of(CARRIERS, OTHERS, centres, scene)
        for scene, centres in (scene_of("stamp"), scene_of("stamp", opacity=0.5))
    )
    assert thin.opacity < opaque.opacity


def test_what_the_class_shows_there_without_it_is_aligned_anatomy() -> None:
    scene, centres = scene_of("all")
    assert exactness_of(CARRIERS, OTHERS[:0], centres, scene).exact > 0.8
    assert exactness_of(CARRIERS, OTHERS, centres, scene).exact < 0.3


def test_the_same_picture_again_and_again_is_told() -> None:
    scene, centres = scene_of("copies")
    assert exactness_of(CARRIERS, OTHERS, centres, scene).duplicates > 0.8


def test_one_image_repeats_nothing() -> None:
    scene, centres = scene_of("stamp")
    assert exactness_of(CARRIERS[:1], OTHERS, centres, scene).exact == 0
