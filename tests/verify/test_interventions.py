"""Interventions: the region changes, the rest stays, and a control is like what it controls for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from shortcut_finder.verify.interventions import (
    BLURS,
    OVERLAP,
    blurred,
    box_mask,
    cells_mask,
    control_region,
    diffused,
    moved,
    paste,
    shift_anywhere,
    shift_to,
    with_border_of,
    with_colours_of,
    with_sharpness_of,
)

SIDE = 64
CORNER = box_mask((0.05, 0.05, 0.3, 0.2), SIDE, SIDE)


def noise(seed: int = 0, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ramp(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Grey levels that rise evenly to the right and to the bottom: a solution of Laplace's."""
    grey = 40 + 2 * np.arange(width)[None, :] + np.arange(height)[:, None]
    return np.repeat(grey[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)


def far_from(mask: np.ndarray) -> np.ndarray:
    """Pixels that the soft rim of a region does not reach."""
    reach = np.zeros_like(mask)
    for down in range(-5, 6):
        for across in range(-5, 6):
            reach |= moved(mask, down, across)
    return ~reach


@pytest.mark.parametrize("fill", [blurred, diffused], ids=["blur", "diffusion"])
def test_a_fill_changes_the_region_and_nothing_else(fill) -> None:
    image = noise()
    filled = fill(image, CORNER)
    assert np.array_equal(filled[far_from(CORNER)], image[far_from(CORNER)])
    assert filled[CORNER].std() < 0.4 * image[CORNER].std()


def test_diffusion_continues_an_even_ramp() -> None:
    mask = box_mask((0.3, 0.4, 0.7, 0.8), SIDE, SIDE)
    spoiled = ramp()
    spoiled[mask] = 255
    inner = box_mask((0.4, 0.5, 0.6, 0.7), SIDE, SIDE)
    assert np.abs(diffused(spoiled, mask)[inner].astype(int) - ramp()[inner]).max() <= 1


def test_diffusion_of_everything_is_the_mean() -> None:
    image = noise()
    assert (
        diffused(image, np.ones((SIDE, SIDE), bool)) == image.mean(axis=(0, 1)).astype(int)
    ).all()


def test_a_paste_moves_the_donors_region() -> None:
    under, donor = ramp(), noise()
    pasted = paste(under, donor, CORNER, (20, 30))
    there = moved(CORNER, 20, 30)
    rows, columns = np.nonzero(there)
    middle = rows.mean().astype(int), columns.mean().astype(int)
    assert np.array_equal(pasted[middle], donor[middle[0] - 20, middle[1] - 30])
    assert np.array_equal(pasted[far_from(there)], under[far_from(there)])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 50))
def test_a_region_moved_anywhere_stays_whole(seed: int, high: int, wide: int) -> None:
    mask = np.zeros((40, 50), dtype=bool)
    rng = np.random.default_rng(seed)
    y, x = rng.integers(0, 41 - high), rng.integers(0, 51 - wide)
    mask[y : y + high, x : x + wide] = True
    assert moved(mask, *shift_anywhere(mask, rng)).sum() == mask.sum()


def test_a_hot_place_is_brought_into_the_region() -> None:
    image = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    image[40:44, 50:54] = 255
    brought = np.roll(image, shift_to(CORNER, 52 / SIDE, 42 / SIDE), axis=(0, 1))
    assert brought[CORNER].sum() == image.sum()


def test_cells_become_their_pixels_and_half_a_cell_around() -> None:
    extent = np.zeros((8, 8), dtype=bool)
    extent[2, 3] = True
    rows, columns = np.nonzero(cells_mask(extent, 64, 64))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (12, 27, 20, 35)


@pytest.mark.parametrize(
    "box", [(0, 0, 0.2, 0.2), (0.4, 0.4, 0.6, 0.6), (0.8, 0.3, 1, 0.5), (0.1, 0.7, 0.5, 0.9)]
)
def test_a_control_region_is_elsewhere_and_alike_in_size_and_distance(box) -> None:
    mask = box_mask(box, SIDE, SIDE)
    control = control_region(noise(), mask)
    assert control is not None
    assert (control & mask).sum() <= OVERLAP * mask.sum()
    assert control.sum() == mask.sum()
    centre = [np.argwhere(region).mean(axis=0) for region in (mask, control)]
    nearest = [min(*c, *(SIDE - 1 - c)) for c in centre]
    assert nearest[0] == pytest.approx(nearest[1], abs=SIDE / 6)


def test_a_control_region_has_the_texture_of_the_region() -> None:
    image = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    mask = box_mask((0, 0, 0.25, 0.25), SIDE, SIDE)
    image[mask] = noise()[mask]
    image[-16:, -16:] = noise(1)[-16:, -16:]
    control = control_region(image, mask)
    assert control is not None
    assert np.array_equal(control, mask[::-1, ::-1])


def test_the_control_of_a_ring_is_the_ring_inside_it() -> None:
    ring = np.ones((SIDE, SIDE), dtype=bool)
    ring[6:-6, 6:-6] = False
    control = control_region(noise(), ring)
    assert control is not None
    assert not (control & ring).any()
    assert control[32, 8]
    assert not control[32, 32]
    assert control.sum() == pytest.approx(ring.sum(), rel=0.4)


def test_a_region_that_fills_the_image_has_no_control() -> None:
    assert control_region(noise(), box_mask((0, 0, 1, 0.6), SIDE, SIDE)) is None


def test_colours_of_another_image_are_taken_over() -> None:
    warm = (noise(1) * np.array([0.8, 0.7, 0.6]) + 40).astype(np.uint8)
    matched = with_colours_of(noise(0), warm)
    assert matched.mean(axis=(0, 1)) == pytest.approx(warm.mean(axis=(0, 1)), abs=2)
    assert matched.std(axis=(0, 1)) == pytest.approx(warm.std(axis=(0, 1)), abs=2)


def test_colours_of_an_object_inside_are_left_behind() -> None:
    donor = noise(1)
    donor[16:48, 16:48] = (200, 20, 20)
    assert np.array_equal(with_colours_of(noise(0), donor), with_colours_of(noise(0), noise(1)))


def test_a_flat_image_is_not_stretched_without_end() -> None:
    flat = np.full((SIDE, SIDE, 3), 100, dtype=np.uint8)
    flat[::2] += 2
    assert np.ptp(with_colours_of(flat, noise(1)).astype(int)) <= 6


def test_an_image_is_blurred_like_another_whose_background_is() -> None:
    sharp = noise()
    blurry = ndimage.gaussian_filter(sharp.astype(float), (BLURS[4], BLURS[4], 0)).astype(np.uint8)
    background = blurry.copy()
    background[16:48, 16:48] = sharp[16:48, 16:48]
    assert np.array_equal(with_sharpness_of(sharp, background), with_sharpness_of(sharp, blurry))


def test_a_sharp_image_is_blurred_like_a_soft_one_and_back() -> None:
    sharp = noise()
    blurry = ndimage.gaussian_filter(sharp.astype(float), (BLURS[4], BLURS[4], 0)).astype(np.uint8)
    softened = with_sharpness_of(sharp, blurry)
    assert np.abs(softened.astype(int) - blurry).mean() < 3
    edges = np.abs(np.diff(blurry.astype(float), axis=0)).mean()
    assert np.abs(np.diff(with_sharpness_of(blurry, sharp).astype(float), axis=0)).mean() > edges


def test_the_border_of_another_image_is_taken_over() -> None:
    image, donor = ramp(), noise()
    mixed = with_border_of(image, donor)
    assert np.array_equal(mixed[:, 0], donor[:, 0])
    assert np.array_equal(mixed[16:-16, 16:-16], image[16:-16, 16:-16])
