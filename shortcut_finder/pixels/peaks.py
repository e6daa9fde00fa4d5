"""Peaks: the highest places of a grid, none near another."""

from __future__ import annotations

import numpy as np


def peaks(values: np.ndarray, count: int, reach: tuple[int, int]) -> list[tuple[int, int]]:
    """Row and column of the highest places, highest first; fewer where there is no room.

    Args:
        values: (row, column).
        count: how many at most.
        reach: rows and columns around a place where no other is taken.

    Example:
        >>> peaks(np.array([[1.0, 9.0, 8.0, 2.0]]), 2, (0, 1))
        [(0, 1), (0, 3)]
    """
    left, found = values.astype(np.float64), list[tuple[int, int]]()
    down, across = reach
    while len(found) < count:
        row, column = (int(at) for at in np.unravel_index(int(left.argmax()), left.shape))
        if not np.isfinite(left[row, column]):
            break
        found.append((row, column))
        near = np.s_[
            max(0, row - down) : row + down + 1, max(0, column - across) : column + across + 1
        ]
        left[near] = -np.inf
    return found
