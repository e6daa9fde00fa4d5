"""Likeness: how much a thing looks like an artifact rather than a part of its class's object.

Reliance says whether the model uses a thing, not whether it should: it uses petals, too. What sets
artifacts apart is that they cut their class in two heaps without a shift of the rest, keep to the
border, and repeat to the pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

# Log-odds of an artifact: at one nat an image, and what is added for every factor of e of evidence,
# for every standard deviation of shift, for standing at the border alone, and for repeating to the
# pixel. Set by hand on some twenty planted things and fifty natural ones: see docs/method.md.
WEIGHTS = {"offset": 1.7, "evidence": 2.5, "shift": -1.0, "border": 1.8, "exact": 4.0}

# Mean cosine of a class's images at a place of the border beyond that of the others: natural
# classes reach the first, classes with something on them the second (20 classes of photographs).
NATURAL, LAID_ON = 0.16, 0.38


@dataclass(frozen=True)
class Likeness:
    """What speaks for an artifact.

    Attributes:
        evidence: gain of the thing on images it was not found on, in nats an image, times the
            agreement of both halves.
        shift: how far the images of the class that do not carry it stand above those of other
            classes, in standard deviations of these; a part of the object raises them all.
        border: share of the carriers that have it at the border, in [0, 1].
        exact: how exactly it repeats, in [0, 1].
    """

    evidence: float
    shift: float
    border: float
    exact: float

    @property
    def artifact(self) -> float:
        """Probability that it is an artifact, in [0, 1].

        Example:
            >>> round(Likeness(0.5, 0.0, 1.0, 0.0).artifact, 2)
            0.85
        """
        return float(
            expit(
                WEIGHTS["offset"]
                + WEIGHTS["evidence"] * math.log(max(self.evidence, 1e-3))
                + WEIGHTS["shift"] * self.shift
                + WEIGHTS["border"] * self.border
                + WEIGHTS["exact"] * self.exact
            )
        )


def shift_of(lower: np.ndarray, rest: np.ndarray) -> float:
    """How far images that do not carry a thing stand above other classes, 0 at least.

    Args:
        lower: scores of the class's images without it, (image,).
        rest: scores of images of other classes.
    """
    if len(lower) < 2 or len(rest) < 2:
        return 0.0
    return float(max(np.median(lower) - np.median(rest), 0.0) / max(rest.std(), 1e-6))


def laid_on(excess: float) -> float:
    """Likeness to an artifact of what nearly all of a class carries at its border, in [0, 1].

    Such a thing makes one heap, so that how alike it is says all.

    Args:
        excess: mean cosine of the class's images there beyond that of the others.

    Example:
        >>> laid_on(0.1), laid_on(0.4)
        (0.0, 1.0)
    """
    return float(np.clip((excess - NATURAL) / (LAID_ON - NATURAL), 0, 1))
