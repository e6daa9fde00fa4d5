"""Pictures: thumbnails and class maps laid over images, as bytes for a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pyarrow as pa
from matplotlib.colors import ListedColormap
from PIL import Image
from tqdm import tqdm

from shortcut_finder.data.preprocessing import Box
from shortcut_finder.errors import ShortcutFinderError
from shortcut_finder.schema import write_whole

# Sequential, even in lightness and safe for colour-blind readers; its dark end is cut off because
# low heat is shown by transparency instead.
HEAT_COLOURS = "inferno"
HEAT_DARKEST = 0.25
# The hottest spot keeps a third of the image, so that the reader sees what lies beneath it.
HEAT_OPACITY = 0.68
# Enough for a smooth layer once the browser scales it up, and about 2 kB a picture.
LAYER_SIDE = 96
# Long side of an experiment's pictures, in pixels.
SHOT_SIDE = 224
# Stored pictures are smaller than this, in pixels of the longer side.
LARGEST_STORED = 1024
SHOT_COLUMNS = ("finding", "experiment", "image", "arm", "label_probability", "jpeg")


def thumbnail(image: Image.Image, long_side: int = 320) -> bytes:
    """A small copy of an image as JPEG; never larger than the image itself.

    Args:
        image: an RGB image of any size.
        long_side: largest width or height of the copy, in pixels.
    """
    copy = image.convert("RGB")
    copy.thumbnail((long_side, long_side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    content = io.BytesIO()
    copy.save(content, "JPEG", quality=82, optimize=True)
    return content.getvalue()


def smaller(jpeg: bytes, long_side: int) -> bytes:
    """A JPEG made smaller; as it is where it is small enough already."""
    with Image.open(io.BytesIO(jpeg)) as opened:
        return jpeg if max(opened.size) <= long_side else thumbnail(opened, long_side)


def write_thumbnails(
    path: Path, read: Callable[[str], Image.Image], names: Sequence[str], progress: bool = False
) -> list[str]:
    """Write small copies of images to one Parquet file (columns image, jpeg).

    Args:
        path: the file to write.
        read: gives the upright RGB image of a name.
        names: the images wanted, in order; those that cannot be read are left out.
        progress: show a bar on stderr.

    Returns:
        The names that are in the file.
    """
    rows: dict[str, bytes] = {}
    for name in tqdm(names, desc="pictures", unit=" images", disable=not progress):
        try:
            name.encode()  # Parquet holds UTF-8 only; a file name may be any bytes.
            rows[name] = thumbnail(read(name))
        except (ShortcutFinderError, OSError, ValueError):
            continue
    table = pd.DataFrame({"image": list(rows), "jpeg": list(rows.values())}, dtype=object)
    write_whole(path, table.to_parquet(index=False))
    return list(rows)


def write_shots(path: Path, shots: Iterable[Mapping[str, Any]]) -> None:
    """Write the pictures of experiments to one Parquet file.

    Args:
        path: the file to write.
        shots: ``finding``, ``experiment``, ``image``, ``arm``, ``label_probability`` and
            ``pixels``, uint8 (row, column, channel), which become a ``jpeg``.
    """
    rows = []
    for shot in shots:
        row = {name: value for name, value in shot.items() if name != "pixels"}
        # A file name may be any bytes, and Parquet holds UTF-8 only.
        row["image"] = str(row["image"]).encode("utf-8", "replace").decode()
        rows.append({**row, "jpeg": thumbnail(Image.fromarray(shot["pixels"]), SHOT_SIDE)})
    table = pd.DataFrame(rows, columns=list(SHOT_COLUMNS))
    write_whole(path, table.to_parquet(index=False))


def read_shots(path: Path, findings: Collection[str] | None = None) -> pd.DataFrame:
    """What `write_shots` wrote, as JPEG bytes; no rows where the file is missing or damaged.

    Args:
        path: the file.
        findings: those whose pictures are wanted, or all.
    """
    wanted = None if findings is None else [("finding", "in", list(findings))]
    try:
        return pd.read_parquet(path, columns=list(SHOT_COLUMNS), filters=wanted)
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return pd.DataFrame(columns=list(SHOT_COLUMNS))


def read_thumbnails(path: Path, names: Collection[str] | None = None) -> dict[str, bytes]:
    """What `write_thumbnails` wrote, as JPEG bytes by image; nothing where the file is missing.

    Args:
        path: the file.
        names: the images wanted, or all; pictures that are damaged are left out.
    """
    try:
        table = pd.read_parquet(path, columns=["image", "jpeg"])
        if names is not None:
            table = table[table["image"].isin(names)]
        # Names are decoded here, and may be no UTF-8.
        rows = zip(table["image"].tolist(), table["jpeg"].tolist(), strict=True)
        return {image: jpeg for image, jpeg in rows if jpeg_size(jpeg)}
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return {}


def jpeg_size(content: object) -> tuple[int, int] | None:
    """Width and height of a stored picture; ``None`` where it is no whole JPEG of a sane size."""
    if not isinstance(content, bytes):
        return None
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as opened:
            size = opened.size
            if max(size) > LARGEST_STORED:
                return None
            # An eighth of the size is enough to read the file to its end, and three times as fast.
            opened.draft("L", (1, 1))
            opened.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return size


def heat_scale(maps: Iterable[np.ndarray]) -> float:
    """One scale for several class maps, in logit units: what is drawn as the hottest colour.

    The 90th percentile of the hottest cells, so that one outlier does not pale all others.

    Example:
        >>> heat_scale([np.array([[1.0, 4.0]]), np.array([[-2.0, 4.0]])])
        4.0
    """
    peaks = [max(float(np.nanmax(class_map)), 0.0) for class_map in maps if class_map.size]
    peaks = [peak for peak in peaks if np.isfinite(peak)]
    scale = float(np.percentile(peaks, 90)) if peaks else 0.0
    return scale if scale > 0 else 1.0


def heat_layer(class_map: np.ndarray, scale: float, size: tuple[int, int], box: Box) -> Image.Image:
    """A class map as a transparent layer to lay over its image.

    Positive evidence only, upscaled bilinearly; where the model never looked it is transparent.

    Args:
        class_map: raw signed map, (row, column), in logit units.
        scale: the value drawn as the hottest colour, in logit units.
        size: width and height of the image, in pixels.
        box: where the model's input lies on the image, in pixels (``Preprocessing.input_box``).

    Returns:
        A palette image with transparency, with the proportions of the image.
    """
    width, height = size
    shrink = LAYER_SIDE / max(width, height)
    columns, rows = max(1, round(width * shrink)), max(1, round(height * shrink))
    heat = _place(class_map, (columns, rows), (box[0] / width, box[2] / width),
                  (box[1] / height, box[3] / height))  # fmt: skip
    return _coloured(heat, scale, opacity=HEAT_OPACITY)


def overlay(image: Image.Image, class_map: np.ndarray, scale: float, box: Box) -> Image.Image:
    """An image with its class map laid over it, at the size of the image.

    Args:
        image: an RGB image.
        class_map: raw signed map, (row, column), in logit units.
        scale: the value drawn as the hottest colour, in logit units.
        box: where the model's input lies on the image, in pixels (``Preprocessing.input_box``).
    """
    width, height = image.size
    heat = _place(class_map, image.size, (box[0] / width, box[2] / width),
                  (box[1] / height, box[3] / height))  # fmt: skip
    layer = _coloured(heat, scale, opacity=HEAT_OPACITY).convert("RGBA")
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def cell_picture(values: np.ndarray, scale: float) -> Image.Image:
    """A map cell by cell, one pixel a cell, opaque: for average maps and places.

    Args:
        values: (row, column); what is not positive gets the coldest colour.
        scale: the value drawn as the hottest colour.
    """
    return _coloured(np.clip(np.nan_to_num(values), 0, None), scale, opacity=1.0)


def colour_bar(opaque: bool) -> Image.Image:
    """The heat colours from zero (left) to the scale (right).

    Args:
        opaque: as in `cell_picture`; otherwise as transparent as laid over an image.
    """
    ramp = np.arange(256.0)[None]
    return _coloured(ramp, 255.0, opacity=1.0 if opaque else HEAT_OPACITY)


def heat_colours() -> ListedColormap:
    """The heat colours for a chart's colour bar, as they look on a grey image."""
    rgb, ramp = _palette()
    colours = np.frombuffer(rgb, np.uint8).reshape(256, 3) / 255
    cover = ramp[:, None] / 255 * HEAT_OPACITY
    return ListedColormap(cover * colours + (1 - cover) * 0.5)


def crop(jpeg: bytes, box: Sequence[float], size: tuple[int, int]) -> Image.Image:
    """The part of a thumbnail around a box, with a little of its surroundings.

    Args:
        jpeg: the thumbnail.
        box: x0, y0, x1, y1 in pixels of the original image.
        size: width and height of the original image, in pixels.
    """
    with Image.open(io.BytesIO(jpeg)) as opened:
        image = opened.convert("RGB")
    across, down = image.width / size[0], image.height / size[1]
    x0, y0, x1, y1 = box[0] * across, box[1] * down, box[2] * across, box[3] * down
    # A square window, so that crops of one template line up; the quarter around shows the context.
    side = max(1.25 * max(x1 - x0, y1 - y0), 8.0)
    side = min(side, image.width, image.height)
    left = min(max((x0 + x1 - side) / 2, 0.0), image.width - side)
    top = min(max((y0 + y1 - side) / 2, 0.0), image.height - side)
    window = (left, top, left + side, top + side)
    pixels = min(max(round(side), 96), 160)
    return image.resize((pixels, pixels), Image.Resampling.BICUBIC, box=window)


def jpeg_uri(content: bytes) -> str:
    """JPEG bytes as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")


def png_uri(image: Image.Image) -> str:
    """An image as a PNG data URI; a palette image keeps its transparency."""
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii")


def _place(
    class_map: np.ndarray,
    size: tuple[int, int],
    across: tuple[float, float],
    down: tuple[float, float],
) -> np.ndarray:
    """Positive evidence on a picture of that size; ``across`` and ``down`` say where it lies."""
    heat = np.clip(np.nan_to_num(np.asarray(class_map, dtype=np.float64)), 0, None)
    columns = _bilinear(size[0], heat.shape[1], *across)
    rows = _bilinear(size[1], heat.shape[0], *down)
    return rows @ heat @ columns.T


def _bilinear(pixels: int, cells: int, low: float, high: float) -> np.ndarray:
    """Weights (pixel, cell) that spread cells over the part [low, high] of a line of pixels."""
    position = ((np.arange(pixels) + 0.5) / pixels - low) / (high - low)
    nearest = np.clip(position * cells - 0.5, 0, cells - 1)
    weights = np.clip(1 - np.abs(nearest[:, None] - np.arange(cells)), 0, None)
    return weights * ((position >= 0) & (position <= 1))[:, None]


def _coloured(heat: np.ndarray, scale: float, opacity: float) -> Image.Image:
    levels = np.rint(np.clip(heat / scale, 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(levels)
    colours, ramp = _palette()
    image.putpalette(colours)
    if opacity < 1:
        image.info["transparency"] = bytes(np.rint(ramp * opacity).astype(np.uint8))
    return image


@cache
def _palette() -> tuple[bytes, np.ndarray]:
    """256 heat colours as RGB bytes, and how far each covers the image, up to 255."""
    level = np.linspace(0, 1, 256)
    colours = matplotlib.colormaps[HEAT_COLOURS](HEAT_DARKEST + (1 - HEAT_DARKEST) * level)
    rgb = np.rint(colours[:, :3] * 255).astype(np.uint8)
    return rgb.tobytes(), 255 * np.clip(level / 0.6, 0, 1)
