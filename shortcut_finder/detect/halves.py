"""Halves: two random parts of every class; what one finds is tested on the other."""

from __future__ import annotations

import numpy as np


def discovery_half(labels: np.ndarray, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """A random half of every class, (image,) of bool; of every set of labels, if there are any.

    Args:
        labels: class of each image, (image,), or membership.
        seed: decides which half.
        groups: number of the group that each image must stay with, (image,): no group is divided,
            and classes are halved as nearly as that allows.
    """
    rng = np.random.default_rng([seed, 1])
    if groups is not None:
        return _half_of_groups(labels, groups, rng)
    half = np.zeros(len(labels), dtype=bool)
    if labels.ndim == 2:
        # Every second image of a random order in which those of the same labels stand together.
        order = rng.permutation(len(labels))
        alike = np.unique(labels, axis=0, return_inverse=True)[1].ravel()
        half[order[np.argsort(alike[order], kind="stable")][::2]] = True
        return half
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        half[own[: (len(own) + 1) // 2]] = True
    return half


def _half_of_groups(labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Groups in random order, the large ones first, each to the half that has less of its classes.

    Args:
        labels: class of each image, (image,).
        groups: number of each image's group, (image,).
        rng: decides the order.
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    label = np.unique(labels, axis=0, return_inverse=True)[1].ravel()
    order = rng.permutation(len(sizes))
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(sizes)[:-1])
    half = np.zeros(len(labels), dtype=bool)
    # How many images more the first half has of each class.
    ahead = np.zeros(int(label.max(initial=-1)) + 1)
    for number in order[np.argsort(-sizes[order], kind="stable")]:
        images = members[number]
        classes, images_of = np.unique(label[images], return_counts=True)
        first = bool(ahead[classes] @ images_of <= 0)
        half[images] = first
        ahead[classes] += images_of if first else -images_of
    return half
