"""Scoring: answers worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from calibration import random_p
from cases import Built, Case, Plant
from scipy.stats import kstest
from scoring import finding_counts, hits, image_scores, ranking
from shares import exact_interval
from torch import nn

import shortcut_finder as sf

LABELS = np.repeat([0, 1, 2], 10)
# The plant is in images 10 to 13, in the top left corner of 64 x 64 pixels.
BOX = (1, 1, 10, 10)
NEAR, FAR = (0, 0, 16, 16), (40, 40, 60, 60)


def built_of(plant: Plant | None = None, *, score: float = 0.8, control: str = "") -> Built:
    plant = plant or Plant("logo", "corner", 0.4)
    members = np.zeros((1, 30), bool)
    members[0, 10:14] = True
    return Built(
        case=Case((plant,), classes=3, images=10, control=control),
        names=("acorn", "briar", "cedar"),
        images=np.zeros((30, 64, 64, 3), np.uint8),
        labels=LABELS,
        members=members,
        boxes=np.broadcast_to(BOX, (1, 30, 4)),
        test_images=np.zeros((0, 64, 64, 3), np.uint8),
        test_labels=np.zeros(0, np.int64),
        model=nn.Identity(),
        accuracy=0.9,
        fitted=1.0,
        scores=np.array([score]),
    )


def run_of(*findings: dict[str, Any]) -> sf.Run:
    """A run with these findings: ``images`` they list, and ``box``; the rest has defaults."""
    rows, listed = [], []
    for number, finding in enumerate(findings, start=1):
        plain = {"label": "briar", "kind": "corner", "region": "top left corner"}
        plain |= {"severity": "high", "verdict": "suspect"}
        rows.append({"finding": f"F{number}", **plain, **finding})
        for place, image in enumerate(finding["images"]):
            box = dict(zip(("x0", "y0", "x1", "y1"), finding.get("box", NEAR), strict=True))
            name = f"item/{image:07d}"
            listed.append(
                {"image": name, "finding": f"F{number}", "score": 0.9 - place / 100, **box}
            )
    columns = ["image", "finding", "score", "x0", "y0", "x1", "y1"]
    empty = pd.DataFrame()
    return sf.Run(
        folder=Path(),
        card={"maps": {"grid": [8, 8]}},
        images=empty,
        regions=empty,
        findings=pd.DataFrame(rows),
        details=[],
        offenders=pd.DataFrame(listed, columns=columns),
        confusions=empty,
        unreadable=empty,
    )


def right(built: Built, **finding: Any) -> bool:
    finding.setdefault("images", range(10, 14))
    return hits(built, run_of(finding))[0].plant == 0


def test_right_class_members_and_place_make_a_finding_right() -> None:
    assert right(built_of())


@pytest.mark.parametrize(
    "wrong",
    [{"label": "cedar"}, {"images": [10, 14, 15]}, {"images": []}, {"box": FAR}],
    ids=["class", "members", "nothing listed", "place"],
)
def test_each_of_them_wrong_makes_it_wrong(wrong: dict[str, Any]) -> None:
    assert not right(built_of(), **wrong)


def test_half_of_the_members_is_enough_and_a_cell_beside_it_is_near() -> None:
    assert right(built_of(), images=[10, 11, 14, 15])
    assert right(built_of(), box=(9, 9, 27, 27))
    assert not right(built_of(), box=(10, 10, 28, 28))


def test_images_of_other_classes_do_not_make_it_wrong() -> None:
    assert right(built_of(), images=[10, 11, 0, 1, 20, 21])


@pytest.mark.parametrize(
    ("plant", "kind", "region", "answer"),
    [
        ("tint", "property", "colour", True),
        ("tint", "property", "sharpness", False),
        ("tint", "patch", "anywhere", False),
        ("frame", "frame", "frame", True),
        ("frame", "property", "border", True),
        ("frame", "corner", "top left corner", False),
        ("blur", "property", "sharpness", True),
        ("background", "background", "anywhere", True),
    ],
)
def test_a_change_of_the_whole_picture_needs_the_right_kind(
    plant: str, kind: str, region: str, answer: bool
) -> None:
    built = built_of(Plant(plant, "whole", 0.4))
    assert right(built, kind=kind, region=region, box=FAR) is answer


def test_levels_count_what_they_say() -> None:
    listed = {"images": range(10, 14)}
    run = run_of(
        {**listed, "severity": "low"},
        {**listed, "severity": "medium", "label": "cedar"},
        {**listed, "severity": "low", "verdict": "confirmed"},
        {**listed, "severity": "high"},
    )
    built = built_of()
    found = hits(built, run)
    counts = {
        level: finding_counts(built, found, level) for level in ("listed", "loud", "confirmed")
    }
    assert [counts[level]["found"] for level in counts] == [1, 1, 1]
    assert [counts[level]["false"] for level in counts] == [1, 1, 0]
    assert [counts[level]["fragments"] for level in counts] == [2, 1, 0]
    assert [counts[level]["rank"] for level in counts] == [1, 2, 1]


@pytest.mark.parametrize(("score", "learned"), [(0.24, 0), (0.25, 1)])
def test_only_learned_cues_are_to_be_found(score: float, learned: int) -> None:
    built = built_of(score=score)
    found = hits(built, run_of({"images": range(10, 14)}))
    counts = finding_counts(built, found, "loud")
    assert (counts["learned"], counts["found"], counts["false"]) == (learned, learned, 0)


def test_unlisted_images_rank_last_and_the_best_finding_counts() -> None:
    built = built_of()
    run = run_of({"images": [10, 11]}, {"images": [11, 14]})
    scores = image_scores(built, run)
    assert scores[[10, 11, 14, 15]].tolist() == [0.9, 0.9, 0.89, 0.0]


def test_ranking_of_a_perfect_and_of_a_silent_score() -> None:
    carries = np.arange(10) < 4
    perfect, silent = ranking(-np.arange(10.0), carries), ranking(np.zeros(10), carries)
    assert perfect == {"ap": 1.0, "chance": 0.4, "recall_k": 1.0, "recall_1.2k": 1.0}
    assert silent["ap"] == pytest.approx(0.4)
    assert silent["recall_k"] == pytest.approx(0.4)
    assert silent["recall_1.2k"] == pytest.approx(0.5)


@pytest.mark.parametrize(("successes", "trials"), [(0, 30), (3, 30), (30, 30)])
def test_the_exact_interval_leaves_a_fortieth_on_either_side(successes: int, trials: int) -> None:
    from scipy.stats import binom

    low, high = exact_interval(successes, trials)
    if successes:
        assert binom.sf(successes - 1, trials, low) == pytest.approx(0.025)
    if successes < trials:
        assert binom.cdf(successes, trials, high) == pytest.approx(0.025)


def test_drawn_p_of_counts_is_uniform_under_permuted_labels() -> None:
    rng = np.random.default_rng(0)
    carries, own = np.arange(40) % 4 == 0, np.arange(40) < 12
    drawn = [random_p(rng.permutation(carries), own, rng) for _ in range(600)]
    assert kstest(drawn, "uniform").pvalue > 0.01
    assert random_p(own, own, rng) < 1e-6
