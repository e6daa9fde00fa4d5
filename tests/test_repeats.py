"""Repeats: images that carry a motif are found to the pixel, where cells are too coarse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import Thing, World, make_world

from shortcut_finder.candidates import Candidate, gather_candidates
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.findings import judge
from shortcut_finder.parts import Parts
from shortcut_finder.repeats import commonest, repeats

ANT = 0
COUNTS = (120, 120, 120)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), [Thing(ANT, 0.3)], counts=COUNTS)


def gathered(world: World, parts: Parts | None = None) -> list[Candidate]:
    templates = world.templates(parts=parts)
    return gather_candidates(templates, world.matches(templates), world.records)


def searched(world: World, parts: Parts | None = None) -> list[Candidate]:
    found = gathered(world, parts)
    return repeats(found, parts, world.scene(), world.half(), 0)


def by_motif(found: list[Candidate]) -> list[Candidate]:
    """Without those that windows led to, of which cells know nothing."""
    return [one for one in found if not one.template.unseen]


def test_exactly_the_images_with_the_stamp_repeat_it(moving: World) -> None:
    found = searched(moving)
    assert {one.label for one in found} == {ANT}
    carries = moving.named(found[0].carries & (moving.records.labels == ANT))
    assert carries == moving.carriers[0]
    assert found[0].extent is None
    assert found[0].known.all()


def test_cells_that_look_alike_without_repeating_make_no_candidate(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(ANT, 0.4, rigid=False)], counts=COUNTS)
    assert gathered(world)
    assert searched(world) == []


def test_random_images_make_no_candidate(tmp_path: Path) -> None:
    assert searched(make_world(tmp_path, [], counts=COUNTS)) == []


def test_potent_parts_lead_to_what_cells_do_not_show(tmp_path: Path) -> None:
    """The stamp is in the pictures and not in the cells: only the model's answers tell of it."""
    world = make_world(tmp_path, [Thing(ANT, 0.3)], counts=COUNTS)
    blind = make_world(tmp_path / "blind", [], counts=COUNTS)
    half = blind.half()
    # The same pictures and labels in the same order; cells without the thing.
    assert np.array_equal(world.order, blind.order)
    hidden = World(
        blind.folder, blind.labels, world.carriers, world.pictures, blind.records, blind.classes
    )
    assert by_motif(searched(hidden)) == []
    own = half & (hidden.records.labels == ANT)
    images = np.flatnonzero(own & np.isin(hidden.order, list(world.carriers[0])))
    places = [place_of_stamp(world, int(image)) for image in images]
    rest = np.flatnonzero(own & ~np.isin(hidden.order, list(world.carriers[0])))
    every = np.concatenate([images, rest])
    parts = Parts(
        images=every,
        labels=np.full(len(every), ANT),
        cells=np.array([*places, *([0] * len(rest))]),
        turned=np.repeat([0.9, 0.0], [len(images), len(rest)]),
        gain=np.zeros(len(every)),
        potent=np.repeat([True, False], [len(images), len(rest)]),
    )
    found = by_motif(searched(hidden, parts))
    assert [one.label for one in found] == [ANT]
    carries = hidden.named(found[0].carries & (hidden.records.labels == ANT))
    assert carries <= world.carriers[0]
    assert len(carries) >= 0.85 * len(world.carriers[0])


def test_windows_lead_to_what_neither_cells_nor_the_model_show(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(ANT, 0.2)], counts=COUNTS)
    blind = make_world(tmp_path / "blind", [], counts=COUNTS)
    hidden = replace(blind, pictures=world.pictures, carriers=world.carriers)
    (found,) = searched(hidden)
    assert found.label == ANT
    carries = hidden.named(found.carries & (hidden.records.labels == ANT))
    assert carries <= world.carriers[0]
    assert len(carries) >= 0.85 * len(world.carriers[0])
    judged = judge([found], hidden.scene(), hidden.half(), hidden.classes)
    assert [one.severity for one in judged.findings] == ["high"]
    # No cell tells how far it reaches.
    assert judged.findings[0].template is None


def test_a_window_that_most_of_a_class_carries_anywhere_may_be_its_object(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(ANT, 0.9)], counts=COUNTS)
    blind = make_world(tmp_path / "blind", [], counts=COUNTS)
    hidden = replace(blind, pictures=world.pictures, carriers=world.carriers)
    found = [one for one in searched(hidden) if one.template.unseen]
    judged = judge(found, hidden.scene(), hidden.half(), hidden.classes)
    assert {one.severity for one in judged.findings} == {"low"}


def place_of_stamp(world: World, image: int) -> int:
    """The cell where cells of the image are most like those that carry the thing."""
    for candidate in gathered(world):
        if candidate.label == ANT and candidate.carries[image]:
            return int(candidate.closest[image])
    raise AssertionError("no candidate carries it")


def test_what_repeats_is_loud_and_what_does_not_is_not(moving: World) -> None:
    half, scene = moving.half(), moving.scene()
    found = gathered(moving)
    quiet = judge(found, scene, half, moving.classes)
    assert {one.severity for one in quiet.findings} == {"low"}
    loud = judge([*found, *repeats(found, None, scene, half, 0)], scene, half, moving.classes)
    assert loud.findings[0].severity == "high"
    assert loud.findings[0].numbers["likeness"] > loud.findings[0].numbers["likeness_elsewhere"]


def test_a_thing_at_one_place_keeps_its_place(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(ANT, 0.3, place=27)], counts=COUNTS)
    found = searched(world)
    assert found
    assert found[0].extent is not None
    rows, columns = np.nonzero(found[0].extent)
    assert max(abs(rows - 27 // 8).max(), abs(columns - 27 % 8).max()) <= 2


def test_images_that_cannot_be_read_are_not_known(moving: World) -> None:
    scene = moving.scene()
    gone = int(np.flatnonzero(moving.records.labels == ANT)[0])

    def read(number: int) -> object:
        if number == gone:
            raise UnreadableImage("gone")
        return scene.read(number)

    found = repeats(gathered(moving), None, replace(scene, read=read), moving.half(), 0)
    assert not found[0].known[gone]
    assert not found[0].carries[gone]


def test_others_that_carry_it_too_do_not_count_as_common() -> None:
    rng = np.random.default_rng(0)
    inside = np.append(rng.normal(0.9, 0.02, 80), rng.normal(0.3, 0.05, 20))
    outside = np.append(rng.normal(0.9, 0.02, 30), rng.normal(0.3, 0.05, 270))
    assert commonest(inside, outside) < 0.5
    assert commonest(rng.normal(0.3, 0.05, 100), outside[30:]) < 0.5
