"""Companions: values of the user's columns that images of a finding have more often than others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from shortcut_finder.data.membership import having
from shortcut_finder.detect.columns import Column
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.stats.evidence import false_discovery_rate
from shortcut_finder.texts import percent

# Values of fewer images than this are not looked at.
FEWEST = 3
# A value goes with a finding from these on: of the members, and above the other images.
MOST, ABOVE = 0.5, 0.25
# Share of the cells that must be filled for a column to be held against a finding.
KNOWN = 0.5
# Values named beside a finding.
NAMED = 3


@dataclass(frozen=True)
class Companion:
    """A value of a column that images of a finding have more often than others.

    Attributes:
        column: name of the column.
        value: name of the group.
        share_members: of the finding's images of its class.
        share_rest: of the images they are held against.
        rest: which these are: the other images of the class, or all other images.
        q: false discovery rate over all findings, columns and values.
    """

    column: str
    value: str
    share_members: float
    share_rest: float
    rest: str
    q: float

    @property
    def sentence(self) -> str:
        """What a person should know."""
        return (
            f"{percent(self.share_members)} of the images with this have {self.column} = "
            f"{self.value}; {percent(self.share_rest)} of {self.rest} do."
        )


def companions(
    carries: Sequence[np.ndarray],
    homes: Sequence[int],
    labels: np.ndarray,
    columns: Sequence[Column],
    counted: np.ndarray | None = None,
) -> list[tuple[Companion, ...]]:
    """For each finding the values that its images have more often than others, clearest first.

    Members are held against the other images of their class; where that says nothing, because
    the whole class is alike, against all other images.

    Args:
        carries: for each finding which images carry it, (image,) of bool.
        homes: index of each finding's class.
        labels: class of each image, (image,).
        columns: of the user's metadata.
        counted: images that count, one of each group that stays together, (image,) of bool; all
            where it is None.

    Returns:
        Up to three a finding, of one value a column, with q of at most .05, in at least half of
        the members and a quarter more than in the other images.
    """
    tried: list[list[Companion]] = []
    for carried, home in zip(carries, homes, strict=True):
        own, all_counted = having(labels, home), True if counted is None else counted
        members = own & carried & all_counted
        rests = {
            "the other images of the class": own & ~carried & all_counted,
            "all other images": ~(own & carried) & all_counted,
        }
        tried.append(
            [
                one
                for rest, others in rests.items()
                for column in columns
                for one in _beside(column, members, others, rest)
            ]
        )
    q = iter(false_discovery_rate(np.array([one.q for found in tried for one in found])))
    return [_clearest([replace(one, q=float(next(q))) for one in found]) for found in tried]


def _beside(column: Column, members: np.ndarray, others: np.ndarray, rest: str) -> list[Companion]:
    """Every value of a column, with its p in the place of q; empty cells do not count."""
    inside, outside = column.counts(members), column.counts(others)
    size, against = int(inside.sum()), int(outside.sum())
    if size < KNOWN * members.sum() or against < max(KNOWN * others.sum(), 1):
        return []
    p = stats.hypergeom.sf(inside - 1, size + against, size, inside + outside)
    return [
        Companion(
            column.name,
            column.values[n],
            float(inside[n] / size),
            float(outside[n] / against),
            rest,
            float(p[n]),
        )
        for n in np.flatnonzero(inside >= FEWEST)
    ]


def _clearest(found: Sequence[Companion]) -> tuple[Companion, ...]:
    """The best value of each column, of those that say something."""
    clear = [
        one
        for one in found
        if one.q <= POLICY.q and one.share_members >= max(MOST, one.share_rest + ABOVE)
    ]
    # A stable sort: what holds within the class was tried first and comes first.
    clear.sort(key=lambda one: (one.rest == "all other images", one.share_rest - one.share_members))
    best: dict[str, Companion] = {}
    for one in clear:
        best.setdefault(one.column, one)
    return tuple(best.values())[:NAMED]
