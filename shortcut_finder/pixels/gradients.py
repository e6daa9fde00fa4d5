"""Gradients: signed edges of small pictures, and how alike windows of them are at every shift."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import fft

# Smallest side a picture is scaled down to, in pixels.
LEAST = 8


def scaled_down(
    picture: Image.Image, side: float, how: Image.Resampling = Image.Resampling.BILINEAR
) -> Image.Image:
    """The picture, of this geometric mean side where it is larger."""
    scale = min(1.0, side / np.sqrt(picture.width * picture.height))
    size = (max(LEAST, round(picture.width * scale)), max(LEAST, round(picture.height * scale)))
    return picture.resize(size, how)


def gradients_of(pictures: np.ndarray) -> np.ndarray:
    """Signed gradients of every channel, across and then down.

    Args:
        pictures: (picture, row, column, channel).

    Returns:
        float32, (picture, 2 x channel, row, column).
    """
    channels = np.moveaxis(pictures.astype(np.float32), -1, 1)
    count = channels.shape[1]
    edges = np.empty((len(channels), 2 * count, *channels.shape[2:]), dtype=np.float32)
    for levels, slopes in (
        (channels, edges[:, :count]),
        (channels.swapaxes(2, 3), edges[:, count:].swapaxes(2, 3)),
    ):
        slopes[..., 1:-1] = (levels[..., 2:] - levels[..., :-2]) / 2
        slopes[..., 0] = levels[..., 1] - levels[..., 0]
        slopes[..., -1] = levels[..., -1] - levels[..., -2]
    return edges


def floor_of(window: np.ndarray, faint: float) -> float:
    """The least size of gradients that counts; what is flatter is held against it.

    Args:
        window: gradients, (2 x channel, row, column), as high as it is wide.
        faint: root mean square gradient of a channel that counts as flat, in levels a pixel.
    """
    return float(faint * window.shape[-1] * np.sqrt(window.shape[0] / 2))


class Patches:
    """Patches, ready to have windows of one side looked for in them."""

    def __init__(self, gradients: np.ndarray, side: int, faint: float) -> None:
        """Prepare patches.

        Args:
            gradients: from `gradients_of`, of patches no smaller than the windows.
            side: of the windows, in pixels.
            faint: see `floor_of`.
        """
        self.gradients = gradients
        self._steps = tuple(length - side + 1 for length in gradients.shape[-2:])
        self._size = tuple(fft.next_fast_len(n, real=True) for n in gradients.shape[-2:])
        self._spectrum = fft.rfft2(gradients, s=self._size)
        # Flat windows have nothing to compare; the floor keeps their faint shading from counting.
        self._floor = floor_of(gradients[0, :, :side, :side], faint)
        energy = box_sums(np.square(gradients).sum(axis=1), side)
        self._norms = np.maximum(np.sqrt(np.maximum(energy, 0)), self._floor)

    def likeness(self, window: np.ndarray) -> np.ndarray:
        """Correlation of a window's gradients with every place of each patch, (patch, y, x)."""
        spectrum = np.conj(fft.rfft2(window, s=self._size))
        answer = fft.irfft2((self._spectrum * spectrum).sum(axis=1), s=self._size)
        own = max(float(np.sqrt(np.square(window).sum())), self._floor)
        return np.asarray(answer[:, : self._steps[0], : self._steps[1]] / (self._norms * own))

    def matches(
        self, window: np.ndarray, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Best correlation of a window with each patch, and where it lies.

        Args:
            window: gradients, (2 x channel, row, column).
            allowed: which places count, (patch, y, x) of bool; all if None.

        Returns:
            Correlations, (patch,), and the top left corners of the best windows as y, x,
            (patch, 2).
        """
        ratio = self.likeness(window)
        if allowed is not None:
            ratio = np.where(allowed, ratio, -1.0)
        flat = ratio.reshape(len(ratio), -1)
        where = flat.argmax(axis=1)
        corners = np.stack(np.unravel_index(where, self._steps), axis=1)
        return flat[np.arange(len(flat)), where], corners


def box_sums(values: np.ndarray, side: int) -> np.ndarray:
    """Sum over every square of that side, (patch, y, x), by summed areas."""
    count, rows, columns = values.shape
    total = np.zeros((count, rows + 1, columns + 1))
    np.cumsum(values, axis=1, dtype=np.float64, out=total[:, 1:, 1:])
    np.cumsum(total, axis=2, out=total)
    sums = total[:, side:, side:] - total[:, :-side, side:]
    return np.asarray(sums - total[:, side:, :-side] + total[:, :-side, :-side], dtype=np.float32)
