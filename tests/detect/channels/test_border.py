"""Border: what nearly all of a class has along the border, and nothing in the middle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import GRID, Thing, World, make_world

from shortcut_finder.detect.channels.border import border_things
from shortcut_finder.detect.scoring import scored
from shortcut_finder.detect.study import alike

COUNTS = (60, 60, 60)
CORNER, MIDDLE = 0, 35


def world_of(folder: Path, place: int, share: float, label: int | None = 1) -> World:
    return make_world(folder, [Thing(label, share, place)], counts=COUNTS)


@pytest.mark.parametrize("share", [0.95, 1.0])
def test_what_nearly_all_of_a_class_has_at_the_border_is_found(
    tmp_path: Path, share: float
) -> None:
    world = world_of(tmp_path, CORNER, share)
    study = world.study()
    (thing,) = border_things(study, GRID)
    assert thing.label == 1
    assert np.flatnonzero(thing.extent).tolist() == [CORNER]
    assert thing.test["share"] == pytest.approx(share, abs=0.07)
    assert thing.test["elsewhere"] <= 0.15
    assert thing.test["p"] < 1e-6
    (seen,) = scored(study, [thing], world.folder)
    carriers = np.isin(world.order, list(world.carriers[0]))
    assert seen.score[carriers].min() > seen.score[~carriers].max()


def test_it_is_listed_once_and_is_an_artifact(tmp_path: Path) -> None:
    world = world_of(tmp_path, CORNER, 1.0)
    (finding,) = [one for one in world.judged().findings if one.decided.severity != "low"]
    assert (finding.label, finding.place.region, finding.decided.severity) == (
        "bee",
        "top left corner",
        "high",
    )
    assert world.named(finding.carriers.listed) == world.carriers[0]
    # What part of a class has is found by its cells, too.
    world = world_of(tmp_path / "part", CORNER, 0.75)
    assert len(border_things(world.study(), GRID)) == 1
    assert len([one for one in world.judged().findings if one.decided.severity != "low"]) == 1


@pytest.mark.parametrize(
    ("place", "share", "label"),
    [(MIDDLE, 1.0, 1), (CORNER, 0.2, 1), (CORNER, 1.0, None)],
    ids=["in the middle", "in few", "in all classes"],
)
def test_what_is_no_border_of_a_class(
    tmp_path: Path, place: int, share: float, label: int | None
) -> None:
    assert border_things(world_of(tmp_path, place, share, label).study(), GRID) == []


def test_a_grid_that_is_all_border_has_none(tmp_path: Path) -> None:
    assert border_things(world_of(tmp_path, CORNER, 1.0).study(), (4, 4)) == []


def test_alike_is_the_mean_cosine_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(9, 4, 5))
    cells /= np.linalg.norm(cells, axis=-1, keepdims=True)
    expected = [
        np.mean([cells[i, c] @ cells[j, c] for i in range(9) for j in range(9) if i != j])
        for c in range(4)
    ]
    assert alike(torch.tensor(cells)) == pytest.approx(np.array(expected))
