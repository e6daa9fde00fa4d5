"""Several labels an image: what goes with one is found there, and not in those it comes with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from findings import a_finding
from synthetic import FIXED_CELL, SEEDS, Thing, World, judged_of, make_world
from views import found_by, view_of

from shortcut_finder.data.groups import one_of_each
from shortcut_finder.data.membership import having, lacking
from shortcut_finder.detect import study
from shortcut_finder.detect.channels import columns, looks
from shortcut_finder.detect.colabels import colabels
from shortcut_finder.detect.columns import Column
from shortcut_finder.detect.finding import Finding, with_colabels
from shortcut_finder.detect.halves import discovery_half
from shortcut_finder.detect.view import View
from shortcut_finder.sweep.records import Records

NAMES = ("ant", "bee", "cat")
# Sets of labels, as "classes" of a world, and how many images have each: bees often come with ants.
PATTERNS = ((), (0,), (1,), (0, 1), (2,), (0, 2), (0, 1, 2))
COUNTS = (60, 60, 20, 80, 60, 20, 10)


def patterns_with(*labels: int) -> tuple[int, ...]:
    return tuple(n for n, one in enumerate(PATTERNS) if set(labels) <= set(one))


def several(world: World, unknown: float = 0.0, seed: int = 0) -> Records:
    """The records of a world with the labels that its patterns stand for."""
    rows = np.array([[n in one for n in range(3)] for one in PATTERNS], dtype=np.int8)
    labels = rows[world.records.labels]
    labels[np.random.default_rng(seed).random(labels.shape) < unknown] = -1
    return replace(world.records, labels=labels)


def found(
    folder: Path, things: Sequence[Thing], unknown: float = 0.0, seed: int = 0
) -> list[Finding]:
    """What is found in a world with these things, with the labels that it goes with."""
    world = make_world(folder, things, counts=COUNTS, seed=seed)
    records = several(world, unknown)
    half = discovery_half(records.labels, 0)
    with patch.object(study, "SEEDS", SEEDS):
        scene = replace(world.scene(), records=records)
        judged = judged_of(View(world.folder, scene, half, NAMES))
    return with_colabels(judged.findings, records.labels, NAMES)


def loud(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.decided.severity != "low"]


def test_halves_hold_every_label_and_every_set_of_labels_alike() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(-1, 2, (301, 4)).astype(np.int8)
    half = discovery_half(labels, 0)
    assert abs(int(half.sum()) - 150) <= 1
    for row in np.unique(labels, axis=0):
        alike = (labels == row).all(axis=1)
        assert abs(int((alike & half).sum()) - int((alike & ~half).sum())) <= 1
    assert (half != discovery_half(labels, 1)).any()


@pytest.mark.parametrize("unknown", [0.0, 0.2])
def test_a_cue_of_one_label_is_found_there_and_not_loud_in_the_one_it_comes_with(
    tmp_path: Path, unknown: float
) -> None:
    findings = found(tmp_path, [Thing(patterns_with(0), 0.5, FIXED_CELL)], unknown)
    (finding,) = loud(findings)
    assert (finding.label, finding.place.region) == ("ant", "top left corner")
    assert not finding.explained
    assert finding.measured.share_range[0] <= 0.5 <= finding.measured.share_range[1]


def test_what_a_label_brings_along_is_said_to_be_the_others(tmp_path: Path) -> None:
    # Nearly all bees are ants, so what half of the ants have sets bees apart, too.
    world = make_world(tmp_path, [Thing(patterns_with(0), 0.5, FIXED_CELL)], counts=COUNTS)
    labels, carries = several(world).labels, np.isin(world.order, sorted(world.carriers[0]))
    (of_bee,) = colabels([carries], [1], labels, NAMES)
    assert of_bee[0].label == "ant"
    assert of_bee[0].explains
    assert of_bee[0].difference > 0.15
    assert abs(of_bee[0].adjusted) < 0.05
    assert of_bee[0].with_it == 1.0
    sentence = of_bee[0].sentence("bee")
    assert "It goes with ant: 100% of the bee images with it are ant," in sentence
    assert sentence.endswith("so ant explains it.")
    (of_ant,) = colabels([carries], [0], labels, NAMES)
    assert not any(one.explains for one in of_ant)


def test_what_cannot_be_compared_explains_nothing() -> None:
    # Half of the ants carry it, and all of these are cats; no other image is a cat.
    labels = np.array([[1, 1]] * 40 + [[1, 0]] * 40 + [[0, 0]] * 80, dtype=np.int8)
    carries = np.arange(160) < 40
    (found,) = colabels([carries], [0], labels, ("ant", "cat"))
    assert np.isnan(found[0].adjusted)
    assert not found[0].explains
    assert found[0].sentence("ant").startswith("It goes with cat: 100%")
    turned = replace(found[0], with_it=0.0, without_it=0.4)
    assert turned.sentence("ant").startswith("It goes with images without cat: 0% of the ant")


def test_a_cue_of_a_pair_says_that_it_goes_with_the_other_and_is_not_explained(
    tmp_path: Path,
) -> None:
    findings = loud(found(tmp_path, [Thing(patterns_with(0, 1), 0.6, FIXED_CELL)]))
    assert findings
    for finding in findings:
        assert finding.label in ("ant", "bee")
        assert not finding.explained
    ants = [finding for finding in findings if finding.label == "ant"]
    assert [one.label for finding in ants for one in finding.colabels] == ["bee"] * len(ants)
    assert all("It goes with bee: " in finding.sentence for finding in ants)


@pytest.mark.parametrize("things", [[], [Thing(None, 0.4, FIXED_CELL)]], ids=["clean", "of none"])
def test_what_goes_with_no_label_is_not_loud(tmp_path: Path, things: list[Thing]) -> None:
    for seed in range(2):
        assert loud(found(tmp_path / str(seed), things, 0.1, seed)) == []


def test_an_explained_finding_is_quiet_whatever_its_likeness() -> None:
    labels = np.array([[1, 1]] * 30 + [[1, 0]] * 30 + [[0, 0]] * 60 + [[0, 1]] * 6, dtype=np.int8)
    carries = having(labels, 0)
    listed = carries & having(labels, 1)
    finding = a_finding(listed, label="bee", number=1, share=1.0, elsewhere=0.3, alike=carries)
    (told,) = with_colabels([finding], labels, ("ant", "bee"))
    assert told.explained
    assert told.decided.severity == "low"
    assert told.measured.artifact == finding.measured.artifact
    assert told.carriers.score.max() <= 0.5
    # With one label an image there is nothing that could explain it.
    assert with_colabels([finding], np.zeros(126, int), ("ant", "bee")) == [finding]


def test_unknown_images_neither_have_a_look_nor_lack_it() -> None:

    from shortcut_finder.data.properties import PROPERTIES

    rng = np.random.default_rng(0)
    labels = np.stack([rng.random(400) < 0.4, rng.random(400) < 0.5], axis=1).astype(np.int8)
    table = pd.DataFrame(rng.normal(0.5, 0.05, (400, len(PROPERTIES))), columns=list(PROPERTIES))
    sharp = having(labels, 0) & (rng.random(400) < 0.7)
    table.loc[sharp, ["edge_sharpness", "sharpest_part", "quiet_noise"]] += 1.0
    unknown = rng.random(400) < 0.3
    blurred = labels.copy()
    blurred[unknown, 0] = -1
    view = view_of(table, blurred, half=discovery_half(labels, 0))
    (one,) = [a for a in found_by(looks.propose, view) if a.place.region == "sharpness"]
    assert one.number == 0
    assert not one.carriers.listed[unknown].any()
    assert (one.carriers.listed & ~unknown)[sharp & ~unknown].mean() > 0.9
    assert one.measured.elsewhere < 0.02
    assert (having(blurred, 0) | lacking(blurred, 0)).sum() == (~unknown).sum()


def test_a_column_tells_a_label_among_images_that_are_known() -> None:
    labels = np.repeat(
        np.array([[1, 0], [0, 1], [1, 1], [-1, 0], [0, 0]], dtype=np.int8), 40, axis=0
    )
    codes = np.where(having(labels, 0), 0, 1)
    codes[labels[:, 0] == -1] = 0
    view = view_of(pd.DataFrame(), labels, columns=[Column("site", ("north", "south"), codes)])
    (one,) = found_by(columns.propose, view)
    assert (one.number, one.measured.share, one.measured.elsewhere) == (0, 1.0, 0.0)
    assert "site = north" in one.sentence


def test_groups_stay_on_one_half_and_one_image_of_each_counts() -> None:
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(150), 3)
    labels = rng.integers(-1, 2, (450, 3)).astype(np.int8)
    half = discovery_half(labels, 0, groups)
    assert all(len(set(half[groups == number])) == 1 for number in range(150))
    for number in range(3):
        own = having(labels, number)
        assert abs(int((own & half).sum()) - int((own & ~half).sum())) <= 30
    counted = one_of_each(groups, labels, 0)
    assert (np.bincount(groups[counted]) == 1).all()
