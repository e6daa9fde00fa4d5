"""Membership: which images have a label, and which are known not to have it.

Labels come in two forms, and everything that holds a class against the others asks for its images
here. Where classes exclude each other, labels are the index of each image's class, (image,). Where
an image may have several or none, they are a matrix (image, class) of int8: `HAS`, `LACKS` or
`UNKNOWN`; what is unknown is neither a member nor one of the others.
"""

from __future__ import annotations

import numpy as np

HAS, LACKS, UNKNOWN = 1, 0, -1


def members(labels: np.ndarray, number: int) -> np.ndarray:
    """Which images have a label, (image,) of bool.

    Args:
        labels: class of each image, (image,), or their membership, (image, class).
        number: index of the label.

    Example:
        >>> members(np.array([0, 1, 1]), 1)
        array([False,  True,  True])
    """
    return np.asarray(labels == number if labels.ndim == 1 else labels[:, number] == HAS)


def others(labels: np.ndarray, number: int) -> np.ndarray:
    """Which images are known not to have a label, (image,) of bool.

    Example:
        >>> others(np.array([[1, 0], [0, -1]], dtype=np.int8), 1)
        array([ True, False])
    """
    return np.asarray(labels != number if labels.ndim == 1 else labels[:, number] == LACKS)


def occurring(labels: np.ndarray) -> list[int]:
    """The labels that some image has, in the order of the classes.

    Example:
        >>> occurring(np.array([[1, 0], [0, -1]], dtype=np.int8)), occurring(np.array([2, 0]))
        ([0], [0, 2])
    """
    if labels.ndim == 1:
        return [int(number) for number in np.unique(labels)]
    return [int(number) for number in np.flatnonzero((labels == HAS).any(axis=0))]


def matrix(labels: np.ndarray, classes: int) -> np.ndarray:
    """Membership of every image in every class, (image, class) int8.

    Example:
        >>> matrix(np.array([1, 0]), 2)
        array([[0, 1],
               [1, 0]], dtype=int8)
    """
    if labels.ndim == 2:
        return labels
    return (labels[:, None] == np.arange(classes)).astype(np.int8)
