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
# Quantile and its place in a standard normal distribution: the width of the lower heap is read off
# its lower side, where no carriers are.
LOWER_QUANTILE = 0.16
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Tiers:
    """The two lists of a thing, and how many of its class carry it.

    Attributes:
        sure: score from which an image is surely a carrier; infinite where there is none.
        likely: score from which it likely is, at most ``sure``.
        sure_wrong: share of the sure ones that do not carry it, by estimate, in [0, 1].
        likely_wrong: the same of all that are listed.
        share: of the class that carry it, by estimate, in [0, 1].
        share_low: lower end of its 95% interval.
        share_high: upper end.
    """

    sure: float
    likely: float
    sure_wrong: float
    likely_wrong: float
    share: float
    share_low: float
    share_high: float


def tiers_of(own: np.ndarray, rest: np.ndarray) -> Tiers:
    """Cut a class's images into sure carriers, likely ones and others.

    Args:
        own: scores of the class's images, none of which took part in what it is scored by, (image,).
        rest: the same of other classes.

    Example:
        >>> own = np.concatenate([np.linspace(-1, 1, 90), np.linspace(5, 6, 10)])
        >>> tiers = tiers_of(own, np.linspace(-2, 1, 300))
        >>> int((own >= tiers.sure).sum()), round(tiers.share, 2)
        (10, 0.1)
    """
    levels = np.unique(own)[::-1]
    listed = len(own) - np.searchsorted(np.sort(own), levels)
    wrong = _strays(own, rest, levels) / listed
    # A longer list is as good as the best one beyond it (Storey's q).
    wrong = np.minimum.accumulate(np.minimum(wrong, 1.0)[::-1])[::-1]
    sure, likely = (_last(wrong <= most) for most in (SURE, LIKELY))
    if likely < 0:
        return Tiers(np.inf, np.inf, 1.0, 1.0, 0.0, 0.0, 1.0 - CONFIDENCE)
    right = listed[likely] * (1 - wrong[likely])
    interval = stats.binomtest(round(right), len(own)).proportion_ci(CONFIDENCE, "wilson")
    return Tiers(
        sure=float(levels[sure]) if sure >= 0 else np.inf,
        likely=float(levels[likely]),
        sure_wrong=float(wrong[sure]) if sure >= 0 else 1.0,
        likely_wrong=float(wrong[likely]),
        share=float(right / len(own)),
        share_low=float(interval.low),
        share_high=float(interval.high),
    )


def _last(holds: np.ndarray) -> int:
    """Place of the last that holds; -1 where none does."""
    found = np.flatnonzero(holds)
    return int(found[-1]) if len(found) else -1


def _strays(own: np.ndarray, rest: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """How many images of the class pass each level though they carry nothing, by estimate."""
    # One more image elsewhere than was seen: none in a hundred is not none at all.
    above = len(rest) - np.searchsorted(np.sort(rest), levels) + 1
    foreign = len(own) * above / (len(rest) + 1)
    middle, low = np.quantile(own, [0.5, LOWER_QUANTILE])
    width = max((middle - low) / -stats.norm.ppf(LOWER_QUANTILE), 1e-9)
    native = len(own) * stats.norm.sf((levels - middle) / width)
    return np.maximum(foreign, native)
