"""Places: what is to be filled in, in pixels of each image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from PIL import Image

from shortcut_finder.cleaning.frames import COMPARED, frame_width
from shortcut_finder.cleaning.retouching import PixelBox
from shortcut_finder.detect.placing import placed_boxes
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.run.folder import Run

# Boxes are drawn in cells; what sticks out of them by less than this part of a cell goes too.
MARGIN = 0.5
# Width of a frame that could not be measured, as a part of each side.
USUAL_FRAME = 1 / 16

Reader = Callable[[str], Image.Image]


def places_of(run: Run, carriers: pd.DataFrame, read: Reader) -> dict[str, tuple[PixelBox, ...]]:
    """Places to fill, by image: exact where the thing repeats exactly, else the listed box."""
    places: dict[str, tuple[PixelBox, ...]] = {}
    for _, rows in carriers.groupby("finding", sort=True):
        ordered = rows.sort_values(["score", "image"], ascending=[False, True])
        boxes = boxes_of(run, ordered)
        exact = placed_boxes(boxes, read)
        for image, box in boxes.items():
            places[image] = (*places.get(image, ()), exact.get(image, box))
    return places


def boxes_of(run: Run, rows: pd.DataFrame) -> dict[str, PixelBox]:
    """The listed boxes with a margin, inside the image."""
    sized = rows.merge(run.images[["image", "width", "height"]], on="image")
    down, across = (MARGIN / cells for cells in run.card["maps"]["cell_grid"])
    boxes: dict[str, PixelBox] = {}
    for row in sized.to_dict("records"):
        width, height = int(row["width"]), int(row["height"])
        seen = run.preprocessing.input_box(width, height)
        wide, high = across * (seen[2] - seen[0]), down * (seen[3] - seen[1])
        boxes[str(row["image"])] = (
            max(0, round(float(row["x0"]) - wide)),
            max(0, round(float(row["y0"]) - high)),
            min(width, round(float(row["x1"]) + wide)),
            min(height, round(float(row["y1"]) + high)),
        )
    return boxes


def frames_of(carriers: pd.DataFrame, widths: Mapping[str, float]) -> dict[str, float]:
    """The widest frame of each image that has one."""
    framed = carriers[carriers["finding"].isin(list(widths))]
    rows = zip(framed["image"], framed["finding"].map(widths), strict=True)
    frames: dict[str, float] = {}
    for image, width in rows:
        frames[image] = max(frames.get(image, 0.0), float(width))
    return frames


def measured_frame(run: Run, carriers: pd.DataFrame, finding: str, read: Reader) -> float:
    """Width of a frame, from its likeliest members and as many images without it."""
    rows = carriers[carriers["finding"] == finding]
    members = rows.sort_values("score", ascending=False)["image"].tolist()[:COMPARED]
    rest = run.images.loc[~run.images["image"].isin(set(rows["image"])), "image"]
    others = sorted(rest)[:: max(1, len(rest) // COMPARED)][:COMPARED]
    there, elsewhere = (list(pictures_of(names, read).values()) for names in (members, others))
    return frame_width(there, elsewhere) or USUAL_FRAME


def pictures_of(images: Sequence[str], read: Reader) -> dict[str, Image.Image]:
    """The pictures that can be read, by name of the image."""
    pictures = {}
    for image in images:
        try:
            pictures[image] = read(image)
        except UnreadableImage:
            # It is reported where it matters: when the image itself is to be written.
            continue
    return pictures
