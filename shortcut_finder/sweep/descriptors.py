"""Descriptors: what the cells of images look like, coarse and fine, in memory or shard by shard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shortcut_finder.sweep.shards import read_shards


@dataclass(frozen=True, eq=False)
class Descriptors:
    """The cells of some images, as the shards keep them.

    Attributes:
        index: numbers of the images, ascending, (image,).
        cells: signed bytes, (image, cell, channel).
        fine: the four fine cells below each cell, signed bytes, (image, cell, 4, channel); of no
            channels where the network has none.
    """

    index: np.ndarray
    cells: Tensor
    fine: Tensor

    def of(self, images: np.ndarray) -> Tensor:
        """Cells of images by their number, (image, cell, width) float32.

        Each is a unit vector beside the unit vectors of its four fine cells.
        """
        rows = torch.from_numpy(np.searchsorted(self.index, images))
        parts = [_units(self.cells[rows])]
        if self.fine.shape[-1]:
            parts.append(_units(self.fine[rows]).flatten(2))
        return torch.cat(parts, dim=2)


def _units(stored: Tensor) -> Tensor:
    values = stored.float()
    return values / values.norm(dim=-1, keepdim=True).clamp(min=1e-6)


def read_descriptors(folder: Path, images: np.ndarray) -> Descriptors:
    """The descriptors of some images in memory.

    Args:
        folder: the shards.
        images: their numbers, ascending.
    """
    cells, fine = [], []
    for block in descriptor_blocks(folder):
        here = np.isin(block.index, images)
        cells.append(block.cells[torch.from_numpy(here)])
        fine.append(block.fine[torch.from_numpy(here)])
    return Descriptors(images, torch.cat(cells), torch.cat(fine))


def descriptor_blocks(folder: Path) -> Iterator[Descriptors]:
    """The descriptors of all images, shard by shard."""
    start = 0
    for shard in read_shards(folder, ["cells", "fine"]):
        cells, fine = shard.arrays["cells"], shard.arrays["fine"]
        images, rows, columns, _ = cells.shape
        # Every cell beside the two by two fine cells it covers.
        fine = fine.reshape(images, rows, 2, columns, 2, fine.shape[-1]).transpose(0, 1, 3, 2, 4, 5)
        yield Descriptors(
            np.arange(start, start + images),
            torch.from_numpy(cells.reshape(images, rows * columns, -1).copy()),
            torch.from_numpy(
                np.require(
                    fine.reshape(images, rows * columns, 4, fine.shape[-1]), None, ["C", "W"]
                )
            ),
        )
        start += images
