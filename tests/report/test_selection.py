"""Selection: which images the page shows, and no more than fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from handmade import CLASSES, CONFUSED, LONG, PER_CLASS, TAG, handmade_run, image_name

from shortcut_finder.report import selection
from shortcut_finder.report.selection import (
    GLIMPSE_IMAGES,
    LISTED_IMAGES,
    SHEET_FINDINGS,
    SHEET_IMAGES,
    confused_images,
    confused_pairs,
    gallery_classes,
    listed_images,
    listed_offenders,
    report_images,
    sheet_images,
    typical_images,
)
from shortcut_finder.run.folder import Run
from shortcut_finder.sweep.shards import ARRAYS, shard_path, write_shard


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return handmade_run(tmp_path_factory.mktemp("run"), thumbnails=False)


def test_a_sheet_holds_the_worst_images_each_once() -> None:
    rows = [(rank, f"{rank}.jpg", "F1") for rank in range(30, 0, -1)]
    rows += [(40, "3.jpg", "F2"), (41, "3.jpg", "F2"), (42, "z.jpg", "F2")]
    offenders = pd.DataFrame(rows, columns=["rank", "image", "finding"]).assign(tier="sure")
    worst = [f"{rank}.jpg" for rank in range(1, SHEET_IMAGES + 1)]
    assert sheet_images("F1", 0, offenders) == worst
    assert sheet_images("F2", 1, offenders) == ["3.jpg", "z.jpg"]


@pytest.mark.parametrize(
    ("sure", "likely", "position", "expected"),
    [
        (30, 30, 0, (8, 4)),
        (30, 2, 0, (10, 2)),
        (5, 30, 0, (5, 7)),
        (0, 30, 0, (0, 12)),
        (5, 3, 0, (5, 3)),
        (30, 30, SHEET_FINDINGS, (2, 1)),
    ],
)
def test_a_sheet_shows_sure_images_and_then_a_few_likely_ones(
    sure: int, likely: int, position: int, expected: tuple[int, int]
) -> None:
    # A likely image in another class may well rank before a sure one.
    rows = [(2 * n + 1, f"sure {n}", "F1", "sure") for n in range(sure)]
    rows += [(2 * n, f"likely {n}", "F1", "likely") for n in range(likely)]
    offenders = pd.DataFrame(rows, columns=["rank", "image", "finding", "tier"])
    sures, likelies = expected
    names = [f"sure {n}" for n in range(sures)] + [f"likely {n}" for n in range(likelies)]
    assert sheet_images("F1", position, offenders) == names


def test_findings_beyond_the_first_twenty_get_a_glimpse() -> None:
    rows = [(n, f"{n}.jpg", "F1") for n in range(SHEET_IMAGES)]
    offenders = pd.DataFrame(rows, columns=["rank", "image", "finding"]).assign(tier="sure")
    assert len(sheet_images("F1", SHEET_FINDINGS - 1, offenders)) == SHEET_IMAGES
    assert len(sheet_images("F1", SHEET_FINDINGS, offenders)) == GLIMPSE_IMAGES


def test_the_page_shows_every_kind_of_image_once(run: Run) -> None:
    names = report_images(run)
    assert len(names) == len(set(names))
    wanted = {str(crop["image"]) for crop in run.details[0]["template"]}
    wanted |= set(sheet_images("F3", 2, run.offenders)) | set(listed_images(run.offenders))
    wanted |= {name for side in typical_images(run.images, run.label_maps, LONG) for name in side}
    wanted |= set(confused_images(run)[confused_pairs(run)[0]])
    assert wanted <= set(names)


def test_typical_images_have_their_evidence_where_the_class_has_it() -> None:
    images = pd.DataFrame({"image": list("abcdef"), "label": ["cat"] * 5 + ["dog"]})
    left, right = np.array([[4.0, 0.0]]), np.array([[0.0, 4.0]])
    none = np.array([[-1.0, -1.0]])
    maps = dict(zip("abcdef", (left, left, 0.5 * left, right, none, left), strict=True))
    typical, atypical = typical_images(images, maps, "cat")
    assert (typical, atypical) == (["a", "b"], ["e", "d"])


def test_no_image_is_both_typical_and_atypical() -> None:
    images = pd.DataFrame({"image": list("abc"), "label": ["cat"] * 3})
    maps = {name: np.array([[float(n), 1.0]]) for n, name in enumerate("abc")}
    typical, atypical = typical_images(images, maps, "cat")
    assert len(typical) == len(atypical) == 1
    assert typical != atypical
    assert typical_images(images, {"a": maps["a"]}, "cat") == ([], [])
    assert typical_images(images, {}, "cat") == ([], [])


def test_classes_with_findings_come_first(run: Run) -> None:
    found = [str(detail["label"]) for detail in run.details]
    assert gallery_classes(run) == found + [name for name in CLASSES if name not in found]


def test_confused_images_are_those_in_which_both_maps_agree_most(run: Run, tmp_path: Path) -> None:
    label, rival = CONFUSED[0][:2]
    names = {image_name(TAG, number): number for number in range(PER_CLASS)}
    outputs = [CLASSES.index(name) for name in (label, rival, rival, rival)]
    left, right = np.eye(7)[[0] * 7], np.eye(7)[[6] * 7]
    maps = np.stack([[left, right, right, right]] * PER_CLASS)
    maps[[3, 9], 1] = left  # here the rival fires where the label does
    maps[0, 1] = left + right  # here there and elsewhere
    arrays = {name: np.zeros((PER_CLASS, 1)) for name in ARRAYS}
    arrays |= {"maps": maps, "shown": np.array([outputs] * PER_CLASS)}
    (tmp_path / "shards").mkdir()
    write_shard(shard_path(tmp_path / "shards", 0), pd.DataFrame({"image": list(names)}), arrays)
    found = confused_images(dataclasses.replace(run, folder=tmp_path))
    assert found == {(label, rival): [image_name(TAG, 3), image_name(TAG, 9)], CONFUSED[1][:2]: []}


def test_the_table_of_offenders_has_pictures_of_the_worst() -> None:
    rows = [(1000 - n, f"{n}.jpg") for n in range(500)]
    names = listed_images(pd.DataFrame(rows, columns=["rank", "image"]))
    assert names == [f"{n}.jpg" for n in range(499, 499 - LISTED_IMAGES, -1)]


def test_long_names_shorten_the_table_of_offenders(monkeypatch: pytest.MonkeyPatch) -> None:
    offenders = pd.DataFrame({"image": ["x" * 10] * 5})
    assert len(listed_offenders(offenders)) == 5
    monkeypatch.setattr(selection, "MAX_LETTERS", 39)
    assert len(listed_offenders(offenders)) == 3
    assert len(listed_offenders(offenders.head(0))) == 0


def test_a_run_without_findings_still_shows_its_classes(tmp_path: Path) -> None:
    run = handmade_run(tmp_path, findings=0, thumbnails=False)
    assert len(report_images(run)) == 6 * len(CLASSES)
