"""Spot: where a thing stands in the images that carry it, and what that is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from shortcut_finder.data.preprocessing import Box
from shortcut_finder.data.regions import (
    ANYWHERE,
    CORNERS,
    EDGES,
    box_region,
    cell_centres,
    edge_strip,
)

# Share of the carriers that answer within one cell of a place from which a thing keeps to it, and
# the part of its commonest cell's share from which a cell belongs to it.
FIXED, PART = 0.6, 0.5
# How much more alike carriers are than other images where a thing reaches (mean cosine), at least,
# and as part of the most.
ALIKE, REACHES = 0.1, 0.3
# Share of a side of the frame that a frame covers at least, and sides that it does.
SIDE, SIDES = 0.4, 3
# Width of a rim around the cells of a thing, in cells: a cell sees beyond itself.
MARGIN = 0.25
NEIGHBOURS = np.ones((3, 3))
# Share of the frame that a thing at one place covers from which it is a background.
WIDE = 0.25


@dataclass(frozen=True, eq=False)
class Spot:
    """Where a thing stands.

    Attributes:
        region: its name; ``anywhere`` where it moves.
        extent: cells that a thing at one place covers, (row, column) of bool; ``None`` where it
            moves.
        strip: cells along the edge that a moving thing keeps to, likewise.
        counts: share of the carriers whose best cell lies there, (row, column).
        fixed: largest share of the carriers that answer within one cell of a place, in [0, 1].
    """

    region: str
    extent: np.ndarray | None
    strip: np.ndarray | None
    counts: np.ndarray
    fixed: float


def spot_of(
    best: np.ndarray,
    covers: Mapping[int, np.ndarray],
    carriers: np.ndarray,
    others: np.ndarray,
    grid: tuple[int, int],
) -> Spot:
    """Where the carriers of a thing have it, and the class's other images have not.

    Args:
        best: cell of each image that answers most, (image,).
        covers: cells of an image that answer, by its number, (cell,) of bool.
        carriers: numbers of the images that carry it, one at least.
        others: numbers of images of the class that do not.
        grid: rows and columns of cells.
    """
    found = np.bincount(best[carriers], minlength=grid[0] * grid[1]).reshape(grid)
    counts = found / len(carriers)
    # A thing at one place may be told by any of the cells it touches.
    near, far = (_shown(covers, images, grid, wide=True) for images in (carriers, others))
    peak = float((near - far).max())
    shown = _shown(covers, carriers, grid) - _shown(covers, others, grid)
    if peak >= FIXED:
        parts, _ = ndimage.label(shown >= PART * float(shown.max()), structure=NEIGHBOURS)
        extent = parts == parts.flat[int(shown.argmax())]
        return Spot(name_of(extent), extent, None, counts, peak)
    strip = edge_strip(best[carriers], grid)
    region = ANYWHERE if strip is None else name_of(strip)
    return Spot(region, None, strip, counts, peak)


def reaching(spot: Spot, excess: np.ndarray) -> Spot:
    """A thing at one place with all that it covers.

    A direction shows one part of it, such as a corner of a frame.

    Args:
        spot: from `spot_of`.
        excess: how much more alike carriers are at each cell than other images, (row, column).
    """
    assert spot.extent is not None
    alike = excess >= max(ALIKE, REACHES * float(excess[spot.extent].max()))
    parts, _ = ndimage.label(alike | spot.extent, structure=NEIGHBOURS)
    extent = parts == parts[spot.extent].max()
    weights = np.where(extent, np.square(np.clip(excess, 0, None)), 0.0)
    return replace(spot, region=name_of(extent, weights), extent=extent)


def _shown(
    covers: Mapping[int, np.ndarray],
    images: np.ndarray,
    grid: tuple[int, int],
    *,
    wide: bool = False,
) -> np.ndarray:
    """Share of some images in which each cell answers, or one that touches it, (row, column)."""
    total = np.zeros(grid)
    for image in images.tolist():
        if image in covers:
            cells = covers[image].reshape(grid)
            total += ndimage.binary_dilation(cells, NEIGHBOURS) if wide else cells
    return total / max(len(images), 1)


def name_of(cells: np.ndarray, weights: np.ndarray | None = None) -> str:
    """The region that some cells of the frame are called by.

    Args:
        cells: (row, column) of bool.
        weights: how much each of them shows of the thing, (row, column); the middle of the cells
            counts if None.
    """
    sides = (cells[0], cells[-1], cells[:, 0], cells[:, -1])
    inner = ~along_border(cells.shape)
    hollow = not inner.any() or cells[inner].mean() < 0.5
    if hollow and sum(side.mean() >= SIDE for side in sides) >= SIDES:
        return "frame"
    if weights is None or weights.sum() <= 0:
        return box_region(*bounds_of(cells))
    centres = cell_centres(np.arange(cells.size), (cells.shape[0], cells.shape[1]))
    x, y = (weights.ravel() @ centres / weights.sum()).tolist()
    return box_region(x, y, x, y)


def kind_of_cells(cells: np.ndarray, region: str) -> str:
    """The kind, as files call it, of a thing that covers some cells, (row, column) of bool."""
    if region == "frame":
        return "frame"
    if region in CORNERS:
        return "corner"
    if region in EDGES:
        return "edge"
    return "background" if cells.mean() >= WIDE else "patch"


def along_border(grid: tuple[int, ...]) -> np.ndarray:
    """The cells that a frame may cover, two deep, (row, column) of bool."""
    border = np.ones(grid, dtype=bool)
    border[2:-2, 2:-2] = False
    return border


def bounds_of(cells: np.ndarray) -> Box:
    """Smallest box around cells, (row, column) of bool, as fractions of the frame."""
    rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    height, width = cells.shape
    return (
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1) / width),
        float((rows[-1] + 1) / height),
    )


def boxes_of(
    spot: Spot, best: np.ndarray, covers: Mapping[int, np.ndarray], grid: tuple[int, int]
) -> Callable[[int], Box]:
    """Where each image carries a thing, as fractions of the frame.

    At one place it is the same box for all; elsewhere the cells that hang together with the best.
    """
    if spot.extent is not None:
        bounds = bounds_of(spot.extent)
        return lambda _image: bounds
    rows, columns = grid
    down, across = MARGIN / rows, MARGIN / columns

    def around(image: int) -> Box:
        cell = int(best[image])
        cells = np.zeros(grid, dtype=bool)
        cells.flat[cell] = True
        if image in covers:
            parts, _ = ndimage.label(covers[image].reshape(grid) | cells, structure=NEIGHBOURS)
            cells = parts == parts.flat[cell]
        x0, y0, x1, y1 = bounds_of(cells)
        return (
            max(x0 - across, 0.0),
            max(y0 - down, 0.0),
            min(x1 + across, 1.0),
            min(y1 + down, 1.0),
        )

    return around


def border_share(cells: np.ndarray, grid: tuple[int, int]) -> float:
    """Share of some cells, by number, that touch the border of the frame, in [0, 1]."""
    if not len(cells):
        return 0.0
    centres = cell_centres(cells, grid)
    outer = np.minimum(centres, 1 - centres) * np.array([grid[1], grid[0]]) < 1
    return float(outer.any(axis=1).mean())
