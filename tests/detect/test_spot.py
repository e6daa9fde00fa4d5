"""Spot: what stands still is told from what moves, and called by where it stands."""

from __future__ import annotations

import numpy as np
import pytest

from shortcut_finder.detect.spot import Spot, border_share, bounds_of, boxes_of, spot_of

GRID = (8, 8)
CARRIERS, OTHERS = np.arange(20), np.arange(20, 40)
Cells = list[tuple[int, int]]

CORNER: Cells = [(0, 0), (0, 1), (1, 0)]
MIDDLE: Cells = [(3, 3), (3, 4), (4, 3), (4, 4)]
FRAME: Cells = [(r, c) for r in range(8) for c in range(8) if {r, c} & {0, 7}]


def mask(cells: Cells) -> np.ndarray:
    found = np.zeros(GRID, dtype=bool)
    found[tuple(np.array(cells).T)] = True
    return found


def placed(
    shown: list[Cells], also: Cells | None = None
) -> tuple[Spot, np.ndarray, dict[int, np.ndarray]]:
    """A thing that carriers show at such cells, in turn, and others of the class at some."""
    each = {int(n): mask(shown[n % len(shown)]).ravel() for n in CARRIERS}
    if also is not None:
        each |= {int(n): mask(also).ravel() for n in OTHERS}
    best = np.zeros(40, dtype=int)
    for number, cells in each.items():
        best[number] = int(np.flatnonzero(cells)[0])
    return spot_of(best, each, CARRIERS, OTHERS, GRID), best, each


@pytest.mark.parametrize(
    ("cells", "region"),
    [
        (CORNER, "top left corner"),
        (MIDDLE, "centre"),
        (FRAME, "frame"),
        ([(7, c) for c in range(8)], "bottom edge"),
        ([(r, 0) for r in range(8)], "left edge"),
    ],
)
def test_what_stands_still_has_a_name_and_cells(cells: Cells, region: str) -> None:
    place, best, covers = placed([cells])
    assert place.region == region
    assert place.extent is not None
    assert np.array_equal(place.extent, mask(cells))
    assert place.fixed == 1
    assert place.counts.sum() == pytest.approx(1)
    assert boxes_of(place, best, covers, GRID)(3) == bounds_of(mask(cells))


def test_what_moves_along_an_edge_has_a_strip() -> None:
    place, _, _ = placed([[(7, c)] for c in (0, 2, 4, 5, 7)])
    assert (place.region, place.extent) == ("bottom edge", None)
    assert place.strip is not None
    assert place.strip[7].all()
    assert not place.strip[:5].any()


def test_what_moves_is_anywhere_and_has_a_box_an_image() -> None:
    shown = [[(r, c), (r, c + 1)] for r, c in ((0, 0), (2, 5), (6, 3), (4, 1), (5, 6))]
    place, best, covers = placed(shown)
    assert (place.region, place.extent, place.strip) == ("anywhere", None, None)
    boxes = boxes_of(place, best, covers, GRID)
    for number in range(5):
        (top, left), (_, right) = shown[number]
        x0, y0, x1, y1 = boxes(number)
        assert 0 <= x0 <= left / 8 < (right + 1) / 8 <= x1 <= 1
        assert 0 <= y0 <= top / 8 < (top + 1) / 8 <= y1 <= 1
        assert x1 - x0 < 3 / 8
    # An image of another class has the cell that answers most.
    best[30] = 9
    assert boxes(30) == pytest.approx((0.75 / 8, 0.75 / 8, 2.25 / 8, 2.25 / 8))


def test_a_box_leaves_out_what_answers_elsewhere() -> None:
    place, best, covers = placed([[(0, 0)], [(2, 5)], [(6, 3)], [(4, 1)], [(5, 6)]])
    covers[1] = mask([(2, 5), (7, 0)]).ravel()
    assert boxes_of(place, best, covers, GRID)(1)[3] < 0.5


def test_what_the_class_shows_there_anyway_is_not_its_place() -> None:
    place, _, _ = placed([MIDDLE], also=MIDDLE)
    assert place.extent is None


def test_only_cells_at_the_border_touch_it() -> None:
    assert border_share(np.array([0, 5, 9, 63]), GRID) == 0.75
    assert border_share(np.array([27, 36]), GRID) == 0
    assert border_share(np.array([], dtype=int), GRID) == 0
