"""Regions: shares equal a slow loop, regions are where their names say, and flips flip them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortcut_finder.data.regions import (
    BOXES,
    CORNERS,
    EDGES,
    Regions,
    box_region,
    even_shares,
    frame_regions,
    object_shares,
    region_shares,
)

GRIDS = [(7, 7), (8, 8), (5, 9), (1, 1), (14, 2)]


def mask(name: str, rows: int, columns: int) -> np.ndarray:
    regions = frame_regions(rows, columns)
    return regions.masks[regions.names.index(name)]


def slow_mask(
    boxes: list[tuple[float, float, float, float]], rows: int, columns: int
) -> np.ndarray:
    """The share of each cell's fine points that lie in one of the boxes."""
    fine = 42
    covered = np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            y, x = np.mgrid[0:fine, 0:fine]
            y, x = (row + (y + 0.5) / fine) / rows, (column + (x + 0.5) / fine) / columns
            inside = [(x >= x0) & (x < x1) & (y >= y0) & (y < y1) for x0, y0, x1, y1 in boxes]
            covered[row, column] = np.any(inside, axis=0).mean()
    return covered


@pytest.mark.parametrize(("rows", "columns"), GRIDS)
@pytest.mark.parametrize("name", BOXES)
def test_masks_cover_what_fine_points_cover(name: str, rows: int, columns: int) -> None:
    expected = slow_mask(BOXES[name], rows, columns)
    np.testing.assert_allclose(mask(name, rows, columns), expected, atol=0.05)


@pytest.mark.parametrize(("rows", "columns"), GRIDS)
def test_the_grid_of_nine_tiles_the_frame(rows: int, columns: int) -> None:
    nine = [mask(name, rows, columns) for name in BOXES if name.startswith("grid")]
    np.testing.assert_allclose(np.sum(nine, axis=0), 1.0)


@pytest.mark.parametrize(("rows", "columns"), GRIDS)
def test_flipping_the_frame_swaps_left_and_right_top_and_bottom(rows: int, columns: int) -> None:
    for one, other in (("left", "right"), ("top", "bottom")):
        for name in (*CORNERS, *EDGES):
            if one in name:
                axis = 1 if one == "left" else 0
                twin = name.replace(one, other)
                flipped = np.flip(mask(twin, rows, columns), axis)
                np.testing.assert_allclose(mask(name, rows, columns), flipped, atol=1e-12)


def test_shares_equal_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(5, 6, 8)).astype(np.float32)
    before = maps.copy()
    regions = frame_regions(6, 8)
    shares = region_shares(maps, regions)
    for image in range(5):
        for number, region in enumerate(regions.masks):
            inside = total = 0.0
            for row in range(6):
                for column in range(8):
                    heat = max(float(maps[image, row, column]), 0.0)
                    inside += heat * region[row, column]
                    total += heat
            assert shares[image, number] == pytest.approx(inside / total)
    np.testing.assert_array_equal(maps, before)


def test_a_map_without_a_positive_cell_has_no_share_anywhere() -> None:
    assert not region_shares(-np.ones((2, 7, 7)), frame_regions(7, 7)).any()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99), st.floats(1e-3, 1e3))
def test_shares_are_shares_and_do_not_answer_to_scale(
    rows: int, columns: int, seed: int, scale: float
) -> None:
    maps = np.random.default_rng(seed).normal(size=(3, rows, columns))
    regions = frame_regions(rows, columns)
    shares = region_shares(maps, regions)
    assert ((shares >= 0) & (shares <= 1 + 1e-9)).all()
    np.testing.assert_allclose(region_shares(maps * scale, regions), shares, atol=1e-9)
    nine = [number for number, name in enumerate(regions.names) if name.startswith("grid")]
    positive = (maps > 0).any(axis=(1, 2))
    np.testing.assert_allclose(shares[:, nine].sum(axis=1), positive.astype(float))


def test_heat_in_one_corner_is_that_corners() -> None:
    maps = np.zeros((1, 7, 7))
    maps[0, 6, 0] = 5
    regions = frame_regions(7, 7)
    shares = dict(zip(regions.names, region_shares(maps, regions)[0].tolist(), strict=True))
    full = {name for name, share in shares.items() if share == pytest.approx(1.0)}
    assert full == {"bottom left corner", "bottom edge", "left edge", "frame", "grid 3,1"}
    assert all(share == 0 for name, share in shares.items() if name not in full)


def test_any_masks_may_be_weighed() -> None:
    regions = Regions(("all", "none"), np.stack([np.ones((2, 2)), np.zeros((2, 2))]))
    assert region_shares(np.ones((1, 2, 2)), regions).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("box", "name"),
    [
        ((0.0, 0.0, 0.1, 0.1), "top left corner"),
        ((0.9, 0.0, 1.0, 0.1), "top right corner"),
        ((0.0, 0.9, 0.1, 1.0), "bottom left corner"),
        ((0.8, 0.8, 1.0, 1.0), "bottom right corner"),
        ((0.4, 0.0, 0.6, 0.1), "top edge"),
        ((0.4, 0.9, 0.6, 1.0), "bottom edge"),
        ((0.0, 0.4, 0.1, 0.6), "left edge"),
        ((0.9, 0.4, 1.0, 0.6), "right edge"),
        ((0.4, 0.4, 0.6, 0.6), "centre"),
        ((0.0, 0.0, 1.0, 1.0), "centre"),
        ((0.15, 0.4, 0.25, 0.6), "grid 2,1"),
        ((0.6, 0.15, 0.8, 0.25), "grid 1,3"),
    ],
)
def test_a_box_is_named_after_where_it_lies(
    box: tuple[float, float, float, float], name: str
) -> None:
    assert box_region(*box) == name


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_every_box_has_a_known_name(x0: float, y0: float, x1: float, y1: float) -> None:
    assert box_region(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)) in BOXES


def test_shares_of_objects_equal_a_slow_loop_and_are_unknown_where_the_object_is() -> None:
    rng = np.random.default_rng(0)
    maps, cover = rng.normal(size=(5, 4, 6)), rng.random((5, 4, 6))
    cover[2] = np.nan
    maps[3] = -1
    found = object_shares(maps, cover)
    for number in (0, 1, 4):
        heat = [(max(value, 0.0), part) for value, part in
                zip(maps[number].ravel(), cover[number].ravel(), strict=True)]  # fmt: skip
        inside = sum(h * part for h, part in heat) / sum(h for h, _ in heat)
        assert found[number].tolist() == pytest.approx([inside, 1 - inside])
    assert np.isnan(found[[2, 3]]).all()


@given(area=st.floats(0.01, 0.99), share=st.floats(0, 1))
def test_even_shares_are_a_half_for_even_evidence_and_add_up(area: float, share: float) -> None:
    both = even_shares(np.array([share, 1 - share]), np.array([area, 1 - area]))
    assert both.sum() == pytest.approx(1)
    assert even_shares(np.array([area]), np.array([area]))[0] == pytest.approx(0.5)
    assert (both[0] > 0.5) == (share > area) or share == pytest.approx(area)
    assert np.isnan(even_shares(np.array([share] * 2), np.array([0.0, 1.0]))).all()
