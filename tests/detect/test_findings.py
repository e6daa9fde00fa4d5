"""Findings: what was planted is found in its class and listed; what is ordinary stays quiet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from findings import a_finding, changed
from PIL import Image
from synthetic import FIXED_CELL, GRID, SIDE, Thing, World, judged_of, make_world, texture

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.data.regions import SURROUNDINGS
from shortcut_finder.detect.finding import Finding, Judged, ranked, sureness, worth_listing
from shortcut_finder.detect.sentences import advice_for
from shortcut_finder.detect.view import View
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.sweep.scene import Scene

COUNTS = (100, 100, 100)


def loud(judged: Judged) -> list[Finding]:
    return [finding for finding in judged.findings if finding.decided.severity != "low"]


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Judged]:
    world = make_world(tmp_path_factory.mktemp("fixed"), [Thing(1, 0.3, FIXED_CELL)], counts=COUNTS)
    return world, world.judged()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, dict[str, Finding]]:
    """A stamp at one place, something soft at changing places, and a stamp at changing places."""
    things = [Thing(0, 0.3, FIXED_CELL), Thing(1, 0.3, rigid=False), Thing(2, 0.3)]
    world = make_world(tmp_path_factory.mktemp("many"), things, counts=COUNTS)
    return world, {finding.label: finding for finding in loud(world.judged())}


def test_things_in_three_classes_are_three_findings(many: tuple[World, dict[str, Finding]]) -> None:
    world, found = many
    assert {label: (one.place.region, one.place.kind) for label, one in found.items()} == {
        "ant": ("top left corner", "corner"),
        "bee": ("anywhere", "patch"),
        "cat": ("anywhere", "patch"),
    }
    for label, carriers in zip(("ant", "bee", "cat"), world.carriers, strict=True):
        assert world.named(found[label].carriers.listed) >= carriers
        assert len(world.named(found[label].carriers.sure) - carriers) <= 0.15 * len(carriers)


def test_what_repeats_to_the_pixel_is_likelier_an_artifact(
    many: tuple[World, dict[str, Finding]],
) -> None:
    _, found = many
    assert found["bee"].measured.artifact < min(
        found["ant"].measured.artifact, found["cat"].measured.artifact
    )
    for label, exact in (("ant", True), ("bee", False), ("cat", True)):
        assert ("the same mark" in found[label].sentence) == exact
        assert ("repeats almost exactly" in found[label].sentence) == exact
        assert (found[label].measured.parts["rigidity"] > 0.5) == exact


def test_planted_images_come_before_all_others(fixed: tuple[World, Judged]) -> None:
    world, judged = fixed
    (finding,) = loud(judged)
    order = world.order[np.argsort(-finding.carriers.score, kind="stable")]
    assert set(order[: len(world.carriers[0])].tolist()) == world.carriers[0]
    assert ((finding.carriers.score >= 0) & (finding.carriers.score <= 1)).all()
    assert ((finding.carriers.score > 0) == finding.carriers.listed).all()
    assert set(world.order[finding.carriers.typical].tolist()) <= world.named(
        finding.carriers.listed
    )


def test_tiers_name_sure_and_likely_images(fixed: tuple[World, Judged]) -> None:
    (finding,) = loud(fixed[1])
    assert finding.carriers.sure is not None
    assert not (finding.carriers.sure & ~finding.carriers.listed).any()
    assert set(finding.carriers.tiers[finding.carriers.sure]) == {"sure"}
    assert set(finding.carriers.tiers[finding.carriers.listed & ~finding.carriers.sure]) <= {
        "likely"
    }
    assert set(finding.carriers.tiers[~finding.carriers.listed]) == {""}
    # Where nobody says which are sure, all are.
    everyone = changed(finding, sure=None).carriers.tiers
    assert set(everyone[finding.carriers.listed]) == {"sure"}


def test_same_seed_same_findings(fixed: tuple[World, Judged]) -> None:
    world, judged = fixed
    again = world.judged()
    assert len(again.findings) == len(judged.findings)
    for one, two in zip(judged.findings, again.findings, strict=True):
        assert one.sentence == two.sentence
        assert dict(one.measured.numbers) == dict(two.measured.numbers)
        np.testing.assert_array_equal(one.carriers.score, two.carriers.score)


def test_boxes_of_a_thing_at_any_place_hold_it(many: tuple[World, dict[str, Finding]]) -> None:
    world, found = many
    finding = found["cat"]
    for image in np.flatnonzero(np.isin(world.order, list(world.carriers[2]))):
        x0, y0, x1, y1 = finding.place.boxes(int(image))
        row, column = divmod(int(world.records.maps[image].argmax()), GRID[1])
        assert 0 <= x0 <= (column + 0.5) / GRID[1] <= x1 <= 1
        assert 0 <= y0 <= (row + 0.5) / GRID[0] <= y1 <= 1
        assert (x1 - x0) * (y1 - y0) < 0.25


def test_the_box_of_a_fixed_thing_is_its_place(fixed: tuple[World, Judged]) -> None:
    finding = loud(fixed[1])[0]
    row, column = divmod(FIXED_CELL, GRID[1])
    x0, y0, x1, y1 = finding.place.boxes(0)
    assert x0 <= column / GRID[1] < (column + 1) / GRID[1] <= x1
    assert y0 <= row / GRID[0] < (row + 1) / GRID[0] <= y1
    assert (x1 - x0) * (y1 - y0) < 0.15
    assert np.unravel_index(finding.place.counts.argmax(), GRID) == (row, column)


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

    scene = Scene(world.records, read, Preprocessing(SIDE, SIDE))
    (found,) = judged_of(View(world.folder, scene, world.half(), world.classes)).findings
    assert "almost exactly" not in found.sentence
    # That it is there is told by its cells alone.
    assert found.place.region == "top left corner"


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
    sizes = pd.DataFrame([wide[number].size for number in order], columns=["width", "height"])
    records = replace(world.records, table=sizes)
    found = {}
    for resize in ("crop", "squash"):
        preprocessing = Preprocessing(SIDE, SIDE, resize=resize, resize_to=SIDE)
        scene = Scene(records, lambda number: wide[order[number]], preprocessing)
        found[resize] = scene.rigidity(carriers, place.repeat(10, axis=0)).gradient
        back = scene.in_frame(3, scene.on_picture(3, place[0]))
        assert back == pytest.approx(place[0])
    assert found["crop"] > 0.6
    assert found["crop"] > found["squash"] + 0.2


def test_keys_follow_severity_then_verdict_then_likeness(fixed: tuple[World, Judged]) -> None:
    one = fixed[1].findings[0]
    order = [
        changed(one, label="a", severity="high", verdict="confirmed", artifact=0.6),
        changed(one, label="b", severity="high", verdict="suspect", artifact=0.9),
        changed(one, label="c", severity="high", verdict="suspect", artifact=0.8),
        changed(one, label="d", severity="medium", verdict="confirmed", artifact=0.99),
    ]
    assert [(f.key, f.label) for f in ranked(order[::-1])] == [
        (f"F{n}", label) for n, label in enumerate("abcd", start=1)
    ]


def test_how_surely_an_image_carries_it() -> None:
    assert sureness(np.array([-9.0, 0.0, 1.0, 9.0])) == pytest.approx([0, 0.5, 0.95, 1], abs=0.01)


@pytest.mark.parametrize(
    ("region", "share", "advice"),
    [
        ("frame", 0.9, "Crop the border"),
        ("anywhere", 0.9, "mask it in every image"),
        ("anywhere", 0.2, "leave them out"),
    ],
)
def test_advice_fits_the_place_and_the_share(region: str, share: float, advice: str) -> None:
    assert advice in advice_for(region, share, 0.9)
    assert "Look at the pictures" in advice_for(region, share, 0.3)


def test_a_look_that_goes_with_a_confirmed_thing_is_left_out(fixed: tuple[World, Judged]) -> None:
    thing = changed(fixed[1].findings[0], verdict="confirmed")
    look = changed(thing, kind="property", region="colour range", verdict="suspect")
    apart = changed(look, listed=~look.carriers.listed)
    for look_of, listed in ((look, 1), (apart, 2), (replace(look, label="cat"), 2)):
        assert len(worth_listing([thing, look_of])) == listed
    # What was not confirmed explains nothing.
    assert len(worth_listing([changed(thing, verdict="suspect"), look])) == 2


def test_a_confirmed_reason_explains_a_background(fixed: tuple[World, Judged]) -> None:
    thing = changed(fixed[1].findings[0], verdict="confirmed")
    around = changed(thing, kind="background", region=SURROUNDINGS)
    assert [one.place.kind for one in worth_listing([thing, around])] == [thing.place.kind]
    apart = changed(around, listed=~thing.carriers.listed)
    assert len(worth_listing([thing, apart])) == 2
    # A background that was not confirmed is not listed at all.
    assert len(worth_listing([thing, changed(apart, verdict="suspect")])) == 1


def test_a_confirmed_look_explains_what_is_alike_in_the_same_images(
    fixed: tuple[World, Judged],
) -> None:
    thing = changed(fixed[1].findings[0], verdict="suspect")
    look = changed(thing, kind="property", region="sharpness", verdict="confirmed")
    assert [one.place.kind for one in worth_listing([thing, look])] == ["property"]
    for reason, other in (
        (look, changed(thing, verdict="confirmed", listed=~thing.carriers.listed)),
        (look, replace(thing, label="cat")),
        (changed(look, verdict="suspect"), thing),
    ):
        assert len(worth_listing([other, reason])) == 2


def test_a_column_called_surroundings_is_no_place() -> None:
    told = a_finding(np.ones(8, dtype=bool), kind="metadata", region="surroundings")
    assert not told.place.around
    assert len(worth_listing([told])) == 1
    around = changed(told, kind="background")
    assert around.place.around
    assert worth_listing([around]) == ()
