"""Verification: what a model relies on is confirmed, what it ignores is not, however it looks.

The models here are formulas on pixels, so that what they rely on is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import signal
from synthetic import CLASSES, FIXED_CELL, GRID, SIDE, Thing, World, make_world, paste, stamp

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.detect.channels.associations import FAMILIES
from shortcut_finder.detect.finding import Finding, located
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.stats.experiments import FEWEST_PAIRS, Arm, Experiment, Verification
from shortcut_finder.stats.surplus import Surplus
from shortcut_finder.sweep.lab import Lab
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.verify import verdicts
from shortcut_finder.verify.cast import PAIRS
from shortcut_finder.verify.interventions import box_mask, cells_mask
from shortcut_finder.verify.protocol import MEASURED, verify
from shortcut_finder.verify.trials import LOOKS, mask_of

Model = Callable[[np.ndarray], np.ndarray]
COUNTS = (80, 80, 80)
BEE = CLASSES.index("bee")


def stamped(pixels: np.ndarray, seed: int = 0) -> np.ndarray:
    """How clearly each image shows a stamp, wherever it is: 1 when it does, (image,)."""
    wanted = stamp(seed) - stamp(seed).mean()
    window = np.ones_like(wanted)
    found = []
    for image in pixels.mean(axis=3):
        answer = signal.fftconvolve(image, wanted[::-1, ::-1], "valid")
        mean = signal.fftconvolve(image, window, "valid") / window.size
        square = signal.fftconvolve(image**2, window, "valid") / window.size
        deviation = np.sqrt(np.maximum(square - mean**2, 25.0))
        found.append((answer / (deviation * wanted.std() * wanted.size)).max())
    return np.clip((np.array(found) - 0.6) / 0.3, 0, 1)


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
    return float(prepared(world, RELIES).records.probabilities[image, BEE])


def top(world: World) -> Finding:
    return world.judged().findings[0]


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
    assert (found.verdict, found.severity) == ("confirmed", "high")
    value, low, high = found.reliance
    assert 0.4 < low < value < high <= 1
    made = {one.name: one for one in found.verification.experiments}
    assert made["paste"].holds
    assert made["mask"].holds
    assert made["paste"].place == {"fixed": "same place", "moving": "random places"}[place]
    assert made["paste"].pairs == PAIRS
    assert made["paste"].after > 0.6 > 0.2 > made["paste"].before
    assert made["mask"].after < 0.4 < 0.8 < made["mask"].before
    assert "it raises the odds of bee" in found.sentence
    assert "Taking it away lowers the odds of bee" in found.sentence
    assert found.suspicion == finding.suspicion


@pytest.mark.parametrize("place", ["fixed", "moving"])
def test_a_stamp_that_the_model_ignores_is_present(
    place: str, request: pytest.FixtureRequest
) -> None:
    world, finding = request.getfixturevalue(place)
    assert finding.severity == "high"
    (found,) = verified(world, IGNORES, [replace(finding, exact=True)])
    assert (found.verdict, found.severity) == ("present", "medium")
    assert found.reliance[2] < 0.125
    assert "does not react" in found.sentence


@pytest.mark.parametrize(("place", "severity"), [("fixed", "medium"), ("moving", "low")])
def test_what_the_model_can_spare_where_objects_stand_has_to_be_beyond_doubt(
    place: str, severity: str, request: pytest.FixtureRequest
) -> None:
    """Parts of drawn objects all but repeat; at the border nothing natural does."""
    world, finding = request.getfixturevalue(place)
    doubtful = replace(finding, suspicion=0.7)
    (ignored,) = verified(world, IGNORES, [doubtful])
    assert (ignored.verdict, ignored.severity) == ("present", severity)
    (used,) = verified(world, RELIES, [doubtful])
    assert (used.verdict, used.severity) == ("confirmed", "high")


@pytest.mark.parametrize(
    ("place", "exact", "exclusive", "severity"),
    [
        ("moving", True, 0.9, "medium"),
        ("moving", False, 0.9, "low"),
        ("moving", False, 1.0, "medium"),
        ("fixed", False, 0.9, "medium"),
    ],
)
def test_unused_edges_that_cannot_be_laid_on_top_of_each_other_are_low(
    place: str, exact: bool, exclusive: float, severity: str, request: pytest.FixtureRequest
) -> None:
    world, finding = request.getfixturevalue(place)
    parts = {**finding.parts, "exclusivity": exclusive}
    numbers = {**finding.numbers, "repeating": 20.0}
    finding = replace(finding, parts=parts, numbers=numbers, exact=exact)
    (ignored,) = verified(world, IGNORES, [finding])
    assert (ignored.verdict, ignored.severity) == ("present", severity)
    (used,) = verified(world, RELIES, [finding])
    assert (used.verdict, used.severity) == ("confirmed", "high")


def test_a_finding_costs_no_more_passes_than_it_needs(fixed: tuple[World, Finding]) -> None:
    world, finding = fixed
    asked = []

    def counting(pixels: np.ndarray) -> np.ndarray:
        asked.append(len(pixels))
        return RELIES(pixels)

    scene = prepared(world, RELIES)
    (found,) = verify([finding], scene, counting, progress=False)
    made = {one.name: one for one in found.verification.experiments}
    controls = len(made["paste"].arms) + (made["paste"].own is not None)
    # What images are without the thing is not asked again for those that were masked.
    further = MEASURED - made["mask"].pairs
    assert sum(asked) == PAIRS * (1 + controls) + made["mask"].pairs * 6 + further


@pytest.fixture(scope="module")
def woven(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Finding]:
    folder = tmp_path_factory.mktemp("woven")
    world = make_world(folder, [Thing(BEE, 0.6, woven=True)], counts=COUNTS)
    return world, located([top(world)], world.records.labels, folder, GRID)[0]


def _striped(pixels: np.ndarray) -> np.ndarray:
    """Mean size of the steps across, of which stripes have many, (image,)."""
    return np.abs(np.diff(pixels.mean(axis=3), axis=2)).mean(axis=(1, 2)) / 16


def test_a_background_that_the_model_reads_is_confirmed(woven: tuple[World, Finding]) -> None:
    world, finding = woven
    (found,) = verified(world, bee_by(lambda p: 4 * _striped(p) - 3), [finding])
    assert (found.kind, found.verdict, found.severity) == ("background", "confirmed", "high")
    (made,) = [one for one in found.verification.experiments if one.name == "paste"]
    assert made.place == "same place"
    assert {arm.name for arm in made.arms} >= {"same place of a non-member", "flat colour"}
    (ignored,) = verified(world, IGNORES, [finding])
    assert ignored.verdict != "confirmed"


@pytest.mark.parametrize(
    ("region", "suspicion", "severity"),
    [
        ("anywhere", 0.6, "low"),
        ("anywhere", 0.9, "high"),
        ("top left corner", 0.6, "high"),
        ("sharpness", 0.6, "low"),
        ("sharpness", 0.9, "medium"),
    ],
)
def test_what_may_be_natural_is_low_unless_it_is_relied_on_or_beyond_doubt(
    region: str, suspicion: float, severity: str, moving: tuple[World, Finding]
) -> None:
    world, finding = moving
    # Some reliance, but too little to be sure of, either way.
    arm = Arm("flat colour", "control", 0.2, 0.0, 0.1, -0.1, 0.3, 0.4, 0.2)
    unsure = Verification("", (Experiment("paste", "random places", PAIRS, 0.1, 0.3, 0.1, (arm,)),))
    kind = "property" if region in FAMILIES else finding.kind
    looked = replace(
        finding, kind=kind, region=region, suspicion=suspicion, severity="high", exact=True
    )
    found = verdicts.decided(looked, unsure, world.records)
    assert (found.verdict, found.severity) == ("suspect", severity)
    # Without an experiment nothing speaks against it.
    assert verdicts.decided(looked, Verification("no power"), world.records).severity == "high"


def test_what_the_class_is_known_by_anyway_is_no_background(woven: tuple[World, Finding]) -> None:
    """Nearly the whole image is pasted, object and all, with and without the pattern."""
    world, finding = woven
    dark = [
        Image.fromarray((np.asarray(p) // 2).astype(np.uint8)) if world.labels[n] == BEE else p
        for n, p in enumerate(world.pictures)
    ]
    by_darkness = bee_by(lambda p: 4 - p.mean(axis=(1, 2, 3)) / 20)
    (found,) = verified(replace(world, pictures=dark), by_darkness, [finding])
    assert found.verdict != "confirmed"


def test_covering_what_the_others_are_known_by_is_no_reliance(
    fixed: tuple[World, Finding],
) -> None:
    world, finding = fixed
    # Ants and cats are known by a white spot where the bees' stamp is; anything pasted hides it.
    spot = SIDE // 8 + 4
    spotted = [_marked(p, spot, world.labels[n] != BEE) for n, p in enumerate(world.pictures)]
    model = bee_by(lambda p: 3.0 - 6.0 * (p[:, spot, spot].min(axis=1) > 250))
    (found,) = verified(replace(world, pictures=spotted), model, [finding])
    made = {one.name: one for one in found.verification.experiments}
    assert made["paste"].after - made["paste"].before > 0.5
    assert not made["paste"].holds
    assert found.verdict != "confirmed"


def test_necessity_alone_confirms(fixed: tuple[World, Finding]) -> None:
    world, finding = fixed
    # The stamp counts on images of bees only, which have a white spot in the last corner.
    spot = SIDE - 1
    spotted = [_marked(p, spot, world.labels[n] == BEE) for n, p in enumerate(world.pictures)]
    model = bee_by(lambda p: 6 * stamped(p) * (p[:, spot, spot, 0] > 250) - 2)
    (found,) = verified(replace(world, pictures=spotted), model, [finding])
    made = {one.name: one.holds for one in found.verification.experiments}
    assert made == {"paste": False, "mask": True}
    assert found.verdict == "confirmed"
    assert "lowers the odds of bee" in found.sentence
    assert "raises" not in found.sentence


def _marked(picture: Image.Image, spot: int, white: bool) -> Image.Image:
    marked = picture.copy()
    marked.putpixel((spot, spot), (255 if white else 0,) * 3)
    return marked


NATURAL = {"share": 0.3, "severity": "low", "suspicion": 0.1}


@pytest.mark.parametrize("place", ["fixed", "moving"])
def test_what_adds_to_its_class_need_not_repeat_to_the_pixel(
    place: str, request: pytest.FixtureRequest
) -> None:
    world, finding = request.getfixturevalue(place)
    (found,) = verified(world, RELIES, [replace(finding, **NATURAL)])
    assert (found.verdict, found.severity) == ("confirmed", "high")
    assert "an addition does that" in found.sentence


def test_of_what_moves_along_an_edge_the_whole_edge_is_given_and_taken(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(BEE, 0.5, row=7)], counts=COUNTS)
    (one,) = verified(world, RELIES, [top(world)])
    assert (one.region, one.kind, one.verdict) == ("bottom edge", "edge", "confirmed")
    assert one.verification is not None
    assert {made.place for made in one.verification.experiments} == {"same place"}
    for image in np.flatnonzero(one.carries)[:5].tolist():
        mask = mask_of(one, image, Lab(world.scene(), RELIES, 8))
        assert mask[-16:].all()
        assert not mask[:40].any()


@pytest.mark.parametrize(("count", "severity"), [(2, "high"), (3, "low")])
def test_few_members_have_no_power(count: int, severity: str, fixed: tuple[World, Finding]) -> None:
    world, finding = fixed
    few = replace(_few_tested(finding, count), severity=severity)
    (found,) = verified(world, RELIES, [few])
    assert found.verification.note.startswith(f"no power: {count} tested images")
    assert found.verification.experiments == ()
    assert (found.verdict, found.severity) == ("suspect", severity)
    assert np.isnan(found.reliance).all()


def test_three_members_of_what_looks_like_an_artifact_are_pasted(
    fixed: tuple[World, Finding],
) -> None:
    world, finding = fixed
    few = replace(_few_tested(finding, 3), severity="high")
    verdict = [verified(world, model, [few])[0].verdict for model in (RELIES, IGNORES)]
    assert verdict == ["confirmed", "present"]


def _few_tested(finding: Finding, count: int) -> Finding:
    """The finding as if all but so many of its members were of the half that it was found on."""
    tested = finding.typical[~finding.half[finding.typical]]
    half = finding.half.copy()
    half[tested[count:]] = True
    return replace(finding, half=half)


def test_a_dozen_members_can_be_pasted_but_not_masked(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(BEE, 0.25, FIXED_CELL)], counts=COUNTS)
    (found,) = verified(world, RELIES, [top(world)])
    assert [one.name for one in found.verification.experiments] == ["paste"]
    assert found.verdict == "confirmed"
    assert f"tested images, {FEWEST_PAIRS} are needed" in found.verification.note


def test_a_thing_in_all_of_a_class_takes_its_reference_from_others(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(BEE, 1.0, FIXED_CELL)], counts=COUNTS)
    (found,) = verified(world, RELIES, [top(world)])
    assert found.verdict == "confirmed"


def test_a_thing_at_changing_places_in_all_of_a_class_may_be_its_object(tmp_path: Path) -> None:
    world = make_world(tmp_path, [Thing(BEE, 1.0)], counts=COUNTS)
    (found,) = verified(world, RELIES, [top(world)])
    assert found.verification.holds
    assert (found.verdict, found.severity) == ("suspect", "medium")
    assert "cannot be told from the class's object" in found.sentence


@pytest.mark.parametrize("exact", [True, False])
def test_what_is_placed_to_the_pixel_is_pasted_and_filled_to_the_pixel(
    fixed: tuple[World, Finding], exact: bool
) -> None:
    world, finding = fixed
    assert finding.extent is not None
    tight = replace(finding, exact=exact, boxes=lambda _image: (0.25, 0.25, 0.5, 0.375))
    mask = mask_of(tight, 0, Lab(world.scene(), RELIES, 8))
    box = box_mask((0.25, 0.25, 0.5, 0.375), SIDE, SIDE)
    assert np.array_equal(mask, box if exact else cells_mask(finding.extent, SIDE, SIDE))


EITHER = bee_by(lambda pixels: 6 * np.maximum(stamped(pixels), stamped(pixels, 5)) - 2)
RIVAL_AT = (20, 36)


def with_rival(world: World) -> World:
    """Bees without the stamp show another one, where their maps are hot."""
    others = [n for n in np.flatnonzero(world.labels == BEE) if n not in world.carriers[0]]
    pictures, maps = list(world.pictures), world.records.maps.copy()
    for number in others:
        grey = np.asarray(pictures[number].convert("L"), dtype=float)
        drawn = paste(grey, stamp(5), *RIVAL_AT)
        pictures[number] = Image.fromarray(drawn.astype(np.uint8)).convert("RGB")
    middle = [(at + 8) * size // SIDE for at, size in zip(RIVAL_AT, maps.shape[:0:-1], strict=True)]
    maps[np.isin(world.order, others), middle[1], middle[0]] = maps.max() + 1
    return replace(world, pictures=pictures, records=replace(world.records, maps=maps))


@pytest.mark.parametrize(
    ("place", "share", "suspicion", "severity"),
    [
        ("fixed", 0.3, 0.9, "medium"),
        ("moving", 0.3, 0.9, "medium"),
        ("moving", 0.3, 0.7, "low"),
        ("moving", 0.9, 0.9, "low"),
    ],
)
def test_what_the_class_is_recognised_by_is_no_shortcut(
    place: str, share: float, suspicion: float, severity: str, request: pytest.FixtureRequest
) -> None:
    """What repeats without doubt stays worth a look, unless it is in all of a class, anywhere."""
    world, finding = request.getfixturevalue(place)
    finding = replace(finding, region="centre", share=share, suspicion=suspicion)
    (found,) = verified(with_rival(world), EITHER, [finding])
    assert found.verification.holds
    assert (found.verdict, found.severity) == ("suspect", severity)
    assert "not an addition" in found.sentence


@pytest.mark.parametrize(("wide", "verdict"), [(False, "confirmed"), (True, "suspect")])
def test_pasting_most_of_the_frame_pastes_the_object(
    wide: bool, verdict: str, request: pytest.FixtureRequest
) -> None:
    """However much more than other parts of the class it says."""
    world, finding = request.getfixturevalue("fixed")
    assert finding.extent is not None
    extent = np.zeros_like(finding.extent)
    extent[(slice(None), slice(None)) if wide else np.nonzero(finding.extent)] = True
    natural = replace(finding, region="centre", severity="low", extent=extent, share=0.3)
    (found,) = verified(world, RELIES, [natural])
    assert found.verification.behaves
    assert found.verdict == verdict


@pytest.mark.parametrize(("share", "verdict"), [(0.5, "confirmed"), (0.7, "suspect")])
def test_what_most_of_a_class_carries_may_be_the_class(
    share: float, verdict: str, request: pytest.FixtureRequest
) -> None:
    world, finding = request.getfixturevalue("moving")
    (found,) = verified(world, RELIES, [replace(finding, severity="low", share=share)])
    assert found.verification.behaves
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("share", "rigidity", "verdict"),
    [(0.12, 0.1, "confirmed"), (0.18, 0.1, "suspect"), (0.5, 0.9, "confirmed")],
)
def test_what_moves_and_does_not_repeat_may_be_the_usual_look_of_a_class(
    share: float, rigidity: float, verdict: str, moving: tuple[World, Finding]
) -> None:
    world, finding = moving
    parts = {**finding.parts, "rigidity": rigidity}
    doubted = replace(finding, severity="low", share=share, parts=parts)
    (found,) = verified(world, RELIES, [doubted])
    assert found.verification.behaves
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("share", "rigidity", "verdict"),
    [(0.1, 0.9, "confirmed"), (0.1, 0.1, "suspect"), (0.96, 0.9, "suspect")],
)
def test_of_a_handful_only_what_repeats_exactly_is_confirmed(
    share: float, rigidity: float, verdict: str, moving: tuple[World, Finding]
) -> None:
    """Whether it comes on top of the object cannot be told with four images on one side."""
    world, finding = moving
    parts = {**finding.parts, "rigidity": rigidity}
    few = replace(_few_tested(finding, 4), parts=parts, share=share)
    (found,) = verified(world, RELIES, [few])
    assert found.verification.surplus is None
    assert found.verification.overturns
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("region", "rigidity", "artificial"),
    [("anywhere", 0.4, False), ("centre", 0.4, False), ("anywhere", 0.6, True), ("frame", 0, True)],
)
def test_where_objects_stand_what_hardly_repeats_must_behave_like_an_addition(
    region: str, rigidity: float, artificial: bool, moving: tuple[World, Finding]
) -> None:
    parts = {**moving[1].parts, "rigidity": rigidity}
    finding = replace(moving[1], severity="medium", region=region, parts=parts)
    assert verdicts._artificial(finding, Verification()) == artificial


@pytest.mark.parametrize(
    ("model", "least", "most"), [(RELIES, 0.5, 1.0), (IGNORES, 0.0, 0.2)], ids=["relied", "ignored"]
)
def test_scores_follow_what_was_shown(
    moving: tuple[World, Finding], model: Model, least: float, most: float
) -> None:
    world, finding = moving
    plain = replace(finding, **NATURAL, score=0.1 * finding.score / finding.suspicion)
    (found,) = verified(world, model, [plain])
    best = found.score[np.argsort(-plain.score)[:10]]
    assert least <= best.min() <= best.max() <= most
    assert (found.score[~finding.carries] == 0).all()


def test_what_looks_natural_and_says_no_more_than_other_parts_is_not_confirmed(
    moving: tuple[World, Finding],
) -> None:
    world, finding = moving
    # The other bees are less sure for another reason, so that the stamp seems to come on top.
    world, spot = with_rival(world), SIDE - 1
    others = [n for n in np.flatnonzero(world.labels == BEE) if n not in world.carriers[0]]
    spotted = [_marked(p, spot, n in others) for n, p in enumerate(world.pictures)]
    model = bee_by(
        lambda p: 6 * np.maximum(stamped(p), stamped(p, 5)) - 3 * (p[:, spot, spot, 0] > 250) - 2
    )
    world = replace(world, pictures=spotted)
    (found,) = verified(world, model, [replace(finding, **NATURAL)])
    assert found.verification.holds
    assert found.verification.beyond_own < 0.125
    assert (found.verdict, found.severity) == ("suspect", "low")


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
    shade = replace(
        finding, kind="property", region="brightness", carries=bright, score=bright.astype(float),
        extent=None,
    )  # fmt: skip
    reads = bee_by(lambda p: p.mean(axis=(1, 2, 3)) / 16 - 10)
    (found,) = verified(world, reads, [shade])
    made = {one.name: one.holds for one in found.verification.experiments}
    assert made == {"paste": True, "neutralise": True}
    assert found.verdict == "confirmed"
    (unseen,) = verified(world, IGNORES, [shade])
    assert unseen.verdict != "confirmed"
    # Where the stamp has to be there as well, giving the brightness to others does nothing.
    needs = bee_by(lambda p: stamped(p) * (p.mean(axis=(1, 2, 3)) / 16 - 10))
    (taken,) = verified(world, needs, [shade])
    assert {one.name: one.holds for one in taken.verification.experiments} == {
        "paste": False, "neutralise": True,
    }  # fmt: skip
    assert (taken.verdict, taken.severity) == ("suspect", "medium")
    (size,) = verified(world, reads, [replace(shade, region="image size")])
    assert "does not show" in size.verification.note


def test_every_look_is_one_that_a_finding_can_name() -> None:
    assert set(LOOKS) <= set(FAMILIES)


def test_same_seed_same_answers_at_any_batch_size(moving: tuple[World, Finding]) -> None:
    world, finding = moving
    runs = [verified(world, RELIES, [finding], batch=batch)[0] for batch in (None, 7)]
    assert runs[0].verification.experiments == runs[1].verification.experiments
    assert runs[0].sentence == runs[1].sentence
    other = verified(world, RELIES, [finding], seed=1)[0]
    assert other.verdict == runs[0].verdict
    assert other.verification.experiments != runs[0].verification.experiments


def test_each_listed_image_says_what_it_is_without_the_thing(fixed: tuple[World, Finding]) -> None:
    world, finding = fixed
    (found,) = verified(world, RELIES, [finding])
    without = found.verification.without
    assert set(without) <= set(np.flatnonzero(found.carries).tolist())
    assert len(without) == min(MEASURED, int((found.carries & (world.records.labels == BEE)).sum()))
    assert max(without.values()) < 0.5
    some = next(iter(without))
    fall = world_probability(world, some) - without[some]
    assert found.score[some] == pytest.approx(finding.score[some] * (0.9 + 0.1 * fall), rel=1e-3)


def test_pictures_show_before_after_and_the_control(fixed: tuple[World, Finding]) -> None:
    world, finding = fixed
    (found,) = verified(world, RELIES, [finding])
    shots = [shot for shot in found.verification.shots if shot.experiment == "paste same place"]
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
    assert not {shot.image for shot in found.verification.shots} & gone
    assert found.verdict == "confirmed"


@pytest.mark.parametrize(
    ("rigidity", "added", "behaves"), [(0.9, 0.5, True), (0.1, 0.5, False), (0.1, 1e-5, True)]
)
def test_what_differs_must_leave_or_add_something_whatever_it_says(
    rigidity: float, added: float, behaves: bool, moving: tuple[World, Finding]
) -> None:
    """A part of the object, such as the rim of a drawn mug or a boat's sail, does neither."""
    finding = replace(moving[1], parts={**moving[1].parts, "rigidity": rigidity}, share=0.1)
    arm = Arm("flat colour", "control", 0.1, 0.0, 0.8, 0.7, 0.9, 4.0, 1e-9)
    made = Experiment("paste", "random places", PAIRS, 0.1, 0.9, 0.8, (arm,), 1e-9, arm)
    shown = Verification("", (made,), surplus=Surplus(0.1, 1e-9, added))
    assert shown.overturns
    assert verdicts._behaves(finding, shown) == behaves


@pytest.mark.parametrize(
    ("rigidity", "region", "share", "behaves"),
    [
        (0.1, "centre", 0.3, False),
        (0.1, "anywhere", 0.3, False),
        (0.1, "anywhere", 0.1, True),
        (0.9, "anywhere", 0.3, True),
        (0.1, "left edge", 0.3, True),
    ],
)
def test_images_that_show_more_of_the_object_are_surer_too(
    rigidity: float, region: str, share: float, behaves: bool, moving: tuple[World, Finding]
) -> None:
    """Close-ups of roses among pictures of whole bushes, seed heads among dandelions."""
    parts = {**moving[1].parts, "rigidity": rigidity}
    finding = replace(moving[1], region=region, parts=parts, share=share)
    arm = Arm("flat colour", "control", 0.1, 0.0, 0.7, 0.6, 0.8, 2.0, 1e-9)
    made = Experiment("paste", "random places", PAIRS, 0.1, 0.9, 0.6, (arm,), 1e-9, arm)
    shown = Verification("", (made,), surplus=Surplus(0.8, 0.9, 1e-6))
    assert shown.behaves
    assert shown.overturns
    assert verdicts._behaves(finding, shown) == behaves


@pytest.mark.parametrize(
    ("rigidity", "own", "behaves"), [(0.1, 0.1, True), (0.1, 0.4, False), (0.9, 0.4, True)]
)
def test_a_part_of_a_class_that_its_parts_are_enough_for_is_no_addition(
    rigidity: float, own: float, behaves: bool, moving: tuple[World, Finding]
) -> None:
    """Of drawn acorns some parts turn over a third of other images, and some two thirds."""
    finding = replace(moving[1], parts={**moving[1].parts, "rigidity": rigidity}, share=0.1)
    arm = Arm("flat colour", "control", 0.1, 0.0, 0.7, 0.6, 0.8, 2.0, 1e-9)
    parts = replace(arm, flips=own)
    made = Experiment("paste", "random places", PAIRS, 0.1, 0.9, 0.8, (arm,), 1e-9, parts)
    shown = Verification("", (made,), surplus=Surplus(0.8, 0.9, 1e-6))
    assert shown.overturns
    assert verdicts._behaves(finding, shown) == behaves


@pytest.mark.parametrize(
    ("rows", "columns", "verdict"),
    [
        (slice(-2, None), slice(None), "confirmed"),
        (slice(None), slice(0, 2), "confirmed"),
        (slice(None), slice(None), "suspect"),
        (slice(3, -3), slice(3, -3), "suspect"),
    ],
)
def test_what_moves_along_the_border_alone_is_where_no_object_stands(
    rows: slice, columns: slice, verdict: str, moving: tuple[World, Finding]
) -> None:
    place = np.zeros((16, 16))
    place[rows, columns] = 1.0
    # In nearly all images of the class, so that nothing is left to compare.
    finding = replace(moving[1], place=place / place.sum(), share=0.95)
    arm = Arm("blur", "fill", 0.1, 0.1, 0.4, 0.3, 0.5, 2.0, 1e-9)
    made = Experiment("mask", "same place", PAIRS, 0.9, 0.1, 0.4, (arm,), 1e-9)
    decided = verdicts.decided(finding, Verification("", (made,)), moving[0].records)
    assert decided.verdict == verdict
