"""Regions: named parts of the frame, and how much of a map lies in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# A seventh of the side: one cell of the 7x7 grid most networks end in.
BORDER = 1 / 7
# Corners are two such cells wide, so that a stamp a little inside the edge still counts.
CORNER = 2 / 7
# Sevenths of a side are no round numbers.
NEXT_TO_NOTHING = 1e-9
# Share of the images in which what moves lies along an edge, from which it keeps to that edge.
ALONG = 0.9

CORNERS = ("top left corner", "top right corner", "bottom left corner", "bottom right corner")
EDGES = ("top edge", "bottom edge", "left edge", "right edge")
ANYWHERE = "anywhere"
# Where the user's boxes or masks say what the object is.
OBJECT, OUTSIDE = "object", "outside object"
# What lies around the middle of the frame: half of its area.
SURROUNDINGS = "surroundings"


@dataclass(frozen=True, eq=False)
class Regions:
    """Named parts of the frame as masks over a grid.

    Attributes:
        names: one name a region.
        masks: (region, row, column), the fraction of each cell that the region covers, in [0, 1].
    """

    names: tuple[str, ...]
    masks: np.ndarray


def cell_centres(cells: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Middle of each cell, given by number, as fractions x, y of the frame, (cell, 2).

    Example:
        >>> cell_centres(np.array([1, 2]), (2, 2)).tolist()
        [[0.75, 0.25], [0.25, 0.75]]
    """
    rows, columns = np.divmod(cells, grid[1])
    return np.stack([(columns + 0.5) / grid[1], (rows + 0.5) / grid[0]], axis=1)


def cell_counts(cells: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """How often each cell, given by number, comes up, (row, column).

    Example:
        >>> cell_counts(np.array([1, 2, 1]), (2, 2)).tolist()
        [[0, 2], [1, 0]]
    """
    return np.bincount(cells, minlength=grid[0] * grid[1]).reshape(grid)


def from_middle(rows: int, columns: int) -> np.ndarray:
    """How far each cell or pixel lies from the middle, as part of the side, (row, column).

    The larger of the distances down and across, in [0, 0.5).

    Example:
        >>> from_middle(1, 4).tolist()
        [[0.375, 0.125, 0.125, 0.375]]
    """
    down, across = (np.abs((np.arange(n) + 0.5) / n - 0.5) for n in (rows, columns))
    return np.asarray(np.maximum(down[:, None], across[None, :]))


def surroundings(rows: int, columns: int) -> np.ndarray:
    """The cells or pixels around the middle of the frame, half of its area, (row, column) of bool.

    Example:
        >>> surroundings(14, 14).mean().round(2)
        np.float64(0.49)
    """
    return np.asarray(from_middle(rows, columns) > np.sqrt(0.5) / 2)


def _boxes() -> dict[str, list[tuple[float, float, float, float]]]:
    """Boxes (x0, y0, x1, y1) of each region as fractions of the frame; a region is their union."""
    b, c = BORDER, CORNER
    boxes = {
        "top left corner": [(0.0, 0.0, c, c)],
        "top right corner": [(1 - c, 0.0, 1.0, c)],
        "bottom left corner": [(0.0, 1 - c, c, 1.0)],
        "bottom right corner": [(1 - c, 1 - c, 1.0, 1.0)],
        "top edge": [(0.0, 0.0, 1.0, b)],
        "bottom edge": [(0.0, 1 - b, 1.0, 1.0)],
        "left edge": [(0.0, 0.0, b, 1.0)],
        "right edge": [(1 - b, 0.0, 1.0, 1.0)],
        "frame": [
            (0.0, 0.0, 1.0, b),
            (0.0, 1 - b, 1.0, 1.0),
            (0.0, b, b, 1 - b),
            (1 - b, b, 1.0, 1 - b),
        ],
        "centre": [(0.25, 0.25, 0.75, 0.75)],
    }
    third = 1 / 3
    for row in range(3):
        for column in range(3):
            box = (column * third, row * third, (column + 1) * third, (row + 1) * third)
            boxes[f"grid {row + 1},{column + 1}"] = [box]
    return boxes


BOXES = _boxes()


def overlap(low: float, high: float, cells: int) -> np.ndarray:
    """How much of each of ``cells`` equal parts of [0, 1] the interval covers."""
    edges = np.arange(cells + 1) / cells
    return np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) * cells


def frame_regions(rows: int, columns: int) -> Regions:
    """The corners, edges, frame ring, centre and 3x3 grid of a map with that many cells.

    Example:
        >>> regions = frame_regions(7, 7)
        >>> regions.masks[regions.names.index("frame")].sum().round(6)
        np.float64(24.0)
    """
    masks = [
        sum(np.outer(overlap(y0, y1, rows), overlap(x0, x1, columns)) for x0, y0, x1, y1 in boxes)
        for boxes in BOXES.values()
    ]
    return Regions(tuple(BOXES), np.clip(np.stack([np.asarray(m) for m in masks]), 0, 1))


def edge_strip(cells: np.ndarray, grid: tuple[int, int]) -> np.ndarray | None:
    """The two sevenths of the frame along one edge where nearly all of some cells, by number, lie.

    Returns:
        (row, column) of bool; ``None`` where they keep to no edge.

    Example:
        >>> edge_strip(np.array([12, 13, 14, 15]), (4, 4)).any(axis=1).tolist()
        [False, False, False, True]
        >>> edge_strip(np.array([12, 13, 3, 7]), (4, 4)) is None
        True
    """
    counts = cell_counts(cells, grid)
    rows, columns = (max(int(CORNER * length + NEXT_TO_NOTHING), 1) for length in grid)
    places = (np.s_[:rows], np.s_[-rows:], np.s_[:, :columns], np.s_[:, -columns:])
    for place in places:
        if counts[place].sum() >= ALONG * max(len(cells), 1):
            strip = np.zeros(grid, dtype=bool)
            strip[place] = True
            return strip
    return None


def region_shares(maps: np.ndarray, regions: Regions) -> np.ndarray:
    """Share of each image's positive evidence that lies in each region.

    Args:
        maps: signed class maps, (image, row, column).
        regions: the parts of the frame to weigh.

    Returns:
        Shares in [0, 1], (image, region); zero where a map has no positive cell.

    Example:
        >>> even = np.ones((1, 7, 7))
        >>> shares = region_shares(even, frame_regions(7, 7))
        >>> float(shares[0, 8].round(3))  # the frame ring is 24 of 49 cells
        0.49
    """
    heat = np.clip(maps, 0, None).astype(np.float64)
    total = heat.sum(axis=(1, 2))
    inside = np.einsum("nij,rij->nr", heat, regions.masks)
    return inside / np.where(total > 0, total, 1.0)[:, None]


def object_shares(maps: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Share of each image's positive evidence on its object and outside of it.

    Args:
        maps: signed class maps, (image, row, column).
        cover: part of each cell that the object covers, (image, row, column); NaN where unknown.

    Returns:
        Shares in [0, 1] that sum to one, (image, 2); NaN where the object is unknown or a map has
        no positive cell.

    Example:
        >>> left = np.zeros((1, 4, 4))
        >>> left[0, :, 0] = 1
        >>> object_shares(np.ones((1, 4, 4)), left).tolist()
        [[0.25, 0.75]]
    """
    heat = np.clip(maps, 0, None).astype(np.float64)
    total = heat.sum(axis=(1, 2))
    inside = np.einsum("nij,nij->n", heat, cover) / np.where(total > 0, total, np.nan)
    return np.stack([inside, 1 - inside], axis=1)


def even_shares(shares: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Shares as they would be if each region were half of the frame; 0.5 is evidence spread evenly.

    Args:
        shares: of the evidence, in [0, 1].
        areas: part of the frame that the region covers, in [0, 1], of a shape to go with them.

    Returns:
        In [0, 1]; NaN where a region is nothing or everything.

    Example:
        >>> even_shares(np.array([0.25, 0.5]), np.array([0.25, 0.25])).tolist()
        [0.5, 0.75]
    """
    areas = np.where((areas > 1e-6) & (areas < 1 - 1e-6), areas, np.nan)
    inside, outside = shares / areas, (1 - shares) / (1 - areas)
    return np.asarray(inside / (inside + outside))


def box_region(x0: float, y0: float, x1: float, y1: float) -> str:
    """The name that says best where a box (fractions of the frame) lies.

    Example:
        >>> box_region(0.02, 0.02, 0.2, 0.15)
        'top left corner'
    """
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    for name in (*CORNERS, *EDGES):
        left, top, right, bottom = BOXES[name][0]
        inside = left - NEXT_TO_NOTHING <= x <= right + NEXT_TO_NOTHING
        if inside and top - NEXT_TO_NOTHING <= y <= bottom + NEXT_TO_NOTHING:
            return name
    if 0.25 <= x <= 0.75 and 0.25 <= y <= 0.75:
        return "centre"
    return f"grid {min(int(y * 3), 2) + 1},{min(int(x * 3), 2) + 1}"
