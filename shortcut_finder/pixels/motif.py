"""Motif: what is the same to the pixel in several pictures, and how much of it another one shows.

Aligned pictures are averaged, so that their backgrounds cancel and what they share stays: a mark
that one can see through is far clearer in the mean than in any picture. It is looked for at every
place of other pictures by the correlation of gradients, each pixel weighted by how far the
pictures agree there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import fft
from torch import Tensor

from shortcut_finder.pixels.gradients import gradients_of
from shortcut_finder.pixels.rigidity import FAINT

# Part of the shared variance of gradients below which a pixel does not belong to the motif.
SHARED = 0.2
# Share of the aligned pictures that must have a pixel for it to belong to the motif.
MOST = 0.5
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


def motif_of(aligned: np.ndarray, inside: np.ndarray | None = None) -> Motif | None:
    """What aligned patches share; ``None`` where that is nothing.

    Args:
        aligned: grey levels, (patch, row, column); three at least.
        inside: share of the patches that show a picture there, not what a mirror at its border
            shows, (row, column) in [0, 1]; everywhere if None.
    """
    count = len(aligned)
    edges = gradients_of(aligned[..., None])
    mean = edges.mean(axis=0)
    energy = np.square(edges).sum(axis=1).mean(axis=0)
    # Of patches that share nothing the mean has 1 / count of the energy.
    alike = np.square(mean).sum(axis=0) / np.maximum(energy, FAINT**2)
    weight = np.clip((alike - 1 / count) / (1 - 1 / count), 0, 1)
    weight = np.where(weight >= SHARED, weight, 0.0)
    if inside is not None and (shown := inside >= MOST).any():
        # What a mirror shows is in no other picture, and takes up room beyond a border.
        window = tuple(slice(one.min(), one.max() + 1) for one in np.nonzero(shown))
        mean, weight = mean[(slice(None), *window)], weight[window]
    if not weight.any():
        return None
    edges = np.ascontiguousarray(mean)
    return Motif(torch.from_numpy(edges), torch.from_numpy(weight.astype(np.float32)))


def sought(motif: Motif, pictures: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """How much of a motif each picture shows, and where.

    Args:
        motif: what is looked for; it may be cut by the border of a picture.
        pictures: grey levels, each (row, column).

    Returns:
        Correlations, (picture,) in [-1, 1], and the middle of the best place as x, y fractions of
        each picture, (picture, 2).
    """
    likeness, places = np.zeros(len(pictures)), np.full((len(pictures), 2), 0.5)
    own = np.array(motif.weight.shape)
    margins = own // 4
    fits = [n for n, one in enumerate(pictures) if (one.shape + 2 * margins >= own).all()]
    # Pictures of about one size together, as the largest says how much is transformed.
    fits.sort(key=lambda n: pictures[n].shape)
    for part in (fits[start : start + BLOCK] for start in range(0, len(fits), BLOCK)):
        some = [pictures[n] for n in part]
        for n, found in zip(part, _likeness(motif, some, margins), strict=True):
            best, at = found.flatten().max(0)
            corner = np.array(divmod(int(at), found.shape[1]))
            # From the corner of the window in the padded picture to its middle in the picture.
            middle = (corner - margins + own / 2) / pictures[n].shape
            likeness[n], places[n] = float(best), np.clip(middle[::-1], 0, 1 - 1e-6)
    return likeness, places


def _likeness(
    motif: Motif, pictures: Sequence[np.ndarray], margins: np.ndarray
) -> Iterator[Tensor]:
    """Correlation with a motif at every place of each picture, (y, x).

    Args:
        motif: what is looked for.
        pictures: grey levels, each (row, column).
        margins: rows and columns that are added on each side.
    """
    padded = np.array([one.shape for one in pictures]) + 2 * margins
    size = [fft.next_fast_len(int(side), real=True) for side in padded.max(axis=0)]
    layers = np.zeros((len(pictures), 3, *size), dtype=np.float32)
    down, across = margins
    for layer, picture in zip(layers, pictures, strict=True):
        rows, columns = picture.shape
        edges = gradients_of(picture[None, :, :, None])[0]
        layer[:2, down : down + rows, across : across + columns] = edges
        layer[2] = np.square(layer[:2]).sum(axis=0)
    kernels = torch.cat([motif.edges * motif.weight, motif.weight[None]])
    looked_for = torch.fft.rfft2(kernels, s=size).conj()
    product = torch.fft.rfft2(torch.from_numpy(layers)) * looked_for
    both = torch.stack([product[:, :2].sum(1), product[:, 2]])
    shared, energy = torch.fft.irfft2(both, s=size)
    own = (motif.weight * motif.edges.square().sum(0)).sum()
    floor = FAINT**2 * motif.weight.sum()
    found = shared / (energy.clamp(min=floor) * own.clamp(min=floor)).sqrt()
    for one, (rows, columns) in zip(found, padded - motif.weight.shape + 1, strict=True):
        yield one[:rows, :columns]
