"""Evidence: where the maps of a class lie, region by region, against all other classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from shortcut_finder.data.membership import having, lacking
from shortcut_finder.data.regions import OBJECT, OUTSIDE, Regions, even_shares, object_shares
from shortcut_finder.schema import REGION_COLUMNS

# An image counts as looked at in a region when its share is this many times the region's area.
LIFTED = 2.0


@dataclass(frozen=True, eq=False)
class ObjectShares:
    """How the evidence of each image is divided between its object and the rest.

    Attributes:
        shares: on the object and outside of it, (image, 2); NaN where no object is known.
        even: the same if the object were half of the image, so that objects of all sizes compare.
    """

    shares: np.ndarray
    even: np.ndarray


def divide(maps: np.ndarray, cover: np.ndarray) -> ObjectShares:
    """Divide positive evidence between objects and the rest.

    Args:
        maps: signed class maps, (image, row, column).
        cover: part of each cell that the object covers, (image, row, column); NaN where unknown.
    """
    shares = object_shares(maps, cover)
    area = cover.mean(axis=(1, 2))
    return ObjectShares(shares, even_shares(shares, np.stack([area, 1 - area], axis=1)))


def weigh_regions(
    shares: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    regions: Regions,
    objects: ObjectShares | None = None,
    counted: np.ndarray | None = None,
    own: Mapping[int, tuple[np.ndarray, ObjectShares | None]] | None = None,
) -> pd.DataFrame:
    """The class x region table: each class against all others, region by region.

    Args:
        shares: share of each image's positive evidence in each region, (image, region).
        labels: class of each image, (image,), or membership.
        classes: class names.
        regions: the parts of the frame, in the order of ``shares``.
        objects: the evidence on objects and outside, where objects are known.
        counted: images that count, one of each group that stays together, (image,) of bool; all
            where it is None.
        own: both by class, where images have several: of the map of that class in images that have
            it.

    Returns:
        One row a class and region: ``images`` (of the class whose share there is at least twice
        the region's area), ``share`` and ``elsewhere`` (mean share in the class and in the
        others), ``lift`` (their ratio), ``effect`` (difference over the pooled standard
        deviation, Cohen's d), ``p`` (two-sided Mann-Whitney U) and ``q`` (Benjamini and
        Hochberg 1995, over the whole table). Objects differ in size: theirs are ``lift``,
        ``effect`` and ``p`` of even shares, ``images`` those with twice the evidence an area that
        the rest has, and images without an object are left out.
    """
    area = regions.masks.mean(axis=(1, 2))
    rows = []
    for number, name in enumerate(classes):
        of_class, of_objects = (own or {}).get(number, (shares, objects))
        weighed = [
            (region, of_class[:, place], of_class[:, place], LIFTED * area[place])
            for place, region in enumerate(regions.names)
        ]
        if of_objects is not None:
            weighed += [
                (region, of_objects.shares[:, n], of_objects.even[:, n], LIFTED / (1 + LIFTED))
                for n, region in enumerate((OBJECT, OUTSIDE))
            ]
        for region, share, compared, least in weighed:
            known = np.isfinite(compared) & (True if counted is None else counted)
            inside, rest = known & having(labels, number), known & lacking(labels, number)
            if inside.any() and rest.any():
                row = _row(share, compared, inside, rest, least)
                rows.append({"label": name, "region": region, **row})
    table = pd.DataFrame(rows, columns=list(REGION_COLUMNS[:-1]))
    return table.assign(q=false_discovery_rate(table["p"].to_numpy(dtype=float)))


def _row(
    share: np.ndarray, compared: np.ndarray, own: np.ndarray, rest: np.ndarray, least: float
) -> dict[str, Any]:
    """A class in a region: its mean share, and tests of the values that are compared."""
    inside, outside = compared[own], compared[rest]
    return {
        "images": int((inside >= least).sum()),
        "share": share[own].mean(),
        "elsewhere": share[rest].mean(),
        "lift": inside.mean() / max(outside.mean(), 1e-6),
        "effect": standardised_difference(inside, outside),
        "p": rank_test(inside, outside),
    }


def standardised_difference(inside: np.ndarray, outside: np.ndarray) -> float:
    """Difference of the means over the pooled standard deviation (Cohen's d).

    Example:
        >>> standardised_difference(np.array([1.0, 3.0]), np.array([0.0, 2.0])).__round__(3)
        0.707
    """
    if len(inside) < 2 or len(outside) < 2:
        return 0.0
    degrees = len(inside) + len(outside) - 2
    pooled = (inside.var() * len(inside) + outside.var() * len(outside)) / degrees
    return float((inside.mean() - outside.mean()) / np.sqrt(pooled)) if pooled > 0 else 0.0


def rank_test(inside: np.ndarray, outside: np.ndarray) -> float:
    """Two-sided p of the Mann-Whitney U test; 1 where all values are the same."""
    if len(inside) == 0 or len(outside) == 0:
        return 1.0
    if inside.min() == inside.max() == outside.min() == outside.max():
        return 1.0
    return float(stats.mannwhitneyu(inside, outside, method="asymptotic").pvalue)


def false_discovery_rate(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values of Benjamini and Hochberg (1995), in the order given.

    Example:
        >>> false_discovery_rate(np.array([0.01, 0.04, 0.03])).round(3).tolist()
        [0.03, 0.04, 0.04]
    """
    if len(p) == 0:
        return np.asarray(p, dtype=float)
    return np.asarray(stats.false_discovery_control(p, method="bh"), dtype=float)


def association_p(members: int, size: int, members_elsewhere: int, size_elsewhere: int) -> float:
    """Exact one-sided p that a class holds more members than the others (hypergeometric).

    Example:
        >>> round(association_p(3, 3, 0, 3), 3)
        0.05
    """
    if min(size, size_elsewhere) == 0:
        return 1.0
    total, found = size + size_elsewhere, members + members_elsewhere
    return float(stats.hypergeom.sf(members - 1, total, size, found))


def exclusivity_test(
    members: int, size: int, members_elsewhere: int, size_elsewhere: int
) -> dict[str, float]:
    """How often a class has something that the others have seldom, on images kept for the test.

    Args:
        members: of the class's tested images, how many carry it.
        size: tested images of the class.
        members_elsewhere: of the tested images of other classes, how many carry it.
        size_elsewhere: tested images of other classes.

    Returns:
        ``tested_images``, ``tested_members``, ``share`` of the class, ``elsewhere``, and ``p`` from
        `association_p`.
    """
    return {
        "tested_images": float(size),
        "tested_members": float(members),
        "share": members / max(size, 1),
        "elsewhere": members_elsewhere / max(size_elsewhere, 1),
        "p": association_p(members, size, members_elsewhere, size_elsewhere),
    }


def exclusivity(share: float, elsewhere: float) -> float:
    """How much of what a class and the others have is the class's, in [0, 1].

    Example:
        >>> round(exclusivity(0.3, 0.1), 2)
        0.75
    """
    return share / max(share + elsewhere, 1e-9)


def share_above(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Share of the values at or above each level, (level,) in [0, 1].

    Example:
        >>> share_above(np.array([3.0, 1.0]), np.array([0.0, 2.0, 4.0])).tolist()
        [1.0, 0.5, 0.0]
    """
    return np.asarray(1 - np.searchsorted(np.sort(values), levels) / max(len(values), 1))


def phi(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two yes-or-no columns given as 0 and 1, (image,).

    Example:
        >>> phi(np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0, 1.0])).__round__(3)
        0.577
    """
    if one.std() == 0 or other.std() == 0:
        # Both in all images of the class: they always stand together.
        return float(bool(one.min() == 1 and other.min() == 1))
    return float(np.corrcoef(one, other)[0, 1])
