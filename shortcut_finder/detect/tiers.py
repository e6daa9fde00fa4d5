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


def false_shares(own: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Share of wrong images in the list that ends with each image of a class, (image,) in [0, 1].

    Args:
        own: scores of the class's images, each by what it took no part in, (image,).
        rest: the same of images of other classes.

    Example:
        >>> own = np.concatenate([np.linspace(-1, 1, 90), np.linspace(5, 6, 10)])
        >>> wrong = false_shares(own, np.linspace(-2, 1, 300))
        >>> int((wrong <= SURE).sum()), float(wrong[0])
        (10, 0.9)
    """
    levels, place = np.unique(-own, return_inverse=True)
    levels = -levels
    listed = len(own) - np.searchsorted(np.sort(own), levels)
    # One more image elsewhere than was seen: none in a hundred is not none at all.
    above = len(rest) - np.searchsorted(np.sort(rest), levels) + 1
    foreign = above / (len(rest) + 1)
    middle, low = np.quantile(own, [0.5, LOWER])
    native = stats.norm.sf((levels - middle) / max(middle - low, 1e-9))
    wrong = np.minimum(len(own) * np.maximum(foreign, native) / listed, 1.0)
    # Of the images below the last carrier all are wrong, and a list is as good as any longer one.
    wrong = np.where(levels <= middle, np.maximum(wrong, 1 - 1 / listed), wrong)
    return np.asarray(np.minimum.accumulate(wrong[::-1])[::-1][place.ravel()])


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
