"""Shares: how far the share of carriers differs between two runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Half the width of a 95% interval, in standard errors.
Z = 1.959964


@dataclass(frozen=True)
class Part:
    """Images of a class in one part of two versions.

    Attributes:
        carriers: how many carry the thing.
        images: how many there are.
    """

    carriers: int
    images: int


def share_difference(kept: Part, removed: Part, added: Part) -> tuple[float, float, float]:
    """Share of carriers in the later version minus that in the earlier, and its 95% interval.

    Both versions have the ``kept`` images in common, so they count once: the difference is a sum of
    three independent shares with known factors, whose Wilson intervals are put together by squaring
    and adding (MOVER; Newcombe 1998, Zou and Donner 2008). What was neither added nor removed
    leaves no doubt: then the interval has no width.

    Args:
        kept: images of the class that both versions have.
        removed: images that the earlier version has alone.
        added: images that the later version has alone.

    Returns:
        Difference, lower and upper limit, in [-1, 1]; NaN where a version has no images.

    Example:
        >>> share_difference(Part(20, 100), Part(0, 0), Part(0, 0))
        (0.0, 0.0, 0.0)
        >>> [round(v, 3) for v in share_difference(Part(0, 80), Part(20, 20), Part(0, 0))]
        [-0.2, -0.2, -0.166]
    """
    before, after = kept.images + removed.images, kept.images + added.images
    if not before or not after:
        return math.nan, math.nan, math.nan
    factors = (
        (kept, kept.images / after - kept.images / before),
        (removed, -removed.images / before),
        (added, added.images / after),
    )
    difference = below = above = 0.0
    for part, factor in factors:
        if not part.images or not factor:
            continue
        share = part.carriers / part.images
        low, high = _wilson(part)
        difference += factor * share
        down, up = (share - low, high - share) if factor > 0 else (high - share, share - low)
        below += (factor * down) ** 2
        above += (factor * up) ** 2
    return difference, difference - math.sqrt(below), difference + math.sqrt(above)


def _wilson(part: Part) -> tuple[float, float]:
    """Wilson's interval of a share (Wilson 1927)."""
    share, images = part.carriers / part.images, part.images
    middle = share + Z**2 / (2 * images)
    reach = Z * math.sqrt(share * (1 - share) / images + Z**2 / (4 * images**2))
    scale = 1 + Z**2 / images
    return max((middle - reach) / scale, 0.0), min((middle + reach) / scale, 1.0)
