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

from shortcut_finder.data.preprocessing import WHOLE_FRAME, Box
from shortcut_finder.pixels.gradients import (
    LEAST,
    Patches,
    box_sums,
    correlation,
    gradients_of,
    scaled_down,
)
from shortcut_finder.pixels.peaks import peaks

# Larger images are scaled down to this geometric mean side, in pixels.
SIDE = 160
# Sides of the windows, and of the patches that they are looked for in, as part of the image's side.
WINDOWS = (1 / 10, 1 / 7)
PATCH = 0.42
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


# How like a pattern an image is at best, in [-1, 1], and the middle of that place as fractions x, y
# of the image.
Match = tuple[float, tuple[float, float]]


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
    return np.asarray(scaled_down(picture.convert("RGB"), SIDE))


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
        own, strange = (Patches(_around(*source, size), side, FAINT) for source in sources)
        found += _motifs_of_side(own, strange, side)
    return found


def _motifs_of_side(own: Patches, strange: Patches, side: int) -> list[Motif]:
    """The windows of one size that stand out, averaged over where they repeat."""
    sources, windows = _windows(own.gradients, side)
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


def _mean_of_best(window: np.ndarray, patches: Patches) -> np.ndarray:
    """The window averaged over the patches that repeat it best, where they do."""
    likeness, corners = patches.matches(window)
    side = window.shape[-1]
    best = np.argsort(-likeness, kind="stable")[: max(4, int(BEST * len(likeness)))]
    return np.asarray(
        np.mean(
            [
                patches.gradients[n, :, y : y + side, x : x + side]
                for n, (y, x) in zip(best, corners[best], strict=True)
            ],
            axis=0,
        )
    )


def match_motif(
    motif: Motif, image: np.ndarray, within: Box = WHOLE_FRAME, scale: float = 1.0
) -> Match:
    """How like the motif an image is where it is most like it, and where.

    All places are compared in the one mixture of colours in which the motif has most of its edges,
    the best of them in all colours.

    Args:
        motif: from `find_motifs`.
        image: from `colour_image`.
        within: where the middle of the window may lie, as fractions x0, y0, x1, y1 of the image.
        scale: of the image, before it is compared.

    Returns:
        Correlation in [-1, 1], and the middle of the window as fractions x, y of the image.
    """
    side, mixture = motif.side, motif.mixture
    if scale != 1.0:
        picture = Image.fromarray(image)
        size = [max(side, round(length * scale)) for length in picture.size]
        image = np.asarray(picture.resize((size[0], size[1]), Image.Resampling.BILINEAR))
    rows, columns = spans(within, image.shape[:2], side)
    shape, image = image.shape[:2], image[rows, columns]
    rough = Patches(gradients_of((image @ mixture)[None, :, :, None]), side, FAINT)
    flat = np.tensordot(mixture, motif.edges.reshape(2, -1, side, side), axes=(0, 1))
    best, corner = -1.0, (0, 0)
    for y, x in peaks(rough.likeness(flat)[0], PLACES, (NEAR, NEAR)):
        here = correlation(motif.edges, _edges_at(image, y, x, side), FAINT)
        if here > best:
            best, corner = here, (y, x)
    y, x = (np.array(corner) + (rows.start, columns.start) + side / 2) / shape
    return best, (float(x), float(y))


def _edges_at(image: np.ndarray, y: int, x: int, side: int) -> np.ndarray:
    """Colour gradients of one window of an image, (2 x channel, row, column)."""
    # One pixel more on each side, where there is one, and the gradients are those of the image.
    top, left = max(y - 1, 0), max(x - 1, 0)
    around = gradients_of(image[None, top : y + side + 1, left : x + side + 1])[0]
    return around[:, y - top : y - top + side, x - left : x - left + side]


def spans(within: Box, shape: tuple[int, int], side: int) -> tuple[slice, slice]:
    """Rows and columns of the windows whose middle lies in a part of an image.

    Args:
        within: fractions x0, y0, x1, y1 of the image.
        shape: rows and columns of the image.
        side: of the windows, in pixels.

    Example:
        >>> spans((0.5, 0.0, 1.0, 1.0), (40, 40), 10)
        (slice(0, 40, None), slice(15, 40, None))
    """
    (left, right), (top, bottom) = (
        (
            max(0, min(int(begin * length - side / 2), length - side)),
            min(length, max(int(np.ceil(end * length + side / 2)), side)),
        )
        for begin, end, length in (
            (within[0], within[2], shape[1]),
            (within[1], within[3], shape[0]),
        )
    )
    return slice(top, bottom), slice(left, right)


def _around(images: Sequence[np.ndarray], centres: np.ndarray, size: int) -> np.ndarray:
    """Edges of the squares around places, (image, 2 x channel, row, column)."""
    squares = [cut_out(i, c, (size, size)) for i, c in zip(images, centres, strict=True)]
    return gradients_of(np.stack(squares))


def cut_out(
    image: np.ndarray, centre: Sequence[float] | np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """The part around a place, as much of it as can be within the image; padded if smaller.

    Args:
        image: (row, column, channel).
        centre: fractions x, y of the image.
        shape: rows and columns of the part, in pixels.
    """
    missing = [max(0, want - have) for want, have in zip(shape, image.shape, strict=False)]
    wide = [(0, missing[0]), (0, missing[1]), (0, 0)]
    whole = np.pad(image, wide, mode="edge") if any(missing) else image
    top, left = (
        int(np.clip(at * length - side / 2, 0, room - side))
        for at, length, room, side in zip(
            (centre[1], centre[0]), image.shape, whole.shape, shape, strict=False
        )
    )
    return whole[top : top + shape[0], left : left + shape[1]]


def _windows(edges: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Those windows of each patch that have the strongest edges, and the patches they are from."""
    step = max(1, int(APART * side))
    boxes = box_sums(np.square(edges).sum(axis=1), side)[:, ::step, ::step]
    found = [
        (number, edges[number, :, y * step : y * step + side, x * step : x * step + side])
        for number, strength in enumerate(boxes)
        for y, x in peaks(strength, TRIED, (1, 1))
    ]
    sources, windows = zip(*found, strict=True)
    return np.array(sources), np.stack(windows)
