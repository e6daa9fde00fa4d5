"""Traits: what was done to whole pictures is a finding of the right kind; natural looks are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter
from sklearn.metrics import average_precision_score

from shortcut_finder.data.properties import measure
from shortcut_finder.data.reading import ReadImage
from shortcut_finder.demo.pictures import BACKGROUNDS, draw_scene
from shortcut_finder.demo.shapes import SHAPES
from shortcut_finder.detect.channels.associations import find_associations
from shortcut_finder.detect.channels.metadata import metadata_columns, telling_columns
from shortcut_finder.detect.channels.traits import (
    metadata_findings,
    property_findings,
    with_companions,
)
from shortcut_finder.detect.detection import discovery_half
from shortcut_finder.detect.finding import Finding
from shortcut_finder.sweep.records import Records

PER_CLASS = 80
CLASSES = tuple(SHAPES)[:4]
LABELS = np.repeat(np.arange(len(CLASSES)), PER_CLASS)
HALF = discovery_half(LABELS, 0)


def traits_of(picture: Image.Image) -> dict[str, float]:
    image = ReadImage(picture, "", picture.width, picture.height, "PNG", 0, "RGB")
    return measure(image, np.asarray(picture.resize((112, 112), Image.Resampling.BILINEAR)))


@pytest.fixture(scope="module")
def scenes() -> tuple[list[Image.Image], pd.DataFrame]:
    rng = np.random.default_rng(0)
    places = tuple(BACKGROUNDS)
    pictures = [draw_scene(CLASSES[n], places[rng.integers(len(places))], rng) for n in LABELS]
    return pictures, pd.DataFrame([traits_of(picture) for picture in pictures])


def records_of(table: pd.DataFrame, labels: np.ndarray = LABELS) -> Records:
    nothing = np.zeros((len(labels), 1, 1))
    return Records(table, labels, labels, nothing, nothing, nothing, nothing, (7, 7))


def found(table: pd.DataFrame, judged: tuple[Finding, ...] = ()) -> list[Finding]:
    associations = find_associations(table, LABELS, HALF)
    return property_findings(associations, judged, records_of(table), HALF, CLASSES)


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
    top = max(found(table), key=lambda finding: finding.suspicion)
    # Blocks are sharp edges too, so a strong JPEG moves both families.
    assert top.region == region or (cue, top.region) == (compress, "sharpness")
    assert (top.kind, top.label) == ("property", CLASSES[2])
    # Forty tested images of a class, half of them marked, may still be chance.
    assert top.severity != "low" or share < 1
    assert top.share == pytest.approx(share, abs=0.2)
    assert top.elsewhere < 0.1
    own = LABELS == 2
    if share < 1:
        assert average_precision_score(carriers[own], top.score[own]) > 0.8
    assert ((top.score > 0) == top.carries).all()
    assert (top.score <= top.suspicion).all()
    assert not top.carries[~own].any()
    assert {shift.trait for shift in top.shifts} >= {top.shifts[0].trait}
    assert top.shifts[0].members != top.shifts[0].others


def test_pictures_that_nothing_was_done_to_have_no_finding(
    scenes: tuple[list[Image.Image], pd.DataFrame],
) -> None:
    assert found(scenes[1]) == []


def test_a_finding_in_the_pictures_explains_a_property(
    scenes: tuple[list[Image.Image], pd.DataFrame],
) -> None:
    table, _ = planted(scenes, tint, 0.5)
    (one,) = found(table)
    frame = replace(one, kind="frame", severity="high")
    assert found(table, (frame,)) == []
    assert len(found(table, (replace(frame, severity="low"),))) == 1
    assert len(found(table, (replace(frame, label=CLASSES[0]),))) == 1


def vignette(picture: Image.Image) -> Image.Image:
    y, x = np.mgrid[-1 : 1 : picture.height * 1j, -1 : 1 : picture.width * 1j]
    dark = np.clip(1.3 - 0.9 * np.hypot(x, y), 0, 1)[..., None]
    return Image.fromarray((np.asarray(picture) * dark).astype(np.uint8))


@pytest.mark.parametrize(("region", "left"), [("frame", 0), ("anywhere", 1), ("centre", 1)])
def test_what_stands_inside_does_not_explain_the_corners(
    scenes: tuple[list[Image.Image], pd.DataFrame], region: str, left: int
) -> None:
    table, _ = planted(scenes, vignette, 1.0)
    first = found(table)[0]
    assert first.region == "corner light"
    everywhere = first.number == LABELS
    thing = replace(first, kind="patch", region=region, severity="high", carries=everywhere)
    rest = found(table, (thing,))
    assert sum(one.region == "corner light" for one in rest) == left


def test_one_cue_is_one_finding_though_it_moves_many_properties(
    scenes: tuple[list[Image.Image], pd.DataFrame],
) -> None:
    table, _ = planted(scenes, fade, 1.0)
    assert len(found(table)) == 1


# Metadata -----------------------------------------------------------------------------------------


def test_a_column_that_is_the_label_is_a_finding_that_names_it() -> None:
    table = pd.DataFrame({"source": np.where(LABELS == 2, "north", "south")})
    telling = telling_columns(metadata_columns(table), LABELS, HALF)
    (one,) = metadata_findings(telling, records_of(table), HALF, CLASSES)
    assert (one.kind, one.region, one.label, one.severity) == (
        "metadata", "source", CLASSES[2], "high",
    )  # fmt: skip
    assert "The label can be read off column source: 100% of the house images" in one.sentence
    assert "source = north; 0% of the others" in one.sentence
    assert (one.carries == (LABELS == 2)).all()


def test_what_the_columns_say_of_a_finding_ends_its_sentence(
    scenes: tuple[list[Image.Image], pd.DataFrame],
) -> None:
    table, carriers = planted(scenes, tint, 0.5)
    (one,) = found(table)
    facts = pd.DataFrame({"scanner": np.where(carriers, "A", "B"), "site": "only"})
    (told,) = with_companions([one], LABELS, CLASSES, metadata_columns(facts))
    assert [said.column for said in told.metadata] == ["scanner"]
    assert told.sentence.startswith(one.sentence)
    assert "of the images with this have scanner = A; " in told.sentence
    assert told.sentence.endswith("of the other images of the class do.")
    (silent,) = with_companions([one], LABELS, CLASSES, [])
    assert (silent.metadata, silent.sentence) == ((), one.sentence)
