"""Placing: where exactly a repeated thing lies in each image, and how large it is.

Findings come with boxes drawn in cells. What repeats to the pixel can be placed to the pixel: its
images are aligned, and where they all agree is the thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from shortcut_finder.rigidity import grey_image, locate, measure_rigidity

PixelBox = tuple[int, int, int, int]

# Images that are aligned to learn what the thing looks like.
COMPARED = 24
FEWEST = 4
# Correlation from which an image is taken to hold the thing at the place found.
SURE = 0.5
# The same as a part of what is usual among accepted images.
ALIKE = 0.6
# Pixels of the thing differ between aligned images by less than this part of what others do.
AGREE = 0.5
# A thing larger than this part of the window cannot be told from its surroundings.
LARGEST = 0.8
# Added around the thing: its edges are blurred by scaling and by JPEG blocks, in pixels.
EDGE = 2


def placed_boxes(
    pictures: Mapping[str, Image.Image], boxes: Mapping[str, PixelBox]
) -> dict[str, PixelBox]:
    """Boxes around a repeated thing, to the pixel.

    Args:
        pictures: upright pictures by image, likeliest member first.
        boxes: where the thing was found in each, in pixels of the picture.

    Returns:
        A box for every image in which the thing could be placed; none at all where the images do
        not repeat it exactly.
    """
    names = [name for name in pictures if name in boxes]
    if len(names) < FEWEST:
        return {}
    greys = [grey_image(pictures[name]) for name in names]
    scales = [g.shape[1] / pictures[n].width for g, n in zip(greys, names, strict=True)]
    centres = np.array([_centre(pictures[name], boxes[name]) for name in names])
    medoid = measure_rigidity(greys[:COMPARED], centres[:COMPARED]).medoid
    # Not beyond the border, where the thing's own mirror image would be as good a match.
    within = np.array([boxes[name] for name in names]) * np.array(scales)[:, None]
    likeness, found = locate(medoid, greys, centres, within)
    sure = np.flatnonzero(likeness >= SURE)
    if len(sure) < FEWEST:
        return {}
    extent = _extent([greys[n] for n in sure[:COMPARED]], found[sure[:COMPARED]], 2 * len(medoid))
    if extent is None:
        return {}
    placed = {}
    for number in sure:
        x, y = found[number]
        box = np.array((x + extent[0], y + extent[1], x + extent[2], y + extent[3]))
        sides = box / scales[number] + (-EDGE, -EDGE, EDGE, EDGE)
        placed[names[number]] = _inside(sides, pictures[names[number]])
    return placed


def resembling(
    accepted: Mapping[str, Image.Image],
    others: Mapping[str, Image.Image],
    boxes: Mapping[str, PixelBox],
) -> set[str]:
    """Which of the others show to the pixel what the accepted ones repeat.

    Args:
        accepted: upright pictures by image, likeliest first.
        others: pictures to be judged.
        boxes: where the thing should be in each.

    Returns:
        Names of others; all of them where the accepted ones do not repeat it exactly.
    """
    if len(accepted) < FEWEST or not others:
        return set(others)
    greys = [grey_image(picture) for picture in accepted.values()][:COMPARED]
    centres = np.array([_centre(picture, boxes[name]) for name, picture in accepted.items()])
    medoid = measure_rigidity(greys, centres[:COMPARED]).medoid
    usual = float(np.median(locate(medoid, greys, centres[:COMPARED])[0]))
    if usual < SURE:
        return set(others)
    where = np.array([_centre(picture, boxes[name]) for name, picture in others.items()])
    likeness, _ = locate(medoid, [grey_image(picture) for picture in others.values()], where)
    return {name for name, like in zip(others, likeness, strict=True) if like >= ALIKE * usual}


def _centre(picture: Image.Image, box: PixelBox) -> tuple[float, float]:
    """Middle of a box as fractions x, y of the picture."""
    x, y = (box[0] + box[2]) / 2 / picture.width, (box[1] + box[3]) / 2 / picture.height
    return min(max(x, 0.0), 1 - 1e-6), min(max(y, 0.0), 1 - 1e-6)


def _inside(sides: np.ndarray, picture: Image.Image) -> PixelBox:
    x0, y0 = np.floor(sides[:2]).astype(int)
    x1, y1 = np.ceil(sides[2:]).astype(int)
    left, top = int(np.clip(x0, 0, picture.width - 1)), int(np.clip(y0, 0, picture.height - 1))
    return (
        left,
        top,
        int(np.clip(x1, left + 1, picture.width)),
        int(np.clip(y1, top + 1, picture.height)),
    )


def _extent(
    greys: Sequence[np.ndarray], middles: np.ndarray, size: int
) -> tuple[int, int, int, int] | None:
    """Box around the thing relative to its middle, in pixels; None where it has no clear edge."""
    windows = np.stack([_window(g, m, size) for g, m in zip(greys, middles, strict=True)])
    # Beyond the border there is nothing to agree on.
    with np.errstate(invalid="ignore"):
        seen = np.isfinite(windows).sum(axis=0)
        spread = np.where(seen >= FEWEST, np.sqrt(_variance(windows)), np.nan)
    outside = np.ones_like(spread, dtype=bool)
    outside[size // 4 : -(size // 4), size // 4 : -(size // 4)] = False
    usual = spread[outside & np.isfinite(spread)]
    if len(usual) == 0:
        return None
    agree = ndimage.median_filter(np.nan_to_num(spread, nan=np.inf), 3) < AGREE * np.median(usual)
    parts, count = ndimage.label(ndimage.binary_closing(agree, iterations=2))
    if count == 0:
        return None
    middle = slice(size // 2 - size // 8, size // 2 + size // 8)
    largest = (
        int(np.argmax(np.bincount(parts[middle, middle].ravel(), minlength=count + 1)[1:])) + 1
    )
    rows, columns = np.nonzero(parts == largest)
    if len(rows) < size or len(rows) > LARGEST * size * size:
        return None
    half = size // 2
    return (
        int(columns.min()) - half,
        int(rows.min()) - half,
        int(columns.max()) + 1 - half,
        int(rows.max()) + 1 - half,
    )


def _variance(windows: np.ndarray) -> np.ndarray:
    """Variance over images of each pixel, without what lies beyond the border."""
    there = np.isfinite(windows)
    count = np.maximum(there.sum(axis=0), 1)
    values = np.where(there, windows, 0.0)
    mean = values.sum(axis=0) / count
    return np.asarray((np.where(there, np.square(values - mean), 0.0)).sum(axis=0) / count)


def _window(grey: np.ndarray, middle: np.ndarray, size: int) -> np.ndarray:
    """The square around a place; NaN beyond the border."""
    padded = np.pad(grey.astype(np.float64), size, constant_values=np.nan)
    row, column = round(middle[1]) + size, round(middle[0]) + size
    row = int(np.clip(row, size // 2, padded.shape[0] - size // 2))
    column = int(np.clip(column, size // 2, padded.shape[1] - size // 2))
    half = size // 2
    return padded[row - half : row + half, column - half : column + half]
