"""Rigidity: whether the same thing, to the pixel, stands in several images.

A tag, a logo or a frame repeats exactly; petals and faces do not. Patches are compared by their
signed grey gradients, so that a translucent overlay counts too, at the best shift of each pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

# A patch is this part of the image's side (64 pixels of 224), and may shift by this part of it.
PATCH = 2 / 7
SHIFT = 0.19
# Larger images are scaled down to this geometric mean side: artifacts keep their shape and the
# comparison its cost.
SIDE = 224
# Root mean square gradient, in grey levels a pixel, below which a patch counts as flat.
FAINT = 2.0


@dataclass(frozen=True)
class Rigidity:
    """How alike the patches of a group are.

    Attributes:
        gradient: median correlation of signed gradients with the group's medoid, in [-1, 1].
        opacity: part of the grey variance at the thing's edges that all patches share, in [0, 1];
            low for something one can see through.
        duplicates: largest share of the images that are the same picture altogether, in [0, 1].
    """

    gradient: float
    opacity: float
    duplicates: float


def grey_image(picture: Image.Image) -> np.ndarray:
    """Grey levels in [0, 255], scaled down to `SIDE` where larger; float32, (row, column)."""
    scale = min(1.0, SIDE / np.sqrt(picture.width * picture.height))
    size = (max(8, round(picture.width * scale)), max(8, round(picture.height * scale)))
    small = picture.convert("L").resize(size, Image.Resampling.BILINEAR)
    return np.asarray(small, dtype=np.float32)


def measure_rigidity(images: Sequence[np.ndarray], centres: np.ndarray) -> Rigidity:
    """Compare the patches of several images around given places.

    Args:
        images: grey levels, each (row, column).
        centres: middle of each patch as fractions x, y of its image, (image, 2).
    """
    if len(images) < 2:
        return Rigidity(0.0, 0.0, 0.0)
    side = float(np.median([np.sqrt(image.size) for image in images]))
    size = max(12, 2 * round(side * PATCH / 2))
    shift = max(2, round(size * SHIFT))
    patches = np.stack([_patch(i, c, size) for i, c in zip(images, centres, strict=True)])
    best, where = _correlations(patches, shift)
    np.fill_diagonal(best, np.nan)
    medoid = int(np.argmax(np.nanmedian(best, axis=1)))
    core = size - 2 * shift
    aligned = np.stack(
        [
            patch[y : y + core, x : x + core]
            for patch, (y, x) in zip(patches, where[medoid], strict=True)
        ]
    )
    aligned[medoid] = patches[medoid][shift:-shift, shift:-shift]
    return Rigidity(
        gradient=float(np.nanmedian(best[medoid])),
        opacity=_opacity(aligned),
        duplicates=_duplicates(images, centres),
    )


def _patch(image: np.ndarray, centre: np.ndarray, size: int) -> np.ndarray:
    """The square around a place; beyond the border the image is mirrored."""
    half = size // 2
    # An image smaller than a patch has too little to mirror.
    padded = np.pad(image, size, mode="symmetric" if min(image.shape) >= size else "edge")
    row = int(centre[1] * image.shape[0]) + size
    column = int(centre[0] * image.shape[1]) + size
    return padded[row - half : row + half, column - half : column + half]


def _correlations(patches: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Best gradient correlation of each patch's core with each patch, and where it lies.

    Returns:
        Correlations, (core, patch), and top left corners of the best windows, (core, patch, 2).
    """
    count, size, _ = patches.shape
    down, across = np.gradient(patches, axis=(1, 2))
    gradients = np.stack([across, down], axis=1)
    cores = np.zeros_like(gradients)
    core = size - 2 * shift
    cores[:, :, :core, :core] = gradients[:, :, shift:-shift, shift:-shift]
    spectrum = np.fft.rfft2(gradients)
    steps = 2 * shift + 1
    energy = np.square(gradients).sum(axis=1)
    window = np.zeros((size, size), dtype=np.float32)
    window[:core, :core] = 1
    box = np.fft.irfft2(np.fft.rfft2(energy) * np.conj(np.fft.rfft2(window)), s=(size, size))
    norms = np.sqrt(np.clip(box[:, :steps, :steps], 0, None))
    # Flat patches have nothing to compare; the floor keeps their faint shading from looking alike.
    floor = FAINT * core
    best = np.zeros((count, count))
    where = np.zeros((count, count, 2), dtype=int)
    for number in range(count):
        answer = np.fft.irfft2(
            (spectrum * np.conj(np.fft.rfft2(cores[number]))).sum(axis=1), s=(size, size)
        )[:, :steps, :steps]
        own = float(np.sqrt(np.square(cores[number]).sum()))
        ratio = answer / (np.maximum(norms, floor) * max(own, floor))
        flat = ratio.reshape(count, -1)
        best[number] = flat.max(axis=1)
        where[number] = np.stack(np.unravel_index(flat.argmax(axis=1), (steps, steps)), axis=1)
    return best, where


def _opacity(aligned: np.ndarray) -> float:
    """Part of the grey variance that aligned patches share where their mean has edges."""
    mean = aligned.mean(axis=0)
    edges = np.hypot(*np.gradient(mean))
    there = edges >= np.quantile(edges, 0.7)
    values = aligned[:, there]
    total = values.var()
    return float(values.mean(axis=0).var() / total) if total > 0 else 0.0


def _duplicates(images: Sequence[np.ndarray], centres: np.ndarray) -> float:
    """Share of the images that have a near copy among the others, apart from the thing itself."""
    size = 32
    views: list[np.ndarray] = []
    for image, (x, y) in zip(images, centres, strict=True):
        small = np.asarray(Image.fromarray(image).resize((size, size)), dtype=np.float32)
        gradient = np.array(np.gradient(small))
        # The border and the thing are left out: frames and tags would make strangers alike.
        gradient[:, :4] = gradient[:, -4:] = 0
        gradient[:, :, :4] = gradient[:, :, -4:] = 0
        row, column = int(y * size), int(x * size)
        gradient[:, max(0, row - 6) : row + 7, max(0, column - 6) : column + 7] = 0
        flat = gradient.ravel()
        views.append(flat / max(float(np.linalg.norm(flat)), 1e-6))
    like = np.stack(views) @ np.stack(views).T
    np.fill_diagonal(like, 0)
    return float((like.max(axis=1) >= 0.9).mean())
