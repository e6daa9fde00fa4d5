"""Album: the pictures of a run, ready to be laid out on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from shortcut_finder.errors import ShortcutFinderError
from shortcut_finder.pictures import (
    cell_picture,
    crop,
    heat_layer,
    jpeg_uri,
    png_uri,
    read_thumbnails,
    thumbnail,
)
from shortcut_finder.preprocessing import Box
from shortcut_finder.regions import BORDER, BOXES
from shortcut_finder.run import Run
from shortcut_finder.texts import shown

CROP_SIDE = 144
# A crop that loses less than this is not worth a shadow.
MOSTLY_VISIBLE = 0.995


@dataclass(frozen=True)
class Picture:
    """An image on a page, its class map as a layer above it, and outlines on top.

    Attributes:
        alt: what a reader who cannot see it should know.
        src: the image as a data URI, empty where there is none.
        layer: the class map as a data URI, empty where there is none.
        style: CSS declarations of its frame: its proportions and its width in a square.
        boxes: CSS declarations, the place of each outline.
        seen: CSS declarations, the part that the model sees; empty where it sees all.
        caption: the line below it.
        note: a second line below it.
        sharp: whether the pixels are the cells of a map and stay apart when enlarged.
    """

    alt: str
    src: str = ""
    layer: str = ""
    style: str = "--ratio:1;width:100%"
    boxes: tuple[str, ...] = ()
    seen: str = ""
    caption: str = ""
    note: str = ""
    sharp: bool = False


class Album:
    """The pictures of a run: thumbnails, class maps, and where they lie on each other."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._preprocessing = run.preprocessing
        self.thumbnails = read_thumbnails(run.folder / "thumbnails.parquet")
        columns = (run.images["image"], run.images["width"], run.images["height"])
        self._sizes = {n: (int(w), int(h)) for n, w, h in zip(*columns, strict=True)}

    @cached_property
    def maps(self) -> Mapping[str, np.ndarray]:
        """The class map of each image's label; nothing where the shards are gone."""
        try:
            return self._run.label_maps
        except (ShortcutFinderError, OSError):
            return {}

    def average(self, values: np.ndarray, scale: float, region: str, caption: str) -> Picture:
        """An average over images, in the frame of the model's input, with the region outlined.

        Args:
            values: (row, column), a mean class map or the share of images by cell.
            scale: the value drawn as the hottest colour.
            region: the region to outline; a name without a fixed place outlines nothing.
            caption: the line below it.
        """
        return Picture(
            alt=f"{caption}; {_strongest(values)}",
            src=png_uri(cell_picture(values, scale)),
            style=_frame(self._preprocessing.width, self._preprocessing.height),
            boxes=tuple(_place(box) for box in _outline(region)),
            caption=caption,
            sharp=True,
        )

    def image(
        self, name: str, scale: float, box: Sequence[float] | None, note: str, heat: bool = True
    ) -> Picture:
        """An image with its class map and a box.

        Args:
            name: of the image.
            scale: the value drawn as the hottest colour, in logit units.
            box: x0, y0, x1, y1 in pixels of the original image, or None.
            note: the second line below it.
            heat: whether to lay the class map over it and shade what the model does not see.
        """
        width, height = self._sizes[name]
        layer = ""
        place = self._preprocessing.input_box(width, height)
        if heat and name in self.maps:
            layer = png_uri(heat_layer(self.maps[name], scale, (width, height), place))
        whole = not heat or self._preprocessing.visible(width, height) > MOSTLY_VISIBLE
        boxes = () if box is None else (_place(_fractions(box, width, height)),)
        jpeg = self.thumbnails.get(name)
        return Picture(
            alt=shown(name),
            src=jpeg_uri(jpeg) if jpeg else "",
            layer=layer,
            style=_frame(width, height),
            boxes=boxes,
            seen="" if whole else _place(_fractions(place, width, height)),
            caption=shown(name),
            note=note,
        )

    def close_up(self, name: str, box: Sequence[float]) -> Picture | None:
        """The part of an image around a box; None where there is no thumbnail or no box."""
        jpeg = self.thumbnails.get(name)
        if jpeg is None or len(box) != 4:
            return None
        part = crop(jpeg, box, self._sizes[name])
        return Picture(alt=shown(name), src=jpeg_uri(thumbnail(part, CROP_SIDE)))


def _frame(width: int, height: int) -> str:
    """Proportions of a picture, and the width that fits it into a square."""
    ratio = width / height
    return f"--ratio:{ratio:.4g};width:{100 * min(1, ratio):.4g}%"


def _fractions(box: Sequence[float], width: int, height: int) -> Box:
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def _place(box: Box) -> str:
    """A box in fractions of its picture as CSS."""
    x0, y0, x1, y1 = (min(max(value, 0.0), 1.0) for value in box)
    sides = (("left", x0), ("top", y0), ("width", x1 - x0), ("height", y1 - y0))
    return ";".join(f"{side}:{100 * value:.4g}%" for side, value in sides)


def _outline(region: str) -> list[Box]:
    """The boxes that draw a region's border, in fractions of the model's input."""
    if region == "frame":
        return [(0.0, 0.0, 1.0, 1.0), (BORDER, BORDER, 1 - BORDER, 1 - BORDER)]
    return BOXES.get(region, [])


def _strongest(values: np.ndarray) -> str:
    if not values.size or not np.nanmax(values) > 0:
        return "nothing positive"
    row, column = np.unravel_index(np.nanargmax(values), values.shape)
    rows, columns = values.shape
    return f"strongest in row {row + 1} of {rows}, column {column + 1} of {columns}"
