"""Retouching: an image file with places filled in, and everything else about the file kept.

A place is filled with another place of the same image whose surroundings are most alike, shifted in
colour so that no seam is left (Perez et al., "Poisson Image Editing", 2003). A frame is filled with
the mirrored inside. Format, size, JPEG quantisation tables, EXIF, colour profile and resolution
stay as they were.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from shortcut_finder.data.reading import stored_image, upright
from shortcut_finder.errors import UnreadableImage

PixelBox = tuple[int, int, int, int]

# EXIF orientations that turn an upright picture back to how it is stored; the others undo
# themselves.
_BACK = {6: 8, 8: 6}
# Modes whose numbers are amounts of light; palettes and bilevel images are brought to one.
_PLAIN = ("L", "LA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16")
# Candidate places to copy from, along each axis.
PLACES = 9
# Points along each axis at which colours are matched; between them they are interpolated.
NODES = 16
# Width of the surroundings that are compared, as a part of the shorter side of the place.
SURROUNDINGS = 0.25
# Quality of formats that do not say what theirs was (lossy WebP, AVIF).
UNKNOWN_QUALITY = 92


def retouched(data: bytes, boxes: Sequence[PixelBox], frame: float = 0.0) -> bytes:
    """An image file with places filled in.

    Args:
        data: the file's bytes.
        boxes: x0, y0, x1, y1 in pixels of the upright picture.
        frame: width of a border to fill, as a part of each side, in [0, 0.5).

    Returns:
        The bytes of the new file; of several frames or pages only a lone one can be kept.

    Raises:
        UnreadableImage: it cannot be decoded or written, or holds several pictures.
    """
    stored, turn = stored_image(data)
    kind = stored.format or ""
    # Cameras append previews to a JPEG and call it MPO; the picture itself is the first.
    if kind != "MPO" and getattr(stored, "n_frames", 1) > 1:
        raise UnreadableImage("an animation or several pages; only single pictures can be filled")
    try:
        picture = upright(stored, turn)
        filled = upright(_filled_picture(picture, boxes, frame), _BACK.get(turn, turn))
        content = io.BytesIO()
        filled.save(content, "JPEG" if kind == "MPO" else kind, **_options(stored, kind, data))
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise UnreadableImage(f"a {kind} image that cannot be filled ({reason})") from error
    return content.getvalue()


def _options(stored: Image.Image, kind: str, data: bytes) -> dict[str, Any]:
    """What to pass on to the encoder so that the new file is as the old one was."""
    kept = {name: stored.info[name] for name in ("exif", "icc_profile") if stored.info.get(name)}
    if kind in ("JPEG", "MPO"):
        if "comment" in stored.info:
            kept["comment"] = stored.info["comment"]
        kept |= {
            "qtables": stored.quantization,  # type: ignore[attr-defined]
            "subsampling": JpegImagePlugin.get_sampling(stored),
            "progressive": "progressive" in stored.info,
        }
    if kind == "TIFF":
        kept["compression"] = stored.info.get("compression", "raw")
        kept.pop("exif", None)
    if kind == "WEBP":
        kept |= {"lossless": b"VP8L" in data[:64], "quality": UNKNOWN_QUALITY, "exact": True}
    if kind == "AVIF":
        kept["quality"] = UNKNOWN_QUALITY
    if kind == "PNG" and "transparency" in stored.info:
        kept["transparency"] = stored.info["transparency"]
    if "dpi" in stored.info and kind in ("JPEG", "MPO", "PNG", "TIFF", "BMP"):
        kept["dpi"] = stored.info["dpi"]
    return kept


def _filled_picture(picture: Image.Image, boxes: Sequence[PixelBox], frame: float) -> Image.Image:
    """The picture in its own mode with places filled; all other pixels stay as they are."""
    if picture.mode in _PLAIN:
        values = filled(np.asarray(picture), boxes, frame)
        return Image.frombytes(picture.mode, picture.size, values.tobytes())
    colours = picture.convert("RGB")
    values = filled(np.asarray(colours), boxes, frame)
    changed = (values != np.asarray(colours)).any(axis=2)
    # In the picture's own colours, without dots: pixels outside the places keep their numbers.
    painted = Image.fromarray(values)
    if picture.mode == "P":
        matched = painted.quantize(palette=picture, dither=Image.Dither.NONE)
    else:
        matched = painted.convert(picture.mode, dither=Image.Dither.NONE)
    result = picture.copy()
    result.paste(matched, mask=Image.fromarray(changed))
    return result


def filled(values: np.ndarray, boxes: Sequence[PixelBox], frame: float = 0.0) -> np.ndarray:
    """Pixels with places filled in, of the same type and shape.

    Args:
        values: (row, column) or (row, column, channel).
        boxes: x0, y0, x1, y1 in whole pixels; parts outside are ignored.
        frame: width of a border to fill, as a part of each side.
    """
    low, high = (0, 1) if values.dtype == bool else _range(values)
    pixels = values.astype(np.float64).reshape(*values.shape[:2], -1)
    rows, columns = pixels.shape[:2]
    if frame > 0:
        down, across = _thickness(rows, frame), _thickness(columns, frame)
        kept = pixels[down : rows - down, across : columns - across]
        pixels = np.pad(kept, ((down, down), (across, across), (0, 0)), mode="symmetric")
    inside = [(max(x0, 0), max(y0, 0), min(x1, columns), min(y1, rows)) for x0, y0, x1, y1 in boxes]
    # What is to go must not be copied elsewhere.
    taken = np.zeros((rows, columns), dtype=bool)
    for x0, y0, x1, y1 in inside:
        taken[y0:y1, x0:x1] = True
    for box in inside:
        if box[0] < box[2] and box[1] < box[3]:
            _fill_box(pixels, box, taken)
    if values.dtype.kind in "ui":
        pixels = np.rint(pixels)
    return pixels.clip(low, high).astype(values.dtype).reshape(values.shape)


def _range(values: np.ndarray) -> tuple[float, float]:
    if values.dtype == np.uint8:
        return 0.0, 255.0
    return float(values.min()), float(values.max())


def _thickness(length: int, frame: float) -> int:
    return min(max(1, round(frame * length)), max((length - 1) // 3, 0))


def _fill_box(pixels: np.ndarray, box: PixelBox, taken: np.ndarray) -> None:
    """Fill one place in the array itself, (row, column, channel)."""
    x0, y0, x1, y1 = box
    ring = _ring(pixels.shape[:2], box)
    source = _source(pixels, box, ring, taken)
    inside = (slice(y0, y1), slice(x0, x1))
    if source is None:
        pixels[inside] = _membrane(pixels, box)
        return
    down, across = source
    shifted = np.roll(pixels, (-down, -across), axis=(0, 1))
    copied = shifted[inside].copy()
    pixels[inside] = copied + _membrane(pixels - shifted, box)


def _ring(shape: tuple[int, int], box: PixelBox) -> tuple[slice, slice]:
    """Rows and columns of the place with its surroundings."""
    x0, y0, x1, y1 = box
    wide = max(2, round(SURROUNDINGS * min(x1 - x0, y1 - y0)))
    return (
        slice(max(y0 - wide, 0), min(y1 + wide, shape[0])),
        slice(max(x0 - wide, 0), min(x1 + wide, shape[1])),
    )


def _source(
    pixels: np.ndarray, box: PixelBox, ring: tuple[slice, slice], taken: np.ndarray
) -> tuple[int, int] | None:
    """Shift to the place whose surroundings are most alike; None where no other place fits."""
    rows, columns = pixels.shape[:2]
    x0, y0, x1, y1 = box
    outer = (ring[0].start, ring[1].start, ring[0].stop, ring[1].stop)
    around = np.ones((outer[2] - outer[0], outer[3] - outer[1]), dtype=bool)
    around[y0 - outer[0] : y1 - outer[0], x0 - outer[1] : x1 - outer[1]] = False
    if not around.any():
        return None
    # A thousand pixels tell how alike two surroundings are as well as a million do.
    spots = np.argwhere(around)
    spots = spots[:: max(1, len(spots) // 1000)] + outer[:2]
    wanted = pixels[spots[:, 0], spots[:, 1]]
    wanted = wanted - wanted.mean(axis=0)
    best: tuple[float, tuple[int, int]] | None = None
    for top in np.unique(np.linspace(0, rows - around.shape[0], PLACES).astype(int)):
        for left in np.unique(np.linspace(0, columns - around.shape[1], PLACES).astype(int)):
            down, across = int(top) - outer[0], int(left) - outer[1]
            if taken[y0 + down : y1 + down, x0 + across : x1 + across].any():
                continue
            there = pixels[spots[:, 0] + down, spots[:, 1] + across]
            # Colours are matched afterwards, so only shading counts. What is copied should look
            # like the surroundings too, or an object would come along.
            inside = pixels[y0 + down : y1 + down, x0 + across : x1 + across]
            object_like = np.square(inside.mean(axis=(0, 1)) - there.mean(axis=0)) + np.square(
                inside.std(axis=(0, 1)) - wanted.std(axis=0)
            )
            shading = np.square(there - there.mean(axis=0) - wanted).mean()
            cost = float(shading + object_like.mean())
            if best is None or cost < best[0]:
                best = (cost, (down, across))
    return None if best is None else best[1]


def _membrane(values: np.ndarray, box: PixelBox) -> np.ndarray:
    """Smooth values inside the place that continue those around it, (row, column, channel).

    Laplace's equation on a grid of nodes; sides at the border of the image are left free.
    """
    x0, y0, x1, y1 = box
    rows, columns = values.shape[:2]
    nodes = (min(NODES, y1 - y0), min(NODES, x1 - x0))
    smooth = ndimage.uniform_filter1d
    known: dict[tuple[int, int], np.ndarray] = {}
    step = (max(1, (y1 - y0) // nodes[0]), max(1, (x1 - x0) // nodes[1]))
    at_row = np.linspace(y0, y1 - 1, nodes[0]).round().astype(int)
    at_column = np.linspace(x0, x1 - 1, nodes[1]).round().astype(int)
    for line, node_row in ((y0 - 1, -1), (y1, nodes[0])):
        if 0 <= line < rows:
            along = smooth(values[line], step[1], axis=0, mode="nearest")
            known |= {(node_row, n): along[column] for n, column in enumerate(at_column)}
    for line, node_column in ((x0 - 1, -1), (x1, nodes[1])):
        if 0 <= line < columns:
            along = smooth(values[:, line], step[0], axis=0, mode="nearest")
            known |= {(n, node_column): along[row] for n, row in enumerate(at_row)}
    if not known:
        return np.broadcast_to(values.mean(axis=(0, 1)), (y1 - y0, x1 - x0, values.shape[2]))
    solved = _laplace(nodes, known, values.shape[2])
    row_at = np.interp(np.arange(y0, y1), at_row, np.arange(nodes[0]))
    column_at = np.interp(np.arange(x0, x1), at_column, np.arange(nodes[1]))
    where = np.meshgrid(row_at, column_at, indexing="ij")
    return np.stack(
        [ndimage.map_coordinates(plane, where, order=1, mode="nearest") for plane in solved], -1
    )


def _laplace(
    nodes: tuple[int, int], known: dict[tuple[int, int], np.ndarray], channels: int
) -> np.ndarray:
    """Values at the nodes, each the mean of its neighbours, (channel, row, column)."""
    rows, columns = nodes
    count = rows * columns
    matrix = sparse.lil_matrix((count, count))
    right = np.zeros((count, channels))
    for row in range(rows):
        for column in range(columns):
            here = row * columns + column
            for near in (
                (row - 1, column),
                (row + 1, column),
                (row, column - 1),
                (row, column + 1),
            ):
                inside = 0 <= near[0] < rows and 0 <= near[1] < columns
                if not inside and near not in known:
                    continue
                matrix[here, here] += 1
                if inside:
                    matrix[here, near[0] * columns + near[1]] = -1
                else:
                    right[here] += known[near]
    factor = matrix.tocsc()
    planes = [spsolve(factor, right[:, channel]) for channel in range(channels)]
    return np.stack(planes).reshape(channels, rows, columns)
