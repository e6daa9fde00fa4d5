"""Cells: what is planted is found by both halves, at its place and with its list; labels by lot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import FIXED_CELL, GRID, Thing, World, judged_of, make_world

from shortcut_finder.detect import judge, study
from shortcut_finder.detect import things as detect_things
from shortcut_finder.detect.finding import Finding
from shortcut_finder.detect.scoring import scored
from shortcut_finder.detect.study import Candidate, Model
from shortcut_finder.detect.things import Pair, likeliest, paired, thing_of
from shortcut_finder.detect.view import View

COUNTS = (100, 100, 100)


def loud(world: World) -> list[Finding]:
    return [finding for finding in world.judged().findings if finding.decided.severity != "low"]


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("moving"), [Thing(1, 0.3)], counts=COUNTS)


@pytest.mark.parametrize("share", [0.2, 0.8])
@pytest.mark.parametrize(("place", "region"), [(FIXED_CELL, "top left corner"), (None, "anywhere")])
def test_what_is_planted_is_found_with_its_place_and_its_list(
    tmp_path: Path, place: int | None, region: str, share: float
) -> None:
    world = make_world(tmp_path, [Thing(1, share, place)], counts=COUNTS)
    (finding,) = loud(world)
    assert (finding.label, finding.place.region, finding.decided.severity) == (
        "bee",
        region,
        "high",
    )
    listed, sure = (
        world.named(which) for which in (finding.carriers.listed, finding.carriers.sure)
    )
    assert len(sure & world.carriers[0]) >= 0.95 * len(world.carriers[0])
    assert len(sure - world.carriers[0]) <= 0.15 * len(sure)
    assert sure <= listed
    assert finding.measured.share_range[0] <= share <= finding.measured.share_range[1]
    assert finding.measured.elsewhere < 0.05
    assert finding.measured.wrong[0] <= 0.1


def test_nothing_planted_nothing_found(tmp_path: Path) -> None:
    for seed in range(2):
        assert loud(make_world(tmp_path / str(seed), [], seed=seed)) == []


def test_labels_by_lot_have_nothing_above_low(moving: World) -> None:
    for seed in range(2):
        labels = np.random.default_rng(seed).permutation(moving.records.labels)
        drawn = replace(moving, records=replace(moving.records, labels=labels))
        assert loud(drawn) == []


@pytest.mark.parametrize("place", [None, FIXED_CELL])
def test_what_all_classes_carry_alike_is_none_of_any(tmp_path: Path, place: int | None) -> None:
    assert loud(make_world(tmp_path, [Thing(None, 0.3, place)], counts=COUNTS)) == []


def test_candidates_are_tested_on_the_other_half_alone(moving: World) -> None:
    study, half = moving.study(), moving.half()
    carriers = np.isin(moving.order, list(moving.carriers[0]))
    for number, mine in enumerate((half, ~half)):
        best = max(study.candidates(1, number), key=lambda one: one.test["gain"])
        tested = ~mine & (moving.records.labels == 1)
        assert best.test["tested_images"] == tested.sum()
        assert best.test["tested_members"] == pytest.approx((tested & carriers).sum(), abs=2)
        assert best.test["elsewhere"] < 0.03
        assert best.test["p"] < 1e-4
    assert study.candidates(1, 0)[0].test == moving.study().candidates(1, 0)[0].test


def test_p_is_uniform_under_labels_by_lot(tmp_path: Path) -> None:
    world = make_world(tmp_path, [], counts=(60, 60))
    small = []
    for seed in range(6):
        labels = np.random.default_rng(seed).permutation(world.records.labels)
        study = replace(world, records=replace(world.records, labels=labels)).study(seed)
        small += [one.test["p"] <= 0.05 for n in (0, 1) for one in study.candidates(0, n)]
    assert len(small) > 50
    assert np.mean(small) <= 0.08


def test_images_are_scored_by_the_model_that_has_not_seen_them(moving: World) -> None:
    study, half = moving.study(), moving.half()
    found = max(
        (one for n in (0, 1) for one in study.candidates(1, n)), key=lambda one: one.test["gain"]
    )
    (pair, *_) = paired(study, [found], 0.0)
    (thing,) = scored(study, [thing_of(pair, study)], moving.folder)
    every = study.sample
    assert len(every) == len(half)
    for number, mine in ((0, ~half), (1, half)):
        model = thing.models[number]
        answers = study.white[number].float().flatten(0, 1) @ model.vector
        answers = answers.reshape(len(every), -1).topk(model.closest, 1).values.mean(1).numpy()
        assert thing.answers[mine] == pytest.approx(answers[mine], abs=1e-4)
    carriers = np.isin(moving.order, list(moving.carriers[0]))
    assert thing.score[carriers].min() > thing.score[~carriers].max()
    own = (moving.records.labels == 1) & (thing.score >= 0)
    assert np.median(thing.score[own]) == pytest.approx(1, abs=0.1)
    # It is where the thing was put.
    maps = moving.records.maps.reshape(len(half), -1)
    assert (thing.best[carriers] == maps[carriers].argmax(1)).all()


def test_a_motif_that_lists_no_image_changes_nothing(
    moving: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where other classes show as much of it as any image of the class does."""
    asked = []

    def nowhere(known: detect_things.Thing, *_: object) -> detect_things.Thing:
        asked.append(known)
        return replace(known, score=np.full(len(known.score), -1.0))

    monkeypatch.setattr(judge, "by_motif", nowhere)
    (finding,) = loud(moving)
    assert asked
    carriers = np.isin(moving.order, list(moving.carriers[0]))
    assert finding.carriers.listed[carriers].mean() > 0.8


def test_a_half_that_only_learns_is_no_witness(moving: World) -> None:
    study = moving.study()
    first, second = (max(study.candidates(1, n), key=lambda one: one.test["gain"]) for n in (0, 1))
    (both,), (alone,) = paired(study, [first, second], 0.0), paired(study, [first], 0.0)
    assert min(both.witnesses) > 0
    assert alone.witnesses == (first.model.gain, 0.0)
    assert both.agreement == pytest.approx(1, abs=0.1)
    assert alone.agreement == pytest.approx(1, abs=0.1)
    assert both.strength > 1.8 * alone.strength


# A cell in the middle of the frame and one of its border.
MIDDLE, BORDER = GRID[0] // 2 * GRID[1] + GRID[1] // 2, 0


def pair_of(gain: float, carries: np.ndarray, label: int = 0, place: int = MIDDLE) -> Pair:
    model = Model(torch.zeros(2), 1, 0.0, gain)
    places = np.full(len(carries), place)
    one = Candidate(label, 0, model, {"shift": 0.0}, carries, places)
    return Pair(one, one, (gain, gain))


def test_a_class_is_told_different_things() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random(40) < 0.4, rng.random(40) < 0.4
    pairs = [pair_of(0.3, one), pair_of(0.5, one), pair_of(0.2, other), pair_of(0.1, one, label=1)]
    assert likeliest(pairs, 3, 0.05, 0.5, GRID) == [pairs[1], pairs[2], pairs[3]]
    assert likeliest(pairs, 1, 0.05, 0.5, GRID) == [pairs[1], pairs[3]]
    assert likeliest(pairs, 3, 0.15, 0.5, GRID) == [pairs[1], pairs[2]]


def test_what_stands_at_the_border_comes_before_a_clearer_part_of_the_object() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random(40) < 0.4, rng.random(40) < 0.4
    pairs = [pair_of(0.3, one), pair_of(0.2, other, place=BORDER)]
    assert likeliest(pairs, 1, 0.05, 0.5, GRID) == [pairs[1]]


def test_a_piece_of_a_thing_in_part_of_its_images_is_that_thing() -> None:
    images = np.arange(100)
    whole, piece, elsewhere = images < 40, images < 16, (images >= 30) & (images < 50)
    pairs = [pair_of(0.5, piece), pair_of(0.45, whole), pair_of(0.3, elsewhere)]
    assert likeliest(pairs, 3, 0.05, 0.5, GRID) == [pairs[1], pairs[2]]
    # What nearly all images carry has everything within it.
    pairs = [pair_of(0.5, piece), pair_of(0.45, images < 90)]
    assert len(likeliest(pairs, 3, 0.05, 0.5, GRID)) == 2


def test_a_sample_is_as_large_as_memory_allows(
    moving: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(moving.study().sample) == 300
    monkeypatch.setattr(study, "OWN", 20)
    sample = moving.study().sample
    labels, half = moving.records.labels[sample], moving.half()[sample]
    for label in range(3):
        assert [(half[labels == label] == side).sum() for side in (True, False)] == [20, 20]
    numbers = GRID[0] * GRID[1] * (48 + 4 * 16)
    monkeypatch.setattr(study, "MEMORY", 2 * 6 * 12 * numbers)
    assert len(moving.study().sample) == 6 * 12


def test_one_class_has_nothing_to_be_held_against(moving: World) -> None:
    alone = replace(moving.records, labels=np.zeros(300, dtype=int))
    scene = replace(moving, records=alone).scene()
    assert judged_of(View(moving.folder, scene, moving.half(), ("ant",))).findings == ()


def test_a_tiny_class_has_no_candidates(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(1, 1.0)], counts=(60, 3, 60))
    assert world.study().candidates(1, 0) == []
    assert all(finding.label != "bee" for finding in world.judged().findings)
