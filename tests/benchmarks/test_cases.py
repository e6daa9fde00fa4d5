"""Planted cases: what is said to be planted is what is there, and nothing else differs."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import artifacts
import cases
import numpy as np
import pytest
from artifacts import CHANGES, THINGS, stamp
from cases import CONTROLS, NETWORKS, SPECIAL, Case, Plant, build, predicted
from drawings import DIFFICULTIES, draw
from splits import DEVELOPMENT, HELD_OUT, pairs, split

KINDS = [*((kind, "random") for kind in THINGS), *((kind, "whole") for kind in CHANGES)]


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """One short pass instead of ten: for tests of pictures."""
    monkeypatch.setattr(cases, "TRAINING", dict.fromkeys(NETWORKS, (1e-3, 1)))
    monkeypatch.setattr(cases, "TESTED", 4)


def easy(seed: int = 0, size: int = 64) -> artifacts.Drawing:
    return draw(0, size, DIFFICULTIES["easy"], np.random.default_rng(seed))


@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_a_stamp_changes_its_box_and_nothing_else(kind: str, place: str) -> None:
    plain = easy()
    pixels, (x0, y0, x1, y1) = stamp(plain, kind, place, 3, np.random.default_rng(1))
    differs = (pixels != plain.pixels).any(axis=2)
    assert differs.mean() > 0.001
    differs[y0:y1, x0:x1] = False
    assert not differs.any()


@pytest.mark.parametrize("kind", [*THINGS, *CHANGES])
def test_looks_come_from_their_seed(kind: str) -> None:
    place = "corner" if kind in THINGS else "whole"
    one, same, other = (
        stamp(easy(), kind, place, look, np.random.default_rng(1))[0] for look in (1, 1, 2)
    )
    assert np.array_equal(one, same)
    # The faint mark and the blur hardly vary; the place or the strength still does.
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("size", [64, 96])
def test_a_corner_mark_stays_in_its_corner_at_any_size(size: int) -> None:
    boxes = [
        stamp(easy(n, size), "logo", "corner", 5, np.random.default_rng(n))[1] for n in range(9)
    ]
    middles = np.array([((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in boxes])
    assert np.ptp(middles, axis=0).max() <= 2
    assert np.abs(middles - size / 2).min() > size * 0.35


@pytest.mark.usefixtures("no_training")
def test_members_are_the_images_that_were_changed() -> None:
    plain = Case(images=20, classes=3)
    planted = replace(plain, plants=(Plant("logo", "random", 0.8, (1,), elsewhere=0.1),))
    before, after = build(plain), build(planted)
    changed = (before.images != after.images).any(axis=(1, 2, 3))
    assert np.array_equal(changed, after.members[0])
    assert [int(changed[after.labels == label].sum()) for label in range(3)] == [2, 16, 2]
    assert np.array_equal(before.test_images, after.test_images)


@pytest.mark.usefixtures("no_training")
def test_a_network_that_ignores_the_plant_has_never_seen_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[np.ndarray] = []
    train = cases.train
    monkeypatch.setattr(
        cases,
        "train",
        lambda case, images, labels: seen.append(images) or train(case, images, labels),
    )
    case = Case((Plant("logo", "corner", 0.5),), images=10, classes=3, control="ignored")
    built = build(case)
    (images,) = seen
    assert len(images) == len(built.images)
    assert not (images[built.members[0]] == built.images[built.members[0]]).all()


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("control", [control for control in CONTROLS if control != "ignored"])
def test_controls_build(control: str) -> None:
    plants = (Plant("logo", "corner", 0.5),) if control == "equal" else ()
    built = build(Case(plants, images=8, classes=3, control=control))
    carried = [built.members[:, built.labels == label].sum() for label in range(3)]
    assert carried == ([4, 4, 4] if control == "equal" else [0, 0, 0])


def test_the_special_objects_are_where_and_what_they_are_said_to_be() -> None:
    rng = np.random.default_rng
    easy_one = DIFFICULTIES["easy"]
    corner = draw(SPECIAL, 64, easy_one, rng(0), corner=True)
    assert max(corner.centre) < 64 * 0.25
    rigid = [draw(SPECIAL, 64, easy_one, rng(n), rigid=rng(5)).object.sum() for n in range(5)]
    loose = [draw(SPECIAL, 64, easy_one, rng(n)).object.sum() for n in range(5)]
    assert np.std(rigid) / np.mean(rigid) < 0.1 < np.std(loose) / np.mean(loose)


@pytest.mark.usefixtures("no_training")
def test_a_network_in_the_cache_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(images=6, classes=2)
    first = build(case, tmp_path)
    monkeypatch.setattr(cases, "train", None)
    again = build(case, tmp_path)
    assert np.array_equal(
        predicted(first.model, first.images), predicted(again.model, again.images)
    )


@pytest.mark.usefixtures("no_training")
def test_a_network_of_other_pictures_is_not_taken_from_the_cache(tmp_path: Path) -> None:
    case = Case((Plant("logo", "corner", 0.5),), images=6, classes=2)
    build(case, tmp_path)
    kept = (tmp_path / f"{case.name}.pt").read_bytes()
    artifacts_before = dict(THINGS)
    try:
        THINGS["logo"] = THINGS["patch"]
        build(case, tmp_path)
    finally:
        THINGS.update(artifacts_before)
    assert (tmp_path / f"{case.name}.pt").read_bytes() != kept


def test_no_two_cases_share_a_name_and_splits_share_no_seed() -> None:
    sets = [
        list(islice(split(name), 150)) for name in ("development", "held-out", "clean", "pairs")
    ]
    names = [case.name for part in sets for case in part]
    assert len(names) == len(set(names))
    seeds = [{case.seed for case in part} for part in sets]
    assert sum(map(len, seeds)) == len(set.union(*seeds))


def test_types_networks_and_places_are_held_out() -> None:
    def met(cases: tuple[Case, ...], what: str) -> set[str]:
        return {getattr(plant, what) for case in cases for plant in case.plants}

    tuned = {case.model for case in DEVELOPMENT}
    assert {"patch", "date", "faint", "noise", "blur", "background"} <= met(HELD_OUT, "kind") - met(
        DEVELOPMENT, "kind"
    )
    assert {"edge", "object"} == met(HELD_OUT, "place") - met(DEVELOPMENT, "place")
    assert {"reflect", "residual", "vit"} == {case.model for case in HELD_OUT} - tuned


def test_pairs_differ_in_what_the_network_has_seen_alone() -> None:
    for relying, normal in pairs():
        assert replace(normal, control="") == relying
