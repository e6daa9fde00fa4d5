"""Findings: what one class has and the others have not, what was measured and what decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shortcut_finder.data.membership import having
from shortcut_finder.data.preprocessing import Box
from shortcut_finder.data.regions import SURROUNDINGS
from shortcut_finder.detect.channels.associations import Shift
from shortcut_finder.detect.channels.metadata import Companion
from shortcut_finder.detect.colabels import Colabel, colabels
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.settings import LIKELY, SEVERITIES, SURE
from shortcut_finder.stats.evidence import phi
from shortcut_finder.stats.experiments import VERDICTS, Verification

# Kinds that stand nowhere in particular.
WHOLE = ("property", "metadata")
# Correlation of the carriers of two findings from which they stand in the same images.
TOGETHER = 0.4
# Least suspicion that scores are made of, so that their order is kept.
LEAST = 1e-6
# Share of a background's images that another thing must be in to be why they are alike.
MOST = 0.6


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
        alike: which images of any class have what a listed one has, (image,) of bool; ``None``
            where that is not known of other classes.
        colabels: other labels that it goes with, the one that explains most first.
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
    exact: bool = False
    verdict: str = "suspect"
    reliance: tuple[float, float, float] = (np.nan, np.nan, np.nan)
    verification: Verification | None = None
    shifts: tuple[Shift, ...] = ()
    metadata: tuple[Companion, ...] = ()
    sure: np.ndarray | None = None
    wrong: tuple[float, float] = (np.nan, np.nan)
    share_range: tuple[float, float] = (np.nan, np.nan)
    alike: np.ndarray | None = None
    colabels: tuple[Colabel, ...] = ()

    @property
    def artifact(self) -> float:
        """How much it looks like an artifact rather than a part of the object, in [0, 1]."""
        return self.suspicion

    @property
    def explained(self) -> bool:
        """Whether it is a thing of another label that often comes with this one."""
        return any(one.explains for one in self.colabels)

    @property
    def tiers(self) -> np.ndarray:
        """``sure``, ``likely`` or empty, (image,)."""
        sure = self.carries if self.sure is None else self.sure & self.carries
        return np.where(sure, SURE, np.where(self.carries, LIKELY, ""))

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


def together(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two things stand in the same images, given which carry them, (image,) of bool.

    Example:
        >>> together(np.array([True, True, False]), np.array([True, False, False]))
        True
    """
    return phi(one.astype(float), other.astype(float)) >= TOGETHER


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
        one.carries if one.alike is None else np.where(own, one.carries, one.alike)
        for one in findings
        for own in [having(labels, one.number)]
    ]
    found = colabels(carriers, [one.number for one in findings], labels, classes)
    return [_beside(*pair) for pair in zip(findings, found, strict=True)]


def _beside(finding: Finding, found: tuple[Colabel, ...]) -> Finding:
    sentences = [finding.sentence, *(one.sentence(finding.label) for one in found[:1])]
    finding = replace(finding, colabels=found, sentence=" ".join(sentences))
    if not finding.explained:
        return finding
    quiet = min(1.0, POLICY.artifact / max(finding.suspicion, LEAST))
    return replace(finding, severity="low", score=finding.score * quiet)


def _strength(finding: Finding) -> tuple[int, int, float]:
    """Sorts by severity, then by what was shown, then by suspicion."""
    return (
        SEVERITIES.index(finding.severity),
        VERDICTS.index(finding.verdict),
        -finding.suspicion,
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
        if finding.region == SURROUNDINGS and finding.verdict != "confirmed":
            continue
        if finding.severity == "low" and finding.kind not in WHOLE:
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
    if reason.label != other.label or not together(reason.carries, other.carries):
        return False
    marked = reason.kind not in WHOLE and reason.artifact >= POLICY.artifact
    if (
        marked
        and reason.verdict == "present"
        and other.kind == "property"
        and other.verdict != "confirmed"
    ):
        return True
    if reason.verdict != "confirmed" or reason.region == SURROUNDINGS:
        return False
    if other.region == SURROUNDINGS:
        most = bool(reason.carries[other.carries].mean() >= MOST)
        return most and reason.region != "centre"
    if other.kind == "property":
        return reason.kind not in WHOLE
    return reason.kind == "property" and other.verdict != "confirmed"
