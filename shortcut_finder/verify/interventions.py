"""Interventions: what an experiment does to the pixels of an image, and to which of them.

All work on the model's input, uint8 (row, column, channel); regions are masks, bool (row, column).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import SuperLU, splu

from shortcut_finder.data.preprocessing import Box

# Standard deviation of a blur that removes a region, as part of the root of its area.
BLUR = 0.35
# Width over which a pasted or filled region fades into its surroundings, in pixels.
FEATHER = 1.0
# A control region may share this part of its pixels with the region itself.
OVERLAP = 0.1
# A region of more than this part of the image leaves no room for a control region.
LARGEST = 0.45
# Steps between the places tried for a control region, as part of the image's side.
STEP = 1 / 8
# How much a difference of border distance (as part of the side) weighs against one of log energy.
NEARNESS = 6.0
# Most that the contrast of a channel is stretched to match another image's.
STRETCH = 2.0
# Coarsest and finest blur tried to bring an image to another's sharpness, in pixels.
BLURS = (0.0, 0.5, 0.8, 1.2, 1.8, 2.6, 4.0)


# Regions


def box_mask(box: Box, height: int, width: int) -> np.ndarray:
    """The pixels of a box given as fractions of the input; at least one."""
    x0, y0 = min(int(box[0] * width), width - 1), min(int(box[1] * height), height - 1)
    x1, y1 = max(round(box[2] * width), x0 + 1), max(round(box[3] * height), y0 + 1)
    mask = np.zeros((height, width), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def cells_mask(extent: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixels of some cells, (row, column) of bool, and half a cell around them.

    What a cell sees reaches beyond it, so a thing may end in the next one.
    """
    rows, columns = extent.shape
    down = np.arange(height) * rows // height
    across = np.arange(width) * columns // width
    mask = extent[np.ix_(down, across)]
    reach = (2 * (height // (2 * rows)) + 1, 2 * (width // (2 * columns)) + 1)
    return np.asarray(ndimage.binary_dilation(mask, structure=np.ones(reach)))


def moved(mask: np.ndarray, down: int, across: int) -> np.ndarray:
    """The region elsewhere; what leaves the image is lost."""
    height, width = mask.shape
    result = np.zeros_like(mask)
    y0, y1 = max(down, 0), min(height + down, height)
    x0, x1 = max(across, 0), min(width + across, width)
    result[y0:y1, x0:x1] = mask[y0 - down : y1 - down, x0 - across : x1 - across]
    return result


def has_control(mask: np.ndarray) -> bool:
    """Whether an image has room for a region like another: see `control_region`."""
    return next(_controls(mask), None) is not None


def control_region(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """A region of the same image to compare with: alike in size, border distance and texture.

    Args:
        pixels: the image.
        mask: the region to match.

    Returns:
        The candidate that is most alike, among mirror images of the region and copies of it at
        other places (for a ring: the ring inside it); ``None`` where there is no room for one.
    """
    energy = texture_energy(pixels)
    wanted = np.log1p(energy[mask].mean()), _border_distance(mask)
    best, least = None, np.inf
    for other in _controls(mask):
        gap = abs(np.log1p(energy[other].mean()) - wanted[0])
        gap += NEARNESS * abs(_border_distance(other) - wanted[1]) / max(mask.shape)
        if gap < least:
            best, least = other, gap
    return best


def _controls(mask: np.ndarray) -> Iterator[np.ndarray]:
    """Regions like another that hardly overlap it, and lie inside the image for the most part."""
    if mask.mean() > LARGEST:
        return
    for other in _other_places(mask):
        if (other & mask).sum() <= OVERLAP * mask.sum() and other.sum() >= 0.5 * mask.sum():
            yield other


def _other_places(mask: np.ndarray) -> Iterator[np.ndarray]:
    yield mask[:, ::-1]
    yield mask[::-1]
    yield mask[::-1, ::-1]
    if mask.shape[0] == mask.shape[1]:
        yield from (mask.T, mask.T[::-1], mask.T[:, ::-1], mask.T[::-1, ::-1])
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = mask.shape
    if len(rows) > 0.8 * height and len(columns) > 0.8 * width:
        inner = ~ndimage.binary_dilation(mask, iterations=1)
        thick = max(1, round(mask.sum() / (2 * (height + width))))
        yield inner & ~ndimage.binary_erosion(inner, iterations=thick, border_value=1)
        return
    step = max(1, round(max(height, width) * STEP))
    for down in range(-int(rows[0]), height - int(rows[-1]), step):
        for across in range(-int(columns[0]), width - int(columns[-1]), step):
            yield moved(mask, down, across)


def texture_energy(pixels: np.ndarray) -> np.ndarray:
    """Size of the grey gradient at each pixel, in grey levels a pixel, (row, column)."""
    down, across = np.gradient(pixels.mean(axis=2))
    return np.asarray(np.hypot(down, across))


def _border_distance(mask: np.ndarray) -> float:
    """Mean distance of the region's pixels from the nearest border, in pixels."""
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    nearest = np.minimum.reduce([rows, columns, height - 1 - rows, width - 1 - columns])
    return float(nearest.mean())


# Fills: the region gone


def blend(under: np.ndarray, over: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """One image with a region of another, fading over a pixel; outside, nothing changes much."""
    weight = ndimage.gaussian_filter(mask.astype(np.float32), FEATHER)[..., None]
    mixed = under + weight * (over.astype(np.float32) - under)
    return np.asarray(np.clip(np.rint(mixed), 0, 255), dtype=np.uint8)


def blurred(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The region blurred until nothing of its size is left of it."""
    deviation = max(2.0, BLUR * float(np.sqrt(mask.sum())))
    smooth = ndimage.gaussian_filter(
        pixels.astype(np.float32), (deviation, deviation, 0), mode="nearest"
    )
    return blend(pixels, smooth, mask)


def diffused(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The region filled by what diffuses into it from its border (Laplace's equation)."""
    if mask.all():
        return np.broadcast_to(pixels.mean(axis=(0, 1)), pixels.shape).astype(np.uint8)
    inside, border, system = _diffusion(mask.shape, mask.tobytes())
    filled = pixels.reshape(-1, pixels.shape[2]).astype(np.float64)
    filled[inside] = system.solve(border @ filled)
    return blend(pixels, filled.reshape(pixels.shape), mask)


@lru_cache(maxsize=4)
def _diffusion(shape: tuple[int, int], mask: bytes) -> tuple[np.ndarray, sparse.csr_array, SuperLU]:
    """Pixels of a region, what each takes from known neighbours, and the equations among them.

    Kept from image to image, since a thing at a fixed place has the same region in all of them.
    """
    region = np.frombuffer(mask, dtype=bool)
    inside = np.flatnonzero(region)
    number = np.arange(region.size).reshape(shape)
    steps = [(number[1:], number[:-1]), (number[:, 1:], number[:, :-1])]
    one = np.concatenate([pair[0].ravel() for pair in steps])
    other = np.concatenate([pair[1].ravel() for pair in steps])
    links = sparse.coo_array(
        (np.ones(2 * len(one)), (np.append(one, other), np.append(other, one))),
        shape=(region.size, region.size),
    ).tocsr()[inside]
    degree = np.asarray(links.sum(axis=1)).ravel()
    known = sparse.diags_array((~region).astype(float))
    system = sparse.diags_array(degree) - links[:, inside]
    return inside, (links @ known).tocsr(), splu(sparse.csc_array(system))


# Paste: the region of one image on another


def paste(
    under: np.ndarray,
    donor: np.ndarray,
    mask: np.ndarray,
    shift: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """A region of ``donor`` on ``under``, ``shift`` rows and columns from where it was."""
    shifted = np.roll(donor, shift, axis=(0, 1))
    return blend(under, shifted, moved(mask, *shift))


def shift_anywhere(mask: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """Rows and columns to move a region by, so that it stays inside the image."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    down = rng.integers(-rows[0], mask.shape[0] - rows[-1])
    across = rng.integers(-columns[0], mask.shape[1] - columns[-1])
    return int(down), int(across)


def shift_to(mask: np.ndarray, x: float, y: float) -> tuple[int, int]:
    """Rows and columns from the place x, y (fractions) to the region, as far as it has room.

    Moving an image by that much brings what is at the place into the region.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = mask.shape
    half_height, half_width = (rows[-1] - rows[0] + 1) / 2, (columns[-1] - columns[0] + 1) / 2
    row = np.clip(y * height, half_height, height - half_height)
    column = np.clip(x * width, half_width, width - half_width)
    down = (rows[0] + rows[-1] + 1) / 2 - row
    across = (columns[0] + columns[-1] + 1) / 2 - column
    return round(float(down)), round(float(across))


# Neutralise: the look of one image on another


def with_colours_of(pixels: np.ndarray, donor: np.ndarray) -> np.ndarray:
    """The image with the donor's colours, as far as both show in their outer parts.

    Mean and deviation of each channel are matched by the frame of the images, where objects seldom
    are: light, camera and file change it as they change the rest, but the object's own colours stay
    behind. Deviations change by a factor of `STRETCH` at most.
    """
    values, other = pixels.astype(np.float32), donor.astype(np.float32)
    mask = _outer(*pixels.shape[:2])
    here, there = values[mask], other[mask]
    scale = there.std(axis=0) / np.maximum(here.std(axis=0), 1.0)
    scale = np.clip(scale, 1 / STRETCH, STRETCH)
    matched = (values - here.mean(axis=0)) * scale + there.mean(axis=0)
    return np.asarray(np.clip(np.rint(matched), 0, 255), dtype=np.uint8)


def with_sharpness_of(pixels: np.ndarray, donor: np.ndarray) -> np.ndarray:
    """The image blurred, or sharpened by unsharp masking, until its edges are like the donor's.

    Both are measured in the frame of the images: what differs from class to class without being
    the object is most of all the background.
    """
    values = pixels.astype(np.float32)
    wanted = _sharpness(donor.astype(np.float32))
    tried = [ndimage.gaussian_filter(values, (blur, blur, 0)) for blur in BLURS]
    tried += [2 * values - one for one in tried[1:]]
    gaps = [abs(np.log((_sharpness(one) + 1e-3) / (wanted + 1e-3))) for one in tried]
    return np.asarray(np.clip(np.rint(tried[int(np.argmin(gaps))]), 0, 255), dtype=np.uint8)


def _sharpness(values: np.ndarray) -> float:
    """Mean second difference over mean first difference of grey levels, in the outer frame."""
    grey = values.mean(axis=2)
    outer = _outer(*grey.shape)
    steps = [[np.abs(np.diff(grey, order, axis=axis)) for axis in (0, 1)] for order in (1, 2)]
    first, second = (
        sum(float(step[outer[: step.shape[0], : step.shape[1]]].mean()) for step in both)
        for both in steps
    )
    return second / max(first, 1e-3)


def with_border_of(pixels: np.ndarray, donor: np.ndarray) -> np.ndarray:
    """The image with the outermost tenth of the donor."""
    return paste(pixels, donor, _outer(*pixels.shape[:2]))


def _outer(height: int, width: int) -> np.ndarray:
    """The outermost tenth on every side, (row, column) of bool."""
    mask = np.ones((height, width), dtype=bool)
    rows, columns = max(1, height // 10), max(1, width // 10)
    mask[rows:-rows, columns:-columns] = False
    return mask
