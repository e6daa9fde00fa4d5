"""Motifs: a small pattern of colour edges that repeats in many images, to the pixel.

Cells are coarse: a sticker that fills half a cell leaves little of itself in it. Here small windows
of the pictures themselves are compared, by their signed colour gradients, at any shift. A motif is
the window that other images of a group repeat best and images of other classes repeat least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image
from scipy import fft

# Larger images are scaled down to this geometric mean side, in pixels.
SIDE = 160
# Sides of the windows, and of the patches that they are looked for in, as part of the image's side.
WINDOWS = (1 / 10, 1 / 7)
PATCH = 0.42
# Smallest window, in pixels.
LEAST = 8
# Windows of each image that are tried, those with the strongest edges; how far apart, as part of
# their side.
TRIED, APART = 6, 1 / 3
# Root mean square gradient of a channel, in levels a pixel, below which a window counts as flat.
FAINT = 3.0
# Part of the group that the motif is averaged over: those that repeat it best.
BEST = 0.6
# Places of an image that are compared in all colours, and how far apart they lie, in pixels.
PLACES, NEAR = 3, 2
# Part of the images of other classes that may repeat it as well as the rarest do.
RARE = 0.9


@dataclass(frozen=True, eq=False)
class Motif:
    """A pattern that repeats.

    Attributes:
        edges: mean colour gradients of the window, (2 x channel, row, column).
        likeness: median correlation with the images it was found in, in [-1, 1].
        elsewhere: what one in ten of the controls surpasses at the places that were compared.
    """

    edges: np.ndarray
    likeness: float
    elsewhere: float

    @property
    def side(self) -> int:
        """Of the window, in pixels."""
        return int(self.edges.shape[-1])

    @cached_property
    def mixture(self) -> np.ndarray:
        """The mixture of colours in which its edges are strongest, (channel,) of unit length."""
        edges = np.moveaxis(self.edges.reshape(2, -1, self.side, self.side), 1, 0)
        flat = edges.reshape(len(edges), -1).astype(np.float64)
        return np.linalg.eigh(flat @ flat.T)[1][:, -1].astype(np.float32)


def colour_image(picture: Image.Image) -> np.ndarray:
    """Colours, scaled down to `SIDE` where larger; uint8, (row, column, channel)."""
    scale = min(1.0, SIDE / np.sqrt(picture.width * picture.height))
    size = (max(LEAST, round(picture.width * scale)), max(LEAST, round(picture.height * scale)))
    return np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BILINEAR))


def find_motifs(
    images: Sequence[np.ndarray],
    centres: np.ndarray,
    controls: Sequence[np.ndarray],
    control_centres: np.ndarray,
) -> list[Motif]:
    """Patterns that images share around given places, and controls do not.

    Args:
        images: of a group, from `colour_image`; four at least.
        centres: where to look, as fractions x, y of each image, (image, 2).
        controls: images of other classes; one at least.
        control_centres: the same for these.

    Returns:
        For each size of window the one that most images share, and the one they share best on
        average, which differ where some images lack it or have it cut off by the border.
    """
    sources = (images, centres), (controls, control_centres)
    whole = float(np.median([np.sqrt(image.shape[0] * image.shape[1]) for image in images]))
    found: list[Motif] = []
    for part in WINDOWS:
        side = max(LEAST, round(whole * part))
        size = max(side + 6, round(whole * PATCH))
        own, strange = (_Patches(_around(*source, size), side) for source in sources)
        found += _motifs_of_side(own, strange, side)
    return found


def _motifs_of_side(own: _Patches, strange: _Patches, side: int) -> list[Motif]:
    """The windows of one size that stand out, averaged over where they repeat."""
    sources, windows = _windows(own.edges, side)
    inside = np.stack([own.matches(window)[0] for window in windows])
    outside = np.stack([strange.matches(window)[0] for window in windows])
    inside[np.arange(len(windows)), sources] = np.nan
    rare = np.quantile(outside, RARE, axis=1)
    best = {
        int((shared - rare).argmax())
        for shared in (np.nanmedian(inside, axis=1), np.nanmean(inside, axis=1))
    }
    averaged = [_mean_of_best(windows[number], own) for number in sorted(best)]
    return [
        Motif(
            edges,
            float(np.median(own.matches(edges)[0])),
            float(np.quantile(strange.matches(edges)[0], RARE)),
        )
        for edges in averaged
    ]


def _mean_of_best(window: np.ndarray, patches: _Patches) -> np.ndarray:
    """The window averaged over the patches that repeat it best, where they do."""
    likeness, corners = patches.matches(window)
    side = window.shape[-1]
    best = np.argsort(-likeness, kind="stable")[: max(4, int(BEST * len(likeness)))]
    return np.asarray(
        np.mean(
            [
                patches.edges[n, :, y : y + side, x : x + side]
                for n, (y, x) in zip(best, corners[best], strict=True)
            ],
            axis=0,
        )
    )


def match_motif(motif: Motif, image: np.ndarray) -> tuple[float, tuple[float, float]]:
    """How like the motif an image is where it is most like it, and where.

    All places are compared in the one mixture of colours in which the motif has most of its edges,
    the best of them in all colours.

    Args:
        motif: from `find_motifs`.
        image: from `colour_image`.

    Returns:
        Correlation in [-1, 1], and the middle of the window as fractions x, y of the image.
    """
    side, mixture = motif.side, motif.mixture
    rough = _Patches(_edges((image @ mixture)[None, :, :, None]), side)
    flat = np.tensordot(mixture, motif.edges.reshape(2, -1, side, side), axes=(0, 1))
    left = rough.likeness(flat)[0]
    edges = _edges(image[None])[0]
    best, corner = -1.0, (0, 0)
    for _ in range(PLACES):
        y, x = (int(at) for at in np.unravel_index(int(left.argmax()), left.shape))
        if not np.isfinite(left[y, x]):
            break
        left[max(0, y - NEAR) : y + NEAR + 1, max(0, x - NEAR) : x + NEAR + 1] = -np.inf
        here = correlation(motif.edges, edges[:, y : y + side, x : x + side])
        if here > best:
            best, corner = here, (y, x)
    y, x = (np.array(corner) + side / 2) / image.shape[:2]
    return best, (float(x), float(y))


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of the edges of two windows, in [-1, 1]; flat ones correlate with nothing."""
    floor = _floor(one)
    sizes = (max(float(np.sqrt(np.square(edges).sum())), floor) for edges in (one, other))
    return float((one * other).sum()) / float(np.prod(list(sizes)))


def _floor(window: np.ndarray) -> float:
    """The least size of edges that counts; what is flatter is held against it."""
    channels, side = window.shape[0], window.shape[-1]
    return float(FAINT * side * np.sqrt(channels / 2))


def _around(images: Sequence[np.ndarray], centres: np.ndarray, size: int) -> np.ndarray:
    """Edges of the squares around places, (image, 2 x channel, row, column)."""
    return _edges(np.stack([_patch(i, c, size) for i, c in zip(images, centres, strict=True)]))


def _edges(patches: np.ndarray) -> np.ndarray:
    """Signed gradients of every channel, (patch, 2 x channel, row, column)."""
    channels = np.moveaxis(patches.astype(np.float32), -1, 1)
    down, across = np.gradient(channels, axis=(-2, -1))
    return np.concatenate([across, down], axis=1)


def _patch(image: np.ndarray, centre: np.ndarray, size: int) -> np.ndarray:
    """The square around a place, as much of it as can be within the image; padded if smaller."""
    rows, columns = image.shape[:2]
    if min(rows, columns) < size:
        wide = ((0, max(0, size - rows)), (0, max(0, size - columns)), (0, 0))
        image = np.pad(image, wide, mode="edge")
    top = int(np.clip(centre[1] * rows - size / 2, 0, image.shape[0] - size))
    left = int(np.clip(centre[0] * columns - size / 2, 0, image.shape[1] - size))
    return image[top : top + size, left : left + size]


def _windows(edges: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Those windows of each patch that have the strongest edges, and the patches they are from."""
    step = max(1, int(APART * side))
    boxes = _box_sums(np.square(edges).sum(axis=1), side)[:, ::step, ::step]
    sources, windows = [], []
    for number, strength in enumerate(boxes):
        left = strength.copy()
        for _ in range(TRIED):
            y, x = np.unravel_index(int(left.argmax()), left.shape)
            if not np.isfinite(left[y, x]):
                break
            left[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = -np.inf
            sources.append(number)
            top, start = y * step, x * step
            windows.append(edges[number, :, top : top + side, start : start + side])
    return np.array(sources), np.stack(windows)


class _Patches:
    """Patches, ready to have windows of one side looked for in them."""

    def __init__(self, edges: np.ndarray, side: int) -> None:
        self.edges = edges
        self.steps = tuple(length - side + 1 for length in edges.shape[-2:])
        self.size = tuple(fft.next_fast_len(length, real=True) for length in edges.shape[-2:])
        self.spectrum = fft.rfft2(edges, s=self.size)
        # Flat windows have nothing to compare; the floor keeps their faint shading from counting.
        self.floor = _floor(edges[0, :, :side, :side])
        energy = _box_sums(np.square(edges).sum(axis=1), side)
        self.norms = np.maximum(np.sqrt(np.maximum(energy, 0)), self.floor)

    def likeness(self, window: np.ndarray) -> np.ndarray:
        """Correlation of a window with every place of each patch, (patch, row, column)."""
        spectrum = np.conj(fft.rfft2(window, s=self.size))
        answer = fft.irfft2((self.spectrum * spectrum).sum(axis=1), s=self.size)
        own = max(float(np.sqrt(np.square(window).sum())), self.floor)
        return np.asarray(answer[:, : self.steps[0], : self.steps[1]] / (self.norms * own))

    def matches(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Best correlation of a window with each patch, (patch,), and its corner, (patch, 2)."""
        ratio = self.likeness(window)
        flat = ratio.reshape(len(ratio), -1)
        where = flat.argmax(axis=1)
        corners = np.stack(np.unravel_index(where, self.steps), axis=1)
        return flat[np.arange(len(flat)), where], corners


def _box_sums(values: np.ndarray, side: int) -> np.ndarray:
    """Sum over every square of that side, (patch, row, column), by summed areas."""
    total = (
        np.pad(values.astype(np.float64), ((0, 0), (1, 0), (1, 0))).cumsum(axis=1).cumsum(axis=2)
    )
    sums = total[:, side:, side:] - total[:, :-side, side:]
    return np.asarray(sums - total[:, side:, :-side] + total[:, :-side, :-side], dtype=np.float32)
