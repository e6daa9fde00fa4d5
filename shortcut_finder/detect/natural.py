"""Natural classes: how far one passes the others in a trait by what it shows, and how far beyond.

Natural classes overlap: their values of a trait are two normal curves that lie little apart (the
binormal model of a ROC curve). What was done to pictures sets images further apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

# Doubt in the share of a class and in that of the others, one-sided.
DOUBT = 0.1
# Part of the other classes' images whose values show how fast a trait falls off, and the fewest
# images that it takes to see anything.
OUTER, FEWEST = 0.1, 5


def excess_of(members: ArrayLike, size: int, strangers: ArrayLike, apart: float) -> np.ndarray:
    """How far shares pass what natural classes reach, of what is left; negative when not.

    Natural classes are two normal curves that lie ``apart`` (the binormal model of a ROC curve).
    Both shares are taken at the unfavourable end of their doubt (Clopper and Pearson 1934), that of
    the ``strangers`` by the caller.
    """
    members = np.asarray(members)
    natural = stats.norm.cdf(apart + stats.norm.ppf(strangers))
    possible = (members > 0) & (natural < 1)
    low = stats.beta.ppf(DOUBT, np.maximum(members, 1), size - members + 1)
    return np.where(possible, (low - natural) / np.where(natural < 1, 1 - natural, 1.0), -1.0)


def doubted(count: ArrayLike, images: int) -> np.ndarray:
    """The largest shares that so many of the images leave possible; 1 where it is all of them."""
    count = np.asarray(count)
    return np.where(count < images, stats.beta.ppf(1 - DOUBT, count + 1, images - count), 1.0)


def share_beyond(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """The largest share of images that may lie beyond limits, by how fast their values fall off.

    Beyond the outer tenth values fall off exponentially or faster (peaks over threshold, Pickands
    1975), unless more images are seen there. Taken at the unfavourable end of all doubt.

    Args:
        values: (image,).
        limits: in their units, (limit,).

    Example:
        >>> values = np.random.default_rng(0).normal(size=100)
        >>> share_beyond(values, np.array([0.0, 3.0, 6.0])).round(4).tolist()
        [0.598, 0.0036, 0.0]
    """
    if not len(values):
        return np.ones(len(limits))
    ordered = np.sort(values)
    beyond = len(values) - np.searchsorted(ordered, limits, "right")
    counted = doubted(beyond, len(values))
    start = float(np.quantile(ordered, 1 - OUTER))
    over = ordered[ordered > start] - start
    if len(over) < FEWEST:
        return counted
    scale = over.sum() / float(stats.gamma.ppf(DOUBT, len(over)))
    outer = doubted(len(over), len(values))
    falls = outer * np.exp(np.minimum(start - limits, 0.0) / scale)
    extrapolated = np.minimum(counted, np.maximum(falls, beyond / len(values)))
    return np.where(limits > start, extrapolated, counted)


def precedence_p(members: int, size: int, place: int, others: int) -> float:
    """Exact p that so many of a class are more alike than a given image of the others.

    If the label said nothing, the order of class and others would be random, and the images of the
    class before the place-th of the others follow the negative hypergeometric law.

    Args:
        members: images of the class before it.
        size: images of the class.
        place: which of the other images it is, counted from the most alike.
        others: images of the other classes.

    Example:
        >>> round(precedence_p(3, 3, 1, 3), 3)  # all three of the class before all of the others
        0.05
    """
    if members == 0:
        return 1.0
    return float(stats.nhypergeom.sf(members - 1, size + others, size, place))
