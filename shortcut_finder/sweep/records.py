"""Records: what the sweep keeps of every image, read into memory without the cells."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from shortcut_finder.data.groups import one_of_each
from shortcut_finder.data.membership import HAS, having
from shortcut_finder.errors import RunError
from shortcut_finder.sweep.shards import read_shards

# The likeliest outputs whose maps stand at the end of those of an image.
TOP = 3
# Arrays of the shards that are read into memory, with the type they have there.
KEPT = {"maps": np.float32, "shown": np.int32, "logits": np.float16}


@dataclass(frozen=True, eq=False)
class Records:
    """One entry an image, in the order of the shards.

    Attributes:
        table: position in the dataset (``index``), name, content hash, size and properties.
        labels: index into the dataset's classes, (image,), or membership, (image, class) int8.
        outputs: output of the model that stands for the label, (image,); for the first of several,
            and the top class where an image has none.
        shown: outputs whose maps were drawn: that one, top 1, top 2, top 3; (image, 4).
        maps: class map of that output, raw and signed, (image, row, column).
        rivals: class maps of the top 3, (image, 3, row, column).
        logits: (image, output), in half precision as they are stored: of a million images and a
            thousand outputs they are most of the memory.
        cell_grid: rows and columns of cells.
        groups: number of the group that each image must stay with, (image,); None where each stands
            for itself.
        counted: images that count in tests, one of each group, (image,) of bool.
        held: outputs of all labels of each image in the order of the classes, then anything,
            (image, label); ``None`` with one label an image.
        held_maps: their class maps, (image, label, row, column).
        sigmoid: whether each output says by itself whether an image has its class.
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
    held: np.ndarray | None = None
    held_maps: np.ndarray | None = None
    sigmoid: bool = False

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

    def probabilities(self, images: np.ndarray | slice) -> np.ndarray:
        """Probability of each output, softmax or sigmoid of the logits, of some images.

        Args:
            images: their numbers.

        Returns:
            (image, output), float64.
        """
        logits = self.logits[images].astype(np.float64)
        if self.sigmoid:
            return np.asarray(expit(logits))
        spread = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(spread / spread.sum(axis=1, keepdims=True))

    def chosen(self, output: int) -> np.ndarray:
        """Images for which the model says this output, (image,) of bool."""
        if self.sigmoid:
            return np.asarray(self.logits[:, output] > 0)
        return np.asarray(self.logits.argmax(axis=1) == output)

    @cached_property
    def firsts(self) -> np.ndarray:
        """Index of the label that ``maps`` are of, (image,); -1 where an image has none."""
        if self.labels.ndim == 1:
            return self.labels
        has = self.labels == HAS
        return np.where(has.any(axis=1), has.argmax(axis=1), -1)

    def output_of(self, number: int) -> int:
        """The model's output for a label that some image has."""
        image = int(np.flatnonzero(having(self.labels, number))[0])
        if self.held is None:
            return int(self.outputs[image])
        return int(self.held[image, self._place(number)[image]])

    def maps_of(self, number: int) -> np.ndarray:
        """Class map of a label in images that have it, and of their own label in the others."""
        if self.held_maps is None:
            return self.maps
        own = np.flatnonzero(having(self.labels, number))
        maps = self.maps.copy()
        maps[own] = self.held_maps[own, self._place(number)[own]]
        return maps

    def _place(self, number: int) -> np.ndarray:
        """Which of an image's labels it is, from 0, (image,); only for images that have it."""
        return np.asarray((self.labels[:, :number] == HAS).sum(axis=1))


def read_records(
    folder: Path, labels: np.ndarray, cell_grid: tuple[int, int], *, sigmoid: bool = False
) -> Records:
    """Read everything but the cells.

    Args:
        folder: the shards.
        labels: class of every image of the dataset, in the dataset's order, or membership.
        cell_grid: rows and columns of cells.
        sigmoid: whether each output says by itself whether an image has its class.

    Raises:
        RunError: there is no image in the shards.
    """
    tables: list[pd.DataFrame] = []
    stacks: dict[str, np.ndarray] = {}
    filled = 0
    for shard in read_shards(folder, list(KEPT)):
        rows = slice(filled, filled + len(shard.table))
        tables.append(shard.table)
        for name, kept_type in KEPT.items():
            values = shard.arrays[name]
            if name not in stacks:
                # Pages that are never written to, of images that could not be read, take no memory.
                stacks[name] = np.empty((len(labels), *values.shape[1:]), dtype=kept_type)
            stacks[name][rows] = values
        filled = rows.stop
    if not tables:
        raise RunError(f"{folder.parent}: not one image could be read; see unreadable.csv")
    table = pd.concat(tables, ignore_index=True)
    maps, shown, logits = (stacks[name][:filled] for name in KEPT)
    several = labels.ndim == 2
    return Records(
        table=table,
        labels=labels[table["index"].to_numpy()],
        outputs=shown[:, 0],
        shown=np.concatenate([shown[:, :1], shown[:, -TOP:]], axis=1),
        maps=maps[:, 0],
        rivals=maps[:, -TOP:],
        logits=logits,
        cell_grid=cell_grid,
        held=shown[:, :-TOP] if several else None,
        held_maps=maps[:, :-TOP] if several else None,
        sigmoid=sigmoid,
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
