"""Motif: what is the same to the pixel in several pictures, and how much of it another one shows.

Aligned pictures are averaged, so that their backgrounds cancel and what they share stays: a mark
that one can see through is far clearer in the mean than in any picture. It is looked for at every
place of other pictures by the correlation of gradients, each pixel weighted by how far the
pictures agree there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import fft
from torch import Tensor

from shortcut_finder.pixels.gradients import gradients_of
from shortcut_finder.pixels.rigidity import FAINT

# Part of the shared variance of gradients below which a pixel does not belong to the motif.
SHARED = 0.2
# Pictures that are looked through at once.
BLOCK = 16


@dataclass(frozen=True, eq=False)
class Motif:
    """A repeated picture by its gradients.

    Attributes:
        edges: mean gradients across and down, in grey levels a pixel, (2, row, column).
        weight: how far the pictures agree, (row, column) in [0, 1]; 0 outside of the motif.
    """

    edges: Tensor
    weight: Tensor


def motif_of(aligned: np.ndarray) -> Motif | None:
    """What aligned patches share; ``None`` where that is nothing.

    Args:
        aligned: grey levels, (patch, row, column); three at least.
    """
    count = len(aligned)
    edges = gradients_of(aligned[..., None])
    mean = edges.mean(axis=0)
    energy = np.square(edges).sum(axis=1).mean(axis=0)
    # Of patches that share nothing the mean has 1 / count of the energy.
    alike = np.square(mean).sum(axis=0) / np.maximum(energy, FAINT**2)
    weight = np.clip((alike - 1 / count) / (1 - 1 / count), 0, 1)
    weight = np.where(weight >= SHARED, weight, 0.0)
    if not weight.any():
        return None
    return Motif(torch.from_numpy(mean), torch.from_numpy(weight.astype(np.float32)))


def sought(motif: Motif, pictures: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """How much of a motif each picture shows, and where.

    Args:
        motif: what is looked for.
        pictures: grey levels, each (row, column); those of one shape are looked through together.

    Returns:
        Correlations, (picture,) in [-1, 1], and the middle of the best place as x, y fractions of
        each picture, (picture, 2).
    """
    likeness, places = np.zeros(len(pictures)), np.full((len(pictures), 2), 0.5)
    shapes = [picture.shape for picture in pictures]
    for shape in dict.fromkeys(shapes):
        alike = [number for number, one in enumerate(shapes) if one == shape]
        # The motif may be cut by the border.
        margins = [side // 4 for side in motif.weight.shape]
        padded = [side + 2 * margin for side, margin in zip(shape, margins, strict=True)]
        if any(side < own for side, own in zip(padded, motif.weight.shape, strict=True)):
            continue
        size = [fft.next_fast_len(side, real=True) for side in padded]
        kernels = torch.cat([motif.edges * motif.weight, motif.weight[None]])
        looked_for = torch.fft.rfft2(kernels, s=size).conj()
        for part in (alike[start : start + BLOCK] for start in range(0, len(alike), BLOCK)):
            stack = np.stack([pictures[number] for number in part])
            found = _likeness(motif, looked_for, stack, margins, size)
            best, at = found.flatten(1).max(1)
            likeness[part] = best.numpy()
            y, x = np.divmod(at.numpy(), found.shape[2])
            # From the corner of the window in the padded picture to its middle in the picture.
            middle = (
                np.stack([x, y], axis=1) - margins[::-1] + np.array(motif.weight.shape)[::-1] / 2
            )
            places[part] = np.clip(middle / shape[::-1], 0, 1 - 1e-6)
    return likeness, places


def _likeness(
    motif: Motif, looked_for: Tensor, pictures: np.ndarray, margins: list[int], size: list[int]
) -> Tensor:
    """Correlation with a motif at every place of pictures of one shape, (picture, y, x).

    Args:
        motif: what is looked for.
        looked_for: spectra of its weighted edges and of its weight, (3, row, column).
        pictures: grey levels, (picture, row, column).
        margins: rows and columns that are added on each side.
        size: rows and columns of the spectra's pictures.
    """
    edges = torch.from_numpy(gradients_of(pictures[..., None]))
    edges = torch.nn.functional.pad(edges, (margins[1], margins[1], margins[0], margins[0]))
    layers = torch.cat([edges, edges.square().sum(1, keepdim=True)], dim=1)
    product = torch.fft.rfft2(layers, s=size) * looked_for
    both = torch.stack([product[:, :2].sum(1), product[:, 2]])
    rows, columns = (edges.shape[2 + axis] - motif.weight.shape[axis] + 1 for axis in (0, 1))
    shared, energy = torch.fft.irfft2(both, s=size)[:, :, :rows, :columns]
    own = (motif.weight * motif.edges.square().sum(0)).sum()
    floor = FAINT**2 * motif.weight.sum()
    return shared / (energy.clamp(min=floor) * own.clamp(min=floor)).sqrt()
