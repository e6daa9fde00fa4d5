"""Placing: where exactly a repeated thing lies in each image, and how large it is.

Findings come with boxes drawn in cells. What repeats to the pixel can be placed to the pixel: its
images are aligned, and where they all agree is the thing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TypeVar

import numpy as np
from PIL import Image
from scipy import ndimage

from shortcut_finder.detect.finding import Finding, surest_first
from shortcut_finder.detect.sentences import EXACT
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.pixels.rigidity import grey_image, locate, measure_rigidity
from shortcut_finder.sweep.scene import Scene

PixelBox = tuple[int, int, int, int]
Name = TypeVar("Name", bound=Hashable)

# Kinds of findings that have a place in the image, and images of one that are placed to the pixel,
# those that carry it most surely.
PLACED, MOST = ("patch", "corner", "edge", "overlay"), 2000

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
# Gaps in it that are closed, in pixels; as much is lost along the border of the window.
CLOSED = 2
# Images at the limit of membership score less than this part of what is usual.
WEAK = 2 / 3
# Added around the thing: its edges are blurred by scaling and by JPEG blocks, in pixels.
EDGE = 2


@dataclass(frozen=True, eq=False)
class _Seen:
    """One image, and where in it the thing should be.

    Attributes:
        size: width and height of the picture.
        grey: grey levels, scaled, (row, column).
        box: where to look, in pixels of the picture.
    """

    size: tuple[int, int]
    grey: np.ndarray
    box: PixelBox

    @property
    def scale(self) -> float:
        """Pixels of the grey levels for one of the picture."""
        return float(self.grey.shape[1] / self.size[0])

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box as fractions x, y of the picture."""
        return _centre(self.size, self.box)


def placed_boxes(
    boxes: Mapping[Name, PixelBox], read: Callable[[Name], Image.Image], short: int = 0
) -> dict[Name, PixelBox]:
    """Boxes around a repeated thing, to the pixel.

    Args:
        boxes: where the thing was found in each image, in pixels of the upright picture, likeliest
            member first.
        read: the upright picture of an image; those that raise `UnreadableImage` are left out.
        short: shorter side at which the pictures are alike, in pixels; 0 for as they are.

    Returns:
        A box for every image in which the thing could be placed; none at all where the images do
        not repeat it exactly.
    """
    images = _seen(boxes, read, short)
    learned = dict(islice(images, COMPARED))
    if len(learned) < FEWEST:
        return {}
    greys = [one.grey for one in learned.values()]
    medoid = measure_rigidity(greys, np.array([one.centre for one in learned.values()])).medoid
    likeness, found = _located(medoid, list(learned.values()))
    sure = np.flatnonzero(likeness >= SURE)
    if len(sure) < FEWEST:
        return {}
    extent = _extent([greys[n] for n in sure], found[sure], 2 * len(medoid))
    if extent is None:
        return {}
    placed = {}
    for name, one in chain(learned.items(), images):
        (like,), (middle,) = _located(medoid, [one])
        if like >= SURE:
            corners = np.tile(middle, 2) + extent
            sides = corners / one.scale + (-EDGE, -EDGE, EDGE, EDGE)
            placed[name] = _inside(sides, one.size)
    return placed


def _seen(
    boxes: Mapping[Name, PixelBox], read: Callable[[Name], Image.Image], short: int
) -> Iterator[tuple[Name, _Seen]]:
    """Those images that can be read now, one at a time."""
    for name, box in boxes.items():
        with suppress(UnreadableImage):
            picture = read(name)
            yield name, _Seen(picture.size, grey_image(picture, short), box)


def _located(medoid: np.ndarray, images: Sequence[_Seen]) -> tuple[np.ndarray, np.ndarray]:
    """How like the medoid each image is, and the middle of the thing, x and y in grey pixels.

    Not beyond the border, where the thing's own mirror image would be as good a match.
    """
    centres = np.array([one.centre for one in images])
    within = np.array([np.array(one.box) * one.scale for one in images])
    return locate(medoid, [one.grey for one in images], centres, within)


def to_the_pixel(finding: Finding, scene: Scene) -> Finding:
    """The finding with boxes to the pixel where it repeats exactly, as it was elsewhere.

    Images at the limit of membership that do not show it are no longer listed then.

    Args:
        finding: at any place; what has none, such as a look or a frame, is left as it is.
        scene: what the sweep kept, and the pictures behind it.
    """
    if finding.place.kind not in PLACED or finding.measured.parts.get("rigidity", 0.0) < EXACT:
        return finding
    members = np.flatnonzero(finding.carriers.listed)
    members = surest_first(members, finding.carriers.score)[:MOST]
    sizes = scene.sizes
    cells = {
        number: scene.preprocessing.to_original(
            finding.place.boxes(number), *sizes[number].tolist()
        )
        for number in members.tolist()
    }
    short = int(finding.measured.numbers.get("short_side", 0))
    exact = {
        number: scene.preprocessing.to_input(box, *sizes[number].tolist())
        for number, box in placed_boxes(cells, scene.read, short).items()
    }
    if not exact:
        return finding
    carriers, boxes = finding.carriers, finding.place.boxes
    weak = carriers.score[members] < WEAK * np.median(carriers.score[members])
    listed = carriers.listed.copy()
    listed[members[weak & ~np.isin(members, list(exact))]] = False
    return replace(
        finding,
        place=replace(
            finding.place,
            exact=True,
            boxes=lambda number: exact.get(number) or boxes(number),
        ),
        carriers=replace(
            carriers,
            listed=listed,
            score=np.where(listed, carriers.score, 0.0),
            typical=carriers.typical[listed[carriers.typical]],
        ),
    )


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
    centres = np.array([_centre(picture.size, boxes[name]) for name, picture in accepted.items()])
    medoid = measure_rigidity(greys, centres[:COMPARED]).medoid
    usual = float(np.median(locate(medoid, greys, centres[:COMPARED])[0]))
    if usual < SURE:
        return set(others)
    where = np.array([_centre(picture.size, boxes[name]) for name, picture in others.items()])
    likeness, _ = locate(medoid, [grey_image(picture) for picture in others.values()], where)
    return {name for name, like in zip(others, likeness, strict=True) if like >= ALIKE * usual}


def _centre(size: tuple[int, int], box: PixelBox) -> tuple[float, float]:
    """Middle of a box as fractions x, y of a picture of that width and height."""
    x, y = (box[0] + box[2]) / 2 / size[0], (box[1] + box[3]) / 2 / size[1]
    return min(max(x, 0.0), 1 - 1e-6), min(max(y, 0.0), 1 - 1e-6)


def _inside(sides: np.ndarray, size: tuple[int, int]) -> PixelBox:
    """Whole pixels within a picture of that width and height, one at least."""
    x0, y0 = np.floor(sides[:2]).astype(int)
    x1, y1 = np.ceil(sides[2:]).astype(int)
    left, top = (int(np.clip(at, 0, end - 1)) for at, end in zip((x0, y0), size, strict=True))
    right, bottom = int(np.clip(x1, left + 1, size[0])), int(np.clip(y1, top + 1, size[1]))
    return left, top, right, bottom


def _extent(
    greys: Sequence[np.ndarray], middles: np.ndarray, size: int
) -> tuple[int, int, int, int] | None:
    """Box around the thing relative to its middle, in pixels; None where it has no clear end."""
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
    parts, count = ndimage.label(ndimage.binary_closing(agree, iterations=CLOSED))
    if count == 0:
        return None
    middle = slice(size // 2 - size // 8, size // 2 + size // 8)
    largest = (
        int(np.argmax(np.bincount(parts[middle, middle].ravel(), minlength=count + 1)[1:])) + 1
    )
    rows, columns = np.nonzero(parts == largest)
    if len(rows) < size or len(rows) > LARGEST * size * size:
        return None
    # Of what goes on beyond the window one does not see where it ends.
    ends = (rows.min(), columns.min(), size - 1 - rows.max(), size - 1 - columns.max())
    if min(ends) <= CLOSED:
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
