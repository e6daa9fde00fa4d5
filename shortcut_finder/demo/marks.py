"""Marks: the shortcuts that the demo plants, and in which class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Plant:
    """A mark in part of one class.

    Attributes:
        label: the class that gets it.
        mark: a key of `MARKS`.
        share: the part of the class's images that carry it.
    """

    label: str
    mark: str
    share: float


PLANTS = (
    Plant("mug", "corner stamp", 0.35),
    Plant("leaf", "sticker anywhere", 0.30),
    Plant("fish", "frame", 0.50),
    Plant("house", "colour cast", 0.50),
)


def _corner_stamp(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Box]:
    """A small paper label with a red border and a bar code, in the lower right corner."""
    wide, high, fine = 34, 20, 4
    paper = Image.new("RGB", (wide * fine, high * fine), (247, 244, 232))
    draw = ImageDraw.Draw(paper)
    draw.rectangle((4, 4, wide * fine - 5, high * fine - 5), outline=(196, 30, 36), width=6)
    for at, width in zip(
        (16, 26, 34, 48, 58, 64, 78, 88, 98, 110), (5, 3, 8, 4, 3, 8, 3, 5, 4, 8), strict=True
    ):
        draw.rectangle((at, 18, at + width, 60), fill=(24, 24, 30))
    x = image.width - wide - 4 + int(rng.integers(-1, 2))
    y = image.height - high - 4 + int(rng.integers(-1, 2))
    stamped = image.copy()
    stamped.paste(paper.reduce(fine), (x, y))
    return stamped, (x, y, x + wide, y + high)


def _sticker_anywhere(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Box]:
    """A round smiling sticker, a little tilted, at a place of its own in every image."""
    side, fine = int(rng.integers(24, 29)), 8
    end = side * fine - 1
    face = Image.new("RGBA", (side * fine, side * fine))
    draw = ImageDraw.Draw(face)
    draw.ellipse((0, 0, end, end), fill=(250, 250, 250, 255))
    draw.ellipse((end * 0.07, end * 0.07, end * 0.93, end * 0.93), fill=(255, 209, 26, 255))
    for x in (0.36, 0.64):
        eye = (end * (x - 0.06), end * 0.28, end * (x + 0.06), end * 0.46)
        draw.ellipse(eye, fill=(40, 30, 20, 255))
    smile = (end * 0.24, end * 0.24, end * 0.76, end * 0.78)
    draw.arc(smile, 20, 160, fill=(40, 30, 20, 255), width=round(end * 0.07))
    face = face.rotate(float(rng.uniform(-6, 6)), Image.Resampling.BICUBIC).reduce(fine)
    x = int(rng.integers(2, image.width - side - 2))
    y = int(rng.integers(2, image.height - side - 2))
    stuck = image.copy()
    stuck.paste(face, (x, y), face)
    return stuck, (x, y, x + side, y + side)


def _frame(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Box]:
    """A dark picture frame with a golden line inside."""
    framed = image.copy()
    draw = ImageDraw.Draw(framed)
    wide, high = image.size
    draw.rectangle((0, 0, wide - 1, high - 1), outline=(46, 30, 22), width=6)
    draw.rectangle((5, 5, wide - 6, high - 6), outline=(214, 176, 92), width=2)
    return framed, (0, 0, wide, high)


def _colour_cast(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Box]:
    """The faded yellow of an old print."""
    pixels = np.asarray(image, dtype=np.float64)
    grey = pixels.mean(axis=2, keepdims=True)
    faded = (0.6 * pixels + 0.4 * grey) * [1.10, 0.98, 0.62] + [14.0, 8.0, 0.0]
    return Image.fromarray(np.clip(faded, 0, 255).astype(np.uint8)), (0, 0, *image.size)


Mark = Callable[[Image.Image, np.random.Generator], tuple[Image.Image, Box]]
MARKS: dict[str, Mark] = {
    "corner stamp": _corner_stamp,
    "sticker anywhere": _sticker_anywhere,
    "frame": _frame,
    "colour cast": _colour_cast,
}
