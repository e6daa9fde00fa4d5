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

from shortcut_finder.sweep.scene import Scene

# Images compared for exactness.
COMPARED = 16
# Gradient correlation of parts of photographed objects, at most, and of marks and frames, at least.
ORDINARY, EXACT = 0.5, 0.8
# Log-odds of an artifact: at one nat an image, and what is added for every factor of e of evidence,
# for every standard deviation of shift, for standing at the border alone, and for repeating to the
# pixel. Set by hand on some twenty planted things and fifty natural ones: see docs/method.md.
WEIGHTS = {"offset": 1.7, "evidence": 2.5, "shift": -1.0, "border": 1.8, "exact": 4.0}


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


@dataclass(frozen=True)
class Exactness:
    """How alike the pictures of a thing are.

    Attributes:
        exact: in [0, 1]: 0 as parts of objects are, 1 as nothing in nature is.
        opacity: part of the grey variance at its edges that all share; low where one sees through.
        duplicates: share of the images that are the same picture altogether.
    """

    exact: float
    opacity: float
    duplicates: float


def exactness_of(
    carriers: np.ndarray, others: np.ndarray, centres: np.ndarray, scene: Scene
) -> Exactness:
    """Compare the pictures of a thing, and those of images of its class without it there.

    Args:
        carriers: numbers of images, the surest first.
        others: numbers of images of the class that do not carry it, in any order.
        centres: where each image of the dataset has it, x and y as fractions, (image, 2).
        scene: the pictures.
    """
    carriers = carriers[:COMPARED]
    if len(carriers) < 2:
        return Exactness(0.0, 1.0, 0.0)
    found = scene.rigidity(carriers, centres[carriers])
    ordinary = ORDINARY
    if found.gradient > ORDINARY and len(others) >= 2:
        some = others[np.linspace(0, len(others) - 1, min(COMPARED, len(others))).astype(int)]
        # Aligned anatomy is alike in images without it as well.
        there = centres[carriers[np.arange(len(some)) % len(carriers)]]
        ordinary = max(ordinary, scene.rigidity(some, there).gradient + 0.1)
    span = max(EXACT - ordinary, 0.2)
    exact = float(np.clip((found.gradient - ordinary) / span, 0, 1))
    return Exactness(exact, found.opacity, found.duplicates)
