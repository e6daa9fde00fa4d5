"""Blanks: what class maps show where nothing is to be seen, so that it is not taken for evidence.

Zero padding lights up cells at the border of many networks, whatever the picture, and others lean
towards the centre. Both show on pictures that show nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from shortcut_finder.data.regions import Regions, region_shares
from shortcut_finder.texts import percent

# Blank pictures of each sort.
FLAT, NOISE, SCRAMBLED = 4, 4, 16
# Part of the blank pictures that must show heat at a place; 20 of 24 do so once in a thousand times
# by chance.
STANDS = 0.8
# Part of a class's evidence from which it is worth a word.
MENTIONED = 0.1

# Class maps, (image, output, row, column), of pixels, uint8 (image, row, column, channel), for some
# of the model's outputs, (output,).
Explain = Callable[[np.ndarray, np.ndarray], np.ndarray]


def blank_pixels(
    pictures: Sequence[np.ndarray],
    height: int,
    width: int,
    mean: Sequence[float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Pictures that show nothing: scrambled ones, smooth noise and flat ones.

    Args:
        pictures: model inputs to scramble, uint8 (row, column, channel); there may be none.
        height: rows of the model's input.
        width: columns of it.
        mean: of the model's input, per channel, of pixels in [0, 1].
        rng: for phases and noise.

    Returns:
        uint8, (image, row, column, channel).
    """
    flat = [np.full((height, width, 3), np.rint(255 * np.array(mean)))]
    flat += [np.full((height, width, 3), level) for level in np.linspace(64, 192, FLAT - 1)]
    noise = [_noise(height, width, 4 * 2**n, rng) for n in range(NOISE)]
    scrambled = [scramble(picture, rng) for picture in pictures]
    made = np.stack([*scrambled, *noise, *flat])
    return np.asarray(np.rint(made.clip(0, 255)).astype(np.uint8))


def _noise(height: int, width: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Coloured blobs of one size."""
    coarse = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    blobs = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(blobs, dtype=np.float64)


def scramble(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture with the same colours and as much of every frequency, but nothing in its place.

    Args:
        picture: (row, column, channel).
        rng: for the phases, the same in all channels so that colours stay together.
    """
    phases = np.fft.fft2(rng.normal(size=picture.shape[:2]))
    # Of a real picture, so that the result is real, and with the mean left as it is.
    turns = phases / np.maximum(np.abs(phases), 1e-12)
    turns[0, 0] = 1.0
    spectrum = np.fft.fft2(picture.astype(np.float64), axes=(0, 1))
    return np.asarray(np.fft.ifft2(spectrum * turns[:, :, None], axes=(0, 1)).real)


def standing_heat(maps: np.ndarray) -> np.ndarray:
    """What a class's maps show at a place on blank pictures, beyond what they show elsewhere.

    Args:
        maps: of blank pictures, (image, class, row, column).

    Returns:
        Heat that says nothing about a picture, at least 0, (class, row, column).

    Example:
        >>> maps = np.zeros((5, 1, 3, 3))
        >>> maps[:, :, 0, 0] = 2.0
        >>> standing_heat(maps)[0, 0].tolist()
        [2.0, 0.0, 0.0]
    """
    # A picture may suit a class in all of its places; only what sets a place apart stands there.
    apart = maps - np.median(maps, axis=(2, 3), keepdims=True)
    stands = (apart > 0).mean(axis=0) >= STANDS
    return np.asarray(np.where(stands, np.median(apart, axis=0), 0.0))


def blank_notes(
    heat: np.ndarray, maps: np.ndarray, labels: np.ndarray, classes: Sequence[str], regions: Regions
) -> tuple[str, ...]:
    """A line for each class of whose evidence a good part is there on blank pictures, too.

    Args:
        heat: from `standing_heat`, (class, row, column).
        maps: class maps of the labels, (image, row, column).
        labels: class of each image, (image,), whose map it is.
        classes: class names.
        regions: parts of the frame, to say where.
    """
    said = []
    for number, name in enumerate(classes):
        own = labels == number
        if not own.any():
            continue
        evidence = np.clip(maps[own], 0, None)
        standing = np.minimum(evidence, heat[number]).sum() / max(float(evidence.sum()), 1e-9)
        if standing >= MENTIONED:
            density = region_shares(heat[number][None], regions)[0]
            densest = density / np.maximum(regions.masks.mean(axis=(1, 2)), 1e-9)
            where = regions.names[int(densest.argmax())]
            said.append(
                f"{name}: {percent(float(standing))} of what its maps show is there on blank "
                f"pictures, too, most of all in the region {where} (padding of the network, or a "
                "leaning to that place); region shares leave it out."
            )
    return tuple(said)
