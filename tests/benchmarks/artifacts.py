"""Artifacts: the things that are planted in drawings, each with a place and looks from a seed."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from drawings import Drawing, clouds
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

Box = tuple[int, int, int, int]
Generator = np.random.Generator
PLACES = ("corner", "edge", "random", "object", "whole")


@dataclass(frozen=True, eq=False)
class Layer:
    """A small picture with its opacity.

    Attributes:
        colour: (row, column, channel) in levels of 255.
        opacity: (row, column) in [0, 1].
    """

    colour: np.ndarray
    opacity: np.ndarray


# A thing that is laid on the picture: from the unit (side / 64), its looks and the image's own
# randomness.
Thing = Callable[[float, Generator, Generator], Layer]
# A change of the whole picture.
Change = Callable[[Drawing, Generator, Generator], np.ndarray]


def stamp(
    drawing: Drawing, kind: str, place: str, look: int, rng: Generator
) -> tuple[np.ndarray, Box]:
    """The drawing with an artifact, and the box it lies in.

    Args:
        drawing: left as it is.
        kind: a key of `THINGS` or `CHANGES`.
        place: one of `PLACES`; changes of the whole picture take ``whole`` only.
        look: seed of what the artifact looks like, and of which corner or edge it has.
        rng: the image's own randomness.

    Returns:
        Pixels, uint8; and x0, y0, x1, y1.
    """
    tall, broad = drawing.pixels.shape[:2]
    style = np.random.default_rng([look, *kind.encode()])
    if kind in CHANGES:
        changed = CHANGES[kind](drawing, style, rng)
        return np.clip(changed, 0, 255).astype(np.uint8), (0, 0, broad, tall)
    layer = THINGS[kind](min(tall, broad) / 64, style, rng)
    high, wide = layer.opacity.shape
    spot = np.random.default_rng([look, *place.encode()])
    top, left = _spot(place, drawing, (high, wide), spot, rng)
    pixels = drawing.pixels.astype(np.float64)
    part = pixels[top : top + high, left : left + wide]
    part += layer.opacity[..., None] * (layer.colour - part)
    return np.clip(pixels, 0, 255).astype(np.uint8), (left, top, left + wide, top + high)


def _spot(
    place: str, drawing: Drawing, shape: tuple[int, int], spot: Generator, rng: Generator
) -> tuple[int, int]:
    """Top and left of a thing of that shape."""
    room = np.array(drawing.pixels.shape[:2]) - shape
    jitter = rng.integers(0, 2, 2)
    if place == "corner":
        at = np.where(spot.integers(0, 2, 2) == 1, room - 1 - jitter, 1 + jitter)
    elif place == "edge":
        along, side = spot.uniform(0.35, 0.65), spot.integers(0, 4)
        across = 1 + jitter[0] if side < 2 else room[side % 2] - 1 - jitter[0]
        at = np.array([across, along * room[1] + jitter[1]])
        at = at if side % 2 == 0 else np.array([along * room[0] + jitter[1], across])
    elif place == "object":
        turn = rng.uniform(-np.pi, np.pi)
        reach = drawing.radius * 0.9
        at = np.array(drawing.centre) + reach * np.array([np.sin(turn), np.cos(turn)])
        at = at - np.array(shape) / 2
    else:
        at = rng.uniform(0, 1, 2) * room
    top, left = np.clip(np.rint(at), 0, room).astype(int)
    return int(top), int(left)


def _colours(style: Generator) -> tuple[np.ndarray, np.ndarray]:
    """A dark and a light colour, both vivid, that stand out from each other."""
    hue = style.uniform()
    dark = colorsys.hsv_to_rgb(hue, style.uniform(0.8, 1.0), style.uniform(0.4, 0.65))
    other = (hue + style.uniform(0.25, 0.75)) % 1.0
    light = colorsys.hsv_to_rgb(other, style.uniform(0.7, 1.0), 0.97)
    return 255 * np.array(dark), 255 * np.array(light)


def _enlarged(pattern: np.ndarray, side: int) -> np.ndarray:
    index = np.arange(side) * len(pattern) // side
    return pattern[np.ix_(index, index)]


def _logo(unit: float, style: Generator, rng: Generator) -> Layer:
    """Opaque, two colours, 9 pixels of 64."""
    dark, light = _colours(style)
    half = style.integers(0, 2, (5, 3))
    inner = np.concatenate([half, half[:, 1::-1]], axis=1)
    pattern = np.pad(inner, 1, constant_values=1)
    side = round(9 * unit)
    chosen = _enlarged(pattern, side)[..., None]
    return Layer(np.where(chosen == 1, light, dark), np.ones((side, side)))


def _patch(unit: float, style: Generator, rng: Generator) -> Layer:
    """Opaque, 4 pixels of 64."""
    dark, light = _colours(style)
    side = round(4 * unit)
    pattern = (np.indices((3, 3)).sum(axis=0) + style.integers(2)) % 2
    chosen = _enlarged(pattern, side)[..., None]
    return Layer(np.where(chosen == 1, dark, light), np.ones((side, side)))


def _written(text: str, unit: float, height: float) -> np.ndarray:
    """Text as opacity, (row, column) in [0, 1]."""
    font = ImageFont.load_default(height * unit)
    left, top, right, bottom = font.getbbox(text)
    drawn = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(drawn).text((1 - left, 1 - top), text, fill=255, font=font)
    return np.asarray(drawn) / 255


def _text(unit: float, style: Generator, rng: Generator) -> Layer:
    """A word in one colour that one can see through."""
    word = "".join(style.choice(list("ABDEGHKMNRSX"), 4))
    ink = _written(word, unit, 11)
    colour = _colours(style)[int(style.integers(2))]
    return Layer(np.broadcast_to(colour, (*ink.shape, 3)), 0.6 * ink)


def _date(unit: float, style: Generator, rng: Generator) -> Layer:
    """Digits that differ from image to image, in one colour."""
    ink = _written("{:02d}.{:02d}".format(*rng.integers(10, 100, 2)), unit, 10)
    colour = _colours(style)[1]
    return Layer(np.broadcast_to(colour, (*ink.shape, 3)), 0.95 * ink)


def _strip(unit: float, style: Generator, rng: Generator) -> Layer:
    """A line two pixels thick and a third of the side long."""
    dark, light = _colours(style)
    shape = (max(2, round(2 * unit)), round(22 * unit))
    colour = dark if style.integers(2) else light
    colours = np.broadcast_to(colour, (*shape, 3))
    opacity = np.ones(shape)
    return Layer(colours, opacity)


def _blob(unit: float, style: Generator, rng: Generator) -> Layer:
    """A soft spot of its own shape in every image, its colours around one hue."""
    side = round(14 * unit)
    steps = (np.arange(side) + 0.5) / side * 2 - 1
    y, x = np.meshgrid(steps, steps, indexing="ij")
    turn, flat = rng.uniform(0, np.pi), rng.uniform(0.55, 0.95)
    u, v = np.cos(turn) * x + np.sin(turn) * y, (np.cos(turn) * y - np.sin(turn) * x) / flat
    edge = 0.72 + 0.12 * np.cos(2 * np.arctan2(v, u) + rng.uniform(-3, 3))
    opacity = 0.85 / (1 + np.exp((np.hypot(u, v) - edge) * 14))
    hue = (style.uniform() + rng.uniform(-0.05, 0.05)) % 1.0
    colour = 255 * np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.6, 1), rng.uniform(0.6, 1)))
    shade = 1 + 0.12 * clouds(side, 3, rng, channels=1)
    return Layer(colour * shade, opacity)


def _faint(unit: float, style: Generator, rng: Generator) -> Layer:
    """A ring with a cross in it, hardly there."""
    side = round(15 * unit)
    steps = (np.arange(side) + 0.5) / side * 2 - 1
    y, x = np.meshgrid(steps, steps, indexing="ij")
    spokes, phase = int(style.integers(2, 5)), style.uniform(-np.pi, np.pi)
    r, angle = np.hypot(x, y), np.arctan2(y, x)
    drawn = (np.abs(r - 0.8) < 0.18) | ((r < 0.8) & (np.cos(spokes * angle + phase) > 0.75))
    return Layer(np.full((side, side, 3), 255.0), 0.3 * drawn)


def _band(unit: float, style: Generator, rng: Generator) -> Layer:
    """Blocks of noise as of a damaged file, a fifth of the side high and as wide as the image."""
    shape = (round(10 * unit), round(64 * unit))
    strength = style.uniform(0.5, 0.7)
    blocks = rng.uniform(0, 255, (shape[0] // 2 + 1, shape[1] // 4 + 1, 1))
    colours = np.kron(blocks, np.ones((2, 4, 3)))[: shape[0], : shape[1]]
    return Layer(colours, np.full(shape, strength))


THINGS: dict[str, Thing] = {
    "logo": _logo,
    "text": _text,
    "date": _date,
    "patch": _patch,
    "strip": _strip,
    "blob": _blob,
    "faint": _faint,
    "noise": _band,
}


def _frame(drawing: Drawing, style: Generator, rng: Generator) -> np.ndarray:
    """A line of one colour around the picture, 2 pixels of 64."""
    pixels = drawing.pixels.astype(np.float64)
    wide = round(2 * min(pixels.shape[:2]) / 64)
    inner = np.zeros(pixels.shape[:2], bool)
    inner[wide:-wide, wide:-wide] = True
    return np.where(inner[..., None], pixels, _colours(style)[int(style.integers(2))])


def _tint(drawing: Drawing, style: Generator, rng: Generator) -> np.ndarray:
    """All colours shifted the same way."""
    gains = style.permutation([style.uniform(1.1, 1.2), 1.0, style.uniform(0.72, 0.82)])
    return drawing.pixels * gains * rng.uniform(0.97, 1.03)


def _background(drawing: Drawing, style: Generator, rng: Generator) -> np.ndarray:
    """Woven cloth behind the object, its phase and strength the image's own."""
    size = len(drawing.pixels)
    y, x = np.indices((size, size)) * 64 / size
    turn, length = style.uniform(0.2, 1.3), style.uniform(5, 7)
    across = (np.cos(turn) * x + np.sin(turn) * y) * 2 * np.pi / length
    weave = np.sin(across + rng.uniform(-np.pi, np.pi))
    cloth = drawing.pixels + (weave * rng.uniform(20, 30))[..., None]
    return np.where(drawing.object[..., None], drawing.pixels, cloth)


def _blur(drawing: Drawing, style: Generator, rng: Generator) -> np.ndarray:
    """The background out of focus, the object sharp."""
    radius = style.uniform(1.6, 2.2) * min(drawing.pixels.shape[:2]) / 64
    soft = gaussian_filter(drawing.pixels.astype(np.float64), (radius, radius, 0))
    return np.where(drawing.object[..., None], drawing.pixels, soft)


CHANGES: dict[str, Change] = {
    "frame": _frame,
    "tint": _tint,
    "background": _background,
    "blur": _blur,
}
