"""Findings: what one class has and the others have not, what was measured and what decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from shortcut_finder.data.membership import having
from shortcut_finder.detect.associations import Shift
from shortcut_finder.detect.colabels import Colabel, colabels
from shortcut_finder.detect.columns import Column
from shortcut_finder.detect.companions import Companion, companions
from shortcut_finder.detect.place import Place
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.settings import LIKELY, SEVERITIES, SURE
from shortcut_finder.stats.evidence import phi
from shortcut_finder.stats.experiments import VERDICTS, Verification

# Correlation of the carriers of two findings from which they stand in the same images.
TOGETHER = 0.4
# Least suspicion that scores are made of, so that their order is kept.
LEAST = 1e-6
# Share of a background's images that another thing must be in to be why they are alike.
MOST = 0.6


@dataclass(frozen=True, eq=False)
class Carriers:
    """Which images carry a thing, and how surely.

    Attributes:
        listed: those that are listed, (image,) of bool.
        score: how surely each carries it times likeness to an artifact, (image,) in [0, 1].
        found_on: images that it was found on, (image,) of bool; it is tested on the others.
        typical: numbers of the best, best first.
        sure: which of those listed are sure, (image,) of bool; the others are likely. ``None``
            where all are.
        alike: which images of any class have what a listed one has, (image,) of bool; ``None``
            where that is not known of other classes.
    """

    listed: np.ndarray
    score: np.ndarray
    found_on: np.ndarray
    typical: np.ndarray
    sure: np.ndarray | None = None
    alike: np.ndarray | None = None

    @property
    def tiers(self) -> np.ndarray:
        """``sure``, ``likely`` or empty, (image,)."""
        sure = self.listed if self.sure is None else self.sure & self.listed
        return np.where(sure, SURE, np.where(self.listed, LIKELY, ""))


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of a thing without asking the model.

    Attributes:
        share: of the class's images that carry it, in [0, 1], on images it was not found on.
        elsewhere: the same for all other classes.
        q: false discovery rate of share against elsewhere, over the tests of all channels.
        artifact: how much it looks like an artifact rather than a part of the object, in [0, 1].
        parts: what that is made of, each in [0, 1].
        numbers: of every test.
        share_range: ends of the 95% interval of ``share``; NaN where it is not known.
        wrong: share of the sure carriers, and of all listed in its class, that do not carry it, by
            estimate, each in [0, 1]; NaN where it is not known.
        shifts: of a look, how its traits differ; neutralising it undoes this.
    """

    share: float
    elsewhere: float
    q: float
    artifact: float
    parts: Mapping[str, float] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    share_range: tuple[float, float] = (np.nan, np.nan)
    wrong: tuple[float, float] = (np.nan, np.nan)
    shifts: tuple[Shift, ...] = ()


@dataclass(frozen=True, eq=False)
class Decided:
    """What was made of it.

    Attributes:
        severity: ``high``, ``medium`` or ``low``.
        verdict: ``confirmed``, ``present`` or ``suspect``.
        reliance: effect of the thing on the label's probability beyond its controls, with the ends
            of its 95% interval, each in [-1, 1]; NaN where it was not measured.
        verification: the experiments behind verdict and reliance.
    """

    severity: str
    verdict: str = "suspect"
    reliance: tuple[float, float, float] = (np.nan, np.nan, np.nan)
    verification: Verification | None = None


@dataclass(frozen=True, eq=False)
class Finding:
    """Something one class has and the others have not, which may be a shortcut.

    Attributes:
        label: class name.
        number: index of the class.
        place: where it stands, and what kind of thing that makes it.
        carriers: which images carry it.
        measured: what was measured of it.
        decided: what was made of it.
        said: what a person should know, a sentence each, the first on what was found.
        advice: what to do about it.
        key: ``F1`` for the strongest.
        companions: values of the user's columns that its images have more often than others.
        colabels: other labels that it goes with, the one that explains most first.
    """

    label: str
    number: int
    place: Place
    carriers: Carriers
    measured: Measured
    decided: Decided
    said: tuple[str, ...]
    advice: str
    key: str = ""
    companions: tuple[Companion, ...] = ()
    colabels: tuple[Colabel, ...] = ()

    @property
    def sentence(self) -> str:
        """What a person should know, in one text."""
        return " ".join(self.said)

    @property
    def explained(self) -> bool:
        """Whether it is a thing of another label that often comes with this one."""
        return any(one.explains for one in self.colabels)


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


def together(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two things stand in the same images, given which carry them, (image,) of bool.

    Example:
        >>> together(np.array([True, True, False]), np.array([True, False, False]))
        True
    """
    return phi(one.astype(float), other.astype(float)) >= TOGETHER


def same_thing(one: Finding, other: Finding) -> bool:
    """Whether two findings are one thing: what lies on the border is found by its cells, too."""
    if one.label != other.label:
        return False
    listed = (finding.carriers.listed.astype(float) for finding in (one, other))
    return phi(*listed) >= POLICY.same


def surest_first(images: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Some images in the order of their score, the highest first.

    Args:
        images: their numbers.
        score: of every image, (image,).

    Example:
        >>> surest_first(np.array([0, 2]), np.array([0.1, 0.9, 0.5])).tolist()
        [2, 0]
    """
    return images[np.argsort(-score[images], kind="stable")]


def sureness(membership: np.ndarray) -> np.ndarray:
    """How surely images carry a thing, by membership (0 at its limit, 1 if typical), in (0, 1).

    Example:
        >>> sureness(np.array([0.0, 1.0])).round(2).tolist()
        [0.5, 0.95]
    """
    return np.asarray(1 / (1 + np.exp(-3.0 * np.clip(membership, -3, 3))))


def ranked(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Strongest first, with their keys: ``F1``, ``F2``..."""
    order = sorted(findings, key=_strength)
    return tuple(replace(finding, key=f"F{n}") for n, finding in enumerate(order, start=1))


def with_companions(
    findings: Sequence[Finding],
    labels: np.ndarray,
    columns: Sequence[Column],
    counted: np.ndarray,
) -> list[Finding]:
    """The findings with what the user's columns say about their images.

    Args:
        findings: in any order; those of a column stay as they are.
        labels: class of each image, (image,), or membership.
        columns: of the user's metadata.
        counted: images that count, one of each group that stays together, (image,) of bool.
    """
    pictured = [one for one in findings if not one.place.column]
    carries, homes = [one.carriers.listed for one in pictured], [one.number for one in pictured]
    found = iter(companions(carries, homes, labels, columns, counted))
    return [one if one.place.column else _accompanied(one, next(found)) for one in findings]


def _accompanied(finding: Finding, found: tuple[Companion, ...]) -> Finding:
    said = (*finding.said, *(one.sentence for one in found[:1]))
    return replace(finding, companions=found, said=said)


def with_colabels(
    findings: Sequence[Finding], labels: np.ndarray, classes: tuple[str, ...]
) -> list[Finding]:
    """The findings with the other labels that they go with; what one explains is of low severity.

    Args:
        findings: in any order.
        labels: class of each image, (image,), which has no other, or membership, (image, class).
        classes: names.
    """
    if labels.ndim == 1:
        return list(findings)
    carriers = [
        one.carriers.listed
        if one.carriers.alike is None
        else np.where(own, one.carriers.listed, one.carriers.alike)
        for one in findings
        for own in [having(labels, one.number)]
    ]
    found = colabels(carriers, [one.number for one in findings], labels, classes)
    return [_beside(*pair) for pair in zip(findings, found, strict=True)]


def _beside(finding: Finding, found: tuple[Colabel, ...]) -> Finding:
    said = (*finding.said, *(one.sentence(finding.label) for one in found[:1]))
    finding = replace(finding, colabels=found, said=said)
    if not finding.explained:
        return finding
    quiet = min(1.0, POLICY.artifact / max(finding.measured.artifact, LEAST))
    return replace(
        finding,
        carriers=replace(finding.carriers, score=finding.carriers.score * quiet),
        decided=replace(finding.decided, severity="low"),
    )


def _strength(finding: Finding) -> tuple[int, int, float]:
    """Sorts by severity, then by what was shown, then by suspicion."""
    return (
        SEVERITIES.index(finding.decided.severity),
        VERDICTS.index(finding.decided.verdict),
        -finding.measured.artifact,
    )


def worth_listing(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings without what another one explains and without most of what looks ordinary.

    Args:
        findings: strongest first.
    """
    kept: list[Finding] = []
    ordinary: Counter[str] = Counter()
    for finding in findings:
        if any(_explains(other, finding) for other in findings if other is not finding):
            continue
        if finding.place.around and finding.decided.verdict != "confirmed":
            continue
        if finding.decided.severity == "low" and not finding.place.whole:
            ordinary[finding.label] += 1
            if ordinary[finding.label] > POLICY.ordinary:
                continue
        kept.append(finding)
    return ranked(kept)


def _explains(reason: Finding, other: Finding) -> bool:
    """Whether one finding says why there is another one in the same images.

    A mark changes the looks of whole images; a look that the model relies on makes parts of images
    alike; a mark or a look makes backgrounds alike.
    """
    if reason.label != other.label or not together(reason.carriers.listed, other.carriers.listed):
        return False
    marked = not reason.place.whole and reason.measured.artifact >= POLICY.artifact
    if (
        marked
        and reason.decided.verdict == "present"
        and other.place.look
        and other.decided.verdict != "confirmed"
    ):
        return True
    if reason.decided.verdict != "confirmed" or reason.place.around:
        return False
    if other.place.around:
        most = bool(reason.carriers.listed[other.carriers.listed].mean() >= MOST)
        return most and reason.place.region != "centre"
    if other.place.look:
        return not reason.place.whole
    return reason.place.look and other.decided.verdict != "confirmed"
