"""Records: what the sweep keeps of every image, read into memory without the cells."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from shortcut_finder.data.groups import one_of_each
from shortcut_finder.errors import RunError
from shortcut_finder.sweep.shards import read_shards


@dataclass(frozen=True, eq=False)
class Records:
    """One entry an image, in the order of the shards.

    Attributes:
        table: position in the dataset (``index``), name, content hash, size and properties.
        labels: index into the dataset's classes, (image,).
        outputs: output of the model that stands for the label, (image,).
        shown: outputs whose maps were drawn: label, top 1, top 2, top 3; (image, 4).
        maps: class map of the label, raw and signed, (image, row, column).
        rivals: class maps of the top 3, (image, 3, row, column).
        logits: (image, output).
        cell_grid: rows and columns of cells.
        groups: number of the group that each image must stay with, (image,); None where each stands
            for itself.
        counted: images that count in tests, one of each group, (image,) of bool.
    """

    table: pd.DataFrame
    labels: np.ndarray
    outputs: np.ndarray
    shown: np.ndarray
    maps: np.ndarray
    rivals: np.ndarray
    logits: np.ndarray
    cell_grid: tuple[int, int]
    groups: np.ndarray | None = None
    counted: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))

    def __post_init__(self) -> None:
        if self.groups is None:
            object.__setattr__(self, "counted", np.ones(len(self.labels), dtype=bool))

    def grouped(self, groups: np.ndarray | None, seed: int) -> Records:
        """The same records, of images that must stay together.

        Args:
            groups: number of each image's group, (image,); None where each stands for itself.
            seed: decides which image of a group counts.
        """
        if groups is None:
            return self
        return replace(self, groups=groups, counted=one_of_each(groups, self.labels, seed))

    @property
    def probabilities(self) -> np.ndarray:
        """Softmax of the logits, (image, output)."""
        logits = self.logits.astype(np.float64)
        spread = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(spread / spread.sum(axis=1, keepdims=True))


def read_records(folder: Path, labels: np.ndarray, cell_grid: tuple[int, int]) -> Records:
    """Read everything but the cells.

    Args:
        folder: the shards.
        labels: class of every image of the dataset, in the dataset's order.
        cell_grid: rows and columns of cells.

    Raises:
        RunError: there is no image in the shards.
    """
    shards = list(read_shards(folder, ["maps", "shown", "logits"]))
    if not shards:
        raise RunError(f"{folder.parent}: not one image could be read; see unreadable.csv")
    table = pd.concat([shard.table for shard in shards], ignore_index=True)
    maps = np.concatenate([shard.arrays["maps"] for shard in shards]).astype(np.float32)
    shown = np.concatenate([shard.arrays["shown"] for shard in shards])
    return Records(
        table=table,
        labels=labels[table["index"].to_numpy()],
        outputs=shown[:, 0],
        shown=shown,
        maps=maps[:, 0],
        rivals=maps[:, 1:],
        logits=np.concatenate([shard.arrays["logits"] for shard in shards]).astype(np.float32),
        cell_grid=cell_grid,
    )


def resample(maps: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Maps on another grid, bilinear between the centres of cells, (image, row, column).

    Example:
        >>> resample(np.ones((2, 7, 7)), (14, 14)).shape
        (2, 14, 14)
    """
    down = _weights(maps.shape[1], grid[0])
    across = _weights(maps.shape[2], grid[1])
    return np.asarray(np.einsum("ri,nij,cj->nrc", down, maps, across, optimize=True))


def _weights(cells: int, wanted: int) -> np.ndarray:
    """How much each of ``cells`` counts for each of ``wanted`` places, (wanted, cells)."""
    centres = np.clip((np.arange(wanted) + 0.5) * cells / wanted - 0.5, 0, cells - 1)
    return np.clip(1 - np.abs(centres[:, None] - np.arange(cells)[None, :]), 0, None)
