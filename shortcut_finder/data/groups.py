"""Groups: images that must stay together, such as those of one patient, as numbers.

Where images of one patient, one film or one original lie on both halves, what one half finds is no
news to the other, and ten copies of a picture count as ten.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def numbered(names: Sequence[str]) -> np.ndarray:
    """A number for each name, (image,) int64; images without a name are groups of their own.

    Example:
        >>> numbered(["ann", "", "bob", "ann", ""]).tolist()
        [0, 2, 1, 0, 3]
    """
    codes, known = pd.factorize(pd.Series(list(names), dtype=object).replace("", None), sort=True)
    alone = codes < 0
    codes = codes.astype(np.int64)
    codes[alone] = len(known) + np.arange(int(alone.sum()))
    return codes


def joined(groups: np.ndarray | None, pairs: np.ndarray, images: int) -> np.ndarray | None:
    """Groups that pairs of images join.

    Args:
        groups: number of each image's group, (image,); None where each is one of its own.
        pairs: images that belong together, (pair, 2).
        images: how many there are.

    Returns:
        Numbers of the groups, (image,) int64; None where every image is one of its own.

    Example:
        >>> joined(None, np.array([[0, 2]]), 4).tolist(), joined(None, np.empty((0, 2)), 4)
        ([0, 1, 0, 2], None)
    """
    ends = [np.asarray(pairs, dtype=np.int64).reshape(-1, 2)]
    if groups is not None:
        order = np.argsort(groups, kind="stable")
        same = groups[order][1:] == groups[order][:-1]
        ends.append(np.stack([order[:-1][same], order[1:][same]], axis=1))
    one, other = np.concatenate(ends).T
    if not len(one):
        return None
    links = coo_array((np.ones(len(one), dtype=bool), (one, other)), shape=(images, images))
    _, found = connected_components(links, directed=False)
    return np.asarray(found, dtype=np.int64)


def one_of_each(groups: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """One image of each group and class, drawn at random, (image,) of bool.

    Where images may have several classes, given as (image, class), it is one image of each group.

    That some image of a group has a thing is likelier the more images there are, and classes may
    differ in that; one image drawn from each group is as likely to have it in any class.

    Example:
        >>> int(one_of_each(np.array([0, 0, 1, 1, 1]), np.zeros(5, dtype=int), 0).sum())
        2
    """
    order = np.random.default_rng([seed, 6]).permutation(len(groups))
    if labels.ndim == 2:
        labels = np.zeros_like(groups)
    _, first = np.unique(np.stack([groups, labels])[:, order], axis=1, return_index=True)
    chosen = np.zeros(len(groups), dtype=bool)
    chosen[order[first]] = True
    return chosen


def first_of_each(images: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """The images without those whose group an earlier one is of.

    Args:
        images: numbers of images, the best first.
        groups: number of each image's group, (image,); None where each stands for itself.

    Example:
        >>> first_of_each(np.array([4, 1, 0]), np.array([0, 7, 1, 2, 7])).tolist()
        [4, 0]
    """
    if groups is None:
        return images
    _, first = np.unique(groups[images], return_index=True)
    return np.asarray(images[np.sort(first)])
