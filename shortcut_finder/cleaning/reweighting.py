"""Reweighting: sample weights under which no artifact says anything about the label."""

from __future__ import annotations

import numpy as np

# Rounds of raking at most; two overlapping artifacts need some ten.
ROUNDS = 200
CLOSE = 1e-9


def independent_weights(labels: np.ndarray, carries: np.ndarray) -> np.ndarray:
    """Weights that make every artifact equally common in all classes.

    Every class keeps its total weight. The common share of an artifact is the one that leaves the
    largest effective number of images, ``t = B / (A + B)`` with ``A = sum n / r`` and
    ``B = sum n / (1 - r)`` over classes of ``n`` images of which the share ``r`` carries it. Where
    a class has no carrier at all it is 0: carriers then weigh nothing, because no weights could
    make them as common there. One artifact is solved at once; several by raking over them in turn
    (Deming and Stephan 1940; as a cure for bias: Kamiran and Calders 2012).

    Args:
        labels: class of each image, (image,) of int, or a column an artifact, (image, artifact),
            where each has classes of its own; images of class -1 keep their weight.
        carries: which images carry which artifact, (image, artifact) of bool.

    Returns:
        Weights, (image,), with a mean of 1. An artifact that all images of a class carry cannot be
        balanced without losing the class; it is left as it is.

    Example:
        >>> labels, carries = np.array([0, 0, 0, 0, 1, 1]), np.array([[1, 1, 1, 0, 1, 0]]).T > 0
        >>> independent_weights(labels, carries).round(2)
        array([0.91, 0.91, 0.91, 1.27, 1.36, 0.64])
    """
    weights = np.ones(len(labels))
    each = labels.T if labels.ndim == 2 else np.broadcast_to(labels, carries.T.shape)
    shares = [_common_share(own, column) for own, column in zip(each, carries.T, strict=True)]
    for _ in range(ROUNDS):
        before = weights
        for own, column, share in zip(each, carries.T, shares, strict=True):
            if share is not None:
                weights = _with_share(weights, own, column, share)
        if np.abs(weights - before).max(initial=0.0) <= CLOSE:
            break
    return weights


def _common_share(labels: np.ndarray, carries: np.ndarray) -> float | None:
    """The share every class is brought to; None where a class has nothing but carriers."""
    known = labels >= 0
    images = np.bincount(labels[known])
    carriers = np.bincount(labels[known], weights=carries[known])[images > 0]
    images = images[images > 0]
    if (carriers == images).any():
        return None
    if (carriers == 0).any():
        return 0.0
    a, b = (images**2 / carriers).sum(), (images**2 / (images - carriers)).sum()
    return float(b / (a + b))


def _with_share(
    weights: np.ndarray, labels: np.ndarray, carries: np.ndarray, share: float
) -> np.ndarray:
    """The weights scaled inside every class so that carriers have that share of it."""
    adjusted = weights.copy()
    for label in np.unique(labels[labels >= 0]):
        own = labels == label
        total = np.count_nonzero(own)
        for part, wanted in ((own & carries, share), (own & ~carries, 1 - share)):
            now = weights[part].sum()
            if now > 0:
                adjusted[part] = weights[part] * (wanted * total / now)
    return adjusted
