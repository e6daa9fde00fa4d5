"""Drawings: pictures of classes that differ by the outline and texture of one object alone.

Every picture has its own colours, background and pose, and in most of them something of random
colour lies across the picture, in all classes alike. Difficulties differ in contrast and noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

NAMES = (
    "acorn", "briar", "cedar", "daisy", "elder", "fern", "gorse", "hazel", "iris", "juniper",
)  # fmt: skip

Pattern = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _stripes(u: np.ndarray, v: np.ndarray, r: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return np.sign(np.sin(11 * u))


def _rings(u: np.ndarray, v: np.ndarray, r: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return np.sign(np.sin(13 * r))


def _checks(u: np.ndarray, v: np.ndarray, r: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return np.sign(np.sin(8 * u) * np.sin(8 * v))


def _spokes(u: np.ndarray, v: np.ndarray, r: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return np.sign(np.sin(5 * angle))


def _dots(u: np.ndarray, v: np.ndarray, r: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return np.where(np.sin(9 * u) * np.sin(9 * v) > 0.35, 1.0, -0.6)


def _plain(u: np.ndarray, v: np.ndarray, r: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return 0.8 - 1.6 * (r > 0.7)


# Lobes of the outline and pattern inside, one a class.
LOOKS: tuple[tuple[int, Pattern], ...] = (
    (3, _stripes), (3, _checks), (5, _plain), (4, _checks), (0, _rings),
    (3, _dots), (2, _stripes), (3, _rings), (5, _checks), (0, _spokes),
)  # fmt: skip


# How far patterns are bent, in radii of the object.
BENT = 0.08


@dataclass(frozen=True)
class Difficulty:
    """How far objects stand out.

    Attributes:
        contrast: of the pattern inside the object, in levels of 255.
        body: of the object against the background, in levels of 255.
        noise: standard deviation of pixel noise, in levels of 255.
        crossed: share of pictures that something lies across.
        faded: how little of contrast and body the palest object keeps, in [0, 1].
    """

    contrast: float
    body: float
    noise: float
    crossed: float
    faded: float


DIFFICULTIES = {
    "easy": Difficulty(contrast=60, body=70, noise=6, crossed=0.5, faded=0.35),
    "hard": Difficulty(contrast=55, body=60, noise=10, crossed=0.8, faded=0.15),
    # So hard that a network learns any cue it can get.
    "pale": Difficulty(contrast=42, body=46, noise=11, crossed=0.8, faded=0.1),
}


@dataclass(frozen=True, eq=False)
class Drawing:
    """One picture.

    Attributes:
        pixels: uint8, (row, column, channel).
        object: where the object is, (row, column) of bool.
        centre: row and column of the object's middle, in pixels.
        radius: of the object, in pixels.
    """

    pixels: np.ndarray
    object: np.ndarray
    centre: tuple[float, float]
    radius: float


def draw(
    label: int,
    size: int,
    difficulty: Difficulty,
    rng: np.random.Generator,
    *,
    corner: bool = False,
    rigid: np.random.Generator | None = None,
) -> Drawing:
    """Draw one picture of a class.

    Args:
        label: index into `LOOKS`.
        size: side in pixels.
        difficulty: how far the object stands out.
        rng: decides everything that varies.
        corner: put the object, smaller, into the top left corner.
        rigid: where given, decides the object's own looks (outline, pattern, colours); a fresh
            generator of the same seed for every picture makes near-copies at changing places.
    """
    own = rigid or rng
    radius = rng.uniform(0.40, 0.56) if rigid is None else rng.uniform(0.46, 0.50)
    middle = rng.uniform(-0.32, 0.32, 2)
    if corner:
        radius, middle = 0.6 * radius, rng.uniform(-0.68, -0.60, 2)
    steps = (np.arange(size) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(steps - middle[0], steps - middle[1], indexing="ij")
    turn = own.uniform(-0.5, 0.5)
    u = (np.cos(turn) * x + np.sin(turn) * y) / radius
    v = (-np.sin(turn) * x + np.cos(turn) * y) / radius
    r, angle = np.hypot(u, v), np.arctan2(v, u)
    lobes, pattern = LOOKS[label]
    # Patterns grow anew in every picture: turned, bent, shifted, stretched, light on dark or the
    # other way about. Parts of photographed objects are no closer copies of one another.
    bends = clouds(size, 4, own, channels=4) * BENT
    way, stretch = own.uniform(-0.8, 0.8), own.uniform(0.85, 1.15)
    grown = pattern(
        (np.cos(way) * u + np.sin(way) * v + own.uniform(-1, 1)) * stretch + bends[..., 0],
        (np.cos(way) * v - np.sin(way) * u + own.uniform(-1, 1)) * stretch + bends[..., 1],
        r * stretch + own.uniform(-0.2, 0.2) + bends[..., 2],
        angle + way + 2 * bends[..., 3],
    )
    phases, bumps = own.uniform(-np.pi, np.pi, 3), own.uniform(0.02, 0.09, 3)
    outline = 0.85 + (0.22 * np.cos(lobes * angle) if lobes else 0.0)
    for wave in range(3):
        outline = outline + bumps[wave] * np.cos((wave + 1) * angle + phases[wave])
    inside = r < outline
    ground = background(size, rng)
    kept = difficulty.faded + (1 - difficulty.faded) * own.uniform()
    colour = own.uniform(100, 155, 3)
    # A rigid object keeps its colours; others are lighter or darker than what they stand on.
    darker = ground[inside].mean() if rigid is None else 127
    colour += kept * difficulty.body * np.sign(colour.mean() - darker)
    tone = own.dirichlet((4, 4, 4)) * 3 * kept * difficulty.contrast * own.choice((-1, 1))
    body = colour + grown[..., None] * tone
    pixels = np.where(inside[..., None], body, ground)
    if rng.uniform() < difficulty.crossed:
        pixels = _crossed(pixels, rng)
    pixels = pixels + rng.normal(0, difficulty.noise, pixels.shape)
    centre = tuple((middle + 1) / 2 * size)
    return Drawing(
        np.clip(pixels, 0, 255).astype(np.uint8), inside, centre, float(radius * size / 2)
    )


def background(size: int, rng: np.random.Generator) -> np.ndarray:
    """Grey clouds of several sizes with a little colour, (row, column, channel), of 255 levels."""
    ground = rng.uniform(90, 165) + rng.uniform(-22, 22, 3) + clouds(size, 4, rng) * 9
    for cells, height in ((3, 28), (7, 20), (17, 14), (41, 12)):
        ground = ground + clouds(size, cells, rng, channels=1) * height
    return ground


def clouds(size: int, cells: int, rng: np.random.Generator, channels: int = 3) -> np.ndarray:
    """Smooth noise of unit height, (row, column, channel)."""
    coarse = rng.normal(0, 1, (channels, cells, cells)).astype(np.float32)
    layers = [Image.fromarray(one).resize((size, size), Image.Resampling.BICUBIC) for one in coarse]
    return np.stack([np.asarray(layer) for layer in layers], axis=-1)


def _crossed(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture with a bar of random colour, width and direction across it."""
    size = len(pixels)
    steps = (np.arange(size) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(steps, steps, indexing="ij")
    turn, shift = rng.uniform(0, np.pi), rng.uniform(-0.6, 0.6)
    across = np.cos(turn) * x + np.sin(turn) * y - shift
    bar = (np.abs(across) < rng.uniform(0.03, 0.07)) & (
        np.abs(-np.sin(turn) * x + np.cos(turn) * y - rng.uniform(-0.4, 0.4))
        < rng.uniform(0.2, 0.7)
    )
    colour = rng.uniform(40, 215) + rng.uniform(-25, 25, 3)
    return np.where(bar[..., None], colour, pixels)
