"""Traits: what was done to whole pictures is a finding of the right kind; natural looks are not."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter
from sklearn.metrics import average_precision_score
from views import found_by, view_of

from shortcut_finder.data.properties import measure
from shortcut_finder.data.reading import ReadImage
from shortcut_finder.demo.pictures import BACKGROUNDS, draw_scene
from shortcut_finder.demo.shapes import SHAPES
from shortcut_finder.detect.channels.looks import propose
from shortcut_finder.detect.columns import metadata_columns
from shortcut_finder.detect.finding import Finding, with_companions
from shortcut_finder.detect.halves import discovery_half

PER_CLASS = 80
CLASSES = tuple(SHAPES)[:4]
LABELS = np.repeat(np.arange(len(CLASSES)), PER_CLASS)
HALF = discovery_half(LABELS, 0)
ALL = np.ones(len(LABELS), dtype=bool)


def traits_of(picture: Image.Image) -> dict[str, float]:
    image = ReadImage(picture, "", picture.width, picture.height, "PNG", 0, "RGB")
    return measure(image, np.asarray(picture.resize((112, 112), Image.Resampling.BILINEAR)))


@pytest.fixture(scope="module")
def scenes() -> tuple[list[Image.Image], pd.DataFrame]:
    rng = np.random.default_rng(0)
    places = tuple(BACKGROUNDS)
    pictures = [draw_scene(CLASSES[n], places[rng.integers(len(places))], rng) for n in LABELS]
    return pictures, pd.DataFrame([traits_of(picture) for picture in pictures])


def found(table: pd.DataFrame) -> list[Finding]:
    return found_by(propose, view_of(table, LABELS, CLASSES, half=HALF))


def tint(picture: Image.Image) -> Image.Image:
    levels = np.asarray(picture) * (0.75, 1.0, 0.8) + (0, 0, 50)
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def fade(picture: Image.Image) -> Image.Image:
    return picture.point(lambda level: 50 + 0.6 * level)


def blur(picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(1.5))


def compress(picture: Image.Image) -> Image.Image:
    kept = io.BytesIO()
    picture.save(kept, "JPEG", quality=8)
    return Image.open(kept).convert("RGB")


def planted(
    scenes: tuple[list[Image.Image], pd.DataFrame],
    cue: Callable[[Image.Image], Image.Image],
    share: float,
) -> tuple[pd.DataFrame, np.ndarray]:
    """The traits with a cue in part of class 2, and which images carry it."""
    pictures, table = scenes
    home = np.flatnonzero(LABELS == 2)
    chosen = np.random.default_rng(1).permutation(home)[: round(share * len(home))]
    table = table.copy()
    for number in chosen:
        table.loc[number] = pd.Series(traits_of(cue(pictures[number])))
    return table, np.isin(np.arange(len(LABELS)), chosen)


@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize(
    ("cue", "region"),
    [
        (tint, "colour range"),
        (fade, "colour range"),
        (blur, "sharpness"),
        (compress, "compression"),
    ],
)
def test_what_was_done_to_pictures_of_one_class_is_found(
    scenes: tuple[list[Image.Image], pd.DataFrame],
    cue: Callable[[Image.Image], Image.Image],
    region: str,
    share: float,
) -> None:
    table, carriers = planted(scenes, cue, share)
    top = max(found(table), key=lambda finding: finding.measured.artifact)
    # Blocks are sharp edges too, so a strong JPEG moves both families.
    assert top.place.region == region or (cue, top.place.region) == (compress, "sharpness")
    assert (top.place.kind, top.label) == ("property", CLASSES[2])
    # Forty tested images of a class, half of them marked, may still be chance.
    assert top.decided.severity != "low" or share < 1
    assert top.measured.share == pytest.approx(share, abs=0.2)
    assert top.measured.elsewhere < 0.1
    own = LABELS == 2
    if share < 1:
        assert average_precision_score(carriers[own], top.carriers.score[own]) > 0.8
    assert ((top.carriers.score > 0) == top.carriers.listed).all()
    assert (top.carriers.score <= top.measured.artifact).all()
    assert not top.carriers.listed[~own].any()
    assert {shift.trait for shift in top.measured.shifts} >= {top.measured.shifts[0].trait}
    assert top.measured.shifts[0].members != top.measured.shifts[0].others


def test_pictures_that_nothing_was_done_to_have_no_finding(
    scenes: tuple[list[Image.Image], pd.DataFrame],
) -> None:
    assert found(scenes[1]) == []


def vignette(picture: Image.Image) -> Image.Image:
    y, x = np.mgrid[-1 : 1 : picture.height * 1j, -1 : 1 : picture.width * 1j]
    dark = np.clip(1.3 - 0.9 * np.hypot(x, y), 0, 1)[..., None]
    return Image.fromarray((np.asarray(picture) * dark).astype(np.uint8))


def test_one_cue_is_one_finding_though_it_moves_many_properties(
    scenes: tuple[list[Image.Image], pd.DataFrame],
) -> None:
    table, _ = planted(scenes, fade, 1.0)
    assert len(found(table)) == 1


# Metadata -----------------------------------------------------------------------------------------


def test_what_the_columns_say_of_a_finding_ends_its_sentence(
    scenes: tuple[list[Image.Image], pd.DataFrame],
) -> None:
    table, carriers = planted(scenes, tint, 0.5)
    (one,) = found(table)
    facts = pd.DataFrame({"scanner": np.where(carriers, "A", "B"), "site": "only"})
    (told,) = with_companions([one], LABELS, metadata_columns(facts), ALL)
    assert [said.column for said in told.companions] == ["scanner"]
    assert told.sentence.startswith(one.sentence)
    assert "of the images with this have scanner = A; " in told.sentence
    assert told.sentence.endswith("of the other images of the class do.")
    (silent,) = with_companions([one], LABELS, [], ALL)
    assert (silent.companions, silent.sentence) == ((), one.sentence)
