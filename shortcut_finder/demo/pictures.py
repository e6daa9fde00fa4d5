"""Scenes: small procedural pictures of one object before a background, for the demo.

A class is a *shape*. Everything else is drawn at random for every picture: the background, the
light, the colours, the place, the size and the rotation. A classifier can tell the classes apart by
shape alone, so whatever else it leans on was put there on purpose.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from shortcut_finder.demo.shapes import SHAPES, Part, Shape, ellipse, placed

SIDE = 128
_FINE = 3  # objects are drawn this many times larger, then averaged: smooth edges

Colour = tuple[float, float, float]
Choice = TypeVar("Choice")


@dataclass(frozen=True)
class Light:
    """Where the light of a picture comes from and what colour it has.

    Attributes:
        across: horizontal direction, -1 from the left to 1 from the right.
        down: vertical direction, below 0 from above.
        tint: per-channel gain.
        exposure: overall gain.
    """

    across: float
    down: float
    tint: Colour
    exposure: float


def draw_scene(shape: str, background: str, rng: np.random.Generator) -> Image.Image:
    """One picture: an object of a class before a background, RGB, 128 x 128 pixels.

    Args:
        shape: a key of `SHAPES`.
        background: a key of `BACKGROUNDS`.
        rng: decides everything else.
    """
    light = _light(rng)
    scene = BACKGROUNDS[background](light, rng)
    scene = _with_pebbles(scene, light, rng)
    scene = _with_object(scene, SHAPES[shape], light, rng)
    gradient = _plane() @ np.array([light.across, light.down])
    scene = scene * (1.0 + 0.13 * gradient[..., None]) * np.array(light.tint) * light.exposure
    scene = scene + rng.normal(0.0, rng.uniform(0.004, 0.02), scene.shape)
    return _to_image(scene)


def _light(rng: np.random.Generator) -> Light:
    warm = float(rng.uniform(-0.06, 0.06))
    return Light(
        across=float(rng.uniform(-1.0, 1.0)),
        down=float(rng.uniform(-1.0, -0.3)),
        tint=(1.0 + warm, 1.0, 1.0 - warm),
        exposure=float(rng.uniform(0.82, 1.1)),
    )


# --- backgrounds ---------------------------------------------------------------------------------


def _sky(light: Light, rng: np.random.Generator) -> np.ndarray:
    high, low = _pick(
        rng,
        ((0.16, 0.40, 0.78), (0.70, 0.85, 0.97)),
        ((0.22, 0.24, 0.46), (0.95, 0.66, 0.48)),
        ((0.42, 0.50, 0.58), (0.80, 0.84, 0.87)),
        ((0.10, 0.30, 0.55), (0.60, 0.82, 0.86)),
    )
    down = np.linspace(0.0, 1.0, SIDE)[:, None, None] ** 0.8
    sky = np.array(high) * (1 - down) + np.array(low) * down
    billow = _stretched(_noise(1.9, rng), 1.0, rng.uniform(1.2, 2.0))
    cover = np.clip((billow - rng.uniform(0.45, 0.62)) * 4.0, 0.0, 0.95)[..., None]
    # Clouds are darker underneath: compare the billow with itself a little higher up.
    relief = np.clip(0.95 + 1.6 * (billow - np.roll(billow, 5, axis=0)), 0.7, 1.08)[..., None]
    return sky * (1 - cover) + np.array([0.97, 0.97, 0.99]) * relief * cover


def _meadow(light: Light, rng: np.random.Generator) -> np.ndarray:
    grass = np.array(
        _pick(rng, (0.30, 0.50, 0.16), (0.46, 0.56, 0.20), (0.68, 0.58, 0.28), (0.22, 0.42, 0.20))
    )
    scene = _sky(light, rng)
    horizon = int(rng.uniform(0.28, 0.5) * SIDE)
    near = np.linspace(0.0, 1.0, SIDE - horizon)[:, None, None]
    blades = _perspective(_noise(0.9, rng), SIDE - horizon)[..., None]
    patches = _perspective(_noise(2.2, rng), SIDE - horizon)[..., None]
    lit = 0.62 + 0.5 * (blades - 0.5) * (0.35 + near) + 0.55 * patches
    scene[horizon:] = grass * lit * (0.85 + 0.2 * near)
    hills = horizon - (_noise(2.4, rng)[0] * 0.16 * SIDE).astype(int)
    rows = np.arange(SIDE)[:, None]
    ridge = ((rows >= hills[None, :]) & (rows < horizon))[..., None]
    far = grass * 0.55 + np.array([0.20, 0.28, 0.36])
    return np.where(ridge, far * (0.8 + 0.25 * _noise(1.2, rng)[..., None]), scene)


def _water(light: Light, rng: np.random.Generator) -> np.ndarray:
    deep, shallow = _pick(
        rng,
        ((0.05, 0.22, 0.34), (0.36, 0.62, 0.68)),
        ((0.06, 0.18, 0.20), (0.38, 0.56, 0.48)),
        ((0.10, 0.20, 0.42), (0.55, 0.70, 0.86)),
    )
    ripples = _perspective(_stretched(_noise(1.1, rng), 1.0, 5.0), SIDE)
    swell = _perspective(_stretched(_noise(1.9, rng), 1.0, 3.0), SIDE)
    far = np.linspace(0.35, 0.0, SIDE)[:, None]
    height = np.clip(0.9 * (ripples - 0.5) + 0.5 * swell + far, 0.0, 1.0)[..., None]
    scene = np.array(deep) * (1 - height) + np.array(shallow) * height
    glint = np.clip((ripples - 0.76) * 5.0, 0.0, 1.0)[..., None]
    return scene + 0.45 * glint


def _brick(light: Light, rng: np.random.Generator) -> np.ndarray:
    clay = np.array(
        _pick(rng, (0.62, 0.30, 0.22), (0.70, 0.52, 0.38), (0.52, 0.50, 0.48), (0.80, 0.76, 0.70))
    )
    high, wide = int(rng.integers(12, 20)), int(rng.integers(26, 42))
    shift = rng.integers(0, 64, 2)
    y, x = np.mgrid[0:SIDE, 0:SIDE] + shift[:, None, None]
    row = y // high
    x = x + (row % 2) * (wide // 2)
    column = x // wide
    tones = rng.uniform(0.72, 1.12, (32, 32))
    tone = tones[row % 32, column % 32]
    inside = np.minimum(
        np.minimum(y % high, x % wide), np.minimum(high - y % high, wide - x % wide)
    )
    face = np.clip(inside / 2.0 - 0.4, 0.0, 1.0)[..., None]
    rough = (0.78 + 0.44 * _noise(0.8, rng))[..., None]
    mortar = np.array([0.72, 0.70, 0.66]) * rng.uniform(0.6, 1.0)
    return (clay * tone[..., None] * face + mortar * (1 - face)) * rough


def _foliage(light: Light, rng: np.random.Generator) -> np.ndarray:
    hue = rng.uniform(0.22, 0.38)
    canvas = Image.new("RGB", (SIDE * 2, SIDE * 2), _bytes(_hsv(hue, 0.7, 0.10)))
    draw = ImageDraw.Draw(canvas)
    leaf, count = ellipse(1.0, 0.42)[::2], 220
    sizes, turns = rng.uniform(7.0, 17.0, count), rng.uniform(0.0, np.pi, count)
    centres, hues = rng.uniform(0.0, 2.0 * SIDE, (count, 2)), rng.uniform(-0.05, 0.05, count)
    for depth, size, turn, at, shift in zip(
        np.linspace(0.0, 1.0, count), sizes, turns, centres, hues, strict=True
    ):
        colour = _hsv(hue + shift, 0.75 - 0.25 * depth, 0.14 + 0.5 * depth)
        draw.polygon(_pairs(placed(leaf, size, turn, at)), fill=_bytes(colour))
    leaves = _to_array(canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 2.6))).reduce(2))
    return leaves * (0.75 + 0.5 * _noise(1.8, rng)[..., None])


def _planks(light: Light, rng: np.random.Generator) -> np.ndarray:
    wood = np.array(
        _pick(rng, (0.60, 0.42, 0.26), (0.42, 0.30, 0.22), (0.76, 0.64, 0.48), (0.58, 0.58, 0.56))
    )
    wide = int(rng.integers(22, 40))
    x = np.arange(SIDE) + int(rng.integers(0, wide))
    plank = x // wide
    tone = rng.uniform(0.78, 1.1, 16)[plank]
    edge = np.clip(np.minimum(x % wide, wide - x % wide) / 1.5, 0.35, 1.0)
    # Grain runs along the plank, and starts anew in each.
    grain = np.stack(
        [np.roll(_stretched(_noise(1.3, rng), 6.0, 1.0), int(s), 0) for s in (0, 31, 67)]
    )
    grain = grain[plank % 3, :, np.arange(SIDE)].T
    return wood * (tone * edge)[None, :, None] * (0.68 + 0.6 * grain)[..., None]


BACKGROUNDS: dict[str, Callable[[Light, np.random.Generator], np.ndarray]] = {
    "brick": _brick,
    "foliage": _foliage,
    "meadow": _meadow,
    "planks": _planks,
    "sky": _sky,
    "water": _water,
}


# --- composition ---------------------------------------------------------------------------------


def _with_object(
    scene: np.ndarray, shape: Shape, light: Light, rng: np.random.Generator
) -> np.ndarray:
    parts = shape.sketch(rng)
    scale = rng.uniform(0.22, 0.40) * SIDE
    room = SIDE / 2 - 0.8 * scale
    centre = SIDE / 2 + rng.uniform(-room, room, 2)
    turn = float(rng.uniform(-shape.turn, shape.turn))
    # Mirrored or not, thick or thin, and seen a little from the side.
    skew = np.diag(rng.uniform(0.78, 1.0, 2) * [rng.choice([-1.0, 1.0]), 1.0])
    skew[1, 0] = rng.uniform(-0.25, 0.25)
    outlines = [placed(part.points @ skew, scale, turn, centre) for part in parts]
    return _painted(scene, parts, outlines, _palette(rng), light, rng)


def _with_pebbles(scene: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """Small round things that every class has now and then: a small thing alone means nothing."""
    if rng.random() > 0.4:
        return scene
    parts, outlines = [], []
    for _ in range(int(rng.integers(1, 4))):
        parts.append(Part(ellipse(1.0, rng.uniform(0.7, 1.0)), str(rng.choice(["main", "second"]))))
        where = rng.uniform(6.0, SIDE - 6.0, 2)
        outlines.append(placed(parts[-1].points, rng.uniform(4.0, 9.0), rng.uniform(0, 3.2), where))
    return _painted(scene, parts, outlines, _palette(rng), light, rng)


def _painted(
    scene: np.ndarray,
    parts: list[Part],
    outlines: list[np.ndarray],
    palette: dict[str, Colour],
    light: Light,
    rng: np.random.Generator,
) -> np.ndarray:
    """The scene with an object on it: flat paint, rounded by the light, and its shadow."""
    size = (SIDE * _FINE, SIDE * _FINE)
    # Before the first part everything has the main colour, so averaged edges are not dark.
    paint = Image.new("RGB", size, _bytes(palette["main"]))
    mask = Image.new("L", size, 0)
    painter, masker = ImageDraw.Draw(paint), ImageDraw.Draw(mask)
    for part, outline in zip(parts, outlines, strict=True):
        corners = _pairs(outline * _FINE)
        colour = palette[part.paint]
        painter.polygon(
            corners,
            fill=_bytes((colour[0] * part.gain, colour[1] * part.gain, colour[2] * part.gain)),
        )
        masker.polygon(corners, fill=255)
    mask = mask.reduce(_FINE)
    soft = mask.filter(ImageFilter.GaussianBlur(6))
    shadow = Image.new("L", soft.size)
    shadow.paste(soft, (round(-6 * light.across), round(-6 * light.down)))
    cover, height, shade = _to_array(mask), _to_array(soft), _to_array(shadow)
    down, across = np.gradient(height)
    slope = -(light.across * across + light.down * down) * 9.0
    lit = np.clip(0.92 + slope, 0.55, 1.35)[..., None]
    gloss = (np.clip(slope - 0.30, 0.0, 1.0) * 0.6)[..., None]
    texture = 0.84 + 0.32 * _noise(1.0, rng)[..., None]
    scene = scene * (1.0 - 0.5 * shade[..., None])
    body = _to_array(paint.reduce(_FINE)) * lit * texture + gloss
    return scene * (1.0 - cover[..., None]) + body * cover[..., None]


def _palette(rng: np.random.Generator) -> dict[str, Colour]:
    hue = float(rng.uniform(0.0, 1.0))
    rich = float(rng.uniform(0.25, 0.9))
    return {
        "main": _hsv(hue, rich, rng.uniform(0.45, 0.95)),
        "second": _hsv(hue + rng.uniform(0.2, 0.8), rich, rng.uniform(0.4, 0.95)),
        "accent": _hsv(
            hue + rng.uniform(0.35, 0.65), rng.uniform(0.3, 0.9), rng.uniform(0.5, 0.95)
        ),
        "dark": _hsv(rng.uniform(0.0, 1.0), 0.3, rng.uniform(0.10, 0.24)),
        "pale": _hsv(rng.uniform(0.05, 0.6), 0.08, rng.uniform(0.85, 0.98)),
    }


# --- small tools of the painter ------------------------------------------------------------------


@cache
def _fields(roughness: float) -> np.ndarray:
    """Eight fields of cloudy noise in [0, 1] that wrap around, (field, 256, 256).

    The amplitude falls with frequency to the power ``roughness``. Made once: every picture cuts its
    own piece out of one of them.
    """
    rng = np.random.default_rng(int(1000 * roughness))
    down, across = np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None, :]
    frequency = np.hypot(down, across)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.normal(size=(8, 256, 256))) * frequency**-roughness
    fields = np.fft.irfft2(spectrum)
    low, high = np.quantile(fields, [0.01, 0.99], axis=(1, 2), keepdims=True)
    return np.clip((fields - low) / (high - low), 0.0, 1.0)


def _noise(roughness: float, rng: np.random.Generator) -> np.ndarray:
    """A piece of cloudy noise in [0, 1], (SIDE, SIDE)."""
    field = _fields(roughness)[rng.integers(8)]
    top, left = rng.integers(0, 256, 2)
    rows, columns = (np.arange(SIDE) + top) % 256, (np.arange(SIDE) + left) % 256
    return field[np.ix_(rows, columns)]


def _stretched(field: np.ndarray, down: float, across: float) -> np.ndarray:
    """The field magnified from its top left corner."""
    return _sampled(field, np.arange(SIDE) / down, np.arange(SIDE) / across)


def _perspective(field: np.ndarray, rows: int) -> np.ndarray:
    """The field as seen lying on the ground: finer towards its top, (rows, SIDE)."""
    depth = np.linspace(0.0, 1.0, rows) ** 0.6
    return _sampled(field, depth * (SIDE - 1), np.arange(SIDE, dtype=np.float64))


def _sampled(field: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The field between its points, linear in both directions, (row, column)."""
    once = _between(field, rows)
    return _between(once.T, columns).T


def _between(lines: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Lines of an array at fractional places: the mean of the two nearest, weighted."""
    low = np.minimum(at.astype(int), len(lines) - 2)
    part = (at - low)[:, None]
    return lines[low] * (1.0 - part) + lines[low + 1] * part


def _plane() -> np.ndarray:
    """Across and down of every pixel in [-1, 1], (SIDE, SIDE, 2)."""
    at = np.linspace(-1.0, 1.0, SIDE)
    return np.stack(np.meshgrid(at, at), -1)


def _pick(rng: np.random.Generator, *choices: Choice) -> Choice:
    return choices[int(rng.integers(len(choices)))]


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    return colorsys.hsv_to_rgb(hue % 1.0, saturation, value)


def _bytes(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, round(255 * value))) for value in colour)
    return red, green, blue


def _pairs(points: np.ndarray) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points.tolist()]


def _to_array(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float64) / 255.0


def _to_image(scene: np.ndarray) -> Image.Image:
    return Image.fromarray((np.clip(scene, 0.0, 1.0) * 255.0).round().astype(np.uint8))
