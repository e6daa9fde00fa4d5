"""Co-labels: other labels of the same images that a finding goes with, and whether they explain it.

What images have because of one label shows up in every label that often comes with it. So a finding
of a label is held against the others once more among images that are alike in the other label: with
it, and without it. What is left of the difference then is the label's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from shortcut_finder.data.membership import having, lacking, occurring
from shortcut_finder.stats.evidence import association_p, false_discovery_rate
from shortcut_finder.texts import percent

Q_LIMIT = 0.01
# A finding goes with a label that most of its images have, and this much more of them than of the
# class's images without it.
MOST, ABOVE = 0.5, 0.25
# Part of the difference to the others that may be left among images alike in another label, where
# that one explains it; and the fewest images of either kind that have to be alike for saying so.
LEFT, FEWEST = 1 / 3, 5
# Part of the carriers that has to have such images.
COMPARED = 0.5
# Named with a finding.
NAMED = 3


@dataclass(frozen=True)
class Colabel:
    """Another label that a finding goes with.

    Attributes:
        label: its name.
        with_it: share of the class's images with the finding that have it, too.
        without_it: the same of the class's images without the finding.
        q: false discovery rate of the two being equal, over all findings and labels.
        difference: share of the class that carries the finding less that of the others.
        adjusted: the same among images alike in the other label, weighed as the class has them;
            NaN where most of its carriers have no images to be compared with.
        explains: whether next to nothing of the difference is left then.
    """

    label: str
    with_it: float
    without_it: float
    q: float
    difference: float
    adjusted: float
    explains: bool

    def sentence(self, own: str) -> str:
        """The figures in words, for a finding of the label ``own``."""
        what = self.label if self.with_it >= self.without_it else f"images without {self.label}"
        said = (
            f"It goes with {what}: {percent(self.with_it)} of the {own} images with it are "
            f"{self.label}, {percent(self.without_it)} of those without it."
        )
        if not self.explains:
            return said
        left = percent(max(self.adjusted, 0.0))
        return (
            f"{said} Among images alike in {self.label} it is in {left} more of {own} than of the "
            f"others ({percent(self.difference)} over all), so {self.label} explains it."
        )


def colabels(
    carries: Sequence[np.ndarray],
    homes: Sequence[int],
    labels: np.ndarray,
    classes: tuple[str, ...],
) -> list[tuple[Colabel, ...]]:
    """For each finding the other labels that it goes with, those that explain it first.

    Args:
        carries: for each finding which images of any class carry it, (image,) of bool.
        homes: index of each finding's class.
        labels: membership, (image, class).
        classes: names.

    Returns:
        Up to three a finding: labels that explain it, and those that its images have more often
        than the class's other images, with q of at most 0.01.
    """
    tried = [
        [
            _beside(carried, home, number, labels, classes[number])
            for number in occurring(labels)
            if number != home
        ]
        for carried, home in zip(carries, homes, strict=True)
    ]
    rates = iter(false_discovery_rate(np.array([one.q for found in tried for one in found])))
    return [_clearest([replace(one, q=float(next(rates))) for one in found]) for found in tried]


def _beside(carries: np.ndarray, home: int, number: int, labels: np.ndarray, name: str) -> Colabel:
    """One other label, with its p in the place of q."""
    has, known = having(labels, number), having(labels, number) | lacking(labels, number)
    own, rest = having(labels, home) & known, lacking(labels, home) & known
    inside, outside = own & carries, own & ~carries
    counts = [int(n) for n in (has[inside].sum(), inside.sum(), has[outside].sum(), outside.sum())]
    difference = _share(carries, own) - _share(carries, rest)
    adjusted = _adjusted(carries, own, rest, has)
    return Colabel(
        label=name,
        with_it=counts[0] / max(counts[1], 1),
        without_it=counts[2] / max(counts[3], 1),
        q=association_p(*counts),
        difference=difference,
        adjusted=adjusted,
        # NaN compares false: what cannot be told apart explains nothing.
        explains=bool(difference > 0 and adjusted <= LEFT * difference),
    )


def _share(carries: np.ndarray, images: np.ndarray) -> float:
    return float(carries[images].sum() / max(int(images.sum()), 1))


def _adjusted(carries: np.ndarray, own: np.ndarray, rest: np.ndarray, has: np.ndarray) -> float:
    """Difference of the shares within images that have a label and within those that have not.

    Standardised to the class: each part counts by how many of its images are there.
    """
    total, images, compared = 0.0, 0, 0
    for stratum in (has, ~has):
        inside, outside = own & stratum, rest & stratum
        if min(int(inside.sum()), int(outside.sum())) >= FEWEST:
            size = int(inside.sum())
            total += size * (_share(carries, inside) - _share(carries, outside))
            images, compared = images + size, compared + int(carries[inside].sum())
    enough = compared >= COMPARED * max(int(carries[own].sum()), 1)
    return total / images if enough else np.nan


def _clearest(found: Sequence[Colabel]) -> tuple[Colabel, ...]:
    """Those that explain it, then those that its images have most beyond the others."""
    said = [
        one
        for one in found
        if one.explains or (one.q <= Q_LIMIT and one.with_it >= max(MOST, one.without_it + ABOVE))
    ]
    said.sort(key=lambda one: (not one.explains, one.without_it - one.with_it, one.label))
    return tuple(said[:NAMED])
