"""Rigidity: a stamp repeats to the pixel, textures do not, and one can see through an overlay."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from synthetic import paste, stamp, texture

from shortcut_finder.pixels.rigidity import (
    _core,
    _view,
    grey_image,
    likeness_to,
    measure_rigidity,
)

SIDE = 120


def textures(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [texture(rng, SIDE).astype(np.float32) for _ in range(count)]


def stamped(
    count: int, *, opacity: float = 1.0, seed: int = 0, shift: int = 3
) -> tuple[list[np.ndarray], np.ndarray]:
    """Textures with a stamp at random places, and places that miss it by some pixels."""
    rng = np.random.default_rng([seed, 1])
    images, centres = [], []
    for image in textures(count, seed):
        x, y = rng.integers(5, SIDE - 35, 2).tolist()
        images.append(paste(image, stamp(seed, 30), x, y, opacity).astype(np.float32))
        miss = rng.integers(-shift, shift + 1, 2)
        centres.append(((x + 15 + miss[0]) / SIDE, (y + 15 + miss[1]) / SIDE))
    return images, np.array(centres)


def middle(count: int) -> np.ndarray:
    return np.full((count, 2), 0.5)


def test_a_stamp_at_shifted_places_is_rigid_and_textures_are_not() -> None:
    for seed in range(3):
        images, centres = stamped(10, seed=seed)
        rigid = measure_rigidity(images, centres)
        plain = measure_rigidity(textures(10, seed), centres)
        assert rigid.gradient > 0.7
        assert rigid.opacity > 0.8
        assert plain.gradient < 0.45
        assert rigid.duplicates == plain.duplicates == 0


def test_a_stamp_that_half_of_the_images_lack_is_less_rigid() -> None:
    images, centres = stamped(10)
    mixed = measure_rigidity([*images[:4], *textures(6, 9)], centres)
    assert mixed.gradient < measure_rigidity(images, centres).gradient - 0.2


def test_flat_images_are_not_rigid() -> None:
    rng = np.random.default_rng(0)
    flat = [np.full((SIDE, SIDE), level, dtype=np.float32) for level in range(100, 110)]
    assert measure_rigidity(flat, middle(10)).gradient == pytest.approx(0, abs=1e-6)
    assert measure_rigidity(flat, middle(10)).duplicates == 0
    ramp = np.linspace(0, 60, SIDE, dtype=np.float32)[None, :].repeat(SIDE, axis=0)
    shaded = [ramp + rng.normal(0, 0.2, ramp.shape).astype(np.float32) for _ in range(10)]
    assert measure_rigidity(shaded, middle(10)).gradient < 0.35


def test_an_overlay_repeats_but_one_can_see_through_it() -> None:
    found = [measure_rigidity(*stamped(12, opacity=opacity)) for opacity in (0.12, 0.3, 1.0)]
    assert min(rigidity.gradient for rigidity in found) > 0.45
    faint, veil, solid = (rigidity.opacity for rigidity in found)
    assert faint < 0.6 < solid
    assert faint < veil < solid


def test_brightness_and_contrast_of_single_images_do_not_matter() -> None:
    images, centres = stamped(10)
    rng = np.random.default_rng(1)
    changed = [image * rng.uniform(0.5, 1) + rng.uniform(0, 60) for image in images]
    gap = measure_rigidity(images, centres).gradient - measure_rigidity(changed, centres).gradient
    assert abs(gap) < 0.05


def test_near_duplicates_are_told_from_stamps() -> None:
    rng = np.random.default_rng(2)
    originals = textures(4, 5)
    copies = [image + rng.normal(0, 3, image.shape).astype(np.float32) for image in originals * 2]
    assert measure_rigidity(copies, middle(8)).duplicates == 1
    half = [*copies[:2], *copies[4:6], *textures(4, 6)]
    assert measure_rigidity(half, middle(8)).duplicates == 0.5


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_cannot_be_compared(count: int) -> None:
    found = measure_rigidity(textures(count), middle(count))
    assert (found.gradient, found.opacity, found.duplicates) == (0, 0, 0)


@pytest.mark.parametrize("shapes", [[(8, 300), (300, 8), (40, 40)], [(8, 8), (9, 9), (220, 230)]])
@pytest.mark.parametrize("place", [0.0, 0.5, 1 - 1e-6])
def test_tiny_and_thin_images_are_no_trouble(shapes: list[tuple[int, int]], place: float) -> None:
    rng = np.random.default_rng(3)
    images = [rng.uniform(0, 255, shape).astype(np.float32) for shape in shapes]
    found = measure_rigidity(images, np.full((3, 2), place))
    assert -1 <= found.gradient <= 1
    assert 0 <= found.opacity <= 1


def test_correlations_equal_a_plain_double_loop() -> None:
    shift, size, count = 2, 13, 3
    rng = np.random.default_rng(4)
    patches = rng.uniform(0, 255, (count, size, size)).astype(np.float32)
    view = _view(patches, size - 2 * shift)
    found = [view.matches(_core(patch, shift)) for patch in patches]
    best, where = np.stack([one[0] for one in found]), np.stack([one[1] for one in found])
    core = size - 2 * shift
    for one in range(count):
        down, across = np.gradient(patches[one])
        inner = np.s_[shift : size - shift, shift : size - shift]
        a = np.stack([down[inner], across[inner]]).ravel()
        for other in range(count):
            down, across = np.gradient(patches[other])
            scores = {}
            for y in range(2 * shift + 1):
                for x in range(2 * shift + 1):
                    window = np.s_[y : y + core, x : x + core]
                    b = np.stack([down[window], across[window]]).ravel()
                    scores[y, x] = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
            place = max(scores, key=scores.__getitem__)
            assert best[one, other] == pytest.approx(scores[place], abs=1e-4)
            assert tuple(where[one, other]) == place
    np.testing.assert_array_equal(where[range(count), range(count)], shift)


def test_large_pictures_are_scaled_down_and_small_ones_kept() -> None:
    large = grey_image(Image.new("RGB", (2000, 1000), (10, 20, 30)))
    assert np.sqrt(large.size) == pytest.approx(224, rel=0.01)
    assert large.shape[1] / large.shape[0] == pytest.approx(2, rel=0.01)
    assert grey_image(Image.new("RGB", (60, 50))).shape == (50, 60)
    assert min(grey_image(Image.new("RGB", (9000, 1))).shape) == 8


def test_the_input_is_unchanged() -> None:
    images, centres = stamped(5)
    before = [image.copy() for image in images], centres.copy()
    measure_rigidity(images, centres)
    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(centres, before[1])


def test_images_with_the_thing_are_likest_to_its_medoid() -> None:
    images, centres = stamped(6)
    medoid = measure_rigidity(images, centres).medoid
    strangers = textures(6, seed=9)
    with_it = likeness_to(medoid, images, centres)
    without = likeness_to(medoid, strangers, middle(6))
    assert with_it.min() > 0.8
    assert without.max() < 0.5
