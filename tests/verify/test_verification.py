"""Verification: what a model relies on is confirmed, what it ignores is not, however it looks.

The models here are formulas on pixels, so that what they rely on is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from findings import changed
from PIL import Image
from scipy import signal
from synthetic import CLASSES, FIXED_CELL, GRID, SIDE, Thing, World, make_world, stamp

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.detect.families import FAMILIES
from shortcut_finder.detect.finding import Finding
from shortcut_finder.detect.place import Place
from shortcut_finder.detect.placing import to_the_pixel
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.pixels.gradients import box_sums
from shortcut_finder.stats.experiments import EARLY_PAIRS, FEWEST_PAIRS
from shortcut_finder.sweep.lab import Lab
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.verify.cast import PAIRS
from shortcut_finder.verify.interventions import box_mask, cells_mask
from shortcut_finder.verify.protocol import MEASURED, verify
from shortcut_finder.verify.treatments import LOOKS, mask_of

Model = Callable[[np.ndarray], np.ndarray]
COUNTS = (80, 80, 80)
BEE = CLASSES.index("bee")


def stamped(pixels: np.ndarray, seed: int = 0) -> np.ndarray:
    """How clearly each image shows a stamp, wherever it is: 1 when it does, (image,)."""
    wanted = stamp(seed) - stamp(seed).mean()
    images = pixels.mean(axis=3)
    # Of all images at once: tests ask this of thousands.
    answer = signal.fftconvolve(images, wanted[None, ::-1, ::-1], "valid", axes=(1, 2))
    mean, square = (box_sums(of, len(wanted)) / wanted.size for of in (images, images**2))
    deviation = np.sqrt(np.maximum(square - mean**2, 25.0))
    found = (answer / (deviation * wanted.std() * wanted.size)).max(axis=(1, 2))
    return np.clip((found - 0.6) / 0.3, 0, 1)


def bee_by(evidence: Callable[[np.ndarray], np.ndarray]) -> Model:
    """A model that takes images for bees by some evidence, and knows the others by nothing."""

    def predict(pixels: np.ndarray) -> np.ndarray:
        grey = pixels.mean(axis=(1, 2, 3)) / 255
        return np.stack([0.5 + grey, evidence(pixels), 1.0 - grey], axis=1)

    return predict


RELIES = bee_by(lambda pixels: 6 * stamped(pixels) - 2)
IGNORES = bee_by(lambda pixels: np.cos(pixels.mean(axis=(1, 2, 3)) / 60))


def prepared(world: World, model: Model, unreadable: frozenset[int] = frozenset()) -> Scene:
    """The scene of a world whose records say what the model says."""
    preprocessing = Preprocessing(SIDE, SIDE)
    order = world.order
    pixels = np.stack([preprocessing.pixels(world.pictures[n]) for n in order])
    records = replace(world.records, logits=model(pixels).astype(np.float32))

    def read(number: int) -> Image.Image:
        if number in unreadable:
            raise UnreadableImage("gone")
        return world.pictures[order[number]]

    return Scene(records, read, preprocessing)


def verified(world: World, model: Model, findings: list[Finding], **options) -> list[Finding]:
    return verify(findings, prepared(world, model), model, progress=False, **options)


def world_probability(world: World, image: int) -> float:
    """What the relying model makes of an image as it is."""
    return float(prepared(world, RELIES).records.probabilities(slice(None))[image, BEE])


def top(world: World) -> Finding:
    return to_the_pixel(world.judged().findings[0], world.scene())


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Finding]:
    folder = tmp_path_factory.mktemp("fixed")
    world = make_world(folder, [Thing(BEE, 0.7, FIXED_CELL)], counts=COUNTS)
    return world, top(world)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Finding]:
    world = make_world(tmp_path_factory.mktemp("moving"), [Thing(BEE, 0.7)], counts=COUNTS)
    return world, top(world)


@pytest.mark.parametrize("place", ["fixed", "moving"])
def test_a_stamp_that_the_model_reads_is_confirmed(
    place: str, request: pytest.FixtureRequest
) -> None:
    world, finding = request.getfixturevalue(place)
    (found,) = verified(world, RELIES, [finding])
    assert (found.decided.verdict, found.decided.severity) == ("confirmed", "high")
    value, low, high = found.decided.reliance
    assert 0.35 < low < value < high <= 1
    made = {one.name: one for one in found.decided.verification.experiments}
    assert made["paste"].holds
    assert made["mask"].holds
    assert made["paste"].place == {"fixed": "same place", "moving": "random places"}[place]
    assert made["paste"].pairs == PAIRS
    assert made["paste"].after > 0.6 > 0.2 > made["paste"].before
    assert made["mask"].after < 0.4 < 0.8 < made["mask"].before
    assert "it raises the odds of bee" in found.sentence
    assert "Taking it away lowers the odds of bee" in found.sentence
    assert found.measured.artifact == finding.measured.artifact


@pytest.mark.parametrize("place", ["fixed", "moving"])
def test_a_stamp_that_the_model_ignores_is_present(
    place: str, request: pytest.FixtureRequest
) -> None:
    world, finding = request.getfixturevalue(place)
    assert finding.decided.severity == "high"
    (found,) = verified(world, IGNORES, [changed(finding, exact=True)])
    assert (found.decided.verdict, found.decided.severity) == ("present", "medium")
    assert found.decided.reliance[2] < 0.125
    assert "does not react" in found.sentence


def test_a_finding_costs_no_more_passes_than_it_needs(fixed: tuple[World, Finding]) -> None:
    world, finding = fixed
    asked = []

    def counting(pixels: np.ndarray) -> np.ndarray:
        asked.append(len(pixels))
        return RELIES(pixels)

    scene = prepared(world, RELIES)
    (found,) = verify([finding], scene, counting, progress=False)
    made = {one.name: one for one in found.decided.verification.experiments}
    controls = len(made["paste"].arms) + (made["paste"].own is not None)
    # What pasting settles is masked one way only; what images are without the thing is not asked
    # again for those that were masked.
    assert len(made["mask"].arms) == 1
    further = MEASURED - made["mask"].pairs
    assert sum(asked) == PAIRS * (1 + controls) + made["mask"].pairs * 2 + further


def test_what_the_model_plainly_ignores_is_known_after_a_few_images(
    fixed: tuple[World, Finding],
) -> None:
    world, finding = fixed
    asked = []

    def counting(pixels: np.ndarray) -> np.ndarray:
        asked.append(len(pixels))
        return IGNORES(pixels)

    scene = prepared(world, IGNORES)
    (found,) = verify([finding], scene, counting, progress=False)
    paste, mask = found.decided.verification.experiments
    assert found.decided.verdict == "present"
    assert (paste.pairs, mask.pairs) == (EARLY_PAIRS, EARLY_PAIRS)
    assert sum(asked) == 4 * EARLY_PAIRS
    assert len({shot.image for shot in found.decided.verification.shots}) <= EARLY_PAIRS


@pytest.mark.parametrize(("spread", "pairs"), [(0.1, 8), (9.0, 26)])
def test_an_experiment_ends_when_no_effect_is_left(
    fixed: tuple[World, Finding], spread: float, pairs: int
) -> None:
    """The wider what the model says scatters, the more images it takes to rule an effect out."""
    world, finding = fixed
    scatter = np.random.default_rng(5).normal(size=(SIDE, SIDE))

    def noisy(pixels: np.ndarray) -> np.ndarray:
        seen = (pixels.mean(axis=3) * scatter).sum(axis=(1, 2))
        return spread * np.sin(seen)

    (found,) = verified(world, bee_by(noisy), [finding])
    assert found.decided.verification.experiments[0].pairs == pairs


@pytest.fixture(scope="module")
def woven(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Finding]:
    folder = tmp_path_factory.mktemp("woven")
    world = make_world(folder, [Thing(BEE, 0.6, woven=True)], counts=COUNTS)
    finding = top(world)
    # Few of the cells of a texture answer, other ones in each image; here all of the frame counts.
    everywhere = np.ones(GRID, dtype=bool)
    place = Place("background", "centre", finding.place.counts, extent=everywhere)
    return world, replace(finding, place=place)


def _striped(pixels: np.ndarray) -> np.ndarray:
    """Mean size of the steps across, of which stripes have many, (image,)."""
    return np.abs(np.diff(pixels.mean(axis=3), axis=2)).mean(axis=(1, 2)) / 16


def test_a_background_that_the_model_reads_is_confirmed(woven: tuple[World, Finding]) -> None:
    world, finding = woven
    (found,) = verified(world, bee_by(lambda p: 4 * _striped(p) - 3), [finding])
    assert (found.decided.verdict, found.decided.severity) == ("confirmed", "high")
    (made,) = [one for one in found.decided.verification.experiments if one.name == "paste"]
    assert made.place == "same place"
    assert {arm.name for arm in made.arms} >= {"same place of a non-member", "flat colour"}
    (ignored,) = verified(world, IGNORES, [finding])
    assert ignored.decided.verdict != "confirmed"


def test_what_the_class_is_known_by_anyway_is_no_background(woven: tuple[World, Finding]) -> None:
    """Nearly the whole image is pasted, object and all, with and without the pattern."""
    world, finding = woven
    dark = [
        Image.fromarray((np.asarray(p) // 2).astype(np.uint8)) if world.labels[n] == BEE else p
        for n, p in enumerate(world.pictures)
    ]
    by_darkness = bee_by(lambda p: 4 - p.mean(axis=(1, 2, 3)) / 20)
    (found,) = verified(replace(world, pictures=dark), by_darkness, [finding])
    assert found.decided.verdict != "confirmed"


def test_covering_what_the_others_are_known_by_is_no_reliance(
    fixed: tuple[World, Finding],
) -> None:
    world, finding = fixed
    # Ants and cats are known by a white spot where the bees' stamp is; anything pasted hides it.
    spot = SIDE // 8 + 4
    spotted = [_marked(p, spot, world.labels[n] != BEE) for n, p in enumerate(world.pictures)]
    model = bee_by(lambda p: 3.0 - 6.0 * (p[:, spot, spot].min(axis=1) > 250))
    (found,) = verified(replace(world, pictures=spotted), model, [finding])
    made = {one.name: one for one in found.decided.verification.experiments}
    assert made["paste"].after - made["paste"].before > 0.5
    assert not made["paste"].holds
    assert found.decided.verdict != "confirmed"


def test_necessity_alone_confirms(fixed: tuple[World, Finding]) -> None:
    world, finding = fixed
    # The stamp counts on images of bees only, which have a white spot in the last corner.
    spot = SIDE - 1
    spotted = [_marked(p, spot, world.labels[n] == BEE) for n, p in enumerate(world.pictures)]
    model = bee_by(lambda p: 6 * stamped(p) * (p[:, spot, spot, 0] > 250) - 2)
    (found,) = verified(replace(world, pictures=spotted), model, [finding])
    made = {one.name: one.holds for one in found.decided.verification.experiments}
    assert made == {"paste": False, "mask": True}
    assert found.decided.verdict == "confirmed"
    assert "lowers the odds of bee" in found.sentence
    assert "raises" not in found.sentence


def _marked(picture: Image.Image, spot: int, white: bool) -> Image.Image:
    marked = picture.copy()
    marked.putpixel((spot, spot), (255 if white else 0,) * 3)
    return marked


NATURAL = {"severity": "low", "artifact": 0.3}


@pytest.mark.parametrize("place", ["fixed", "moving"])
def test_what_may_be_the_object_is_not_confirmed_by_reliance_alone(
    place: str, request: pytest.FixtureRequest
) -> None:
    world, finding = request.getfixturevalue(place)
    (found,) = verified(world, RELIES, [changed(finding, **NATURAL)])
    assert found.decided.verification.holds
    assert (found.decided.verdict, found.decided.severity) == ("suspect", "medium")
    assert "only a look at the pictures can say" in found.sentence
    assert found.decided.reliance[1] > 0.35


def test_of_what_is_no_artifact_no_experiment_is_made(moving: tuple[World, Finding]) -> None:
    world, finding = moving
    natural = changed(finding, severity="low", artifact=POLICY.experiment - 0.01)
    (found,) = verified(world, RELIES, [natural])
    assert found.decided.verification.experiments == ()
    assert "part of the object" in found.decided.verification.note
    assert (found.decided.verdict, found.decided.severity) == ("suspect", "low")


def test_of_what_moves_along_an_edge_the_whole_edge_is_given_and_taken(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(BEE, 0.5, row=7)], counts=COUNTS)
    (one,) = verified(world, RELIES, world.judged().findings[:1])
    assert (one.place.region, one.place.kind, one.decided.verdict) == (
        "bottom edge",
        "edge",
        "confirmed",
    )
    assert one.decided.verification is not None
    assert {made.place for made in one.decided.verification.experiments} == {"same place"}
    for image in np.flatnonzero(one.carriers.listed)[:5].tolist():
        mask = mask_of(one, image, Lab(world.scene(), RELIES, 8))
        assert mask[-16:].all()
        assert not mask[:40].any()


@pytest.mark.parametrize(("count", "severity"), [(2, "high"), (3, "low")])
def test_few_members_have_no_power(count: int, severity: str, fixed: tuple[World, Finding]) -> None:
    world, finding = fixed
    few = changed(_few_tested(finding, count), severity=severity)
    (found,) = verified(world, RELIES, [few])
    assert found.decided.verification.note.startswith(f"no power: {count} tested images")
    assert found.decided.verification.experiments == ()
    assert (found.decided.verdict, found.decided.severity) == ("suspect", severity)
    assert np.isnan(found.decided.reliance).all()


def test_three_members_of_what_looks_like_an_artifact_are_pasted(
    fixed: tuple[World, Finding],
) -> None:
    world, finding = fixed
    few = changed(_few_tested(finding, 3), severity="high")
    verdict = [verified(world, model, [few])[0].decided.verdict for model in (RELIES, IGNORES)]
    assert verdict == ["confirmed", "present"]


def _few_tested(finding: Finding, count: int) -> Finding:
    """The finding as if all but so many of its members were of the half that it was found on."""
    tested = finding.carriers.typical[~finding.carriers.found_on[finding.carriers.typical]]
    half = finding.carriers.found_on.copy()
    half[tested[count:]] = True
    return changed(finding, found_on=half)


def test_a_dozen_members_can_be_pasted_but_not_masked(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(BEE, 0.25, FIXED_CELL)], counts=COUNTS)
    (found,) = verified(world, RELIES, [top(world)])
    assert [one.name for one in found.decided.verification.experiments] == ["paste"]
    assert found.decided.verdict == "confirmed"
    assert f"tested images, {FEWEST_PAIRS} are needed" in found.decided.verification.note


def test_a_thing_in_all_of_a_class_takes_its_reference_from_others(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(BEE, 1.0, FIXED_CELL)], counts=COUNTS)
    (found,) = verified(world, RELIES, [top(world)])
    assert found.decided.verdict == "confirmed"


@pytest.mark.parametrize("exact", [True, False])
def test_what_is_placed_to_the_pixel_is_pasted_and_filled_to_the_pixel(
    fixed: tuple[World, Finding], exact: bool
) -> None:
    world, finding = fixed
    assert finding.place.extent is not None
    tight = changed(finding, exact=exact, boxes=lambda _image: (0.25, 0.25, 0.5, 0.375))
    mask = mask_of(tight, 0, Lab(world.scene(), RELIES, 8))
    box = box_mask((0.25, 0.25, 0.5, 0.375), SIDE, SIDE)
    assert np.array_equal(mask, box if exact else cells_mask(finding.place.extent, SIDE, SIDE))


def test_a_brightness_that_the_model_reads_is_confirmed_by_changing_it(
    fixed: tuple[World, Finding],
) -> None:
    world, finding = fixed
    bright = np.isin(world.order, list(world.carriers[0]))
    shaded = [
        picture.point(lambda level: level // 3 + 160) if n in world.carriers[0] else picture
        for n, picture in enumerate(world.pictures)
    ]
    world = replace(world, pictures=shaded)
    shade = changed(
        finding, kind="property", region="brightness", listed=bright, score=bright.astype(float),
        extent=None,
    )  # fmt: skip
    reads = bee_by(lambda p: p.mean(axis=(1, 2, 3)) / 16 - 10)
    (found,) = verified(world, reads, [shade])
    made = {one.name: one.holds for one in found.decided.verification.experiments}
    assert made == {"paste": True, "neutralise": True}
    assert found.decided.verdict == "confirmed"
    (unseen,) = verified(world, IGNORES, [shade])
    assert unseen.decided.verdict != "confirmed"
    # Where the stamp has to be there as well, giving the brightness to others does nothing.
    needs = bee_by(lambda p: stamped(p) * (p.mean(axis=(1, 2, 3)) / 16 - 10))
    (taken,) = verified(world, needs, [shade])
    assert {one.name: one.holds for one in taken.decided.verification.experiments} == {
        "paste": False, "neutralise": True,
    }  # fmt: skip
    assert (taken.decided.verdict, taken.decided.severity) == ("suspect", "medium")
    (size,) = verified(world, reads, [changed(shade, region="image size")])
    assert "does not show" in size.decided.verification.note


def test_every_look_is_one_that_a_finding_can_name() -> None:
    assert set(LOOKS) <= set(FAMILIES)


def test_same_seed_same_answers_at_any_batch_size(moving: tuple[World, Finding]) -> None:
    world, finding = moving
    runs = [verified(world, RELIES, [finding], batch=batch)[0] for batch in (None, 7)]
    assert runs[0].decided.verification.experiments == runs[1].decided.verification.experiments
    assert runs[0].sentence == runs[1].sentence
    other = verified(world, RELIES, [finding], seed=1)[0]
    assert other.decided.verdict == runs[0].decided.verdict
    assert other.decided.verification.experiments != runs[0].decided.verification.experiments


def test_each_listed_image_says_what_it_is_without_the_thing(fixed: tuple[World, Finding]) -> None:
    world, finding = fixed
    (found,) = verified(world, RELIES, [finding])
    without = found.decided.verification.without
    assert set(without) <= set(np.flatnonzero(found.carriers.listed).tolist())
    assert len(without) == min(
        MEASURED, int((found.carriers.listed & (world.records.labels == BEE)).sum())
    )
    assert max(without.values()) < 0.5
    some = next(iter(without))
    fall = world_probability(world, some) - without[some]
    assert found.carriers.score[some] == pytest.approx(
        finding.carriers.score[some] * (0.9 + 0.1 * fall), rel=1e-3
    )


def test_pictures_show_before_after_and_the_control(fixed: tuple[World, Finding]) -> None:
    world, finding = fixed
    (found,) = verified(world, RELIES, [finding])
    shots = [
        shot for shot in found.decided.verification.shots if shot.experiment == "paste same place"
    ]
    assert [shot.arm for shot in shots[:2]] == ["before", "after"]
    assert len({shot.image for shot in shots}) == 3
    before, after, control = shots[:3]
    assert stamped(np.stack([s.pixels for s in (before, after, control)])).round() == pytest.approx(
        [0, 1, 0]
    )
    assert before.probability < 0.3 < 0.6 < after.probability


def test_images_that_are_gone_are_left_out(fixed: tuple[World, Finding]) -> None:
    world, finding = fixed
    gone = frozenset(range(0, len(world.labels), 3))
    scene = prepared(world, RELIES, gone)
    (found,) = verify([finding], scene, RELIES, progress=False)
    assert not {shot.image for shot in found.decided.verification.shots} & gone
    assert found.decided.verdict == "confirmed"
