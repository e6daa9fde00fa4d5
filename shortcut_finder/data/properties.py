"""Properties: plain numbers of an image that need no model, such as brightness and sharpness.

A class map shows places. A cue without a place (a blur, a tint, another camera) shows here.
"""

from __future__ import annotations

import numpy as np

from shortcut_finder.data.reading import ReadImage

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
    "low_red": "red level that half a percent of the pixels stay below [levels]",
    "low_green": "the same for green [levels]",
    "low_blue": "the same for blue [levels]",
    "high_red": "red level that half a percent of the pixels pass [levels]",
    "high_green": "the same for green [levels]",
    "high_blue": "the same for blue [levels]",
    "low_chroma": "difference of the channels in the 5% greyest pixels [levels]",
    "high_chroma": "difference of the channels in the 1% most colourful pixels [levels]",
    "sharpness": "size of the second differences over that of the first; low means blurred [ratio]",
    "edge_sharpness": "sharpness of the 1% strongest edges alone [ratio]",
    "sharpest_part": "sharpness of the sharpest sixteenth of the image [ratio]",
    "noise": "typical size of pixel noise [levels]",
    "quiet_noise": "size of pixel noise in the quietest tenth of the image [levels]",
    "blockiness": "steps at the joints of 8 x 8 blocks over those inside them [ratio]",
    "border_brightness": "mean grey level of the outermost pixels [levels]",
    "border_uniformity": "1 where the outermost pixels are all of one colour [0 to 1]",
    "border_step": "colour of the outermost ring minus that of the next one, absolute [levels]",
    "corner_light": "grey level of the lightest corner [levels]",
    "corner_ratio": "grey level of the lightest corner over that of the centre [ratio]",
    "vignette": "mean grey level of the centre minus that of the corners [levels]",
    "width": "of the original [pixels]",
    "height": "of the original [pixels]",
    "aspect": "width / height of the original [ratio]",
    "bytes_per_pixel": "file size over width x height; 0 where there is no file [bytes]",
    "jpeg": "1 for a JPEG file [0 or 1]",
    "grey": "1 where the file has one channel only [0 or 1]",
}
PROPERTIES = tuple(MEANINGS)

# Side of the part of the original that JPEG blocks are looked for in, pixels.
_BLOCKS_SEEN = 512

_GREY_MODES = ("1", "L", "LA", "I", "F")


def measure(image: ReadImage, pixels: np.ndarray) -> dict[str, float]:
    """The properties of one image, in the order of `PROPERTIES`.

    Args:
        image: for the facts of the file.
        pixels: what the model sees, before normalising: uint8, (H, W, 3).
    """
    # Channels first and contiguous: sums along a last axis of three are ten times slower.
    channels = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    # Bytes are taken for levels as late as can be: floats take four times the memory.
    flat = channels.reshape(3, -1).astype(np.float32)
    grey = (_LUMA * np.float32(1 / 255) @ flat).reshape(channels.shape[1:])
    values = {
        **_tones(channels, flat.mean(axis=1) / 255, grey),
        **_limits(channels),
        **_texture(grey),
        **_layout(channels, grey),
        **_file(image),
    }
    return {name: values[name] for name in PROPERTIES}


def _tones(channels: np.ndarray, means: np.ndarray, grey: np.ndarray) -> dict[str, float]:
    brightness = float(grey.mean())
    largest = channels.max(axis=0)
    chroma = (largest - channels.min(axis=0)).astype(np.float32)
    away = grey.ravel() - np.float32(brightness)
    return {
        "brightness": brightness,
        "contrast": float(np.sqrt(away @ away / len(away))),
        "saturation": float((chroma / np.maximum(largest, 1)).mean()),
        "red": float(means[0]) - brightness,
        "green": float(means[1]) - brightness,
        "blue": float(means[2]) - brightness,
        "dark_share": float(np.count_nonzero(grey < 0.05)) / grey.size,
        "bright_share": float(np.count_nonzero(grey > 0.95)) / grey.size,
    }


def _limits(channels: np.ndarray) -> dict[str, float]:
    """Where the colours end: most photographs hold something black and something white.

    What is in a picture moves its mean colours; what was done to the whole of it moves these too.
    """
    # Every fourth pixel is enough for a percentile.
    some = channels[:, ::2, ::2].reshape(3, -1)
    chroma = some.max(axis=0) - some.min(axis=0)
    # All four are counted at once, each in 256 places of its own.
    places = np.concatenate([some, chroma[None]]) + 256 * np.arange(4)[:, None]
    counts = np.bincount(places.ravel(), minlength=4 * 256).reshape(4, 256).cumsum(axis=1)
    values = {"low_chroma": _level(counts[3], 0.05), "high_chroma": _level(counts[3], 0.99)}
    for name, channel in zip(("red", "green", "blue"), counts[:3], strict=True):
        values[f"low_{name}"] = _level(channel, 0.005)
        values[f"high_{name}"] = _level(channel, 0.995)
    return values


def _level(counts: np.ndarray, share: float) -> float:
    """Level that this share of bytes stay at or below, as part of 255.

    Args:
        counts: of the bytes at or below each level, (256,).
        share: of them.
    """
    return float(np.searchsorted(counts, int(share * int(counts[-1])), side="right")) / 255


def _texture(grey: np.ndarray) -> dict[str, float]:
    across, down = grey[:, 1:] - grey[:, :-1], grey[1:] - grey[:-1]
    bend_across, bend_down = across[:, 1:] - across[:, :-1], down[1:] - down[:-1]
    # Immerkaer, "Fast Noise Variance Estimation" (1996): the second difference down of the second
    # difference across passes over flat areas, slopes and straight edges; noise remains, 6 times
    # as large. Half of all normal values lie within 0.6745 standard deviations. Every other pixel
    # is enough for a median.
    even, odd = bend_across[::2, ::2], bend_across[1:-1:2, ::2]
    mixed = np.abs(even[: len(odd)] + even[1 : len(odd) + 1] - 2 * odd)
    quiet = np.sort(_tile_means(mixed, 8), axis=None)
    # The mean size of normal values is 0.7979 standard deviations.
    floor = float(quiet[: max(1, len(quiet) // 10)].mean()) / (6 * 0.7979)
    steps = (across, down, bend_across, bend_down)
    for part in steps:
        np.abs(part, out=part)
    first = float(across.mean() + down.mean())
    second = float(bend_across.mean() + bend_down.mean())
    strong = [_quantile(part[::2, ::2], 0.99) for part in steps]
    # Parts of one shape, so that bends and steps are of the same sixteenth.
    rows, columns = bend_down.shape[0], bend_across.shape[1]
    tiles = [_tile_means(part[:rows, :columns], 4) for part in steps]
    # A picture without any step is neither sharp nor blurred; 0 is as good as any.
    return {
        "sharpness": second / first if first > 1e-6 else 0.0,
        "edge_sharpness": (strong[2] + strong[3]) / max(strong[0] + strong[1], 1e-6),
        "sharpest_part": float(
            ((tiles[2] + tiles[3]) / np.maximum(tiles[0] + tiles[1], 1e-6)).max()
        ),
        "noise": _quantile(mixed, 0.5) / (6 * 0.6745),
        "quiet_noise": floor,
    }


def _quantile(values: np.ndarray, share: float) -> float:
    """As numpy's own, linear between neighbours, in a third of its time."""
    place = share * (values.size - 1)
    below = int(place)
    ordered = np.partition(values, below, axis=None)
    low = float(ordered[below])
    if place == below:
        return low
    return low + (place - below) * (float(ordered[below + 1 :].min()) - low)


def _tile_means(values: np.ndarray, tiles: int) -> np.ndarray:
    """Means of the values over tiles x tiles equal parts, (row, column)."""
    tiles = min(tiles, *values.shape)
    rows, columns = values.shape[0] // tiles, values.shape[1] // tiles
    whole = values[: rows * tiles, : columns * tiles]
    # Rows first: numpy sums along the last axis of a whole array fastest.
    down = np.add.reduceat(whole, np.arange(0, rows * tiles, rows), axis=0)
    return np.asarray(down.reshape(tiles, tiles, columns).sum(axis=2) / (rows * columns))


def _layout(channels: np.ndarray, grey: np.ndarray) -> dict[str, float]:
    # Rings of 1/28 of the side: 8 pixels of 224, the width of a thin frame.
    wide = max(1, min(grey.shape) // 28)
    ring, inner = _ring(channels, 0, wide), _ring(channels, wide, wide)
    rows, columns = max(1, grey.shape[0] // 5), max(1, grey.shape[1] // 5)
    corners = [grey[y, x] for y in _ends(rows) for x in _ends(columns)]
    centre = grey[2 * rows : -2 * rows, 2 * columns : -2 * columns]
    corner_light = max(_quantile(corner, 0.95) for corner in corners)
    return {
        "border_brightness": float((_LUMA @ ring).mean()),
        # Levels deviate by 0.5 at most.
        "border_uniformity": 1 - 2 * float(ring.std(axis=1).mean()),
        "border_step": float(np.abs(ring.mean(axis=1) - inner.mean(axis=1)).mean()),
        "corner_light": corner_light,
        "corner_ratio": corner_light / max(_quantile(centre, 0.95), 0.05),
        "vignette": float(centre.mean()) - float(np.mean([corner.mean() for corner in corners])),
    }


def _ends(length: int) -> tuple[slice, slice]:
    return slice(None, length), slice(-length, None)


def _ring(channels: np.ndarray, start: int, wide: int) -> np.ndarray:
    """Levels of the ring that begins ``start`` pixels from the edge, (channel, pixel)."""
    rows, columns = channels.shape[1] - start, channels.shape[2] - start
    inside = channels[:, start:rows, start:columns]
    parts = (
        inside[:, :wide],
        inside[:, -wide:],
        inside[:, wide:-wide, :wide],
        inside[:, wide:-wide, -wide:],
    )
    ring = np.concatenate([part.reshape(3, -1) for part in parts], axis=1)
    return ring * np.float32(1 / 255)


def _blockiness(image: ReadImage) -> float:
    """How much steps at one of eight offsets stand out: 1 for none; JPEG of low quality more.

    After Wang, Sheikh and Bovik, "No-reference perceptual quality assessment of JPEG compressed
    images" (2002); the offset is searched for, as a crop moves the blocks.
    """
    picture = image.picture
    left = max(0, (picture.width - _BLOCKS_SEEN) // 2)
    top = max(0, (picture.height - _BLOCKS_SEEN) // 2)
    if left or top:
        right, bottom = left + _BLOCKS_SEEN, top + _BLOCKS_SEEN
        picture = picture.crop((left, top, min(picture.width, right), min(picture.height, bottom)))
    # Whole numbers below 2**24 are exact in single precision.
    grey = np.asarray(picture.convert("L")).astype(np.float32)
    across, down = grey[:, 1:] - grey[:, :-1], grey[1:] - grey[:-1]
    for part in (across, down):
        np.abs(part, out=part)
    profiles = (
        np.full(len(across), 1 / len(across), np.float32) @ across,
        down @ np.full(down.shape[1], 1 / down.shape[1], np.float32),
    )
    ratios = []
    for profile in profiles:
        whole = profile[: len(profile) // 8 * 8].reshape(-1, 8)
        if len(whole):
            offsets = np.sort(whole.mean(axis=0))
            ratios.append(float(offsets[-1] / offsets[3]) if offsets[3] > 1e-3 else 1.0)
    return float(np.mean(ratios)) if ratios else 1.0


def _file(image: ReadImage) -> dict[str, float]:
    return {
        "width": float(image.width),
        "height": float(image.height),
        "aspect": image.width / image.height,
        "bytes_per_pixel": image.bytes / (image.width * image.height),
        "blockiness": _blockiness(image),
        "jpeg": float(image.format in ("JPEG", "MPO")),
        "grey": float(image.mode in _GREY_MODES or image.mode.startswith("I;16")),
    }
