"""Properties: plain numbers of an image that need no model, such as brightness and sharpness.

A class map shows places. A cue without a place (a blur, a tint, another camera) shows here.
"""

from __future__ import annotations

import numpy as np

from shortcut_finder.reading import ReadImage

# Rec. 601 luma, as Pillow's own grey.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

# Unit in brackets. "Levels" run from 0 (black) to 1 (white) on the pixels a model sees.
MEANINGS = {
    "brightness": "mean grey level [levels]",
    "contrast": "standard deviation of the grey level [levels]",
    "saturation": "mean of (largest - smallest channel) / largest [0 to 1]",
    "red": "mean of the red channel minus the mean grey level [levels]",
    "green": "mean of the green channel minus the mean grey level [levels]",
    "blue": "mean of the blue channel minus the mean grey level [levels]",
    "dark_share": "share of pixels darker than 0.05 [0 to 1]",
    "bright_share": "share of pixels brighter than 0.95 [0 to 1]",
    "sharpness": "size of the second differences over that of the first; low means blurred [ratio]",
    "noise": "typical size of pixel noise [levels]",
    "border_brightness": "mean grey level of the outermost pixels [levels]",
    "border_uniformity": "1 where the outermost pixels are all of one colour [0 to 1]",
    "border_step": "colour of the outermost ring minus that of the next one, absolute [levels]",
    "vignette": "mean grey level of the centre minus that of the corners [levels]",
    "width": "of the original [pixels]",
    "height": "of the original [pixels]",
    "aspect": "width / height of the original [ratio]",
    "bytes_per_pixel": "file size over width x height; 0 where there is no file [bytes]",
    "jpeg": "1 for a JPEG file [0 or 1]",
    "grey": "1 where the file has one channel only [0 or 1]",
}
PROPERTIES = tuple(MEANINGS)

_GREY_MODES = ("1", "L", "LA", "I", "F")


def measure(image: ReadImage, pixels: np.ndarray) -> dict[str, float]:
    """The properties of one image, in the order of `PROPERTIES`.

    Args:
        image: for the facts of the file.
        pixels: what the model sees, before normalising: uint8, (H, W, 3).
    """
    # Channels first and contiguous: sums along a last axis of three are ten times slower.
    levels = np.ascontiguousarray(np.moveaxis(pixels, 2, 0)).astype(np.float32)
    levels *= np.float32(1 / 255)
    grey = np.tensordot(_LUMA, levels, axes=1)
    values = {**_tones(levels, grey), **_texture(grey), **_layout(levels, grey), **_file(image)}
    return {name: values[name] for name in PROPERTIES}


def _tones(levels: np.ndarray, grey: np.ndarray) -> dict[str, float]:
    brightness = float(grey.mean())
    red, green, blue = levels
    largest = np.maximum(np.maximum(red, green), blue)
    chroma = largest - np.minimum(np.minimum(red, green), blue)
    return {
        "brightness": brightness,
        "contrast": float(grey.std()),
        "saturation": float((chroma / np.maximum(largest, np.float32(1 / 255))).mean()),
        "red": float(red.mean()) - brightness,
        "green": float(green.mean()) - brightness,
        "blue": float(blue.mean()) - brightness,
        "dark_share": float(np.count_nonzero(grey < 0.05)) / grey.size,
        "bright_share": float(np.count_nonzero(grey > 0.95)) / grey.size,
    }


def _texture(grey: np.ndarray) -> dict[str, float]:
    across, down = grey[:, 1:] - grey[:, :-1], grey[1:] - grey[:-1]
    bend_across, bend_down = across[:, 1:] - across[:, :-1], down[1:] - down[:-1]
    first = float(np.abs(across).mean() + np.abs(down).mean())
    second = float(np.abs(bend_across).mean() + np.abs(bend_down).mean())
    # Immerkaer, "Fast Noise Variance Estimation" (1996): the second difference down of the second
    # difference across passes over flat areas, slopes and straight edges; noise remains, 6 times
    # as large. Half of all normal values lie within 0.6745 standard deviations. Every other pixel
    # is enough for a median.
    mixed = bend_across[2:, ::2] - 2 * bend_across[1:-1, ::2] + bend_across[:-2, ::2]
    noise = float(np.median(np.abs(mixed[::2]))) / (6 * 0.6745)
    # A picture without any step is neither sharp nor blurred; 0 is as good as any.
    return {"sharpness": second / first if first > 1e-6 else 0.0, "noise": noise}


def _layout(levels: np.ndarray, grey: np.ndarray) -> dict[str, float]:
    # Rings of 1/28 of the side: 8 pixels of 224, the width of a thin frame.
    wide = max(1, min(grey.shape) // 28)
    ring, inner = _ring(levels, 0, wide), _ring(levels, wide, wide)
    rows, columns = max(1, grey.shape[0] // 5), max(1, grey.shape[1] // 5)
    corners = [grey[y, x] for y in _ends(rows) for x in _ends(columns)]
    centre = grey[2 * rows : -2 * rows, 2 * columns : -2 * columns]
    return {
        "border_brightness": float((_LUMA @ ring).mean()),
        # Levels deviate by 0.5 at most.
        "border_uniformity": 1 - 2 * float(ring.std(axis=1).mean()),
        "border_step": float(np.abs(ring.mean(axis=1) - inner.mean(axis=1)).mean()),
        "vignette": float(centre.mean()) - float(np.mean([corner.mean() for corner in corners])),
    }


def _ends(length: int) -> tuple[slice, slice]:
    return slice(None, length), slice(-length, None)


def _ring(levels: np.ndarray, start: int, wide: int) -> np.ndarray:
    """Pixels of the ring that begins ``start`` pixels from the edge, (channel, pixel)."""
    rows, columns = levels.shape[1] - start, levels.shape[2] - start
    inside = levels[:, start:rows, start:columns]
    parts = (
        inside[:, :wide],
        inside[:, -wide:],
        inside[:, wide:-wide, :wide],
        inside[:, wide:-wide, -wide:],
    )
    return np.concatenate([part.reshape(3, -1) for part in parts], axis=1)


def _file(image: ReadImage) -> dict[str, float]:
    return {
        "width": float(image.width),
        "height": float(image.height),
        "aspect": image.width / image.height,
        "bytes_per_pixel": image.bytes / (image.width * image.height),
        "jpeg": float(image.format in ("JPEG", "MPO")),
        "grey": float(image.mode in _GREY_MODES or image.mode.startswith("I;16")),
    }
