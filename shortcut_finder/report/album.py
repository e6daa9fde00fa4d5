"""Album: the pictures of a run, ready to be laid out on a page."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from shortcut_finder.data.preprocessing import Box
from shortcut_finder.data.regions import BORDER, BOXES
from shortcut_finder.errors import ShortcutFinderError
from shortcut_finder.figures.pictures import (
    cell_picture,
    crop,
    heat_layer,
    jpeg_size,
    jpeg_uri,
    png_uri,
    read_thumbnails,
    smaller,
    thumbnail,
)
from shortcut_finder.report.selection import (
    PICTURED_FINDINGS,
    listed_offenders,
    sheet_images,
)
from shortcut_finder.run.folder import Run
from shortcut_finder.sweep.shards import read_shards
from shortcut_finder.texts import shown

CROP_SIDE = 112
# Longer side of an experiment's picture, in pixels.
SHOT_SIDE = 160
# What the images of the contact sheets may take, in bytes; they shrink until they do.
SHEET_BYTES = 6_000_000
SHEET_SIDES = (320, 256, 192)
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
        number: of the image among all offenders, None where it is none.
        mark: a word laid over it; empty where there is none.
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
    number: int | None = None
    mark: str = ""


class Album:
    """The pictures of a run: thumbnails, class maps, and where they lie on each other."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._preprocessing = run.preprocessing
        self.thumbnails = read_thumbnails(run.folder / "thumbnails.parquet")
        self._sizes = run.sizes
        self._sheets = [
            sheet_images(str(detail["finding"]), position, run.offenders)
            for position, detail in enumerate(run.details[:PICTURED_FINDINGS])
        ]
        listed = map(str, listed_offenders(run.offenders)["image"])
        shown_images = dict.fromkeys([*listed, *itertools.chain(*self._sheets)])
        self.numbers = {name: n for n, name in enumerate(shown_images)}

    @cached_property
    def sheet_side(self) -> int:
        """Longer side of the images of the contact sheets, in pixels, as the page bears it."""
        names = itertools.chain(*self._sheets)
        if len(self._run.details) > PICTURED_FINDINGS:
            return SHEET_SIDES[-1]
        total = sum(len(self.thumbnails.get(name, b"")) for name in names)
        largest = SHEET_SIDES[0]
        for side in SHEET_SIDES:
            if total * (side / largest) ** 2 <= SHEET_BYTES:
                return side
        return SHEET_SIDES[-1]

    @cached_property
    def maps(self) -> Mapping[str, np.ndarray]:
        """The class map of each image's label; nothing where the shards are gone."""
        try:
            return self._run.label_maps
        except (ShortcutFinderError, OSError):
            return {}

    @lru_cache(maxsize=4)  # noqa: B019 - an album lives as long as its page is written
    def maps_of(self, label: str) -> Mapping[str, np.ndarray]:
        """The class map of a label by image, of another label where an image has none of it."""
        try:
            return self._run.maps_of(label)
        except (ShortcutFinderError, OSError, ValueError):
            return self.maps

    def rival_maps(self, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], np.ndarray]:
        """Class maps of other classes than the label, for pairs of image and class.

        Only the three likeliest classes of an image have a map; other pairs are left out.
        """
        outputs = [str(name) for name in self._run.card["model"]["classes"]]
        names = {name for name, _ in wanted}
        found = {}
        try:
            for shard in read_shards(self._run.folder / "shards", ["maps", "shown"]):
                for row in np.flatnonzero(shard.table["image"].isin(names)):
                    name = str(shard.table["image"].iloc[row])
                    for place in (-1, -2, -3):
                        output = int(shard.arrays["shown"][row, place])
                        found[name, outputs[output]] = shard.arrays["maps"][row, place]
        except (ShortcutFinderError, OSError, IndexError):
            return {}
        return {pair: found[pair].astype(np.float32) for pair in wanted if pair in found}

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
        self,
        name: str,
        *,
        class_map: np.ndarray | None = None,
        scale: float = 1.0,
        box: Sequence[float] | None = None,
        note: str = "",
        side: int | None = None,
    ) -> Picture:
        """An image, with a class map laid over it where one is given.

        Args:
            name: of the image.
            class_map: raw and signed, (row, column); with it, what the model does not see is
                shaded.
            scale: the value drawn as the hottest colour, in logit units.
            box: x0, y0, x1, y1 in pixels of the original image, or None.
            note: the second line below it.
            side: largest width or height in pixels, where the thumbnail is too large.
        """
        width, height = self._sizes.get(name, (1, 1))
        place = self._preprocessing.input_box(width, height)
        layer = seen = ""
        if class_map is not None:
            layer = png_uri(heat_layer(class_map, scale, (width, height), place))
            if self._preprocessing.visible(width, height) <= MOSTLY_VISIBLE:
                seen = _place(_fractions(place, width, height))
        # A box around everything says nothing.
        if box is not None and box[0] <= 0 >= box[1] and box[2] >= width and box[3] >= height:
            box = None
        jpeg = self.thumbnails.get(name)
        if jpeg and side:
            jpeg = smaller(jpeg, side)
        return Picture(
            alt=shown(name),
            src=jpeg_uri(jpeg) if jpeg else "",
            layer=layer,
            style=_frame(width, height),
            boxes=() if box is None else (_place(_fractions(box, width, height)),),
            seen=seen,
            caption=shown(name),
            note=note,
            number=self.numbers.get(name),
        )

    def stored(self, jpeg: bytes, caption: str, note: str, alt: str) -> Picture | None:
        """A picture that comes with its bytes; None where they are no whole JPEG of a sane size."""
        size = jpeg_size(jpeg)
        if size is None:
            return None
        style = _frame(*size)
        src = jpeg_uri(smaller(jpeg, SHOT_SIDE))
        return Picture(alt=alt, src=src, style=style, caption=caption, note=note)

    def close_up(self, name: str, box: Sequence[float]) -> Picture | None:
        """The part of an image around a box; None where there is no thumbnail or no box."""
        jpeg = self.thumbnails.get(name)
        if jpeg is None or len(box) != 4:
            return None
        part = crop(jpeg, box, self._sizes.get(name, (1, 1)))
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
