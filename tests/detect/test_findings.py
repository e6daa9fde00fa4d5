"""Findings: what was planted is found in its class and listed; what is ordinary stays quiet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw
from synthetic import FIXED_CELL, GRID, SIDE, Thing, World, make_world, texture

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.detect import finding as findings
from shortcut_finder.detect import suspicion
from shortcut_finder.detect.candidates import Candidate, reach
from shortcut_finder.detect.channels.groups import Template
from shortcut_finder.detect.finding import (
    Finding,
    Judged,
    judge,
    located,
    ranked,
    worth_listing,
)
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.pixels.rigidity import Rigidity
from shortcut_finder.stats.experiments import Arm, Experiment, Verification
from shortcut_finder.sweep.scene import Scene

COUNTS = (100, 100, 100)


def loud(judged: Judged) -> list[Finding]:
    return [finding for finding in judged.findings if finding.severity != "low"]


def planted_cell(world: World, image: int) -> tuple[int, int]:
    place = int(world.records.maps[image].argmax())
    return divmod(place, GRID[1])


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Judged]:
    world = make_world(tmp_path_factory.mktemp("fixed"), [Thing(1, 0.3, FIXED_CELL)], counts=COUNTS)
    return world, world.judged()


def template_of(fixed: tuple[World, Judged]) -> Template:
    """What the cells of the thing look like."""
    template = fixed[1].findings[0].template
    assert template is not None
    return template


def without_pictures(
    candidate: Candidate, weight: dict[str, float], test: dict[str, float] | None = None
) -> findings._Looked:
    """A candidate whose pictures show nothing."""
    return findings._Looked(candidate, test or {}, weight, Rigidity(0, 0, 0, np.zeros((1, 1))))


@pytest.mark.parametrize(
    ("thing", "region"),
    [
        (Thing(1, 0.3, FIXED_CELL), "top left corner"),
        (Thing(1, 0.2), "anywhere"),
        (Thing(1, 1.0, FIXED_CELL), "top left corner"),
        (Thing(1, 1.0), "anywhere"),
    ],
    ids=["fixed place", "any place", "all of a class", "all of a class, any place"],
)
def test_a_planted_stamp_is_the_top_finding_in_its_class(
    tmp_path: Path, thing: Thing, region: str
) -> None:
    world = make_world(tmp_path, [thing], counts=COUNTS)
    judged = world.judged()
    top = ranked(judged.findings)[0]
    assert (top.key, top.label, top.region, top.severity) == ("F1", "bee", region, "high")
    assert top.verdict == "suspect"
    assert [finding.label for finding in loud(judged)] == ["bee"]
    assert top.q < 0.05
    assert top.share == pytest.approx(thing.share, abs=0.12)
    assert top.elsewhere < 0.05
    assert world.named(top.carries) >= world.carriers[0]


def test_exactly_the_planted_images_are_listed_bar_a_few(tmp_path: Path) -> None:
    listed = wrong = 0
    for seed, thing in enumerate([Thing(1, 0.3, FIXED_CELL), Thing(1, 0.2), Thing(1, 0.3)]):
        world = make_world(tmp_path / str(seed), [thing], seed=seed, counts=COUNTS)
        carries = world.named(loud(world.judged())[0].carries)
        assert carries >= world.carriers[0]
        listed += len(carries)
        wrong += len(carries - world.carriers[0])
    assert wrong <= 0.15 * listed


def test_planted_images_come_before_all_others(fixed: tuple[World, Judged]) -> None:
    world, judged = fixed
    (finding,) = loud(judged)
    order = world.order[np.argsort(-finding.score, kind="stable")]
    assert set(order[: len(world.carriers[0])].tolist()) == world.carriers[0]
    assert ((finding.score >= 0) & (finding.score <= 1)).all()
    assert ((finding.score > 0) == finding.carries).all()
    assert set(world.order[finding.typical].tolist()) <= world.named(finding.carries)


def test_two_things_in_two_classes_are_two_findings(tmp_path: Path) -> None:
    things = [Thing(0, 0.3, FIXED_CELL), Thing(2, 0.3)]
    world = make_world(tmp_path, things, counts=COUNTS)
    judged = world.judged().findings
    found = {finding.label: finding for finding in reversed(judged)}
    assert set(found) >= {"ant", "cat"}
    assert found["ant"].severity == "high"
    assert found["ant"].region == "top left corner"
    assert found["cat"].region == "anywhere"
    for label, carriers in zip(("ant", "cat"), world.carriers, strict=True):
        assert world.named(found[label].carries) >= carriers


@pytest.mark.parametrize("seed", range(4))
def test_clean_random_data_has_nothing_above_low(tmp_path: Path, seed: int) -> None:
    assert loud(make_world(tmp_path, [], seed=seed).judged(windows=True)) == []


@pytest.mark.parametrize("place", [None, FIXED_CELL])
def test_what_all_classes_carry_alike_is_no_finding(tmp_path: Path, place: int | None) -> None:
    assert loud(make_world(tmp_path, [Thing(None, 0.3, place)]).judged(windows=True)) == []


def test_a_look_that_repeats_without_repeating_to_the_pixel_is_low(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(1, 0.3, rigid=False)], counts=COUNTS)
    judged = world.judged()
    assert loud(judged) == []
    assert [finding.label for finding in judged.findings][:1] == ["bee"]


def test_permuted_labels_find_nothing(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(1, 0.3)])
    for seed in range(3):
        labels = np.random.default_rng(seed).permutation(world.records.labels)
        shuffled = replace(world, records=replace(world.records, labels=labels))
        assert loud(shuffled.judged(windows=True)) == []


def test_same_seed_same_findings(fixed: tuple[World, Judged]) -> None:
    world, judged = fixed
    again = world.judged()
    assert len(again.findings) == len(judged.findings)
    for one, two in zip(judged.findings, again.findings, strict=True):
        assert one.sentence == two.sentence
        assert dict(one.numbers) == dict(two.numbers)
        np.testing.assert_array_equal(one.score, two.score)


def test_boxes_of_a_thing_at_any_place_hold_it(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(1, 0.3)], counts=COUNTS)
    (finding,) = loud(world.judged())
    for image in np.flatnonzero(np.isin(world.order, list(world.carriers[0]))):
        x0, y0, x1, y1 = finding.boxes(int(image))
        row, column = planted_cell(world, int(image))
        assert 0 <= x0 <= (column + 0.5) / GRID[1] <= x1 <= 1
        assert 0 <= y0 <= (row + 0.5) / GRID[0] <= y1 <= 1
        assert (x1 - x0) * (y1 - y0) < 0.25


@pytest.fixture(scope="module")
def woven(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, list[Finding]]:
    folder = tmp_path_factory.mktemp("woven")
    world = make_world(folder, [Thing(1, 0.5, woven=True)], counts=COUNTS)
    return world, loud(world.judged())


def test_what_is_all_over_some_images_of_a_class_is_a_background(
    woven: tuple[World, list[Finding]],
) -> None:
    world, found = woven
    assert {(f.label, f.kind, f.region) for f in found} == {("bee", "background", "anywhere")}
    listed = set[int]().union(*(world.named(f.carries) for f in found))
    assert len(listed ^ world.carriers[0]) <= 0.05 * len(world.carriers[0])
    assert "a background that looks alike all over the frame" in found[0].sentence
    assert "leave the listed ones out" in found[0].advice


def test_what_is_all_over_nearly_all_of_a_class_may_be_its_look(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(1, 0.5, rigid=False)], counts=COUNTS)
    templates = world.templates()
    candidate = world.gathered(templates, world.half())[0]

    def suspected(share: float, all_over: float) -> float:
        test = {"share": share, "elsewhere": 0.0, "all_over": all_over, "rigidity": 0.0}
        test |= {"natural_rigidity": 0.3, "control_rigidity": 0.3}
        return suspicion.weigh(candidate, test, world.records)["suspicion"]

    assert suspected(0.5, 0.3) >= suspicion.MEDIUM
    assert suspected(0.5, 0.1) < suspicion.MEDIUM
    assert suspected(0.9, 0.3) < suspicion.MEDIUM


def test_a_background_is_judged_by_all_the_images_that_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawn digits of one class are alike all over, and a template is sure of some of them only."""
    world = make_world(tmp_path, [Thing(1, 0.5, rigid=False)], counts=COUNTS)
    records = world.records
    candidate = world.gathered(world.templates(), world.half())[0]
    test = {"share": 0.5, "elsewhere": 0.0, "all_over": 0.3, "rigidity": 0.0}
    test |= {"natural_rigidity": 0.3, "control_rigidity": 0.3}
    weight = suspicion.weigh(candidate, dict(test), records)
    sure = without_pictures(candidate, weight, test)
    listed = replace(candidate, membership=np.where(records.labels == candidate.label, 1.0, -1.0))
    monkeypatch.setattr(findings, "reach", lambda *_: listed)
    scene = Scene(records, lambda number: world.pictures[number], Preprocessing(SIDE, SIDE))
    extended = findings._extended(sure, scene, np.zeros(len(records.labels), dtype=bool))
    assert weight["suspicion"] >= suspicion.MEDIUM > extended.weight["suspicion"]


def test_a_background_is_located_by_its_cells(woven: tuple[World, list[Finding]]) -> None:
    world, found = woven
    (located_one,) = located(found[:1], world.labels, world.folder, GRID)
    carriers = np.flatnonzero(located_one.carries & (world.records.labels == 1))
    assert set(located_one.cells) == set(carriers.tolist())
    assert np.mean([cells.mean() for cells in located_one.cells.values()]) > 0.9
    assert located_one.boxes(int(carriers[0])) == (0, 0, 1, 1)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Finding]:
    world = make_world(tmp_path_factory.mktemp("world"), [Thing(1, 0.5, wide=4)])
    return world, max(world.judged().findings, key=lambda finding: finding.share)


@pytest.mark.parametrize("seen", [True, False])
def test_boxes_hold_all_cells_of_a_wide_thing_once_it_is_located(
    wide: tuple[World, Finding], seen: bool
) -> None:
    """Also where pixels alone led to it, so that there is no template of its cells."""
    world, finding = wide
    given = finding if seen else replace(finding, template=None)
    (found,) = located([given], world.records.labels, world.folder, GRID)
    shown = np.flatnonzero(found.carries)
    width = np.array([found.boxes(n)[2] - found.boxes(n)[0] for n in shown])
    before = np.array([finding.boxes(n)[2] - finding.boxes(n)[0] for n in shown])
    assert (width >= before).all()
    # Four cells and a rim on each side, or on one where the image ends.
    least, most = (4.2, 4.6) if seen else (3.5, 5.0)
    assert least / GRID[1] < np.median(width) < most / GRID[1]
    assert all(0 <= side <= 1 for n in shown for side in found.boxes(n))


def test_what_is_fixed_or_has_no_place_stays_where_it_is(
    fixed: tuple[World, Judged],
) -> None:
    world, judged = fixed
    finding = judged.findings[0]
    assert located([finding], world.labels, world.folder, GRID) == [finding]
    assert located([], world.labels, world.folder, GRID) == []


def test_the_box_of_a_fixed_thing_is_its_place(fixed: tuple[World, Judged]) -> None:
    finding = loud(fixed[1])[0]
    row, column = divmod(FIXED_CELL, GRID[1])
    x0, y0, x1, y1 = finding.boxes(0)
    assert x0 <= column / GRID[1] < (column + 1) / GRID[1] <= x1
    assert y0 <= row / GRID[0] < (row + 1) / GRID[0] <= y1
    assert (x1 - x0) * (y1 - y0) < 0.15
    assert np.unravel_index(finding.place.argmax(), GRID) == (row, column)


def test_tests_use_the_other_half_alone(fixed: tuple[World, Judged]) -> None:
    world, judged = fixed
    finding = loud(judged)[0]
    tested = ~world.half() & (world.records.labels == 1)
    carriers = np.isin(world.order, list(world.carriers[0]))
    assert finding.numbers["tested_images"] == tested.sum()
    assert finding.numbers["tested_members"] == (tested & carriers).sum()


def test_templates_of_the_same_images_are_one_finding(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(1, 0.4)], counts=COUNTS)
    best = max(world.templates(), key=lambda template: template.strength)
    twice = [best, replace(best, vector=best.vector.copy())]
    found = world.gathered(twice, world.half())
    assert len(found) == 2
    order = list(world.order)
    scene = Scene(world.records, lambda n: world.pictures[order[n]], Preprocessing(SIDE, SIDE))
    judged = judge(found, scene, world.classes)
    assert len(judged.findings) == 1
    assert judged.tested == 2


def test_copies_of_one_picture_are_a_note_and_no_finding(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(1, 0.3, FIXED_CELL)], counts=COUNTS)
    copied = min(world.carriers[0])
    pictures = [
        world.pictures[copied] if image in world.carriers[0] else picture
        for image, picture in enumerate(world.pictures)
    ]
    judged = replace(world, pictures=pictures).judged()
    assert loud(judged) == []
    assert any("bee" in note and "copies" in note for note in judged.notes)


def test_pictures_that_are_gone_by_now_are_left_out(fixed: tuple[World, Judged]) -> None:
    world, _ = fixed

    def read(number: int) -> Image.Image:
        raise UnreadableImage("gone")

    templates = world.templates()
    found = world.gathered(templates, world.half())
    scene = Scene(world.records, read, Preprocessing(SIDE, SIDE))
    judged = judge(found, scene, world.classes)
    assert not any("almost exactly" in finding.sentence for finding in judged.findings)
    # That it keeps to a spot is told by its cells alone.
    assert [finding.parts["spot"] > 0.8 for finding in loud(judged)] == [True]


def test_what_keeps_to_a_spot_is_loud_whatever_it_looks_like(tmp_path: Path) -> None:
    corner = [Thing(1, 0.3, 9, rigid=False)]
    found = loud(make_world(tmp_path / "corner", corner, counts=COUNTS).judged())
    assert [(one.label, one.region, one.severity) for one in found] == [
        ("bee", "top left corner", "medium")
    ]
    assert "a mark that looks alike at the top left corner" in found[0].sentence
    assert "keeps to one small place" in found[0].sentence
    # In the middle, at changing places and in nearly all of a class stand objects.
    for name, thing in {
        "middle": Thing(1, 0.3, 36, rigid=False),
        "moving": Thing(1, 0.3, rigid=False),
        "most": Thing(1, 0.7, 9, rigid=False),
    }.items():
        assert loud(make_world(tmp_path / name, [thing], counts=COUNTS).judged(windows=True)) == []


def test_a_handful_of_members_must_repeat_more_plainly() -> None:
    def rigid(members: int, likeness: float, elsewhere: float) -> float:
        numbers = {
            "repeating": float(members),
            "likeness": likeness,
            "likeness_elsewhere": elsewhere,
        }
        return suspicion.exactness(numbers)

    # The same margin, by four members and by forty.
    assert rigid(4, 0.75, 0.53) < suspicion.EXACT < rigid(40, 0.75, 0.53)
    # A plain repetition needs no more than a handful.
    assert rigid(4, 0.97, 0.3) == 1.0
    assert rigid(400, 0.60, 0.62) == 0.0


def test_in_doubt_about_its_place_a_thing_goes_to_the_experiments_both_ways(
    fixed: tuple[World, Judged],
) -> None:
    world, _ = fixed
    templates = world.templates()
    found = world.gathered(templates, world.half())
    candidate = next(one for one in found if one.extent is not None)

    def looked(
        candidate: Candidate, suspected: float, p_surer: float = 1.0, all_over: float = 0.0
    ) -> findings._Looked:
        test = {"p_surer": p_surer, "share": 0.3, "elsewhere": 0.0}
        weight = {"suspicion": suspected, "rigidity": 0.0, "all_over": all_over}
        return findings._Looked(candidate, test, weight, SimpleNamespace(duplicates=0.0))

    def kept(*looks: findings._Looked) -> list[findings._Looked]:
        return findings._distinct(looks, world.records)

    still = looked(candidate, 0.05, p_surer=1e-9)
    for suspected, both in ((0.6, True), (0.95, False)):
        moves = looked(replace(candidate, extent=None), suspected)
        assert kept(moves, still) == ([moves, still] if both else [moves])
    # Nothing speaks for the other one, or the two do not differ.
    moves = looked(replace(candidate, extent=None), 0.6)
    assert kept(moves, looked(candidate, 0.05)) == [moves]
    assert kept(looked(candidate, 0.6), still)[1:] == []
    # What is all over the images has no place to be in doubt about.
    moves = looked(replace(candidate, extent=None), 0.6, all_over=1.0)
    assert kept(moves, looked(candidate, 0.05, p_surer=1e-9, all_over=1.0)) == [moves]
    assert findings._kind(moves, "frame") == "background"


@pytest.mark.parametrize(
    ("likeness", "found", "kept"), [(0.75, 1.0, True), (0.75, 0.2, False), (0.55, 1.0, False)]
)
def test_what_a_handful_seems_to_repeat_goes_to_the_experiments(
    likeness: float, found: float, kept: bool, fixed: tuple[World, Judged]
) -> None:
    world, _ = fixed
    candidate = world.gathered(world.templates(), world.half())[0]
    own = np.flatnonzero(world.records.labels == candidate.label)

    def looked(images: np.ndarray, suspicion: float, numbers: dict[str, float]) -> findings._Looked:
        membership = np.full(len(world.labels), -1.0)
        membership[images] = 1.0
        test = {"p_surer": 1.0, "share": 0.05, "elsewhere": 0.0, **numbers}
        weight = {"suspicion": suspicion, "rigidity": 0.0, "all_over": 0.0}
        one = replace(candidate, membership=membership, extent=None)
        one = replace(one, likeness=membership if numbers else None)
        return findings._Looked(one, test, weight, SimpleNamespace(duplicates=0.0))

    numbers = {"likeness": likeness, "likeness_elsewhere": 0.5, "repeating": 4.0}
    few = looked(own[:8], 0.05, {**numbers, "exactness_found": found})
    # Cells tell of something else in other images, more suspiciously.
    others = looked(own[8:30], 0.2, {})
    listed = findings._distinct([few, others], world.records)
    assert listed == ([few, others] if kept else [others])


def test_inside_the_frame_only_a_motif_says_that_a_thing_repeats() -> None:
    test = {"rigidity": 0.95, "natural_rigidity": 0.2, "control_rigidity": 0.1}
    candidate = SimpleNamespace(likeness=None, extent=None)
    assert suspicion._rigid(candidate, test, bordering=True) == 1.0
    assert suspicion._rigid(candidate, test, bordering=False) == 0.0


def test_doubt_begins_lower_where_nothing_else_is_rigid() -> None:
    def seen(label: int, gradient: float) -> SimpleNamespace:
        found = SimpleNamespace(gradient=gradient)
        return SimpleNamespace(candidate=SimpleNamespace(label=label), found=found)

    def natural(known: list[SimpleNamespace], label: int) -> float:
        return findings._natural(findings._most_rigid(known), label)

    known = [seen(0, 0.9), seen(0, 0.2), seen(1, 0.3), seen(1, 0.1), seen(2, 0.7)]
    # The most rigid of each other class, and of two the lower.
    assert [natural(known, label) for label in (0, 1, 2)] == [0.3, 0.7, 0.3]
    assert natural(known[:2], 0) == 1.0


def test_patches_are_cut_where_the_model_looked(tmp_path: Path) -> None:
    """With a centre crop the model's cell lies elsewhere on the picture than without."""
    world = make_world(tmp_path, [Thing(1, 0.5, FIXED_CELL)], counts=(40, 40))
    margin, rng = 24, np.random.default_rng(9)
    wide = []
    for picture in world.pictures:
        grey = texture(rng, SIDE + 2 * margin)[margin:-margin, :, None]
        around = grey.repeat(3, axis=2).astype(np.uint8)
        around[:, margin:-margin] = np.asarray(picture)
        wide.append(Image.fromarray(around))
    order = world.order
    row, column = divmod(FIXED_CELL, GRID[1])
    place = np.array([[(column + 0.5) / GRID[1], (row + 0.5) / GRID[0]]])
    carriers = np.flatnonzero(np.isin(order, list(world.carriers[0])))[:10]
    found = {}
    for resize in ("crop", "squash"):
        preprocessing = Preprocessing(SIDE, SIDE, resize=resize, resize_to=SIDE)
        scene = Scene(world.records, lambda number: wide[order[number]], preprocessing)
        found[resize] = scene.rigidity(carriers, place.repeat(10, axis=0)).gradient
    assert found["crop"] > 0.6
    assert found["crop"] > found["squash"] + 0.2


def test_the_list_ends_where_half_of_what_comes_in_would_be_strangers(
    fixed: tuple[World, Judged],
) -> None:
    template = template_of(fixed)
    labels = np.repeat([0, 1], 100)
    # Sure ones, weaker ones the others seldom match, and what both match alike.
    own = np.concatenate([np.full(20, 1.0), np.full(20, -0.5), np.full(60, -1.0)])
    other = np.concatenate([np.full(8, -0.5), np.full(92, -1.0)])
    one = Candidate(
        0, np.concatenate([own, other]), np.zeros(200, dtype=int), None, template, labels < 0
    )
    found = reach(one, labels, np.array([1]))
    assert np.flatnonzero(found.carries).tolist() == list(range(40))
    assert found.membership[:20] == pytest.approx(1.0)
    # With 12 of them among the others, fewer than half of the weaker ones can be members.
    more = np.concatenate([np.full(12, -0.5), np.full(88, -1.0)])
    one = replace(one, membership=np.concatenate([own, more]))
    assert np.flatnonzero(reach(one, labels, np.array([1])).carries).tolist() == list(range(20))


def test_no_candidate_no_finding(fixed: tuple[World, Judged]) -> None:
    world, _ = fixed
    scene = Scene(world.records, lambda number: world.pictures[number], Preprocessing(SIDE, SIDE))
    assert judge([], scene, world.classes).findings == ()
    assert world.gathered([], world.half()) == []


def test_a_thing_in_a_few_images_of_a_tiny_class_is_no_finding(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(1, 1.0)], counts=(60, 3, 60))
    assert [finding for finding in world.judged().findings if finding.label == "bee"] == []


def test_keys_follow_suspicion(tmp_path: Path) -> None:
    things = [Thing(0, 0.3, FIXED_CELL), Thing(1, 0.3, rigid=False), Thing(2, 0.3)]
    judged = make_world(tmp_path, things, counts=COUNTS).judged()
    findings = ranked(judged.findings[::-1])
    assert [finding.key for finding in findings] == [f"F{n + 1}" for n in range(len(findings))]
    suspicion = [finding.suspicion for finding in findings]
    assert suspicion == sorted(suspicion, reverse=True)
    assert {finding.label for finding in findings[:2]} == {"ant", "cat"}


def test_a_look_that_goes_with_a_confirmed_thing_is_left_out(fixed: tuple[World, Judged]) -> None:
    thing = replace(fixed[1].findings[0], verdict="confirmed")
    look = replace(thing, kind="property", region="colour range", verdict="suspect")
    apart = replace(look, carries=~look.carries)
    for look_of, listed in ((look, 1), (apart, 2), (replace(look, label="cat"), 2)):
        assert len(worth_listing([thing, look_of])) == listed
    # What was not confirmed explains nothing.
    assert len(worth_listing([replace(thing, verdict="suspect"), look])) == 2


@pytest.mark.parametrize(
    ("look_shown", "spread_shown", "severity", "listed"),
    [
        ("confirmed", "confirmed", "high", ["property"]),
        ("confirmed", "suspect", "high", ["property"]),
        ("suspect", "confirmed", "high", ["background"]),
        ("suspect", "present", "medium", ["background"]),
        ("suspect", "present", "low", ["background", "property"]),
    ],
)
def test_of_a_look_and_what_is_all_over_the_same_images_one_is_listed(
    look_shown: str,
    spread_shown: str,
    severity: str,
    listed: list[str],
    fixed: tuple[World, Judged],
) -> None:
    found = fixed[1].findings[0]
    parts = {**found.parts, "all_over": 1.0}
    spread = replace(found, kind="background", verdict=spread_shown, severity=severity, parts=parts)
    look = replace(
        found, kind="property", region="sharpness", verdict=look_shown, severity="medium", parts={}
    )
    assert sorted(one.kind for one in worth_listing([spread, look])) == listed


def test_one_ordinary_group_a_class_is_listed(fixed: tuple[World, Judged]) -> None:
    plain = replace(fixed[1].findings[0], severity="low")
    listed = worth_listing([plain, plain, replace(plain, label="cat")])
    assert [(one.key, one.label) for one in listed] == [("F1", "bee"), ("F2", "cat")]


@pytest.mark.parametrize(
    ("same", "moving", "region"),
    [(True, True, "frame"), (True, False, "centre"), (False, True, "anywhere")],
)
def test_what_repeats_where_a_frame_stands_is_the_frame(
    fixed: tuple[World, Judged], same: bool, moving: bool, region: str
) -> None:
    """In the very same images, and not in the middle of them."""
    world, template = fixed[0], template_of(fixed)
    labels = world.records.labels
    ring, middle = np.ones(GRID, dtype=bool), np.zeros(GRID, dtype=bool)
    ring[1:-1, 1:-1] = False
    middle[3:5, 3:5] = True
    carries = np.where(np.arange(len(labels)) % 2 == 0, 1.0, -1.0)
    others = carries if same else np.where(np.arange(len(labels)) % 3 == 0, 1.0, -1.0)
    nowhere, none = np.zeros(len(labels), dtype=int), labels < 0
    frame = Candidate(0, carries, nowhere, ring, template, none)
    motif = Candidate(0, others, nowhere, None if moving else middle, template, none, others)
    looked = [without_pictures(one, {"all_over": 0.0}) for one in (motif, frame)]
    framed = findings._whole(looked[0], looked, world.records)
    assert suspicion.region_of(framed.candidate, GRID) == region


@pytest.mark.parametrize(
    ("cells", "part", "same_half", "tall", "taken"),
    [
        ([17, 18, 20, 22], 1.0, True, 2, True),
        ([17, 18, 20, 45], 1.0, True, 2, False),  # A quarter of them lie elsewhere.
        ([17, 18, 20, 22], 0.3, True, 2, False),  # Other images.
        ([17, 18, 20, 22], 1.0, False, 2, False),  # Its place was seen in the tested images.
        ([17, 18, 20, 22], 1.0, True, 4, False),  # So large that it may be the object.
    ],
)
def test_a_digit_that_repeats_here_and_there_in_a_date_is_a_piece_of_it(
    fixed: tuple[World, Judged],
    cells: list[int],
    part: float,
    same_half: bool,
    tall: int,
    taken: bool,
) -> None:
    """What stands at one place in the very same images is pasted as a whole."""
    world, template = fixed[0], template_of(fixed)
    labels = world.records.labels
    own = np.flatnonzero(labels == 0)[:40]
    date, digit = np.full((2, len(labels)), -1.0)
    digit[own] = 1.0
    date[own[: round(part * len(own))]] = 1.0
    closest = np.zeros(len(labels), dtype=int)
    closest[own] = np.resize(cells, len(own))
    place = np.zeros(GRID, dtype=bool)
    # With a hole, as cells show it.
    place[2 : 2 + tall, [0, 1, 3, 4, 5, 6]] = True
    half = labels < 0
    piece = Candidate(0, digit, closest, None, template, half, digit)
    whole = Candidate(0, date, closest, place, template, half if same_half else ~half)
    looked = [without_pictures(one, {"all_over": 0.0}) for one in (piece, whole)]
    found = findings._whole(looked[0], looked, world.records).candidate
    assert (found.extent is whole.extent) == taken
    assert np.array_equal(found.carries, piece.carries)


def test_a_frame_ends_where_the_object_may_begin(fixed: tuple[World, Judged]) -> None:
    """Of images alike on three sides and below the middle the experiments take the border alone."""
    world, template = fixed[0], template_of(fixed)
    labels = world.records.labels
    alike = np.ones(GRID, dtype=bool)
    alike[:5, 1:-1] = False
    carries = np.where(labels == 0, 1.0, -1.0)
    one = Candidate(0, carries, np.zeros(len(labels), dtype=int), alike, template, labels < 0)
    test = {"share": 1.0, "elsewhere": 0.0, "q": 0.0}
    weight = {**dict.fromkeys(findings._PARTS, 0.0), "suspicion": 0.5, "rigidity": 1.0}
    looked = without_pictures(one, weight, test)
    found = findings._finding(looked, world.records, world.classes)
    assert (found.kind, found.region) == ("frame", "frame")
    inner = np.zeros(GRID, dtype=bool)
    inner[2:-2, 2:-2] = True
    assert np.array_equal(found.extent, alike & ~inner)


@pytest.mark.parametrize("framed", [True, False])
def test_a_frame_repeats_all_around(fixed: tuple[World, Judged], framed: bool) -> None:
    """What is alike in one corner alone is none, wherever cells see it."""
    world, _ = fixed
    found = [one for one in world.gathered(world.templates(), world.half()) if one.label == 1]
    candidate = max(found, key=lambda one: (one.extent is not None, one.template.strength))
    ring = np.ones(GRID, dtype=bool)
    ring[2:-2, 2:-2] = False
    candidate = replace(candidate, extent=ring)
    pictures = list(world.pictures)
    for number in world.carriers[0] if framed else ():
        pictures[number] = pictures[number].copy()
        draw = ImageDraw.Draw(pictures[number])
        for wide, shade in ((5, 240), (3, 10)):
            draw.rectangle((0, 0, SIDE - 1, SIDE - 1), outline=(shade,) * 3, width=wide)
    scene = replace(world, pictures=pictures).scene()
    rigid = suspicion.rigidity_of(candidate, scene)[0].gradient
    assert (rigid > suspicion.ORDINARY) == framed
    # In the corner itself it repeats.
    corner = replace(candidate, extent=np.pad([[True]], ((1, 6), (1, 6))))
    assert suspicion.rigidity_of(corner, scene)[0].gradient > suspicion.ORDINARY


@pytest.mark.parametrize(
    ("share", "part", "cell", "suspicion_of_it", "piece"),
    [
        (1.0, 0.7, 0, 0.9, True),
        (1.0, 0.2, 0, 0.9, False),  # Too few of its images.
        (1.0, 0.7, 27, 0.9, False),  # In the middle.
        (1.0, 0.7, 0, 0.5, False),  # The frame is in doubt itself.
        (0.6, 0.6, 0, 0.9, True),  # The very same images.
        (0.6, 0.3, 0, 0.9, True),  # As correlated as pieces are.
        (0.7, 1.0, 0, 0.9, False),  # Images without the frame have it, too.
    ],
)
def test_what_lies_on_a_frame_of_all_images_is_a_piece_of_it(
    fixed: tuple[World, Judged],
    share: float,
    part: float,
    cell: int,
    suspicion_of_it: float,
    piece: bool,
) -> None:
    world, template = fixed[0], template_of(fixed)
    labels = world.records.labels
    own = np.flatnonzero(labels == 0)
    ring = np.ones(GRID, dtype=bool)
    ring[1:-1, 1:-1] = False

    def looked(carrying: float, extent: np.ndarray | None, weight: float) -> findings._Looked:
        carries = np.full(len(labels), -1.0)
        carries[own[: round(carrying * len(own))]] = 1.0
        at = np.full(len(labels), cell)
        candidate = Candidate(0, carries, at, extent, template, labels < 0)
        weights = {"all_over": 0.0, "suspicion": weight}
        return without_pictures(candidate, weights, {"p_surer": 1.0})

    frame, other = looked(share, ring, suspicion_of_it), looked(part, None, 0.85)
    assert findings._stands_for(frame, other, labels) == piece


def test_a_look_in_use_explains_what_is_alike_anywhere_and_not_used(
    fixed: tuple[World, Judged],
) -> None:
    found = fixed[1].findings[0]
    members = np.flatnonzero(found.carries)
    few = found.carries.copy()
    few[members[len(members) // 4 :]] = False
    arm = Arm("control", "control", 0.1, 0.0, 0.6, 0.5, 0.7, 2.0, 1e-6)
    used = Verification("", (Experiment("paste", "", 30, 0.1, 0.9, 0.5, (arm,), q=0.0),))
    unused = Verification("", ())
    look = replace(found, kind="property", region="sharpness", suspicion=0.9, verification=used)
    thing = replace(found, region="anywhere", carries=few, verification=unused)
    everywhere = replace(look, carries=np.ones_like(few))
    assert [one.kind for one in worth_listing([thing, everywhere])] == ["property"]
    for reason, other in (
        (everywhere, replace(thing, region="top left corner")),
        (everywhere, replace(thing, verification=used)),
        (everywhere, replace(thing, label="cat")),
        (replace(everywhere, verification=unused), thing),
        (replace(everywhere, suspicion=0.5), thing),
        (replace(look, carries=~few), thing),
    ):
        assert len(worth_listing([other, reason])) == 2


@pytest.mark.parametrize("shape", [(96, 48), (48, 96), (64, 64)])
def test_pictures_are_compared_in_their_own_shape(
    shape: tuple[int, int], fixed: tuple[World, Judged]
) -> None:
    """A square mark stays square, whatever the shape of the image."""
    wide, tall = shape
    picture = np.zeros((tall, wide, 3), dtype=np.uint8)
    side = min(shape) // 2
    picture[:side, :side] = 255
    scene = Scene(fixed[0].records, lambda _: Image.fromarray(picture), Preprocessing(64, 64))
    view = scene.view(0)
    assert view is not None
    assert view.shape[0] * view.shape[1] == pytest.approx(64 * 64, rel=0.03)
    marked = view[..., 0] > 127
    high, across = marked.any(axis=1).sum(), marked.any(axis=0).sum()
    assert high == pytest.approx(across, abs=1)


def test_a_picture_that_cannot_be_read_has_no_view(fixed: tuple[World, Judged]) -> None:
    def read(_: int) -> Image.Image:
        raise UnreadableImage("gone")

    assert Scene(fixed[0].records, read, Preprocessing(64, 64)).view(0) is None
