"""Objects: boxes and masks that the user has of them, and which cells of the maps these cover."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.data.reading import read_file
from shortcut_finder.data.regions import overlap
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.texts import count

# Columns of a box: its corners, in pixels of the original; and of a mask: the path of an image.
CORNERS = ("x0", "y0", "x1", "y1")
MASK = "mask"
# Columns whose names end so hold a whole box in a cell: left, top, width, height, as in "3 4 20 9".
XYWH = "xywh"
# Grey level from which a pixel of a mask is the object: anything, or half of white in a JPEG, which
# keeps no exact zeros.
JPEG_OBJECT = 128
# How far the sides' ratio of a mask may be off that of its image.
STRETCH = 0.03
# Parts of a cell, and so of the maps, that boxes and masks are told by.
SEEN = 1e-6


@dataclass(frozen=True, eq=False)
class Outlines:
    """What the user says of where the objects are, one entry an image of the dataset.

    Attributes:
        boxes: x0, y0, x1, y1 in pixels of the upright original, (image, box, 4); NaN for none.
        masks: files, where there are any.
    """

    boxes: np.ndarray
    masks: tuple[Path | None, ...]


@dataclass(frozen=True, eq=False)
class Objects:
    """Which cells the objects cover.

    Attributes:
        cover: part of each cell that the object covers, in [0, 1], (image, row, column); NaN for
            images without a usable box or mask.
        notes: what could not be used, and why, a line each.
    """

    cover: np.ndarray
    notes: tuple[str, ...]


def take_outlines(dataset: ImageDataset) -> tuple[ImageDataset, Outlines | None]:
    """Take the columns of boxes and masks out of a dataset's metadata.

    They are ``x0,y0,x1,y1``, ``mask`` (a path, relative to the manifest), and columns whose names
    end in ``xywh``; several boxes of an image are one object. Columns of these names that hold
    something else stay metadata.

    Returns:
        The dataset without these columns, and what they say; ``None`` where there are none.
    """
    table = dataset.metadata
    boxes: list[np.ndarray] = []
    used: list[str] = []
    if set(CORNERS) <= set(table.columns):
        numbers = np.stack([_numbers(table[name]) for name in CORNERS], axis=1)
        if np.isfinite(numbers).any():
            boxes.append(numbers)
            used += CORNERS
    for name in table.columns:
        if str(name).lower().endswith(XYWH):
            corners = np.array([_corners(value) for value in table[name]]).reshape(-1, 4)
            if np.isfinite(corners).all(axis=1).any():
                boxes.append(corners)
                used.append(name)
    masks: tuple[Path | None, ...] = (None,) * len(dataset)
    if MASK in table.columns:
        root = dataset.root or Path.cwd()
        named = tuple(_path(value, root) for value in table[MASK])
        # A column of this name may as well say who wears one.
        if any(_is_file(path) for path in named):
            masks = named
            used.append(MASK)
    if not used:
        return dataset, None
    without = dataclasses.replace(dataset, metadata=table.drop(columns=used))
    return without, Outlines(np.stack(boxes or [np.full((len(dataset), 4), np.nan)], axis=1), masks)


def _numbers(values: pd.Series) -> np.ndarray:
    return pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)


def _corners(value: Any) -> tuple[float, ...]:
    """Four numbers in a text, left, top, width and height, as corners; NaN for anything else."""
    numbers = re.split(r"[\s,;]+", value.strip(" []()")) if isinstance(value, str) else []
    try:
        x, y, width, height = map(float, numbers)
    except ValueError:
        return (math.nan,) * 4
    return x, y, x + width, y + height


def _path(value: Any, root: Path) -> Path | None:
    return root / value if isinstance(value, str) and value.strip() else None


def _is_file(path: Path | None) -> bool:
    try:
        return path is not None and path.is_file()
    # Before Python 3.12 a name that no file can have raises.
    except (ValueError, OSError):
        return False


def cover_cells(
    outlines: Outlines, table: pd.DataFrame, preprocessing: Preprocessing, grid: tuple[int, int]
) -> Objects:
    """Which cells of the maps the objects cover, through the model's preprocessing.

    A mask counts before a box. What is not usable is no box at all, and is noted.

    Args:
        outlines: one entry an image of the dataset.
        table: ``index`` in the dataset, ``image``, ``width`` and ``height`` in pixels, a row an
            image that was scanned.
        preprocessing: how an image becomes the model's input.
        grid: rows and columns of the maps.

    Example:
        >>> left = Outlines(np.array([[[0.0, 0.0, 50.0, 80.0]]]), (None,))
        >>> facts = {"index": [0], "image": ["a.png"], "width": [100], "height": [80]}
        >>> cover_cells(left, pd.DataFrame(facts), Preprocessing(), (2, 2)).cover[0].round(6)
        array([[1., 0.],
               [1., 0.]])
    """
    cover = np.full((len(table), *grid), np.nan)
    bad: dict[str, list[str]] = {}
    columns = (table[name].tolist() for name in ("index", "image", "width", "height"))
    for place, (index, image, width, height) in enumerate(zip(*columns, strict=True)):
        size = (int(width), int(height))
        boxes = outlines.boxes[index]
        tries: list[tuple[str, Callable[[], np.ndarray]]] = []
        if (mask := outlines.masks[index]) is not None:
            tries.append(("mask", partial(_mask_cover, mask, size, preprocessing, grid)))
        if np.isfinite(boxes).any():
            tries.append(("box", partial(_box_cover, boxes, size, preprocessing, grid)))
        for what, make in tries:
            try:
                cover[place] = make()
                break
            except _OutlineError as error:
                bad.setdefault(what, []).append(f"{image}: {error}")
    return Objects(cover, tuple(_notes(cover, bad)))


class _OutlineError(ValueError):
    """Why a box or a mask cannot be used."""


def _notes(cover: np.ndarray, bad: dict[str, list[str]]) -> list[str]:
    """A line for each kind of trouble."""
    nouns = {"mask": ("mask", "masks"), "box": ("object box", "object boxes")}
    said = [
        f"{count(len(problems), *nouns[what])} cannot be used, such as {problems[0]}"
        for what, problems in bad.items()
    ]
    missing = int(np.isnan(cover).any(axis=(1, 2)).sum())
    if missing == len(cover):
        said.append("No image has a usable object box or mask, so none was used.")
    elif missing:
        said.append(
            f"{missing} of {len(cover)} images have no usable object box or mask; the region "
            "`outside object` leaves them out."
        )
    return said


def _box_cover(
    boxes: np.ndarray, size: tuple[int, int], preprocessing: Preprocessing, grid: tuple[int, int]
) -> np.ndarray:
    """Part of each cell that the union of some boxes covers, (row, column)."""
    free = np.ones(grid)
    for box in boxes:
        if np.isnan(box).all():
            continue
        x0, y0, x1, y1 = preprocessing.to_input(_checked(box, size), *size)
        free *= 1 - np.outer(overlap(y0, y1, grid[0]), overlap(x0, x1, grid[1]))
    return _seen(1 - free)


def _checked(box: np.ndarray, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box as it lies on the image.

    Raises:
        _OutlineError: it does not.
    """
    x0, y0, x1, y1 = (float(value) for value in box)
    if not np.isfinite(box).all():
        raise _OutlineError("a corner is missing or is no number")
    if x1 <= x0 or y1 <= y0:
        raise _OutlineError(f"x1 must be beyond x0 and y1 beyond y0, not {_shown(box)}")
    if x0 >= size[0] or y0 >= size[1] or x1 <= 0 or y1 <= 0:
        raise _OutlineError(f"{_shown(box)} is outside of the {size[0]} x {size[1]} pixels")
    if max(x1, y1) <= 1 and min(size) > 1:
        raise _OutlineError(
            f"{_shown(box)} is less than a pixel; boxes are in pixels of the original"
        )
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(size[0])), min(y1, float(size[1]))


def _shown(box: Sequence[float] | np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in box)


def _mask_cover(
    path: Path, size: tuple[int, int], preprocessing: Preprocessing, grid: tuple[int, int]
) -> np.ndarray:
    """Part of each cell that a mask covers, (row, column)."""
    try:
        found = read_file(path)
    except UnreadableImage as error:
        raise _OutlineError(f"{path.name}: {error}") from error
    levels = np.asarray(found.picture).max(axis=2)
    marked = levels >= (JPEG_OBJECT if found.format == "JPEG" else 1)
    ratio = math.log(found.width * size[1] / (found.height * size[0]))
    if abs(ratio) > max(STRETCH, 1 / min(found.width, found.height)):
        raise _OutlineError(
            f"{path.name} has {found.width} x {found.height} pixels, the image {size[0]} x "
            f"{size[1]}: another shape"
        )
    # The same way as the image, with nothing beside it where it is padded.
    black = dataclasses.replace(preprocessing, mean=(0.0, 0.0, 0.0), interpolation="bilinear")
    picture = Image.fromarray(marked.astype(np.uint8) * np.uint8(255)).convert("RGB")
    seen = Image.fromarray(black.pixels(picture)[:, :, 0])
    cells = seen.resize((grid[1], grid[0]), Image.Resampling.BOX)
    return _seen(np.asarray(cells, dtype=np.float64) / 255)


def _seen(cover: np.ndarray) -> np.ndarray:
    if cover.max() <= SEEN:
        raise _OutlineError("nothing of the object is in what the model sees")
    return cover
