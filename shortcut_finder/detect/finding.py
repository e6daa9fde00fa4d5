"""Findings: candidates that hold on images they were not found on, with a sentence each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from shortcut_finder.data.preprocessing import WHOLE_FRAME, Box
from shortcut_finder.data.regions import (
    ANYWHERE,
    CORNERS,
    EDGES,
    SURROUNDINGS,
    cell_centres,
    cell_counts,
    cells_at,
)
from shortcut_finder.detect.candidates import (
    FEWEST,
    TOGETHER,
    Candidate,
    association_test,
    classes_without,
    holds,
    listed_images,
    reach,
    same_images,
    together,
)
from shortcut_finder.detect.channels.associations import Shift
from shortcut_finder.detect.channels.groups import (
    Template,
    background_cells,
    cells_around,
    matching_cells,
)
from shortcut_finder.detect.channels.metadata import Companion
from shortcut_finder.detect.sentences import advice_for, sentence_of, sharing_classes
from shortcut_finder.detect.suspicion import (
    BEYOND_DOUBT,
    COMPARED,
    EXACT,
    NEARLY_ALL,
    along_border,
    bounds_of,
    exactness,
    exactness_found,
    is_all_over,
    region_of,
    repetition,
    rigidity_of,
    severity_of,
    weigh,
)
from shortcut_finder.pixels.rigidity import Rigidity
from shortcut_finder.settings import SEVERITIES
from shortcut_finder.stats.evidence import false_discovery_rate, usual_of_others
from shortcut_finder.stats.experiments import VERDICTS, Verification, answers_for
from shortcut_finder.stats.surplus import surer_p
from shortcut_finder.sweep.records import Records
from shortcut_finder.sweep.scene import Scene

# Share of near copies among the compared images from which a group is one of duplicates.
DUPLICATES = 0.5
# How many times as many images a template of what other classes share must find in the class.
MORE = 1.25
# Suspicion that scores are measured by where there is none, so that their order is kept.
LEAST = 1e-6
# Natural-looking groups of a class that are still listed, at low severity, and how many more are
# kept for the experiments because their images are surer of the class than its others are, or
# because a handful of them seems to repeat exactly.
ORDINARY_GROUPS, PROMISING, HANDFULS = 1, 4, 2
# How plainly surer (Mann-Whitney U, one-sided).
SURER = 1e-3
# Images in which a background is located, and images it is held against.
LOCATED = 300
# Kinds that stand nowhere in particular.
WHOLE = ("property", "metadata")
# Members' cells that cover this part of the image are a background.
WIDE = 0.25
# Width of a rim around the cells of a thing, in cells.
MARGIN = 0.25
# Correlation of two candidates' members within a class from which they are the same, and part of
# what lies in another thing, and in its images, from which all of it does; the correlation from
# which what lies there may be a piece of it.
THE_SAME, MOSTLY = 0.9, 0.6
# Part of a background's images that another thing must be in to be why they are alike; in fewer of
# them it is a piece of it.
MOST = 0.6
# Side of a window that repeats, as part of the frame's.
PATTERN = 0.125
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
        half: images that it was found on, (image,) of bool; it is tested on the others.
        extent: cells that a thing at a fixed place covers, (row, column) of bool; ``None`` for
            everything else.
        strip: cells along the one edge that a thing at changing places keeps to, likewise.
        template: what its cells look like; ``None`` for what has no place.
        cells: for what is all over the frame, the cells it covers by number of the image, each
            (row, column) of bool; empty for everything else.
        exact: whether its boxes are drawn to the pixel, so that they say more than its cells.
        verdict: ``confirmed``, ``present`` or ``suspect``.
        reliance: effect of the thing on the label's probability beyond its controls, with the ends
            of its 95% interval, each in [-1, 1]; NaN where it was not measured.
        verification: the experiments behind verdict and reliance.
        shifts: for a property, how its traits differ; neutralising it undoes this.
        metadata: values of the user's columns that its images have more often than others.
        sure: which of its carriers are sure, (image,) of bool; the others are likely. ``None``
            where all are.
        wrong: share of the sure carriers, and of all listed in its class, that do not carry it, by
            estimate, each in [0, 1]; NaN where it is not known.
        share_range: ends of the 95% interval of ``share``; NaN where it is not known.
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
    half: np.ndarray
    extent: np.ndarray | None = None
    strip: np.ndarray | None = None
    template: Template | None = None
    cells: Mapping[int, np.ndarray] = field(default_factory=dict)
    exact: bool = False
    verdict: str = "suspect"
    reliance: tuple[float, float, float] = (np.nan, np.nan, np.nan)
    verification: Verification | None = None
    shifts: tuple[Shift, ...] = ()
    metadata: tuple[Companion, ...] = ()
    sure: np.ndarray | None = None
    wrong: tuple[float, float] = (np.nan, np.nan)
    share_range: tuple[float, float] = (np.nan, np.nan)

    @property
    def artifact(self) -> float:
        """How much it looks like an artifact rather than a part of the object, in [0, 1]."""
        return self.suspicion

    @property
    def tiers(self) -> np.ndarray:
        """``sure``, ``likely`` or empty, (image,)."""
        sure = self.carries if self.sure is None else self.sure & self.carries
        return np.where(sure, "sure", np.where(self.carries, "likely", ""))

    @property
    def covers(self) -> np.ndarray | None:
        """The cells of a thing, or of all that it moves in; ``None`` for one anywhere."""
        return self.strip if self.extent is None else self.extent


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


def judge(candidates: Sequence[Candidate], scene: Scene, classes: tuple[str, ...]) -> Judged:
    """Test candidates on the images they were not found on, see what they look like, and say it.

    Args:
        candidates: of one half or of both.
        scene: what the sweep kept, and the pictures behind it.
        classes: class names.
    """
    labels = scene.records.labels
    lacking = [classes_without(candidate, labels) for candidate in candidates]
    tests = [
        association_test(one, labels, ~one.half, without)
        for one, without in zip(candidates, lacking, strict=True)
    ]
    q = false_discovery_rate(np.array([test["p"] for test in tests]))
    holding = [
        (_seen(candidate, {**test, "q": float(value)}, scene), without)
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
            looked.append(_extended(one, scene, without))
    whole = [_whole(one, looked, scene.records) for one in looked]
    findings = [_finding(one, scene.records, classes) for one in _distinct(whole, scene.records)]
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

    @property
    def alike(self) -> float:
        """How exactly it seems to repeat, in [0, 1]; in a handful of images that may be luck."""
        if self.candidate.likeness is None:
            return 0.0
        return min(exactness(self.test | {"repeating": math.inf}), self.test["exactness_found"])


def _extended(one: _Looked, scene: Scene, lacking: np.ndarray) -> _Looked:
    """The candidate with every image of the class that carries it."""
    placed = one.candidate.placed
    if placed is None and one.candidate.likeness is not None:
        return one
    whole = one.candidate if placed is None else replace(one.candidate, membership=placed)
    listed = reach(whole, scene.records.labels, lacking)
    test, tested = dict(one.test), ~listed.half & listed.known
    own = tested & (scene.records.labels == listed.label)
    alike = listed.template.shared or placed is not None
    for name, images in (("share", own), ("elsewhere", tested & ~own)):
        # Others may be held to a stricter limit.
        if images.any() and (name == "share" or alike):
            test[name] = float(listed.carries[images].mean())
    weight = one.weight
    if weight["spot"] > 0 or weight["all_over"] > 0:
        # More of the class may carry it than the template was sure of.
        weight = weigh(one.candidate, test, scene.records)
    return replace(one, candidate=listed, test=test, weight=weight)


def _whole(one: _Looked, looked: Sequence[_Looked], records: Records) -> _Looked:
    """What repeats, at the place of the thing that it is a piece of, where there is one.

    That is a frame, or what stands at one place in the same images, as a date does with its digits.
    """
    candidate = one.candidate
    if candidate.likeness is None or is_all_over(one.weight):
        return one
    for other in (other.candidate for other in looked):
        if _frames(other, candidate, records) or _encloses(other, candidate, records.labels):
            whole = replace(candidate, extent=other.extent, template=other.template)
            return replace(one, candidate=whole)
    return one


def _frames(whole: Candidate, piece: Candidate, records: Records) -> bool:
    """Whether a piece lies on what is alike all around the border in the very same images."""
    if whole.extent is None or region_of(whole, records.cell_grid) != "frame":
        return False
    inside = piece.extent is not None and not (piece.extent & whole.extent).any()
    return not inside and same_images(whole, piece, records.labels, THE_SAME)


def _encloses(whole: Candidate, piece: Candidate, labels: np.ndarray) -> bool:
    """Whether a piece at changing places lies within a thing at one place, in the same images.

    Both found on one half, so that the other has its say about the place, too. Cells at the rim of
    a thing show little of it.
    """
    if piece.covers is not None or whole.extent is None or whole.half is not piece.half:
        return False
    x0, y0, x1, y1 = bounds_of(whole.extent)
    if (x1 - x0) * (y1 - y0) >= WIDE or not same_images(whole, piece, labels, MOSTLY):
        return False
    rows, columns = whole.extent.shape
    carriers = piece.carries & (labels == piece.label)
    x, y = cell_centres(piece.closest[carriers], (rows, columns)).T
    beside = (x < x0 - 1 / columns) | (x > x1 + 1 / columns)
    return bool((beside | (y < y0 - 1 / rows) | (y > y1 + 1 / rows)).mean() <= 1 - THE_SAME)


def _distinct(looked: Sequence[_Looked], records: Records) -> list[_Looked]:
    """The suspicious, the promising, and a few ordinary ones, without pieces of the same thing."""

    def first(one: _Looked) -> tuple[bool, int, bool, float, float]:
        # Of several that are beyond doubt the one that most images carry is the whole thing; cells
        # tell better than a window how far it reaches.
        plain = min(one.weight["suspicion"], BEYOND_DOUBT)
        return (
            not _tells_more(one, looked, records.labels),
            SEVERITIES.index(severity_of(plain)),
            one.candidate.template.unseen,
            -plain,
            -_carried(one, records.labels),
        )

    suspicious = sorted(looked, key=first)
    loud = [one for one in suspicious if severity_of(one.weight["suspicion"]) != "low"]
    low = [one for one in suspicious if severity_of(one.weight["suspicion"]) == "low"]
    promising = [one for one in low if one.promising]
    promising.sort(key=lambda one: (not one.candidate.template.potent, one.test["p_surer"]))
    handfuls = sorted((one for one in low if one.alike >= EXACT), key=lambda one: -one.alike)
    kept: list[_Looked] = []
    for group, most in (
        (loud, len(loud)),
        (promising, PROMISING),
        (handfuls, HANDFULS),
        (low, ORDINARY_GROUPS),
    ):
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
    if _is_piece(kept, one, labels):
        return True
    if not same_images(kept.candidate, one.candidate, labels):
        return False
    differ = (kept.candidate.extent is None) != (one.candidate.extent is None)
    differ = differ and not (is_all_over(kept.weight) and is_all_over(one.weight))
    return not (differ and one.promising and kept.weight["suspicion"] < BEYOND_DOUBT)


def _is_piece(kept: _Looked, one: _Looked, labels: np.ndarray) -> bool:
    """Whether one lies within a thing at one place that nearly all of the class carries.

    In all of a class everything stands in the same images, or nothing does: correlation cannot say.
    """
    whole = kept.candidate
    if whole.label != one.candidate.label or whole.extent is None:
        return False
    own = labels == whole.label
    everywhere, part = whole.carries[own], one.candidate.carries[own]
    if kept.weight["suspicion"] < BEYOND_DOUBT or everywhere.mean() < NEARLY_ALL:
        return False
    if part.sum() < TOGETHER * everywhere.sum() or everywhere[part].mean() < THE_SAME:
        return False
    inside = whole.extent.ravel()[one.candidate.closest[own][part]]
    return bool(inside.mean() >= THE_SAME)


def _carried(one: _Looked, labels: np.ndarray) -> float:
    """How many images of the class carry it; of a motif, those that would anywhere, too."""
    if one.candidate.placed is not None:
        return one.test["members"]
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

    What another finding of the same images explains is left out, too.

    Args:
        findings: strongest first.
    """
    kept: list[Finding] = []
    ordinary: Counter[str] = Counter()
    for finding in findings:
        if any(_explains(other, finding) for other in findings):
            continue
        if finding.region == SURROUNDINGS and finding.verdict != "confirmed":
            continue
        if finding.severity == "low" and finding.kind not in WHOLE:
            ordinary[finding.label] += 1
            if ordinary[finding.label] > ORDINARY_GROUPS:
                continue
        kept.append(finding)
    return ranked(kept)


def _explains(reason: Finding, other: Finding) -> bool:
    """Whether one finding says why there is another one in the same images.

    A mark changes the looks of whole images, too. And a look makes images alike all over the frame,
    as what is all over them gives them a look: which it is, experiments on the look decide.
    """
    if _looks_alike(reason, other):
        return True
    if reason.label != other.label or not together(reason.carries, other.carries):
        return False
    if other.region == SURROUNDINGS:
        if reason.region in (SURROUNDINGS, "centre") or reason.verdict != "confirmed":
            return False
        return bool(reason.carries[other.carries].mean() >= MOST)
    if reason.region == SURROUNDINGS:
        # A look of the background says what is alike in it.
        return False
    if other.kind == "property" and reason.kind not in WHOLE:
        if is_all_over(reason.parts):
            return reason.severity != "low" and other.verdict != "confirmed"
        return reason.verdict == "confirmed"
    confirmed = reason.kind == "property" and reason.verdict == "confirmed"
    return confirmed and is_all_over(other.parts)


def _looks_alike(reason: Finding, other: Finding) -> bool:
    """Whether a look that the model relies on makes parts of its images alike, which are nothing.

    Blurred images are alike wherever they show something blurred.
    """
    relied_on = reason.verification is not None and reason.verification.holds
    plain = reason.kind == "property" and reason.suspicion >= BEYOND_DOUBT
    if reason.label != other.label or other.region != ANYWHERE or not (relied_on and plain):
        return False
    unused = other.verification is not None and not other.verification.holds
    return unused and bool(reason.carries[other.carries].mean() >= THE_SAME)


def _seen(candidate: Candidate, test: dict[str, float], scene: Scene) -> _Seen:
    """A candidate with how alike its pictures are."""
    found, control, all_over = rigidity_of(candidate, scene)
    test |= {"rigidity": found.gradient, "control_rigidity": control, "all_over": all_over}
    test |= {"opacity": found.opacity, "duplicates": found.duplicates}
    test["p_surer"] = _surer_p(candidate, scene.records)
    if candidate.likeness is not None:
        test |= repetition(candidate, candidate.likeness, scene.records.labels, ~candidate.half)
        test["exactness_found"] = exactness_found(candidate, scene.records.labels)
    return _Seen(candidate, test, found)


def _look(seen: _Seen, natural: float, records: Records) -> _Looked:
    """What the pictures say of a candidate, where parts of objects are so rigid."""
    test = {**seen.test, "natural_rigidity": natural}
    weight = weigh(seen.candidate, test, records)
    return _Looked(seen.candidate, test, weight, seen.found)


def _surer_p(candidate: Candidate, records: Records) -> float:
    """Of the surest tested members being no surer of the class than its other tested images.

    One-sided (Mann-Whitney U), by the label's log-odds; 1 where there are too few to say.
    """
    own = ~candidate.half & (records.labels == candidate.label)
    members = candidate.surest(np.flatnonzero(own & candidate.carries))[: 2 * COMPARED]
    others = np.flatnonzero(own & ~candidate.carries)
    if min(len(members), len(others)) < FEWEST:
        return 1.0
    output = int(records.outputs[members[0]])
    inside, outside = (answers_for(records.logits[n], output).log_odds for n in (members, others))
    return surer_p(inside, outside)


def _kind(one: _Looked, region: str) -> str:
    extent = one.candidate.extent
    if is_all_over(one.weight):
        return "background"
    if region == "frame":
        return "frame"
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


def sureness(membership: np.ndarray) -> np.ndarray:
    """How surely images carry a thing, by membership (0 at its limit, 1 if typical), in (0, 1).

    Example:
        >>> sureness(np.array([0.0, 1.0])).round(2).tolist()
        [0.5, 0.95]
    """
    return np.asarray(1 / (1 + np.exp(-3.0 * np.clip(membership, -3, 3))))


def _finding(one: _Looked, records: Records, classes: tuple[str, ...]) -> Finding:
    candidate, test, weight = one.candidate, one.test, one.weight
    label, grid = classes[candidate.label], records.cell_grid
    region = region_of(candidate, grid)
    if region == "frame" and candidate.extent is not None:
        # What is alike deeper inside is not given and taken with it: it may be the object.
        candidate = replace(candidate, extent=candidate.extent & along_border(grid))
    kind = _kind(one, region)
    if kind == "background" and is_all_over(weight):
        region = ANYWHERE
    suspicion = weight["suspicion"]
    members = np.flatnonzero(candidate.carries & (records.labels == candidate.label))
    best = candidate.surest(members)
    place = cell_counts(candidate.closest[members], grid)
    carries = listed_images(candidate, records.labels)
    sharing = sharing_classes(candidate, records, classes)
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
        sentence=sentence_of(label, kind, region, test, weight, sharing),
        advice=advice_for(kind, test["share"], weight),
        carries=carries,
        score=np.where(carries, max(suspicion, LEAST) * sureness(candidate.membership), 0.0),
        boxes=_boxes(candidate, grid),
        parts={k: weight[k] for k in _PARTS},
        numbers=test,
        place=place / max(len(members), 1),
        typical=best,
        half=candidate.half,
        extent=candidate.extent,
        strip=candidate.strip,
        template=None if candidate.template.unseen else candidate.template,
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
        if one.extent is None and one.template and not is_all_over(one.parts)
    ]
    templates = [one.template for _, one in moving if one.template]
    wanted = np.array([one.carries for _, one in moving])
    covered = matching_cells(folder, templates, wanted, grid) if moving else []
    for (n, one), cells in zip(moving, covered, strict=True):
        found[n] = replace(one, boxes=_around(one.boxes, cells))
    for n, one in enumerate(found):
        spread = is_all_over(one.parts)
        if not spread and (one.extent is not None or one.template):
            continue
        members = np.sort(one.typical[:LOCATED])
        others = np.flatnonzero((labels != one.number) & ~one.carries)
        others = others[np.linspace(0, len(others) - 1, min(LOCATED, len(others))).astype(int)]
        if spread:
            cells = background_cells(folder, members, others, grid)
            found[n] = replace(one, boxes=lambda _image: WHOLE_FRAME, cells=cells)
        elif len(others):
            corners = np.array([one.boxes(int(image)) for image in members])
            middles = cells_at((corners[:, :2] + corners[:, 2:]) / 2, grid)
            around = cells_around(folder, members, middles, others, grid)
            found[n] = replace(one, boxes=_around(one.boxes, around))
    return found


def _around(middle: Callable[[int], Box], cells: Mapping[int, np.ndarray]) -> Callable[[int], Box]:
    """Boxes around the cells of an image where they are known, and around the middle at least."""

    def box(image: int) -> Box:
        least = middle(image)
        if image not in cells:
            return least
        rows, columns = cells[image].shape
        x0, y0, x1, y1 = bounds_of(cells[image])
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
    """Where each image carries it: the whole thing at a fixed place, two cells around a match.

    What repeats to the pixel is a window wide at least.
    """
    if candidate.extent is not None:
        bounds = bounds_of(candidate.extent)
        return lambda _image: bounds
    least = 0.0 if candidate.likeness is None else PATTERN / 2
    reach_y, reach_x = (max(1.25 / length, 0.5 / length + least) for length in grid)

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
