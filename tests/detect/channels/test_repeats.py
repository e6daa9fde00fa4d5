"""Repeats: images that carry a motif are found to the pixel, where cells are too coarse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage
from synthetic import SIDE, Thing, World, make_world, repeats

from shortcut_finder import scanning
from shortcut_finder.detect import suspicion
from shortcut_finder.detect.candidates import Candidate
from shortcut_finder.detect.channels.parts import Parts
from shortcut_finder.detect.channels.repeats import (
    _match_motifs,
    _Search,
    _strongest_parts,
    commonest,
    with_motifs,
    with_windows,
)
from shortcut_finder.detect.finding import judge
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.pixels.motifs import find_motifs

ANT = 0
COUNTS = (120, 120, 120)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), [Thing(ANT, 0.3)], counts=COUNTS)


@pytest.fixture(scope="module")
def in_cells(moving: World) -> list[Candidate]:
    return gathered(moving)


@pytest.fixture(scope="module")
def repeated(moving: World, in_cells: list[Candidate]) -> list[Candidate]:
    return repeats(in_cells, None, moving.scene(), moving.half(), 0)


def gathered(world: World, parts: Parts | None = None) -> list[Candidate]:
    templates = world.templates(parts=parts)
    return world.gathered(templates, world.half())


def searched(world: World, parts: Parts | None = None) -> list[Candidate]:
    found = gathered(world, parts)
    return repeats(found, parts, world.scene(), world.half(), 0)


def by_motif(world: World, parts: Parts | None = None) -> list[Candidate]:
    """Without what windows lead to."""
    return with_motifs(gathered(world, parts), parts, world.scene(), world.half(), 0)


def test_exactly_the_images_with_the_stamp_repeat_it(
    moving: World, repeated: list[Candidate]
) -> None:
    found = repeated
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


@pytest.fixture(scope="module")
def hidden(moving: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The stamp is in the pictures and not in the cells: only the model's answers tell of it."""
    blind = make_world(tmp_path_factory.mktemp("blind"), [], counts=COUNTS)
    # The same pictures and labels in the same order; cells without the thing.
    assert np.array_equal(moving.order, blind.order)
    return replace(blind, pictures=moving.pictures, carriers=moving.carriers)


def parts_on(
    half: np.ndarray, world: World, in_cells: list[Candidate], stamped: int | None = None
) -> Parts:
    """Parts of images of a half; so many of those with the stamp, which gains most."""
    own = half & (world.records.labels == ANT)
    carries = np.isin(world.order, list(world.carriers[0]))
    images, rest = np.flatnonzero(own & carries)[:stamped], np.flatnonzero(own & ~carries)
    every = np.concatenate([images, rest])
    gains = [len(images), len(rest)]
    return Parts(
        images=every,
        labels=np.full(len(every), ANT),
        cells=np.array([*places_of_stamp(in_cells, images), *([0] * len(rest))]),
        turned=np.repeat([0.9 if stamped is None else 0.1, 0.0], gains),
        gain=np.repeat([3.0, 1.0], gains),
        potent=np.repeat([stamped is None, False], gains),
    )


@pytest.mark.parametrize("stamped", [None, 4])
def test_strong_parts_lead_to_what_cells_do_not_show(
    moving: World, hidden: World, in_cells: list[Candidate], stamped: int | None
) -> None:
    """Few of them are enough, also where they turn next to no image over."""
    found = by_motif(hidden, parts_on(hidden.half(), moving, in_cells, stamped))
    assert [one.label for one in found] == [ANT]
    carries = hidden.named(found[0].carries & (hidden.records.labels == ANT))
    assert carries <= moving.carriers[0]
    assert len(carries) >= 0.85 * len(moving.carriers[0])


def test_without_strong_parts_nothing_leads_there(hidden: World) -> None:
    assert by_motif(hidden) == []


@pytest.mark.parametrize(("potent", "looked_at"), [(True, [12, 5]), (False, [5])])
def test_a_dozen_parts_are_looked_at_only_where_parts_turn_images_over(
    hidden: World, potent: bool, looked_at: list[int]
) -> None:
    """Otherwise most of the dozen strongest show the class's object."""
    numbers = np.flatnonzero(hidden.half() & (hidden.records.labels == ANT))[:20]
    gain = np.linspace(2, 1, len(numbers))
    cells, labels = np.zeros(20, dtype=np.int64), np.full(20, ANT)
    parts = Parts(numbers, labels, cells, gain / 2, gain, np.full(20, potent))
    source = gathered(hidden)[0]
    source = replace(source, template=replace(source.template, label=ANT, potent=potent), label=ANT)
    sources = _strongest_parts(source, parts)
    assert [one.images.tolist() for one in sources] == [numbers[:n].tolist() for n in looked_at]


def test_what_is_found_on_one_half_is_tested_on_the_other(
    moving: World, hidden: World, in_cells: list[Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("with_windows", "find_associations"):
        monkeypatch.setattr(scanning, other, lambda *_: [])
    half, nothing = hidden.half(), np.zeros(0, dtype=np.int64)
    none = Parts(nothing, nothing, nothing, np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool))
    parts = none, parts_on(~half, moving, in_cells)
    scene, classes = hidden.scene(), hidden.classes
    judged = scanning.find_shortcuts(hidden.folder, scene, half, classes, (), parts=parts)
    first = judged.findings[0]
    assert (first.label, first.severity) == (classes[ANT], "high")
    assert np.array_equal(first.half, ~half)
    # What the cells of the potent parts of that half have in common goes along.
    assert first.template is not None
    assert first.template.potent
    # The share is of the images that it was not found on.
    own = hidden.records.labels == ANT
    assert first.share == pytest.approx(first.carries[half & own].mean())
    assert first.share != pytest.approx(first.carries[~half & own].mean())


@pytest.mark.parametrize("seen", [True, False])
def test_each_half_finds_what_the_other_tests(
    moving: World, hidden: World, seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By cells, or by windows where cells show nothing: of what is rare a half may hold too few."""
    judged: list[Candidate] = []
    monkeypatch.setattr(
        scanning, "judge", lambda found, *rest: (judged.extend(found), judge(found, *rest))[1]
    )
    monkeypatch.setattr(scanning, "find_associations", lambda *_: [])
    world = moving if seen else hidden
    half = world.half()
    scanning.find_shortcuts(world.folder, world.scene(), half, world.classes, ())
    own = world.records.labels == ANT
    carriers = np.isin(world.order, list(moving.carriers[0]))
    for found_on in (half, ~half):
        exact = [one for one in judged if one.label == ANT and np.array_equal(one.half, found_on)]
        exact = [one for one in exact if one.template.unseen != seen]
        assert any((one.carries & own)[carriers].mean() >= 0.85 for one in exact)


def test_windows_lead_to_what_neither_cells_nor_the_model_show(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(ANT, 0.2)], counts=COUNTS)
    blind = make_world(tmp_path / "blind", [], counts=COUNTS)
    hidden = replace(blind, pictures=world.pictures, carriers=world.carriers)
    (found,) = with_windows(hidden.scene(), hidden.half(), 0)
    assert found.label == ANT
    carries = hidden.named(found.carries & (hidden.records.labels == ANT))
    assert carries <= world.carriers[0]
    assert len(carries) >= 0.85 * len(world.carriers[0])
    judged = judge([found], hidden.scene(), hidden.classes)
    assert [one.severity for one in judged.findings] == ["high"]
    # No cell tells how far it reaches.
    assert judged.findings[0].template is None


def test_a_window_that_most_of_a_class_carries_anywhere_may_be_its_object(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(ANT, 0.9)], counts=COUNTS)
    blind = make_world(tmp_path / "blind", [], counts=COUNTS)
    hidden = replace(blind, pictures=world.pictures, carriers=world.carriers)
    found = with_windows(hidden.scene(), hidden.half(), 0)
    judged = judge(found, hidden.scene(), hidden.classes)
    assert {one.severity for one in judged.findings} == {"low"}


@pytest.mark.parametrize(("elsewhere", "repeats_it"), [(0.3, True), (0.75, False)])
def test_what_moves_and_most_others_carry_too_tells_of_those_that_lack_it(
    moving: World, repeated: list[Candidate], elsewhere: float, repeats_it: bool
) -> None:
    """All images of one class are blurred: the edges of all other classes are nothing of theirs."""
    test = {"share": 0.98, "elsewhere": elsewhere, "all_over": 0.0, "exactness_found": 1.0}
    test |= {"likeness": 0.95, "likeness_elsewhere": 0.3, "repeating": 60.0}
    candidate = next(one for one in repeated if one.extent is None)
    weight = suspicion.weigh(candidate, test, moving.records)
    assert (weight["suspicion"] >= suspicion.MEDIUM) == repeats_it
    assert (weight["rigidity"] > 0) == repeats_it


def places_of_stamp(candidates: list[Candidate], images: np.ndarray) -> list[int]:
    """The cell where cells of each image are most like those that carry the thing."""
    own = [one for one in candidates if one.label == ANT]
    return [next(int(one.closest[image]) for one in own if one.carries[image]) for image in images]


def test_what_repeats_is_loud_and_what_does_not_is_not(
    moving: World, in_cells: list[Candidate], repeated: list[Candidate]
) -> None:
    scene = moving.scene()
    quiet = judge(in_cells, scene, moving.classes)
    assert {one.severity for one in quiet.findings} == {"low"}
    loud = judge([*in_cells, *repeated], scene, moving.classes)
    assert loud.findings[0].severity == "high"
    assert loud.findings[0].numbers["likeness"] > loud.findings[0].numbers["likeness_elsewhere"]


def test_a_thing_at_one_place_keeps_its_place(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(ANT, 0.3, place=27)], counts=COUNTS)
    found = by_motif(world)
    assert found
    assert found[0].extent is not None
    rows, columns = np.nonzero(found[0].extent)
    assert max(abs(rows - 27 // 8).max(), abs(columns - 27 % 8).max()) <= 2


def test_a_thing_that_moves_along_an_edge_keeps_to_that_edge(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(ANT, 0.3, row=7)], counts=COUNTS)
    found = by_motif(world)[0]
    assert found.extent is None
    assert found.strip is not None
    assert found.strip.any(axis=1).tolist() == [False] * 6 + [True] * 2
    assert world.named(found.carries & (world.records.labels == ANT)) == world.carriers[0]
    (finding,) = judge([found], world.scene(), world.classes).findings
    assert (finding.region, finding.kind, finding.severity) == ("bottom edge", "edge", "high")
    boxes = np.array([finding.boxes(image) for image in np.flatnonzero(finding.carries)])
    assert (boxes[:, 2] - boxes[:, 0] < 0.5).all()
    assert np.ptp(boxes[:, 0]) > 0.5


def test_edges_of_a_blurred_class_are_alike_as_all_blurred_edges_are(tmp_path: Path) -> None:
    world, rng = make_world(tmp_path, [], counts=COUNTS), np.random.default_rng(0)
    pictures = [discs(rng) for _ in world.pictures]
    blurred = [
        picture.filter(ImageFilter.GaussianBlur(1.5)) if label == ANT else picture
        for picture, label in zip(pictures, world.labels, strict=True)
    ]
    scene = replace(world, pictures=blurred).scene()
    judged = judge(with_windows(scene, world.half(), 0), scene, world.classes)
    assert all(one.severity == "low" for one in judged.findings)


def test_a_stamp_in_a_blurred_class_is_still_found(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(ANT, 0.5)], counts=COUNTS)
    blurred = [
        picture.filter(ImageFilter.GaussianBlur(1)) if label == ANT else picture
        for picture, label in zip(world.pictures, world.labels, strict=True)
    ]
    scene = replace(world, pictures=blurred).scene()
    first = judge(with_windows(scene, world.half(), 0), scene, world.classes).findings[0]
    assert (first.label, first.severity) == (world.classes[ANT], "high")


def discs(rng: np.random.Generator) -> Image.Image:
    """Plain discs of several sizes and colours on a plain ground."""
    ground, *colours = (tuple(rng.integers(0, 256, 3).tolist()) for _ in range(7))
    picture = Image.new("RGB", (SIDE, SIDE), ground)
    for colour in colours:
        (x, y), radius = rng.integers(0, SIDE, 2), rng.integers(4, 20)
        box = x - radius, y - radius, x + radius, y + radius
        ImageDraw.Draw(picture).ellipse(tuple(map(int, box)), fill=colour)
    return picture


def test_images_of_other_classes_may_be_compared_blurred(moving: World) -> None:
    scene, labels = moving.scene(), moving.records.labels
    views = [scene.view(image) for image in np.flatnonzero(labels == ANT)[:12].tolist()]
    soft = [ndimage.gaussian_filter(view, (2, 2, 0)) for view in views if view is not None]
    centres = np.full((12, 2), 0.5)
    motif = find_motifs(soft, centres, soft[::-1], centres)[0]
    search = _Search(_match_motifs, [motif], scene.view, moving.records)
    blurred = search.through_blurs(ANT)
    search(np.arange(len(labels)))
    blurred(np.arange(len(labels)))
    more = blurred.likeness[0] - search.likeness[0]
    assert (more[labels == ANT] == 0).all()
    assert (more[labels != ANT] >= 0).all()
    assert np.median(more[labels != ANT]) > 0.05


def test_images_that_cannot_be_read_are_not_known(moving: World, in_cells: list[Candidate]) -> None:
    scene = moving.scene()
    gone = int(np.flatnonzero(moving.records.labels == ANT)[0])

    def read(number: int) -> object:
        if number == gone:
            raise UnreadableImage("gone")
        return scene.read(number)

    found = with_motifs(in_cells, None, replace(scene, read=read), moving.half(), 0)
    assert not found[0].known[gone]
    assert not found[0].carries[gone]


def test_others_that_carry_it_too_do_not_count_as_common() -> None:
    rng = np.random.default_rng(0)
    inside = np.append(rng.normal(0.9, 0.02, 80), rng.normal(0.3, 0.05, 20))
    outside = np.append(rng.normal(0.9, 0.02, 30), rng.normal(0.3, 0.05, 270))
    assert commonest(inside, outside) < 0.5
    assert commonest(rng.normal(0.3, 0.05, 100), outside[30:]) < 0.5


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("fixed")
    return make_world(folder, [Thing(ANT, 0.3, place=27)], counts=COUNTS)


def test_at_one_place_others_are_less_like_it_than_anywhere(fixed: World) -> None:
    candidate, scene = by_motif(fixed)[0], fixed.scene()
    assert candidate.extent is not None
    assert candidate.placed is not None
    assert fixed.named(candidate.placed >= 0) == fixed.carriers[0]
    carriers = np.flatnonzero(candidate.carries)
    others = np.flatnonzero(fixed.records.labels != ANT)
    x, y = (27 % 8 + 0.5) / 8, (27 // 8 + 0.5) / 8

    views = [view for view in map(scene.view, carriers[:12].tolist()) if view is not None]
    controls = [view for view in map(scene.view, others[:12].tolist()) if view is not None]
    centres = np.tile((x, y), (12, 1))
    motif = find_motifs(views, centres, controls, centres)[0]
    anywhere = _Search(_match_motifs, [motif], scene.view, scene.records)
    there = anywhere.at(candidate.extent, 0)
    for images, least, most in ((others, 0.05, 1.0), (carriers, 0.0, 0.02)):
        anywhere(images)
        there(images)
        before, after = (np.median(one.likeness[0, images]) for one in (anywhere, there))
        assert least <= before - after <= most
