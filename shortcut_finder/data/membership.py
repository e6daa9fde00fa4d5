"""Membership: which images have a label, and which are known not to have it.

Labels come in two forms, and everything that holds a class against the others asks for its images
here. Where classes exclude each other, labels are the index of each image's class, (image,). Where
an image may have several or none, they are a matrix (image, class) of int8: `HAS`, `LACKS` or
`UNKNOWN`; what is unknown is neither a member nor one of the others.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

HAS, LACKS, UNKNOWN = 1, 0, -1


def having(labels: np.ndarray, number: int) -> np.ndarray:
    """Which images have a label, (image,) of bool.

    Args:
        labels: class of each image, (image,), or their membership, (image, class).
        number: index of the label.

    Example:
        >>> having(np.array([0, 1, 1]), 1)
        array([False,  True,  True])
    """
    return np.asarray(labels == number if labels.ndim == 1 else labels[:, number] == HAS)


def lacking(labels: np.ndarray, number: int) -> np.ndarray:
    """Which images are known not to have a label, (image,) of bool.

    Example:
        >>> lacking(np.array([[1, 0], [0, -1]], dtype=np.int8), 1)
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


def comparable(labels: np.ndarray) -> bool:
    """Whether some label has images and others to hold them against."""
    found = occurring(labels)
    if labels.ndim == 1:
        return len(found) > 1
    return any(bool((labels[:, number] == LACKS).any()) for number in found)


def two_classes(labels: np.ndarray) -> bool:
    """Whether there are two classes, so that what tells one tells the other.

    Example:
        >>> two_classes(np.array([0, 1, 1])), two_classes(np.array([[1, 0], [0, 1]], dtype=np.int8))
        (True, False)
    """
    return labels.ndim == 1 and len(occurring(labels)) == 2


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


def names_of(labels: np.ndarray, classes: tuple[str, ...]) -> list[list[str]]:
    """The names of the labels that each image has, in the order of the classes.

    Example:
        >>> names_of(np.array([[1, 1], [0, -1]], dtype=np.int8), ("edema", "tube"))
        [['edema', 'tube'], []]
    """
    if labels.ndim == 1:
        return [[classes[number]] for number in labels.tolist()]
    return [[classes[number] for number in np.flatnonzero(row == HAS)] for row in labels]


def labelled(images: pd.DataFrame, label: str) -> np.ndarray:
    """Which rows of ``images.parquet`` have a label, (image,) of bool.

    Args:
        images: its rows; ``labels`` holds the names where an image may have several.
        label: a name.
    """
    if "labels" not in images:
        return (images["label"] == label).to_numpy()
    return np.array([label in names for names in images["labels"]], dtype=bool)


def label_lists(images: pd.DataFrame) -> list[list[str]]:
    """The labels of each row of ``images.parquet``."""
    if "labels" not in images:
        return [[label] for label in images["label"]]
    return [list(names) for names in images["labels"]]
