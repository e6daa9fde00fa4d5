"""Surplus: how much of the evidence of images comes on top of what others have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

# Images with and without a thing that must be there to tell an addition from the object itself.
FEWEST_COMPARED = 5


@dataclass(frozen=True)
class Surplus:
    """Whether a thing comes on top of what its class is recognised by, or is that itself.

    An image with an artifact has the object as well: it is recognised more surely than images of
    the class without the artifact, and as surely as they once the artifact is filled. An image
    whose object is filled has nothing left, and is recognised less surely than they.

    Attributes:
        share: of the thing's log-odds that other images of the class lack; near 1 for what is
            added, near 0 for what is the object itself, and far above 1 where the images differ
            from the others by more than the thing.
        p: of filled images being recognised as surely as the others (Mann-Whitney U, one-sided).
        p_added: of whole images being recognised no more surely than the others.
    """

    share: float
    p: float
    p_added: float


def surplus_of(whole: np.ndarray, filled: np.ndarray, others: np.ndarray) -> Surplus | None:
    """Compare images that carry a thing, with and without it, to images of the class that do not.

    Args:
        whole: log-odds of the label of members as they are, (member,).
        filled: the same with the thing filled, (member,).
        others: log-odds of the class's other images, (image,).

    Returns:
        ``None`` where there are too few of either to say.
    """
    if min(len(whole), len(others)) < FEWEST_COMPARED:
        return None
    worth = max(float(whole.mean() - filled.mean()), 1e-6)
    # Where filling changes next to nothing, the share means nothing either, and need not be large.
    share = float(np.clip((whole.mean() - others.mean()) / worth, -10, 10))
    return Surplus(share, surer_p(others, filled), surer_p(whole, others))


def surer_p(one: np.ndarray, other: np.ndarray) -> float:
    """Of some images being recognised no more surely than others (Mann-Whitney U, one-sided).

    Args:
        one: log-odds of the label, (image,).
        other: the same of other images, (image,).

    Example:
        >>> round(surer_p(np.arange(2.0, 7.0), np.arange(5.0)), 3)
        0.057
    """
    return float(stats.mannwhitneyu(one, other, alternative="greater", method="asymptotic").pvalue)
