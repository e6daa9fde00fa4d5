"""Coupling: findings of two runs that are one thing, and which image of either carries which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from shortcut_finder.comparison.likeness import alike
from shortcut_finder.comparison.pairing import STATES as IMAGE_STATES
from shortcut_finder.comparison.shares import Part
from shortcut_finder.data.membership import labelled
from shortcut_finder.run.folder import Run
from shortcut_finder.stats.evidence import association_p

# Fewer images than this carry nothing worth a word.
FEWEST = 4
# Correlation of two findings' members among those pictures from which they are one thing.
TOGETHER = 0.4
# Chance below which images were changed because they carry the thing.
SELECTIVE = 0.001


@dataclass(frozen=True)
class Couple:
    """A finding in A, in B, or the same one in both."""

    a: Mapping[str, Any] | None
    b: Mapping[str, Any] | None
    latest: Mapping[str, Any]


class Carried:
    """Which image of either version carries which finding."""

    def __init__(self, a: Run, b: Run, pairs: pd.DataFrame) -> None:
        self.pairs = pairs
        self.same = pairs["state"].map(IMAGE_STATES).to_numpy(dtype=bool)
        self._images = (a.images, b.images)
        self._listed = [
            run.offenders.groupby("finding")["image"].agg(set).to_dict() for run in (a, b)
        ]

    def listed(self, side: int, finding: str) -> np.ndarray:
        """Which pairs the scan of one side lists, (pair,) of bool."""
        column = "image_a" if side == 0 else "image_b"
        return self.pairs[column].isin(self._listed[side].get(finding, set())).to_numpy()

    def of_class(self, side: int, label: str) -> np.ndarray:
        """Which pairs have a label in the version of one side, (pair,) of bool."""
        images = self._images[side]
        column = "image_a" if side == 0 else "image_b"
        return self.pairs[column].isin(set(images["image"][labelled(images, label)])).to_numpy()

    def parts(self, couple: Couple) -> tuple[Part, Part, Part]:
        """The class's images that both versions have, that A has alone, and B alone."""
        label = couple.latest["label"]
        in_a, in_b = self.of_class(0, label), self.of_class(1, label)
        sides = [
            self.listed(side, str(one["finding"])) if one else np.zeros(len(in_a), dtype=bool)
            for side, one in enumerate((couple.a, couple.b))
        ]
        same = self.same
        kept = in_a & in_b & same
        either = sides[0] | sides[1]
        if self._selective(kept, either):
            # Saved anew where the thing is, and nowhere else: that was no mere re-encoding.
            same = same & (self.pairs["state"] != "re-encoded").to_numpy()
            kept = in_a & in_b & same
        removed, added = (
            _part(there & ~kept, listed | (either & same))
            for there, listed in zip((in_a, in_b), sides, strict=True)
        )
        return _part(kept, either), removed, added

    def _selective(self, kept: np.ndarray, carries: np.ndarray) -> bool:
        anew = (self.pairs["state"] == "re-encoded").to_numpy()
        with_it, without = kept & carries, kept & ~carries
        if not (with_it & anew).any() or not without.any():
            return False
        p = association_p(
            int((with_it & anew).sum()),
            int(with_it.sum()),
            int((without & anew).sum()),
            int(without.sum()),
        )
        return p <= SELECTIVE


def _part(there: np.ndarray, carries: np.ndarray) -> Part:
    return Part(int((there & carries).sum()), int(there.sum()))


def couples_of(a: Run, b: Run, carried: Carried) -> list[Couple]:
    """Findings of both runs, those that are one thing together; each in one couple only."""
    likeness = [
        (value, i, j)
        for i, one in enumerate(a.details)
        for j, other in enumerate(b.details)
        if (value := _likeness(a, b, one, other, carried)) > 0
    ]
    partner: dict[int, int] = {}
    for _, i, j in sorted(likeness, key=lambda entry: (-entry[0], entry[1], entry[2])):
        if i not in partner and j not in partner.values():
            partner[i] = j
    couples = [
        Couple(one, b.details[partner[i]], b.details[partner[i]])
        if i in partner
        else Couple(one, None, one)
        for i, one in enumerate(a.details)
    ]
    alone = [other for j, other in enumerate(b.details) if j not in partner.values()]
    return couples + [Couple(None, other, other) for other in alone]


def _likeness(
    a: Run, b: Run, one: Mapping[str, Any], other: Mapping[str, Any], carried: Carried
) -> float:
    """How surely two findings are one thing; 0 where they are not.

    Members decide where both have some among the pictures that both versions have. Otherwise kind
    and place must agree, and what the members look like.
    """
    if one["label"] != other["label"] or (one["kind"] == "property") != (
        other["kind"] == "property"
    ):
        return 0.0
    label = one["label"]
    common = carried.same & (carried.of_class(0, label) | carried.of_class(1, label))
    in_a, in_b = (
        carried.listed(side, str(finding["finding"]))[common]
        for side, finding in enumerate((one, other))
    )
    if min(in_a.sum(), in_b.sum()) >= FEWEST:
        together = _together(in_a, in_b)
        return 1 + together if together >= TOGETHER else 0.0
    if max(in_a.sum(), in_b.sum()) >= FEWEST:
        # One scan sees it in pictures where the other sees nothing of the kind.
        return 0.0
    if one["kind"] == "property":
        return 0.5 * (one["region"] == other["region"])
    return alike(a, b, one, other)


def _together(one: np.ndarray, other: np.ndarray) -> float:
    if one.all() or other.all():
        return float((one & other).sum() / (one | other).sum())
    return float(np.corrcoef(one, other)[0, 1])
