"""Moves: whether evidence goes where the picture goes, when it is mirrored and moved.

Heat of the padding stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import ndimage

from shortcut_finder.data.regions import BORDER
from shortcut_finder.stats.experiments import signed_rank_p

# Chance at most that heat which stays seems to go along.
STAYS = 0.05


def goes_along(
    region: str,
    heat: np.ndarray,
    mask: np.ndarray,
    pixels: Sequence[np.ndarray],
    draw: Callable[[np.ndarray], np.ndarray],
    mean: Sequence[float],
) -> dict[str, float] | None:
    """Whether evidence in a region goes where the picture goes.

    Args:
        region: name of it.
        heat: class activation maps of some images, (image, row, column).
        mask: the region as part of each cell of these, (image, row, column).
        pixels: what the model sees of them, uint8 (row, column, channel) each.
        draw: class activation maps, (image, row, column), of moved pixels.
        mean: of the model's input, per channel, of pixels in [0, 1]; fills what is left open.

    Returns:
        The p of each move, or ``None`` where heat may have stayed.
    """
    before = _parts_of_one(np.clip(heat, 0, None) * mask)
    found = {}
    for name, of_pixels, of_maps in _moves(region, mean):
        moved = np.stack([of_pixels(picture) for picture in pixels])
        after = _parts_of_one(np.clip(draw(moved), 0, None))
        expected = np.stack([of_maps(heat) for heat in before])
        gain = ((expected - before) * after).sum(axis=(1, 2))
        found[name] = signed_rank_p(gain)
        if found[name] > STAYS:
            return None
    return found


def _parts_of_one(heat: np.ndarray) -> np.ndarray:
    """Heat that sums to one in each image, (image, row, column); all zero where there is none."""
    total = heat.sum(axis=(1, 2), keepdims=True)
    return np.asarray(heat / np.where(total > 0, total, 1.0))


Move = Callable[[np.ndarray], np.ndarray]


def _moves(region: str, mean: Sequence[float]) -> Iterator[tuple[str, Move, Move]]:
    """Ways to move a picture, by name: what becomes of its pixels, and of a map of it."""
    down = ("top" in region) - ("bottom" in region)
    across = ("left" in region) - ("right" in region)
    if not (down or across):
        down = across = 1
    fill = np.rint(255 * np.array(mean)).astype(np.uint8)
    yield (
        "p_moved_inwards",
        lambda pixels: _pixels_moved(pixels, down * BORDER, across * BORDER, fill),
        lambda heat: ndimage.shift(
            heat, (down * BORDER * heat.shape[0], across * BORDER * heat.shape[1]), order=1
        ),
    )
    # A frame is its own mirror image.
    if region != "frame":
        axis = 0 if across == 0 else 1
        yield "p_mirrored", lambda pixels: np.flip(pixels, axis), lambda heat: np.flip(heat, axis)


def _pixels_moved(pixels: np.ndarray, down: float, across: float, fill: np.ndarray) -> np.ndarray:
    """A picture moved by parts of its height and width; flat colour where it came from."""
    height, width = pixels.shape[:2]
    dy, dx = round(down * height), round(across * width)
    moved = np.empty_like(pixels)
    moved[:] = fill
    moved[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = pixels[
        max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)
    ]
    return moved
