"""Tiers: which images carry a thing for sure, which likely, and what share of each list is wrong.

The images of a class that carry nothing answer like images of other classes, or like the lower of
the class's two heaps, whichever reaches higher. How many of them pass a limit is known from there,
and with it the false share of every list (Storey 2002; target and decoy, Elias and Gygi 2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

# Most of a list that may be wrong, by estimate.
SURE, LIKELY = 0.1, 1 / 3
# Quantile of a normal distribution one standard deviation below its middle: the width of the lower
# heap is read off its lower side, where no carriers are.
LOWER = float(stats.norm.cdf(-1))
CONFIDENCE = 0.95
# Share of a class from which its carriers are a heap of their own.
MANY = 0.3


def false_shares(own: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Share of wrong images in the list that ends with each image of a class, (image,) in [0, 1].

    It is 1 from where what comes in is wrong more often than not.

    Args:
        own: scores of the class's images, each by what it took no part in, (image,).
        rest: the same of images of other classes.

    Example:
        >>> own = np.concatenate([np.linspace(-1, 1, 90), np.linspace(5, 6, 10)])
        >>> wrong = false_shares(own, np.linspace(-2, 1, 300))
        >>> int((wrong <= SURE).sum()), float(wrong[0])
        (10, 1.0)
    """
    levels, place = np.unique(-own, return_inverse=True)
    levels = -levels
    listed = len(own) - np.searchsorted(np.sort(own), levels)
    # One more image elsewhere than was seen: none in a hundred is not none at all.
    above = len(rest) - np.searchsorted(np.sort(rest), levels) + 1
    foreign = above / (len(rest) + 1)
    lower = _lower_heap(own)
    middle, low = np.quantile(lower, [0.5, LOWER])
    native = stats.norm.sf((levels - middle) / max(middle - low, 1e-9))
    strays = len(lower) * np.maximum(foreign, native)
    wrong = np.minimum(strays / listed, 1.0)
    # A list is as good as any longer one, up to where what comes in is wrong more often than not.
    wrong[int((listed - 2 * strays).argmax()) + 1 :] = 1.0
    return np.asarray(np.minimum.accumulate(wrong[::-1])[::-1][place.ravel()])


def _lower_heap(own: np.ndarray) -> np.ndarray:
    """Scores without those of an upper heap that is so large that the middle of all is near it.

    A smaller one is left in: the long tail of a single heap looks like one, too.
    """
    ordered = np.sort(own)
    below = np.arange(2, len(own) - 1)
    if not len(below):
        return own
    first, second = np.cumsum(ordered), np.cumsum(ordered**2)
    above = len(own) - below
    low, low_square = first[below - 1], second[below - 1]
    high, high_square = first[-1] - low, second[-1] - low_square
    within = (low_square - low**2 / below + high_square - high**2 / above) / len(own)
    share = above / len(own)
    entropy = stats.entropy(np.stack([share, 1 - share]))
    saved = 0.5 * np.log(max(own.var(), 1e-12) / np.maximum(within, 1e-12)) - entropy
    best = int(saved.argmax())
    cut = saved[best] > 0 and share[best] >= MANY
    return ordered[: below[best]] if cut else own


@dataclass(frozen=True, eq=False)
class Tiers:
    """The two lists of a thing, and how many of its class carry it.

    Attributes:
        sure: sure carriers, (image,) of bool, over the images of the class.
        likely: sure and likely ones.
        wrong: share of the sure ones, and of both, that do not carry it, by estimate, in [0, 1].
        share: of the class that carry it, by estimate, in [0, 1].
        share_range: ends of its 95% interval (Wilson 1927).
    """

    sure: np.ndarray
    likely: np.ndarray
    wrong: tuple[float, float]
    share: float
    share_range: tuple[float, float]


def tiers_of(wrong: np.ndarray, folds: np.ndarray) -> Tiers:
    """Cut a class's images into sure carriers, likely ones and others.

    Args:
        wrong: of the list that ends with each image, from `false_shares` in each fold, (image,).
        folds: number of the fold that each image is listed in, (image,).
    """
    lists, shares = [], []
    for most in (SURE, LIKELY):
        listed = wrong <= most
        # The wrong ones of a fold are as many as its longest list has.
        strays = sum(
            wrong[here].max() * here.sum()
            for fold in np.unique(folds)
            if (here := listed & (folds == fold)).any()
        )
        lists.append(listed)
        shares.append(float(strays / max(listed.sum(), 1)) if listed.any() else np.nan)
    right = 0.0 if np.isnan(shares[1]) else lists[1].sum() * (1 - shares[1])
    interval = stats.binomtest(round(right), len(wrong)).proportion_ci(CONFIDENCE, "wilson")
    return Tiers(
        sure=lists[0],
        likely=lists[1],
        wrong=(shares[0], shares[1]),
        share=float(right / max(len(wrong), 1)),
        share_range=(float(interval.low), float(interval.high)),
    )
