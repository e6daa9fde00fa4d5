"""Shapes: the objects of the demo's pictures, as painted outlines.

A shape is a list of parts, drawn one over the other. Units: the object spans about [-1, 1], x to
the right and y downwards. Colours are named, not given: every picture chooses its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Points = np.ndarray


@dataclass(frozen=True, eq=False)
class Part:
    """A filled outline of an object, in units where the object spans about [-1, 1].

    Attributes:
        points: corners as x, y with y downwards, (corner, 2).
        paint: ``main``, ``second``, ``accent``, ``dark`` or ``pale``.
        gain: how much lighter or darker than its paint.
    """

    points: Points
    paint: str = "main"
    gain: float = 1.0


@dataclass(frozen=True)
class Shape:
    """A class of objects.

    Attributes:
        sketch: one object of the class, a little different every time.
        turn: how far it may be rotated either way, in radians: a house stands, a leaf lies anyhow.
    """

    sketch: Callable[[np.random.Generator], list[Part]]
    turn: float


def _boat(rng: np.random.Generator) -> list[Part]:
    stern, bow = rng.uniform(-1.0, -0.75), rng.uniform(0.75, 1.05)
    lift = rng.uniform(0.0, 0.16)
    rail = rng.uniform(0.22, 0.40)
    depth, full = rng.uniform(0.28, 0.58), rng.uniform(0.3, 0.9)
    keel = np.linspace(0.0, 1.0, 14)[1:-1]
    flat = np.stack(
        [0.85 * (stern + (bow - stern) * keel), rail + depth * np.sin(np.pi * keel) ** full], 1
    )
    hull = np.concatenate([[[stern, rail]], flat, [[bow, rail - lift]]])
    mast, top = rng.uniform(-0.35, 0.25), rng.uniform(-1.05, -0.70)
    low = rail - rng.uniform(0.06, 0.24)
    sheets = [Part(_sail(mast + 0.05, rng.uniform(0.40, 0.85), top, low, rng), "pale")]
    if rng.random() < 0.7:
        head = top + rng.uniform(0.05, 0.5)
        sheets.append(Part(_sail(mast - 0.05, -rng.uniform(0.30, 0.65), head, low, rng), "second"))
    if rng.random() < 0.4:
        flag = [[mast, top], [mast - rng.uniform(0.18, 0.34), top + 0.09], [mast, top + 0.18]]
        sheets.append(Part(np.array(flag), "accent"))
    deck = [
        [stern, rail],
        [bow, rail - lift],
        [bow - 0.10, rail - lift + 0.12],
        [stern + 0.05, rail + 0.12],
    ]
    return [
        Part(_box(mast - 0.035, top, mast + 0.035, rail + 0.05), "dark"),
        *sheets,
        Part(hull, "main"),
        Part(np.array(deck), "accent"),
    ]


def _sail(x: float, reach: float, top: float, low: float, rng: np.random.Generator) -> Points:
    """A sail on a mast at x that bellies out by its reach, to the left when that is below 0."""
    down = np.linspace(0.0, 1.0, 9)
    belly = x + reach * down ** rng.uniform(0.8, 2.0)
    edge = np.stack([belly, top + (low - top) * down], 1)
    edge[-1, 1] -= rng.uniform(0.0, 0.15)
    return np.concatenate([edge, [[x, low]]])


def _fish(rng: np.random.Generator) -> list[Part]:
    fat = rng.uniform(0.40, 0.56)
    along = np.linspace(0.0, 1.0, 24)
    bulge = fat * np.sin(np.pi * along**0.85) ** 0.8 + 0.06 * (1 - along)
    x = -0.50 + 1.45 * along
    body = np.concatenate([np.stack([x, -bulge], 1), np.stack([x, bulge * 0.92], 1)[::-1]])
    fork = rng.uniform(0.40, 0.58)
    tail = np.array([[-0.40, 0.0], [-0.98, -fork], [-0.80, 0.0], [-0.98, fork]])
    fin = np.array(
        [[-0.20, -fat * 0.80], [0.05, -fat - 0.34], [0.42, -fat - 0.12], [0.50, -fat * 0.80]]
    )
    belly = np.array([[0.05, fat * 0.75], [-0.12, fat + 0.24], [0.34, fat * 0.80]])
    stripes = []
    for at in np.linspace(0.18, 0.62, int(rng.integers(2, 5))):
        reach = float(np.interp(at, along, bulge)) * 0.93
        centre = -0.50 + 1.45 * at
        stripes.append(Part(_box(centre - 0.045, -reach, centre + 0.045, reach * 0.9), "second"))
    return [
        Part(tail, "accent"),
        Part(fin, "accent", 0.9),
        Part(belly, "accent", 0.85),
        Part(body, "main"),
        *stripes,
        Part(_arc(0.46, 0.0, 0.30, 0.05, -1.1, 1.1), "dark", 1.3),
        Part(ellipse(0.10, 0.10, 0.68, -0.10), "pale"),
        Part(ellipse(0.055, 0.055, 0.70, -0.10), "dark", 0.4),
    ]


def _house(rng: np.random.Generator) -> list[Part]:
    side = rng.uniform(0.34, 0.52)
    ridge = rng.uniform(-0.98, -0.80)
    front = [[-0.85, -0.15], [-0.35, ridge], [0.15, -0.15], [0.15, 0.85], [-0.85, 0.85]]
    wall = [[0.15, -0.15], [0.15 + side * 1.5, -0.12], [0.15 + side * 1.5, 0.72], [0.15, 0.85]]
    roof = [
        [-0.35, ridge],
        [-0.35 + side * 1.6, ridge + 0.06],
        [0.24 + side * 1.5, -0.08],
        [0.20, -0.08],
    ]
    eave = [[-0.94, -0.07], [-0.36, ridge - 0.10], [-0.30, ridge], [-0.85, -0.07]]
    pipe = rng.uniform(0.02, 0.25)
    windows = [
        Part(_box(x, y, x + 0.22, y + 0.24), "dark", 0.8) for x in (-0.72, -0.20) for y in (-0.02,)
    ]
    return [
        Part(_box(pipe, ridge - 0.06, pipe + 0.15, -0.4), "second", 0.75),
        Part(np.array(front), "main", 1.05),
        Part(np.array(wall), "main", 0.72),
        Part(np.array(roof), "second"),
        Part(np.array(eave), "second", 0.7),
        *windows,
        Part(_box(-0.47, 0.36, -0.20, 0.85), "accent"),
        Part(_box(0.34, 0.16, 0.34 + side * 0.6, 0.42), "dark", 0.9),
    ]


def _leaf(rng: np.random.Generator) -> list[Part]:
    broad = rng.uniform(0.42, 0.62)
    teeth = int(rng.integers(5, 9))
    along = np.linspace(0.0, 1.0, 4 * teeth + 1)
    saw = 1.0 - 0.16 * (1.0 - (along * teeth) % 1.0) * (along > 0.04) * (along < 0.96)
    reach = broad * np.sin(np.pi * along**0.75) * saw
    x = -0.72 + 1.70 * along
    blade = np.concatenate([np.stack([x, -reach], 1), np.stack([x, reach], 1)[::-1]])
    veins = []
    for at in np.linspace(0.16, 0.74, 5):
        start, reach_here = -0.72 + 1.70 * at, float(np.interp(at + 0.12, along, reach)) * 0.86
        for sign in (-1.0, 1.0):
            tip = [start + 0.26, sign * reach_here]
            veins.append(Part(np.array([[start, 0.0], tip, [start + 0.05, 0.0]]), "pale", 0.8))
    return [
        Part(
            np.array([[-1.05, 0.07], [-0.66, -0.035], [-0.66, 0.035], [-1.02, 0.13]]), "dark", 1.4
        ),
        Part(blade, "main"),
        Part(np.concatenate([np.stack([x, -reach], 1), [[0.98, 0.0], [-0.72, 0.0]]]), "main", 0.8),
        *veins,
        Part(np.array([[-0.72, -0.03], [0.9, 0.0], [-0.72, 0.03]]), "pale", 0.9),
    ]


def _mug(rng: np.random.Generator) -> list[Part]:
    taper = rng.uniform(0.0, 0.14)
    foot = np.linspace(0.0, np.pi, 12)
    bottom = np.stack([-0.10 + (0.58 - taper) * np.cos(foot), 0.70 + 0.16 * np.sin(foot)], 1)
    body = np.concatenate([[[-0.68, -0.62], [0.48, -0.62]], bottom])
    band = rng.uniform(-0.15, 0.25)
    across = np.linspace(-0.56, 0.56, 12) * (1.0 - taper * 0.9) - 0.10
    sag = band + 0.13 * np.sin(np.linspace(0.0, np.pi, 12))
    upper, lower = np.stack([across, sag], 1), np.stack([across, sag + rng.uniform(0.14, 0.30)], 1)
    stripe = np.concatenate([upper, lower[::-1]])
    return [
        Part(_arc(0.44, 0.02, 0.48, 0.15, -1.75, 1.75), "main", 0.85),
        Part(body, "main"),
        Part(stripe, "second"),
        Part(ellipse(0.58, 0.17, -0.10, -0.62), "main", 1.2),
        Part(ellipse(0.51, 0.13, -0.10, -0.61), "dark"),
    ]


def _star(rng: np.random.Generator) -> list[Part]:
    deep = rng.uniform(0.40, 0.52)
    angles = -np.pi / 2 + np.arange(10) * np.pi / 5
    radius = np.where(np.arange(10) % 2 == 0, 1.0, deep)
    corners = np.stack([radius * np.cos(angles), radius * np.sin(angles)], 1)
    return [
        Part(
            np.array([[0.0, 0.0], corners[i], corners[(i + 1) % 10]]),
            "main",
            1.15 if i % 2 else 0.78,
        )
        for i in range(10)
    ]


SHAPES = {
    "boat": Shape(_boat, 0.35),
    "fish": Shape(_fish, 0.6),
    "house": Shape(_house, 0.25),
    "leaf": Shape(_leaf, np.pi),
    "mug": Shape(_mug, 0.4),
    "star": Shape(_star, np.pi),
}


def ellipse(across: float, down: float, x: float = 0.0, y: float = 0.0) -> Points:
    """An ellipse about x, y from its two radii."""
    angle = np.linspace(0.0, 2 * np.pi, 28, endpoint=False)
    return np.stack([x + across * np.cos(angle), y + down * np.sin(angle)], 1)


def placed(points: Points, scale: float, turn: float, centre: np.ndarray) -> Points:
    """Points scaled, rotated by an angle in radians and moved."""
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return points @ rotation * scale + centre


def _box(x0: float, y0: float, x1: float, y1: float) -> Points:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _arc(x: float, y: float, radius: float, width: float, start: float, stop: float) -> Points:
    """A bent band: part of a ring about x, y, between two angles."""
    angle = np.linspace(start, stop, 20)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    outer, inner = ring * (radius + width / 2), ring[::-1] * (radius - width / 2)
    return np.concatenate([outer, inner]) + np.array([x, y])
