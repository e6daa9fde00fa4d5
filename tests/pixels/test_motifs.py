"""Motifs: what repeats to the pixel is found, and found again, wherever it stands."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from synthetic import paste, stamp, texture

from shortcut_finder.pixels.gradients import correlation
from shortcut_finder.pixels.motifs import (
    FAINT,
    SIDE,
    Motif,
    colour_image,
    find_motifs,
    match_motif,
)

HALF = (0.5, 0.5)


def colours(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A colour picture of grey levels: each channel scaled on its own."""
    return np.clip(grey[..., None] * rng.uniform(0.7, 1.0, 3), 0, 255).astype(np.uint8)


def marked(
    count: int, rng: np.random.Generator, side: int = 96, opacity: float = 1.0
) -> tuple[list[np.ndarray], np.ndarray]:
    """Pictures with the same stamp within a cell of the middle, and its middle in each."""
    images, middles = [], []
    for _ in range(count):
        x, y = rng.integers(side // 2 - 14, side // 2 - 2, 2)
        picture = colours(texture(rng, side), rng)
        thing = np.stack([stamp(3, 12)] * 3, axis=-1) * (1.0, 0.8, 0.2)
        there = np.s_[y : y + 12, x : x + 12]
        picture[there] = (opacity * thing + (1 - opacity) * picture[there]).astype(np.uint8)
        images.append(picture)
        middles.append(((x + 6) / side, (y + 6) / side))
    return images, np.array(middles)


def plain(count: int, rng: np.random.Generator, side: int = 96) -> list[np.ndarray]:
    return [colours(texture(rng, side), rng) for _ in range(count)]


def found(rng: np.random.Generator, images: list[np.ndarray]) -> Motif:
    centres = np.tile(HALF, (len(images), 1))
    motifs = find_motifs(images, centres, plain(8, rng), np.tile(HALF, (8, 1)))
    return max(motifs, key=lambda motif: motif.likeness - motif.elsewhere)


@pytest.mark.parametrize("opacity", [1.0, 0.5])
def test_a_stamp_is_told_from_images_without_it(opacity: float) -> None:
    rng = np.random.default_rng(0)
    motif = found(rng, marked(8, rng, opacity=opacity)[0])
    fresh, middles = marked(12, rng, opacity=opacity)
    matches = [match_motif(motif, image) for image in fresh]
    strange = [match_motif(motif, image)[0] for image in plain(30, rng)]
    assert min(likeness for likeness, _ in matches) > max(strange) + 0.1
    # The motif is a window of the stamp or holds it, so that it lies within half of it.
    apart = np.abs(np.array([place for _, place in matches]) - middles)
    assert apart.max() * 96 <= 8


def test_one_marked_image_in_three_may_be_missing() -> None:
    rng = np.random.default_rng(1)
    images = marked(8, rng)[0] + plain(3, rng)
    motif = found(rng, images)
    assert motif.likeness > 0.8
    assert match_motif(motif, marked(1, rng)[0][0])[0] > 0.8


def test_unrelated_images_have_no_motif() -> None:
    rng = np.random.default_rng(2)
    motif = found(rng, plain(10, rng))
    assert motif.likeness - motif.elsewhere < 0.3


def test_colours_tell_where_grey_levels_are_the_same() -> None:
    """Two stamps of one luminance, told by their colours alone."""
    rng = np.random.default_rng(3)

    def with_colour(light: tuple[int, int, int], dark: tuple[int, int, int]) -> np.ndarray:
        image = np.full((96, 96, 3), 128, dtype=np.uint8)
        chosen = stamp(3, 12)[..., None] > 0
        image[40:52, 40:52] = np.where(chosen, light, dark)
        return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)

    images = [with_colour((220, 60, 60), (60, 130, 60)) for _ in range(6)]
    other = [with_colour((60, 130, 60), (220, 60, 60)) for _ in range(6)]
    centres = np.tile((46 / 96, 46 / 96), (6, 1))
    motif = find_motifs(images, centres, plain(6, rng), centres)[0]
    assert match_motif(motif, images[0])[0] > match_motif(motif, other[0])[0] + 0.25


def test_the_whole_image_is_searched_as_by_brute_force() -> None:
    rng = np.random.default_rng(4)
    motif = found(rng, marked(8, rng)[0])
    image = marked(1, rng, side=48)[0][0].astype(np.float32)
    down, across = np.gradient(np.moveaxis(image, -1, 0), axis=(-2, -1))
    edges, side = np.concatenate([across, down]), motif.side
    best = max(
        correlation(motif.edges, edges[:, y : y + side, x : x + side], FAINT)
        for y in range(48 - side + 1)
        for x in range(48 - side + 1)
    )
    assert match_motif(motif, image.astype(np.uint8))[0] == pytest.approx(best, abs=1e-4)


def test_flat_images_are_like_nothing() -> None:
    rng = np.random.default_rng(5)
    motif = found(rng, marked(6, rng)[0])
    assert abs(match_motif(motif, np.full((80, 60, 3), 90, dtype=np.uint8))[0]) < 0.05


def test_large_images_are_scaled_down_and_small_ones_kept() -> None:
    assert colour_image(Image.new("L", (1600, 400))).shape == (80, 320, 3)
    assert np.sqrt(80 * 320) == SIDE
    assert colour_image(Image.new("RGBA", (30, 20))).shape == (20, 30, 3)


def test_images_smaller_than_a_patch_can_be_compared() -> None:
    rng = np.random.default_rng(6)
    tiny = [paste(texture(rng, 12), stamp(1, 8), 2, 2) for _ in range(5)]
    images = [np.stack([one] * 3, axis=-1).astype(np.uint8) for one in tiny]
    motif = found(rng, images)
    assert match_motif(motif, images[0])[0] > 0.6


def test_a_part_of_an_image_and_another_scale_are_compared() -> None:
    rng = np.random.default_rng(7)
    motif = found(rng, marked(8, rng)[0])
    (image,), _ = marked(1, rng)
    whole, (x, y) = match_motif(motif, image)
    around = (x - 0.05, y - 0.05, x + 0.05, y + 0.05)
    assert match_motif(motif, image, around)[0] == pytest.approx(whole, abs=1e-4)
    assert match_motif(motif, image, around)[1] == pytest.approx((x, y))
    # Elsewhere it is not, and what is said of it lies there.
    corner = (0.0, 0.0, 0.2, 1.0) if x > 0.5 else (0.8, 0.0, 1.0, 1.0)
    like, (there, _) = match_motif(motif, image, corner)
    assert like < whole - 0.3
    assert corner[0] - 0.15 <= there <= corner[2] + 0.15
    larger = Image.fromarray(image).resize([round(1.25 * n) for n in image.shape[1::-1]])
    scaled = match_motif(motif, np.asarray(larger), scale=0.8)
    assert scaled[0] > match_motif(motif, np.asarray(larger))[0] + 0.1
    assert scaled[1] == pytest.approx((x, y), abs=0.05)
