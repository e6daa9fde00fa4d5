"""Levels: from numbers of any depth to 8 bit, by the range they should have or by a window."""

from __future__ import annotations

import numpy as np
from PIL import Image

from shortcut_finder.errors import UnreadableImage

# The number that becomes black, and the one that becomes white.
Window = tuple[float, float]


def windowed(values: np.ndarray, window: Window) -> np.ndarray:
    """Numbers as levels from 0 to 255: the window's ends become black and white.

    Args:
        values: any shape, any numbers; what is not finite counts as the lower end.
        window: low and high, low below high.

    Example:
        >>> windowed(np.array([-50.0, 80.0, 400.0]), (0.0, 200.0)).tolist()
        [0, 102, 255]
    """
    low, high = window
    values = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
    return np.rint((values - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)


def eight_bit_picture(
    image: Image.Image, kind: str | None, window: Window | None = None
) -> Image.Image:
    """A decoded image as RGB of 8 bits a channel.

    Args:
        image: as Pillow decodes it.
        kind: Pillow's name of the format.
        window: of images with more than 8 bits; others are left as they are.
    """
    if image.mode == "RGB":
        return image
    if window is not None and (image.mode.startswith("I;16") or image.mode in ("I", "F")):
        return Image.fromarray(windowed(np.asarray(image), window)).convert("RGB")
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image).astype(np.float32) / 257)
    if image.mode in ("I", "F"):
        values = np.asarray(image).astype(np.float32)
        # These two decoders deliver 16 bits in 32-bit numbers.
        sixteen = image.mode == "I" and kind in ("PNG", "PPM")
        return _grey(values / 257 if sixteen else _to_bytes(values))
    return image.convert("RGB")


def _to_bytes(values: np.ndarray) -> np.ndarray:
    """Numbers of unknown range on [0, 255].

    The smallest usual range that holds them (1, 255, 65535), else their own.
    """
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low >= 0:
        for top in (1.0, 255.0, 65535.0):
            if high <= top:
                return values * (255 / top)
    return (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)


def _grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8)).convert("RGB")


def eight_bit_values(values: np.ndarray, window: Window | None = None) -> np.ndarray:
    """Pixels of an array as uint8.

    Args:
        values: uint8, bool, integers, or floats in [0, 1].
        window: of all that is not 8 bit.

    Raises:
        UnreadableImage: nothing says which range they have.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if window is not None and values.dtype.kind in "iuf":
        return windowed(values, window)
    if values.dtype == np.uint16:
        return np.rint(values / np.float32(257)).astype(np.uint8)
    if values.dtype.kind not in "iuf":
        raise UnreadableImage(f"pixels of type {values.dtype}; expected uint8 or floats in [0, 1]")
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind in "iu" and low >= 0 and high <= 255:
        return values.astype(np.uint8)
    if values.dtype.kind == "f":
        # Resizing in floats overshoots by rounding errors.
        if low >= -1e-3 and high <= 1 + 1e-3:
            return np.rint(values.clip(0, 1) * 255).astype(np.uint8)
        raise UnreadableImage(
            f"float pixels from {low:.3g} to {high:.3g}; return images before normalisation, "
            "in [0, 1] or as uint8"
        )
    raise UnreadableImage(f"pixels from {low:.0f} to {high:.0f}; expected uint8")
