"""Candidates: which images carry what a template looks like, and which class has it more often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shortcut_finder.detect.channels.groups import Matches, Template
from shortcut_finder.stats.evidence import association_p, phi, share_above
from shortcut_finder.sweep.records import Records

# Correlation of two candidates' members within a class from which they are one thing.
TOGETHER = 0.4
# False discovery rate over all candidates.
Q_LIMIT = 0.05
# A candidate must be this many times more common in its class than elsewhere, and by this much.
LIFT, DIFFERENCE = 3.0, 0.02
# Part of the other classes that must lack what a class shares with the rest.
LACKING = 0.25
# Fewer members than this are anecdotes.
FEWEST = 4
# Membership from which an image of another class is listed too.
SURE = 0.75


@dataclass(frozen=True, eq=False)
class Candidate:
    """Something that images of a class share.

    Attributes:
        label: index of the class.
        membership: 0 at the limit of membership, 1 for a typical member, (image,).
        closest: the cell that matches best, (image,).
        extent: cells that a thing at a fixed place covers, (row, column) of bool; ``None`` for
            a thing at any place.
        template: what it looks like.
        half: images that it was found on, (image,) of bool; it is tested on the others.
        likeness: for what repeats to the pixel, the correlation of each image with its motif,
            (image,); not a number, like membership, for images that were not searched. ``None``
            for everything else.
        placed: for what has a motif and keeps to a place, membership by that place too, where fewer
            images are like the motif by chance, (image,); ``None`` for everything else.
        strip: cells along the one edge that a thing at changing places keeps to, (row, column) of
            bool; ``None`` for everything else.
    """

    label: int
    membership: np.ndarray
    closest: np.ndarray
    extent: np.ndarray | None
    template: Template
    half: np.ndarray
    likeness: np.ndarray | None = None
    placed: np.ndarray | None = None
    strip: np.ndarray | None = None

    @property
    def carries(self) -> np.ndarray:
        """Which images carry it for sure, (image,) of bool."""
        return self.membership >= 0

    @property
    def covers(self) -> np.ndarray | None:
        """The cells of a thing, or of all that it moves in; ``None`` for one anywhere."""
        return self.strip if self.extent is None else self.extent

    @property
    def known(self) -> np.ndarray:
        """Which images were searched for it, (image,) of bool."""
        return np.isfinite(self.membership)

    def surest(self, images: np.ndarray) -> np.ndarray:
        """The images, given by number, the one that carries it most surely first."""
        return images[np.argsort(-self.membership[images], kind="stable")]


def gather_candidates(
    templates: Sequence[Template],
    matches: Matches,
    records: Records,
    halves: Sequence[np.ndarray],
) -> list[Candidate]:
    """What every template says about every image.

    Args:
        templates: of all classes.
        matches: how every image answers to each.
        records: what the sweep kept.
        halves: images that each was found on, (image,) of bool.
    """
    return [
        Candidate(
            label=template.label,
            membership=_membership(template, matches.similarity[:, number]).astype(np.float64),
            closest=matches.closest[:, number],
            extent=None if template.extent is None else template.extent.reshape(records.cell_grid),
            template=template,
            half=half,
        )
        for number, (template, half) in enumerate(zip(templates, halves, strict=True))
    ]


def _membership(template: Template, similarity: np.ndarray) -> np.ndarray:
    span = max(template.typical - template.limit, 1e-3)
    return (similarity - template.limit) / span


def together(one: np.ndarray, other: np.ndarray, least: float = TOGETHER) -> bool:
    """Whether two things stand in the same images, given which carry them, (image,) of bool.

    From a correlation of ``least`` on.

    Example:
        >>> together(np.array([True, True, False]), np.array([True, False, False]))
        True
    """
    return phi(one.astype(float), other.astype(float)) >= least


def same_images(
    one: Candidate, other: Candidate, labels: np.ndarray, least: float = TOGETHER
) -> bool:
    """Whether two candidates of a class stand in the same images: pieces of one thing."""
    if one.label != other.label:
        return False
    own = labels == one.label
    return together(one.carries[own], other.carries[own], least)


def classes_without(candidate: Candidate, labels: np.ndarray) -> np.ndarray:
    """The classes a candidate is held against: all others, or those that lack what it shares.

    Chosen on the images that it was found on, so that a test on the others is fair. Where too few
    of the other classes lack it, it tells next to nothing about the class, and there are none.
    """
    classes = np.unique(labels)
    others = classes[classes != candidate.label]
    if not candidate.template.shared:
        return others
    seen = candidate.half & candidate.known
    known = {c: candidate.carries[seen & (labels == c)] for c in classes}
    share = {c: carries.sum() / max(len(carries), 1) for c, carries in known.items()}
    lacking = np.array([c for c in others if share[candidate.label] >= LIFT * share[c]], dtype=int)
    return lacking if len(lacking) >= LACKING * len(others) else lacking[:0]


def association_test(
    candidate: Candidate, labels: np.ndarray, tested: np.ndarray, lacking: np.ndarray
) -> dict[str, float]:
    """Share inside and outside the class, and the exact p, on the tested images alone."""
    tested = tested & candidate.known
    own, rest = tested & (labels == candidate.label), tested & (labels != candidate.label)
    against = tested & np.isin(labels, lacking)
    members, strangers = int(candidate.carries[own].sum()), int(candidate.carries[against].sum())
    return {
        "tested_images": float(own.sum()),
        "tested_members": float(members),
        "share": members / max(int(own.sum()), 1),
        "elsewhere": int(candidate.carries[rest].sum()) / max(int(rest.sum()), 1),
        "lacking": strangers / max(int(against.sum()), 1),
        "members": float(candidate.carries[labels == candidate.label].sum()),
        "p": association_p(members, int(own.sum()), strangers, int(against.sum())),
    }


def holds(test: Mapping[str, float], q: float) -> bool:
    """Whether a class has it so much more often that it is worth a look.

    Args:
        test: from `association_test`.
        q: false discovery rate of its p.
    """
    return (
        q <= Q_LIMIT
        and test["share"] >= LIFT * test["lacking"]
        and test["share"] - test["lacking"] >= DIFFERENCE
        and test["members"] >= FEWEST
    )


def reach(candidate: Candidate, labels: np.ndarray, lacking: np.ndarray) -> Candidate:
    """Lower the limit inside the class to where half of what comes in would be strangers.

    The limit of a template keeps nearly every image of the other classes out. Within the class,
    where the thing is known to be common, weaker matches are members too: as long as the class
    has twice as many of them as the classes that are ``lacking`` it, by which we know how many
    images match by chance.
    """
    own = labels == candidate.label
    known, held = candidate.known, np.isin(labels, lacking)
    inside, outside = candidate.membership[own & known], candidate.membership[held & known]
    levels = np.append(np.unique(inside[inside < 0]), 0.0)[::-1]
    gain = share_above(inside, levels) - 2 * share_above(outside, levels)
    limit = float(levels[int(np.argmax(gain))])
    lowered = (candidate.membership - limit) / (1 - limit)
    everywhere = own | candidate.template.shared
    return replace(candidate, membership=np.where(everywhere, lowered, candidate.membership))


def listed_images(candidate: Candidate, labels: np.ndarray) -> np.ndarray:
    """Carriers of the class, and those of other classes that are nearly as sure as a member."""
    return candidate.carries & ((labels == candidate.label) | (candidate.membership >= SURE))
