"""Rigidity: whether the same thing, to the pixel, stands in several images.

A tag, a logo or a frame repeats exactly; petals and faces do not. Patches are compared by their
signed grey gradients, so that a translucent overlay counts too, at the best shift of each pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from shortcut_finder.pixels.gradients import Patches, gradients_of, scaled_down

# A patch is this part of the image's side (64 pixels of 224), and may shift by this part of it.
PATCH = 2 / 7
SHIFT = 0.19
# Larger images are scaled down to this geometric mean side: artifacts keep their shape and the
# comparison its cost.
SIDE = 224
# Root mean square gradient, in grey levels a pixel, below which a patch counts as flat.
FAINT = 2.0


@dataclass(frozen=True, eq=False)
class Rigidity:
    """How alike the patches of a group are.

    Attributes:
        gradient: median correlation of signed gradients with the group's medoid, in [-1, 1].
        opacity: part of the grey variance at the thing's edges that all patches share, in [0, 1];
            low for something one can see through.
        duplicates: share of the images that are the same picture as another altogether, in [0, 1].
        medoid: grey patch that the others are most like, (row, column).
        aligned: what each image shows at the best match with the middle of the medoid,
            (image, row, column); beyond its border, the image mirrored.
        inside: share of the images whose border is not passed there, (row, column) in [0, 1].
    """

    gradient: float
    opacity: float
    duplicates: float
    medoid: np.ndarray
    aligned: np.ndarray
    inside: np.ndarray


def grey_image(picture: Image.Image, short: int = 0) -> np.ndarray:
    """Grey levels in [0, 255]; float32, (row, column).

    Args:
        picture: of any size; scaled down to a mean side of `SIDE` where it is larger.
        short: scaled to this shorter side instead, in pixels; 0 for not.
    """
    grey = picture.convert("L")
    if short:
        scale = short / min(grey.size)
        size = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
        return np.asarray(grey.resize(size, Image.Resampling.BILINEAR), dtype=np.float32)
    return np.asarray(scaled_down(grey, SIDE), dtype=np.float32)


def measure_rigidity(images: Sequence[np.ndarray], centres: np.ndarray) -> Rigidity:
    """Compare the patches of several images around given places.

    Args:
        images: grey levels, each (row, column).
        centres: middle of each patch as fractions x, y of its image, (image, 2).
    """
    if len(images) < 2:
        nothing = np.zeros((0, 0), dtype=np.float32)
        return Rigidity(0.0, 0.0, 0.0, nothing, nothing[None], nothing)
    size = patch_size(images)
    shift = _shift(size)
    patches = np.stack([patch_around(i, c, size) for i, c in zip(images, centres, strict=True)])
    view = _view(patches, size - 2 * shift)
    found = [view.matches(_core(patch, shift)) for patch in patches]
    best = np.stack([likeness for likeness, _ in found])
    np.fill_diagonal(best, np.nan)
    medoid = int(np.argmax(np.nanmedian(best, axis=1)))
    core = size - 2 * shift
    aligned = np.stack(
        [
            patch[y : y + core, x : x + core]
            for patch, (y, x) in zip(patches, found[medoid][1], strict=True)
        ]
    )
    return Rigidity(
        gradient=float(np.nanmedian(best[medoid])),
        opacity=_opacity(aligned),
        duplicates=_duplicates(images, centres),
        medoid=patches[medoid],
        aligned=aligned,
        inside=np.mean(
            [
                _inside(image.shape, centre, size, corner, core)
                for image, centre, corner in zip(images, centres, found[medoid][1], strict=True)
            ],
            axis=0,
        ),
    )


def _inside(
    shape: tuple[int, ...], centre: np.ndarray, size: int, corner: np.ndarray, core: int
) -> np.ndarray:
    """Which pixels of a window lie on the image, (row, column) of bool.

    Args:
        shape: rows and columns of the image.
        centre: middle of the patch, as fractions x, y of the image.
        size: side of the patch.
        corner: row and column of the window in the patch.
        core: side of the window.
    """
    rows, columns = (
        int(place * length) - size // 2 + int(first) + np.arange(core)
        for place, length, first in zip(centre[::-1], shape, corner, strict=True)
    )
    down, across = (
        (lines >= 0) & (lines < length)
        for lines, length in zip((rows, columns), shape, strict=True)
    )
    return np.asarray(down[:, None] & across)


def likeness_to(
    medoid: np.ndarray, images: Sequence[np.ndarray], centres: np.ndarray
) -> np.ndarray:
    """Gradient correlation of the medoid's core with each image around a place, (image,).

    Args:
        medoid: grey patch, (row, column).
        images: grey levels, each (row, column).
        centres: fractions x, y of each image, (image, 2). The core is looked for within a patch's
            width of it, since a thing may fill a neighbouring cell.
    """
    return locate(medoid, images, centres)[0]


def locate(
    medoid: np.ndarray,
    images: Sequence[np.ndarray],
    centres: np.ndarray,
    within: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Where the medoid lies in each image, to the pixel.

    Args:
        medoid: grey patch, (row, column).
        images: grey levels, each (row, column).
        centres: where to look, as fractions x, y of each image, (image, 2); see `likeness_to`.
        within: boxes that hold the middle of the window, x0, y0, x1, y1 in pixels of each image,
            (image, 4). Without, mirror images beyond the border are taken, too.

    Returns:
        Gradient correlations, (image,), and the middle of the best window as x, y in pixels of
        each image, (image, 2).
    """
    size = len(medoid)
    core = _core(medoid, _shift(size))
    around = [patch_around(i, c, 2 * size) for i, c in zip(images, centres, strict=True)]
    start = np.array(
        [
            (int(x * image.shape[1]) - size, int(y * image.shape[0]) - size)
            for image, (x, y) in zip(images, centres, strict=True)
        ]
    )
    side = core.shape[-1]
    allowed = None if within is None else _middles_within(within, start + side / 2, 2 * size - side)
    likeness, corner = _view(np.stack(around), side).matches(core, allowed)
    return likeness, start + corner[:, ::-1] + side / 2


def _middles_within(boxes: np.ndarray, first: np.ndarray, steps: int) -> np.ndarray:
    """Which windows have their middle in the box, (image, y, x).

    Args:
        boxes: x0, y0, x1, y1 of each image, (image, 4).
        first: middle of each image's first window as x, y, (image, 2).
        steps: how far the last window is from the first.
    """
    across, down = (first[:, axis, None] + np.arange(steps + 1) for axis in (0, 1))
    x0, y0, x1, y1 = (boxes[:, side, None] for side in range(4))
    rows, columns = (down >= y0) & (down <= y1), (across >= x0) & (across <= x1)
    return np.asarray(rows[:, :, None] & columns[:, None, :])


def patch_size(images: Sequence[np.ndarray]) -> int:
    """Side of the patches that some images are compared by, in pixels."""
    side = float(np.median([np.sqrt(image.size) for image in images]))
    return max(12, 2 * round(side * PATCH / 2))


def _shift(size: int) -> int:
    return max(2, round(size * SHIFT))


def patch_around(image: np.ndarray, centre: np.ndarray, size: int) -> np.ndarray:
    """The square around a place; beyond the border the image is mirrored."""
    half = size // 2
    # An image smaller than a patch has too little to mirror.
    padded = np.pad(image, size, mode="symmetric" if min(image.shape) >= size else "edge")
    row = int(centre[1] * image.shape[0]) + size
    column = int(centre[0] * image.shape[1]) + size
    return padded[row - half : row + half, column - half : column + half]


def _core(patch: np.ndarray, shift: int) -> np.ndarray:
    """Gradients of the middle of a patch, (2, row, column)."""
    return gradients_of(patch[None, :, :, None])[0, :, shift:-shift, shift:-shift]


def _view(patches: np.ndarray, core: int) -> Patches:
    """Patches, (patch, row, column), ready for cores of that side."""
    return Patches(gradients_of(patches[..., None]), core, FAINT)


def _opacity(aligned: np.ndarray) -> float:
    """Part of the grey variance that aligned patches share where their mean has edges."""
    mean = aligned.mean(axis=0)
    edges = np.hypot(*np.gradient(mean))
    there = edges >= np.quantile(edges, 0.7)
    values = aligned[:, there]
    total = values.var()
    return float(values.mean(axis=0).var() / total) if total > 0 else 0.0


def _duplicates(images: Sequence[np.ndarray], centres: np.ndarray) -> float:
    """Share of the images that have a near copy among the others, apart from the thing itself."""
    size = 32
    views: list[np.ndarray] = []
    for image, (x, y) in zip(images, centres, strict=True):
        small = np.asarray(Image.fromarray(image).resize((size, size)), dtype=np.float32)
        gradient = np.array(np.gradient(small))
        # The border and the thing are left out: frames and tags would make strangers alike.
        gradient[:, :4] = gradient[:, -4:] = 0
        gradient[:, :, :4] = gradient[:, :, -4:] = 0
        row, column = int(y * size), int(x * size)
        gradient[:, max(0, row - 6) : row + 7, max(0, column - 6) : column + 7] = 0
        flat = gradient.ravel()
        views.append(flat / max(float(np.linalg.norm(flat)), 1e-6))
    like = np.stack(views) @ np.stack(views).T
    np.fill_diagonal(like, 0)
    return float((like.max(axis=1) >= 0.9).mean())
