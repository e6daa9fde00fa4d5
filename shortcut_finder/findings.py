"""Findings: candidates that hold on images they were not found on, with a sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from shortcut_finder.associations import Shift
from shortcut_finder.candidates import (
    FEWEST,
    LIFT,
    Candidate,
    association_test,
    classes_without,
    holds,
    listed_images,
    reach,
    same_images,
    together,
)
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.evidence import false_discovery_rate, usual_of_others
from shortcut_finder.experiments import VERDICTS, Verification, answers_for, surer_p
from shortcut_finder.groups import (
    TAIL,
    Template,
    background_cells,
    matching_cells,
    place_concentration,
)
from shortcut_finder.metadata import Companion
from shortcut_finder.motifs import colour_image
from shortcut_finder.preprocessing import Box, Preprocessing
from shortcut_finder.records import Records
from shortcut_finder.regions import ANYWHERE, CORNERS, EDGES, box_region, cell_centres
from shortcut_finder.rigidity import PATCH, Rigidity, grey_image, measure_rigidity
from shortcut_finder.settings import SEVERITIES

# Small pictures kept in memory, some 80 kB each.
VIEWS = 4000
# Images compared for rigidity.
COMPARED = 16
# Share of near copies among the compared images from which a group is one of duplicates.
DUPLICATES = 0.5
# Gradient correlation: ordinary parts of photographed objects reach 0.3, the most alike of many
# 0.5, drawn objects 0.6; texts begin at 0.7, marks and frames at 0.9. In between lies doubt.
ORDINARY, RIGID = 0.55, 0.80
# Where the most rigid parts of other classes repeat less than that, doubt begins lower: this much
# above them, but never below.
ABOVE_NATURE, LOWEST = 0.12, 0.42
# How far members of what repeats a motif stand above all but a hundredth of the images of other
# classes (correlation): parts of photographed objects reach the first. A handful of members reaches
# more by luck, falling with the root of their number.
SELDOM, NEVER, LUCK = 0.05, 0.19, 0.3
# A thing that keeps to a spot off the middle, of so many cells of the frame at most, in part of a
# class alone: objects seldom do, whatever it looks like. Suspicion of the clearest of these, and
# the part of its likeness that must set it apart from other images to be that clear.
SPOT, SPOTTED, CLEARLY = 0.12, 0.5, 0.5
# How much more alike members are than the rest of their class, at most places of the frame, from
# which something is all over them, and by how much more plainly (correlation): no object is, but
# nearly all images of a class may be alike throughout.
ALL_OVER, PLAINLY = 0.1, 0.1
# Places that must have been compared for that, and how alike members must be there.
PLACES, ALIKE = 3, 0.5
# How clearly it must keep to a spot, or be all over the frame, for us to say so.
CLEAR = 0.8
# Share of a class from which what does not repeat exactly may be the class itself, and from which
# nothing is left to compare with.
COMMON, NEARLY_ALL = 0.6, 0.8
# Places of the frame where members are compared for what is ordinary in them, and how far from the
# thing itself these must lie.
ELSEWHERE = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75), (0.5, 0.5))
APART = 0.3
# Rigidity, on the scale between those two, from which we say that a thing repeats exactly.
EXACT = 0.5
# Suspicion from which a finding is of high, medium severity.
HIGH, MEDIUM = 0.60, 0.45
# Suspicion from which a little more or less of it tells nothing.
BEYOND_DOUBT = 0.8
# How many times as many images a template of what other classes share must find in the class.
MORE = 1.25
# Suspicion that scores are measured by where there is none, so that their order is kept.
LEAST = 1e-6
# Natural-looking groups of a class that are still listed, at low severity, and how many more are
# kept for the experiments because their images are surer of the class than its others are.
ORDINARY_GROUPS, PROMISING = 1, 4
# How plainly surer (Mann-Whitney U, one-sided).
SURER = 1e-3
# Images in which a background is located, and images it is held against.
LOCATED = 300
WHOLE_FRAME = (0.0, 0.0, 1.0, 1.0)
# Kinds that stand nowhere in particular.
WHOLE = ("property", "metadata")
# Members' cells that cover this part of the image are a background.
WIDE = 0.25
# Width of a rim around the cells of a thing, in cells.
MARGIN = 0.25
# Below this share of common grey variance an exact repetition is seen through.
TRANSLUCENT = 0.35


@dataclass(frozen=True, eq=False)
class Finding:
    """Something one class has and the others have not, which may be a shortcut.

    Attributes:
        key: ``F1`` for the strongest.
        label: class name.
        number: index of the class.
        kind: one of DESIGN's kinds.
        region: where it stands.
        share: of the class's images that carry it, on images it was not found on.
        elsewhere: the same for all other classes.
        q: false discovery rate of share against elsewhere.
        suspicion: how much it looks like an artifact, in [0, 1].
        severity: ``high``, ``medium`` or ``low``.
        sentence: what a person should know.
        advice: what to do about it.
        carries: which images carry it, (image,) of bool.
        score: how surely each image carries it times suspicion, (image,) in [0, 1].
        boxes: where, as fractions of the model's input, one an image.
        parts: what suspicion is made of, each in [0, 1].
        numbers: of every test.
        place: share of the members whose matching cell lies there, (row, column).
        typical: best members, best first.
        extent: cells that a thing at a fixed place covers, (row, column) of bool; ``None`` for
            everything else.
        template: what its cells look like; ``None`` for what has no place.
        cells: for what is all over the frame, the cells it covers by number of the image, each
            (row, column) of bool; empty for everything else.
        verdict: ``confirmed``, ``present`` or ``suspect``.
        reliance: effect of the thing on the label's probability beyond its controls, with the ends
            of its 95% interval, each in [-1, 1]; NaN where it was not measured.
        verification: the experiments behind verdict and reliance.
        shifts: for a property, how its traits differ; neutralising it undoes this.
        metadata: values of the user's columns that its images have more often than others.
    """

    key: str
    label: str
    number: int
    kind: str
    region: str
    share: float
    elsewhere: float
    q: float
    suspicion: float
    severity: str
    sentence: str
    advice: str
    carries: np.ndarray
    score: np.ndarray
    boxes: Callable[[int], Box]
    parts: Mapping[str, float]
    numbers: Mapping[str, float]
    place: np.ndarray
    typical: np.ndarray
    extent: np.ndarray | None = None
    template: Template | None = None
    cells: Mapping[int, np.ndarray] = field(default_factory=dict)
    verdict: str = "suspect"
    reliance: tuple[float, float, float] = (np.nan, np.nan, np.nan)
    verification: Verification | None = None
    shifts: tuple[Shift, ...] = ()
    metadata: tuple[Companion, ...] = ()


@dataclass(frozen=True)
class Judged:
    """Findings, and what was set aside with the reason.

    Attributes:
        findings: strongest first.
        notes: sentences for the report.
        tested: how many candidates the false discovery rate is controlled over.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    tested: int


def judge(
    candidates: Sequence[Candidate],
    scene: Scene,
    half: np.ndarray,
    classes: tuple[str, ...],
) -> Judged:
    """Test candidates on the other half, see what they look like, and say it.

    Args:
        candidates: found on the images of ``half``.
        scene: what the sweep kept, and the pictures behind it.
        half: the discovery half, (image,) of bool.
        classes: class names.
    """
    labels = scene.records.labels
    lacking = [classes_without(candidate, labels, half) for candidate in candidates]
    tests = [
        association_test(one, labels, ~half, without)
        for one, without in zip(candidates, lacking, strict=True)
    ]
    q = false_discovery_rate(np.array([test["p"] for test in tests]))
    holding = [
        (_seen(candidate, {**test, "q": float(value)}, scene, half), without)
        for candidate, test, value, without in zip(candidates, tests, q, lacking, strict=True)
        if holds(test, float(value))
    ]
    most = _most_rigid([seen for seen, _ in holding])
    looked: list[_Looked] = []
    notes: list[str] = []
    for seen, without in holding:
        label = seen.candidate.label
        one = _look(seen, _natural(most, label), scene.records)
        # Parts of objects are shared by many classes; only what repeats exactly is worth a word.
        if seen.candidate.template.shared and not one.exact:
            continue
        if one.found.duplicates >= DUPLICATES:
            notes.append(
                f"{classes[label]}: {int(one.test['members'])} images look like copies of "
                "one another; near-duplicates are no shortcut, but they do inflate accuracy."
            )
        else:
            looked.append(_extended(one, scene, ~half, without))
    findings = [_finding(one, scene.records, classes) for one in _distinct(looked, scene.records)]
    return Judged(tuple(findings), tuple(dict.fromkeys(notes)), len(candidates))


@dataclass(frozen=True, eq=False)
class _Seen:
    """A candidate that holds on the tested images, and how alike its pictures are.

    Attributes:
        candidate: as it was found.
        test: numbers of every test.
        found: rigidity of the members.
    """

    candidate: Candidate
    test: dict[str, float]
    found: Rigidity


def _most_rigid(seen: Sequence[_Seen]) -> dict[int, float]:
    """How rigid the most rigid candidate of each class is."""
    most: dict[int, float] = {}
    for one in seen:
        label = one.candidate.label
        most[label] = max(most.get(label, -1.0), one.found.gradient)
    return most


def _natural(most: Mapping[int, float], label: int) -> float:
    """How rigid parts of objects are in this dataset, as far as other classes than one tell.

    Of the most rigid candidates of the other classes the (lower) median, since an artifact in one
    class is none in most. 1, which tells nothing, where no other class has a candidate.

    Args:
        most: from `_most_rigid`.
        label: the class that does not count.
    """
    return usual_of_others(most, label, alone=1.0)


@dataclass(frozen=True, eq=False)
class _Looked:
    """A candidate that holds on the tested images, and what its pictures say.

    Attributes:
        candidate: with the images that will be listed.
        test: numbers of every test.
        weight: suspicion and its parts.
        found: rigidity of the members.
    """

    candidate: Candidate
    test: dict[str, float]
    weight: dict[str, float]
    found: Rigidity

    @property
    def exact(self) -> bool:
        """Whether we say that it repeats exactly."""
        return self.weight["rigidity"] >= EXACT

    @property
    def promising(self) -> bool:
        """Whether experiments may set it apart from parts of the class.

        What has a motif, but not exactly, is told better by cells.
        """
        if self.candidate.likeness is not None:
            return False
        return self.candidate.template.potent or self.test["p_surer"] <= SURER


def _extended(one: _Looked, scene: Scene, tested: np.ndarray, lacking: np.ndarray) -> _Looked:
    """The candidate with every image of the class that carries it."""
    if one.candidate.likeness is not None:
        return one
    listed = reach(one.candidate, scene.records.labels, lacking)
    test = dict(one.test)
    own = tested & (scene.records.labels == listed.label)
    for name, images in (("share", own), ("elsewhere", tested & ~own)):
        # Others are held to a stricter limit, unless they are known to share it.
        if images.any() and (name == "share" or listed.template.shared):
            test[name] = float(listed.carries[images].mean())
    weight = one.weight
    if weight["spot"] > 0:
        # More of the class may carry it than the template was sure of.
        weight = _weigh(one.candidate, test, scene.records)
    return replace(one, candidate=listed, test=test, weight=weight)


def _distinct(looked: Sequence[_Looked], records: Records) -> list[_Looked]:
    """The suspicious, the promising, and a few ordinary ones, without pieces of the same thing."""

    def first(one: _Looked) -> tuple[bool, float, float]:
        # Of several that are beyond doubt the one that most images carry is the whole thing.
        plain = min(one.weight["suspicion"], BEYOND_DOUBT)
        return not _tells_more(one, looked, records.labels), -plain, -_carried(one, records.labels)

    suspicious = sorted(looked, key=first)
    loud = [one for one in suspicious if severity_of(one.weight["suspicion"]) != "low"]
    low = [one for one in suspicious if severity_of(one.weight["suspicion"]) == "low"]
    promising = [one for one in low if one.promising]
    promising.sort(key=lambda one: (not one.candidate.template.potent, one.test["p_surer"]))
    kept: list[_Looked] = []
    for group, most in ((loud, len(loud)), (promising, PROMISING), (low, ORDINARY_GROUPS)):
        taken: Counter[int] = Counter()
        for one in group:
            label = one.candidate.label
            if taken[label] < most and not any(
                _stands_for(other, one, records.labels) for other in kept
            ):
                kept.append(one)
                taken[label] += 1
    return kept


def _stands_for(kept: _Looked, one: _Looked, labels: np.ndarray) -> bool:
    """Whether one is a piece of what is kept: it stands in the same images.

    Where what is kept is in doubt, experiments decide whether the thing has a place or moves.
    """
    if not same_images(kept.candidate, one.candidate, labels):
        return False
    differ = (kept.candidate.extent is None) != (one.candidate.extent is None)
    return not (differ and one.promising and kept.weight["suspicion"] < BEYOND_DOUBT)


def _carried(one: _Looked, labels: np.ndarray) -> float:
    """How many images of the class carry it."""
    return float(one.candidate.carries[labels == one.candidate.label].sum())


def _tells_more(one: _Looked, looked: Sequence[_Looked], labels: np.ndarray) -> bool:
    """Whether other classes share a thing, so that only its own template finds all that carry it.

    A template that keeps away from the other classes then leaves out many images of the class.
    """
    if not one.candidate.template.shared:
        return False
    others = [other for other in looked if not other.candidate.template.shared]
    return all(
        _carried(one, labels) >= MORE * _carried(other, labels)
        for other in others
        if same_images(one.candidate, other.candidate, labels)
    )


def worth_listing(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings without what was kept for the experiments alone and did not stand out there.

    A mark changes the looks of whole images, too: a look that goes with what experiments confirmed
    is left out.

    Args:
        findings: strongest first.
    """
    kept: list[Finding] = []
    ordinary: Counter[str] = Counter()
    confirmed = [f for f in findings if f.verdict == "confirmed" and f.kind not in WHOLE]
    for finding in findings:
        if finding.kind == "property" and any(_goes_with(finding, one) for one in confirmed):
            continue
        if finding.severity == "low" and finding.kind not in WHOLE:
            ordinary[finding.label] += 1
            if ordinary[finding.label] > ORDINARY_GROUPS:
                continue
        kept.append(finding)
    return ranked(kept)


def _goes_with(one: Finding, other: Finding) -> bool:
    """Whether two findings of a class stand in the same images."""
    return one.label == other.label and together(one.carries, other.carries)


def _seen(candidate: Candidate, test: dict[str, float], scene: Scene, half: np.ndarray) -> _Seen:
    """A candidate with how alike its pictures are."""
    found, control, all_over = _rigidity(candidate, scene, half)
    test |= {"rigidity": found.gradient, "control_rigidity": control, "all_over": all_over}
    test |= {"opacity": found.opacity, "duplicates": found.duplicates}
    test["p_surer"] = _surer_p(candidate, scene.records, ~half)
    if candidate.likeness is not None:
        test |= repetition(candidate, candidate.likeness, scene.records.labels, ~half)
    return _Seen(candidate, test, found)


def repetition(
    candidate: Candidate, likeness: np.ndarray, labels: np.ndarray, images: np.ndarray
) -> dict[str, float]:
    """How exactly members repeat a motif, and what next to no other image reaches.

    Args:
        candidate: who carries it.
        likeness: correlation of each image with the motif, (image,).
        labels: class of each image, (image,).
        images: which images count, (image,) of bool.
    """
    known, own = images & candidate.known, labels == candidate.label
    members = likeness[known & own & candidate.carries]
    others = likeness[known & ~own & ~candidate.carries]
    return {
        "repeating": float(len(members)),
        "likeness": float(np.median(members)) if len(members) else 0.0,
        "likeness_elsewhere": float(np.quantile(others, 1 - TAIL)) if len(others) else 1.0,
    }


def exactness(numbers: Mapping[str, float]) -> float:
    """Whether a motif repeats as parts of objects do, 0, or as nothing in nature does, 1.

    Args:
        numbers: from `repetition`.
    """
    apart = numbers["likeness"] - numbers["likeness_elsewhere"]
    apart -= LUCK / max(numbers["repeating"], 1.0) ** 0.5
    return float(np.clip((apart - SELDOM) / (NEVER - SELDOM), 0, 1))


def _look(seen: _Seen, natural: float, records: Records) -> _Looked:
    """What the pictures say of a candidate, where parts of objects are so rigid."""
    test = {**seen.test, "natural_rigidity": natural}
    weight = _weigh(seen.candidate, test, records)
    return _Looked(seen.candidate, test, weight, seen.found)


def _rigidity(
    candidate: Candidate, scene: Scene, half: np.ndarray
) -> tuple[Rigidity, float, float]:
    """Rigidity of the members, and of what is ordinary in such images.

    Returns:
        What members show at their places; the most that they show at other places, where aligned
        anatomy would be as alike, and that images least like the members show at the same places;
        and how far members pass these at the usual other place, 0 where they are not alike there.
    """
    own = scene.records.labels == candidate.label
    members = np.flatnonzero(own & candidate.carries & ~half)
    if len(members) < FEWEST:
        members = np.flatnonzero(own & candidate.carries)
    members = candidate.surest(members)[:COMPARED]
    centres = cell_centres(candidate.closest, scene.records.cell_grid)
    found = scene.rigidity(members, centres[members])
    if found.gradient <= ORDINARY:
        return found, 0.0, 0.0
    rest = np.flatnonzero(~candidate.carries & own)
    rest = rest[np.argsort(candidate.membership[rest], kind="stable")][: len(rest) // 2]
    if len(rest) < FEWEST:
        rest = np.flatnonzero(~candidate.carries)
    rest = rest[np.linspace(0, len(rest) - 1, min(COMPARED, len(rest))).astype(int)]
    control = scene.rigidity(rest, centres[rest]).gradient
    extent = candidate.extent
    places: list[tuple[tuple[float, float], float]] = []
    for place in ELSEWHERE:
        apart = np.abs(centres[members] - place).max(axis=1) >= APART
        if apart.sum() >= FEWEST:
            there = scene.rigidity(members[apart], _at(place, apart.sum())).gradient
            places.append((place, there))
    other = [there for place, there in places if extent is None or not _covers(extent, *place)]
    all_over = 0.0
    if len(places) >= PLACES and np.median([there for _, there in places]) >= ALIKE:
        beyond = [
            there - scene.rigidity(rest, _at(place, len(rest))).gradient for place, there in places
        ]
        all_over = float(np.median(beyond))
    return found, max([control, *other]), all_over


def _at(place: tuple[float, float], images: int) -> np.ndarray:
    """The same place in every image, (image, 2)."""
    return np.tile(place, (int(images), 1))


def _surer_p(candidate: Candidate, records: Records, tested: np.ndarray) -> float:
    """Of the surest tested members being no surer of the class than its other tested images.

    One-sided (Mann-Whitney U), by the label's log-odds; 1 where there are too few to say.
    """
    own = tested & (records.labels == candidate.label)
    members = candidate.surest(np.flatnonzero(own & candidate.carries))[: 2 * COMPARED]
    others = np.flatnonzero(own & ~candidate.carries)
    if min(len(members), len(others)) < FEWEST:
        return 1.0
    output = int(records.outputs[members[0]])
    inside, outside = (answers_for(records.logits[n], output).log_odds for n in (members, others))
    return surer_p(inside, outside)


def _covers(extent: np.ndarray, x: float, y: float) -> bool:
    """Whether the patch around a place holds a cell of the thing."""
    rows, columns = extent.shape
    down = np.abs((np.arange(rows) + 0.5) / rows - y) <= PATCH / 2
    across = np.abs((np.arange(columns) + 0.5) / columns - x) <= PATCH / 2
    return bool(extent[np.ix_(down, across)].any())


@dataclass(frozen=True, eq=False)
class Scene:
    """The pictures behind the records.

    Attributes:
        records: what the sweep kept.
        read: the picture of an image by its number in ``records``.
        preprocessing: to find places of the model's input on the picture.
        views: small pictures that were looked at lately.
    """

    records: Records
    read: Callable[[int], Image.Image]
    preprocessing: Preprocessing
    views: dict[int, np.ndarray | None] = field(default_factory=dict)

    def pixels(self, number: int) -> np.ndarray | None:
        """What the model sees of an image; ``None`` if it is unreadable now."""
        try:
            return self.preprocessing.pixels(self.read(number))
        except UnreadableImage:
            return None

    def view(self, number: int) -> np.ndarray | None:
        """The colours of that, scaled down; ``None`` if it is unreadable now."""
        if number not in self.views:
            if len(self.views) >= VIEWS:
                self.views.clear()
            pixels = self.pixels(number)
            small = None if pixels is None else colour_image(Image.fromarray(pixels))
            self.views[number] = small
        return self.views[number]

    def rigidity(self, images: np.ndarray, centres: np.ndarray) -> Rigidity:
        """Compare images at places given as fractions x, y of the model's input, (image, 2)."""
        seen = [self._see(int(n), centre) for n, centre in zip(images, centres, strict=True)]
        pairs = [pair for pair in seen if pair is not None]
        return measure_rigidity([grey for grey, _ in pairs], np.array([at for _, at in pairs]))

    def _see(self, number: int, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Grey levels, and the place as fractions of the original; ``None`` if unreadable now."""
        try:
            picture = self.read(number)
        except UnreadableImage:
            return None
        x0, y0, x1, y1 = self.preprocessing.input_box(picture.width, picture.height)
        x = (x0 + centre[0] * (x1 - x0)) / picture.width
        y = (y0 + centre[1] * (y1 - y0)) / picture.height
        return grey_image(picture), np.clip((x, y), 0, 1 - 1e-6)


def _weigh(candidate: Candidate, test: dict[str, float], records: Records) -> dict[str, float]:
    """Suspicion and its parts, each in [0, 1]."""
    region = _region(candidate, records.cell_grid)
    border = float(region in (*CORNERS, *EDGES, "frame"))
    rigid = _rigid(candidate, test, bordering=border > 0)
    exclusive = test["share"] / max(test["share"] + test["elsewhere"], 1e-9)
    members = np.flatnonzero(candidate.carries & (records.labels == candidate.label))
    maps = records.cell_maps(members).reshape(len(members), -1)
    here = maps[np.arange(len(members)), candidate.closest[members]]
    # As hot as the hottest cell of the members' maps: 1; no hotter than their mean: 0.
    peak = max(float(maps.max(axis=1).mean() - maps.mean()), 1e-6)
    heat = float(np.clip((here.mean() - maps.mean()) / peak, 0, 1))
    test["evidence"], test["evidence_mean"] = float(here.mean()), float(maps.mean())
    spot = _spot(candidate, region, test["share"])
    spread = float(np.clip((test["all_over"] - ALL_OVER) / PLAINLY, 0, 1))
    unlike = spread if test["share"] < NEARLY_ALL else 0.0
    # Without rigidity, what is rare in the class and hot comes first: true parts are common.
    soft = max(0.1 * heat * (1 - test["share"]), SPOTTED * spot, SPOTTED * unlike)
    suspicion = exclusive * float(
        np.clip(soft + 0.8 * rigid + 0.1 * rigid**0.5 + 0.1 * border * (rigid > 0), 0, 1)
    )
    return {
        "suspicion": suspicion,
        "rigidity": rigid,
        "exclusivity": exclusive,
        "border": border,
        "evidence": heat,
        "spot": spot,
        "all_over": spread,
        "fixed_place": place_concentration(candidate.closest[members], records.cell_grid),
    }


def _rigid(candidate: Candidate, test: Mapping[str, float], *, bordering: bool) -> float:
    """How exactly it repeats, in [0, 1].

    Parts of objects stand where their objects do, so that inside the frame only a motif tells.
    """
    if candidate.likeness is not None:
        return exactness(test)
    if not bordering:
        return 0.0
    ordinary = min(ORDINARY, max(test["natural_rigidity"] + ABOVE_NATURE, LOWEST))
    ordinary = max(ordinary, test["control_rigidity"] + 0.1)
    span = max(RIGID - ordinary, 0.25)
    return float(np.clip((test["rigidity"] - ordinary) / span, 0, 1))


def _spot(candidate: Candidate, region: str, share: float) -> float:
    """How clearly a thing keeps to a spot off the middle, in [0, 1].

    By how far the images that carry it stand apart from those that do not.
    """
    extent, template = candidate.extent, candidate.template
    if extent is None or region not in (*CORNERS, *EDGES) or extent.mean() > SPOT:
        return 0.0
    if share >= COMMON:
        return 0.0
    apart = (template.typical - template.limit) / max(template.typical, 1e-6)
    return float(np.clip(apart / CLEARLY, 0, 1))


def severity_of(suspicion: float) -> str:
    """``high``, ``medium`` or ``low``."""
    return "high" if suspicion >= HIGH else "medium" if suspicion >= MEDIUM else "low"


def _region(candidate: Candidate, grid: tuple[int, int]) -> str:
    """The name of the place a fixed thing stands at; ``anywhere`` for the rest."""
    if candidate.extent is None:
        return ANYWHERE
    extent = candidate.extent
    strips = (extent[0], extent[-1], extent[:, 0], extent[:, -1])
    if sum(strip.mean() >= 0.4 for strip in strips) >= 3 and extent[2:-2, 2:-2].mean() < 0.5:
        return "frame"
    return box_region(*_bounds(extent))


def _bounds(extent: np.ndarray) -> Box:
    """Smallest box around the cells of a fixed thing, as fractions of the frame."""
    rows, columns = np.flatnonzero(extent.any(axis=1)), np.flatnonzero(extent.any(axis=0))
    height, width = extent.shape
    return (
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1) / width),
        float((rows[-1] + 1) / height),
    )


def _kind(one: _Looked, region: str) -> str:
    extent = one.candidate.extent
    if region == "frame":
        return "frame"
    if _is_all_over(one.weight):
        return "background"
    # Of what moves cells tell the place too coarsely to compare what shines through.
    if one.exact and extent is not None and one.found.opacity < TRANSLUCENT:
        return "overlay"
    if region in CORNERS:
        return "corner"
    if region in EDGES:
        return "edge"
    if extent is not None and extent.mean() >= WIDE and not one.exact:
        return "background"
    return "patch"


def _finding(one: _Looked, records: Records, classes: tuple[str, ...]) -> Finding:
    candidate, test, weight = one.candidate, one.test, one.weight
    label, grid = classes[candidate.label], records.cell_grid
    region = _region(candidate, grid)
    kind = _kind(one, region)
    if kind == "background" and _is_all_over(weight):
        region = ANYWHERE
    suspicion = weight["suspicion"]
    members = np.flatnonzero(candidate.carries & (records.labels == candidate.label))
    best = candidate.surest(members)
    # Half for an image at the limit of membership, nearly one for a typical member.
    sure = 1 / (1 + np.exp(-3.0 * np.clip(candidate.membership, -3, 3)))
    place = np.bincount(candidate.closest[members], minlength=grid[0] * grid[1]).reshape(grid)
    carries = listed_images(candidate, records.labels)
    sharing = _sharing(candidate, records, classes)
    return Finding(
        key="",
        label=label,
        number=candidate.label,
        kind=kind,
        region=region,
        share=test["share"],
        elsewhere=test["elsewhere"],
        q=test["q"],
        suspicion=suspicion,
        severity=severity_of(suspicion),
        sentence=_sentence(label, kind, region, test, weight, sharing),
        advice=_advice(kind, test["share"], weight),
        carries=carries,
        score=np.where(carries, max(suspicion, LEAST) * sure, 0.0),
        boxes=_boxes(candidate, grid),
        parts={k: weight[k] for k in _PARTS},
        numbers=test,
        place=place / max(len(members), 1),
        typical=best,
        extent=candidate.extent,
        template=candidate.template,
    )


def located(
    findings: Sequence[Finding], labels: np.ndarray, folder: Path, grid: tuple[int, int]
) -> list[Finding]:
    """The findings with boxes around all cells that a thing at changing places covers.

    Args:
        findings: in any order.
        labels: class of each image, (image,).
        folder: the shards.
        grid: rows and columns of cells.
    """
    found = list(findings)
    moving = [
        (n, one)
        for n, one in enumerate(findings)
        if one.extent is None and one.template and not _is_all_over(one.parts)
    ]
    templates = [one.template for _, one in moving if one.template]
    wanted = np.array([one.carries for _, one in moving])
    covered = matching_cells(folder, templates, wanted, grid) if moving else []
    for (n, one), cells in zip(moving, covered, strict=True):
        found[n] = replace(one, boxes=_around(one.boxes, cells))
    for n, one in enumerate(found):
        if _is_all_over(one.parts):
            members = np.sort(one.typical[:LOCATED])
            others = np.flatnonzero((labels != one.number) & ~one.carries)
            others = others[np.linspace(0, len(others) - 1, min(LOCATED, len(others))).astype(int)]
            cells = background_cells(folder, members, others, grid)
            found[n] = replace(one, boxes=lambda _image: WHOLE_FRAME, cells=cells)
    return found


def _is_all_over(parts: Mapping[str, float]) -> bool:
    """Whether it has no place, by the parts of its suspicion."""
    return parts.get("all_over", 0.0) >= CLEAR


def _around(middle: Callable[[int], Box], cells: Mapping[int, np.ndarray]) -> Callable[[int], Box]:
    """Boxes around the cells of an image where they are known, and around the middle at least."""

    def box(image: int) -> Box:
        least = middle(image)
        if image not in cells:
            return least
        rows, columns = cells[image].shape
        x0, y0, x1, y1 = _bounds(cells[image])
        # What a cell sees reaches beyond it, so a thing may end in the next one.
        across, down = MARGIN / columns, MARGIN / rows
        return (
            min(least[0], max(x0 - across, 0.0)),
            min(least[1], max(y0 - down, 0.0)),
            max(least[2], min(x1 + across, 1.0)),
            max(least[3], min(y1 + down, 1.0)),
        )

    return box


def ranked(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Strongest first, with their keys: ``F1``, ``F2``..."""
    order = sorted(findings, key=_strength)
    return tuple(replace(finding, key=f"F{n}") for n, finding in enumerate(order, start=1))


def _strength(finding: Finding) -> tuple[int, int, float]:
    """Sorts by severity, then by what was shown, then by suspicion."""
    return (
        SEVERITIES.index(finding.severity),
        VERDICTS.index(finding.verdict),
        -finding.suspicion,
    )


def _boxes(candidate: Candidate, grid: tuple[int, int]) -> Callable[[int], Box]:
    """Where each image carries it: the whole thing at a fixed place, two cells around a match."""
    if candidate.extent is not None:
        bounds = _bounds(candidate.extent)
        return lambda _image: bounds
    reach_x, reach_y = 1.25 / grid[1], 1.25 / grid[0]

    def around(image: int) -> Box:
        x, y = cell_centres(candidate.closest[[image]], grid)[0].tolist()
        return (
            max(x - reach_x, 0.0),
            max(y - reach_y, 0.0),
            min(x + reach_x, 1.0),
            min(y + reach_y, 1.0),
        )

    return around


# What is told of how suspicion came about.
_PARTS = ("rigidity", "exclusivity", "border", "spot", "all_over", "evidence", "fixed_place")

_THINGS = {
    "corner": "the same mark",
    "edge": "the same mark",
    "frame": "the same frame",
    "patch": "the same small thing",
    "overlay": "the same translucent overlay",
    "background": "a background that looks alike",
}


_WHERE = {
    "frame": "around the border",
    "centre": "at one place inside the frame",
    ANYWHERE: "at changing places",
}


def _sharing(candidate: Candidate, records: Records, classes: tuple[str, ...]) -> str:
    """The other classes that have a shared thing about as often, with their shares; often none."""
    if not candidate.template.shared:
        return ""
    carried = {n: candidate.carries[records.labels == n].mean() for n in np.unique(records.labels)}
    least = carried[candidate.label] / LIFT
    return ", ".join(
        f"{classes[n]} ({_percent(share)})"
        for n, share in carried.items()
        if n != candidate.label and share > least
    )


def _sentence(
    label: str,
    kind: str,
    region: str,
    test: Mapping[str, float],
    weight: Mapping[str, float],
    sharing: str,
) -> str:
    rigid = weight["rigidity"] >= EXACT
    spotlike, all_over = weight["spot"] >= CLEAR, _is_all_over(weight)
    alike = "a mark that looks alike" if spotlike else "a part that looks alike"
    thing = _THINGS[kind] if rigid or kind == "background" else alike
    where = _WHERE.get(region, f"at the {region}")
    if region.startswith("grid"):
        where = _WHERE["centre"]
    if all_over:
        where = "all over the frame"
    share, other = _percent(test["share"]), _percent(test["elsewhere"])
    what = f"{share} of the {label} images carry {thing} {where}; {other} of the others do."
    looks = " It does not repeat exactly, so it may well be a true part of the class."
    if all_over:
        looks = " They are alike wherever one looks, as images with the same object are not."
    elif rigid:
        looks = " It repeats almost exactly, as natural objects seldom do."
    elif spotlike:
        looks = (
            " It does not repeat exactly, but it keeps to one small place, as objects seldom do."
        )
    heat = " The class map is hot there." if weight["evidence"] >= 0.25 else ""
    shared = f" Other classes carry it too: {sharing}." if sharing else ""
    return what + shared + looks + heat


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%" if 0 < share < 0.1 else f"{100 * share:.0f}%"


def _advice(kind: str, share: float, weight: Mapping[str, float]) -> str:
    if _is_all_over(weight):
        return "Add images of the class without it, or leave the listed ones out, and train again."
    if weight["rigidity"] < EXACT and weight["spot"] < CLEAR:
        return "Look at the pictures: a true part of the class needs nothing."
    if kind == "frame":
        return "Crop the border of every image, of all classes, and train again."
    if share >= 0.5:
        return "Too many images carry it to drop them: mask it in every image and train again."
    return "Mask it in the listed images or leave them out, and train again."
