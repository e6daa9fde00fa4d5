"""Plan: how maps are drawn and how exact they are, and the maps of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class MapPlan:
    """How the maps of a scan are made.

    Attributes:
        method: the formula, ``auto`` resolved.
        tier: ``linear``, ``pooled``, ``class token`` or ``generic``.
        layer: dotted path of the module whose output the maps are drawn on.
        grid: rows and columns of a map.
        precision: ``fp32`` or ``bf16``.
        cell_layer: dotted path of the module that gives the cells.
        cell_grid: rows and columns of cells.
        cell_channels: length of a cell's vector.
        fine_layer: dotted path of the module that gives the fine cells, twice as many a side;
            ``None`` where the network has none.
        fine_channels: length of a fine cell's vector.
        notes: what a reader should know, a sentence each.
    """

    method: str
    tier: str
    layer: str
    grid: tuple[int, int]
    precision: str
    cell_layer: str
    cell_grid: tuple[int, int]
    cell_channels: int
    fine_layer: str | None
    fine_channels: int
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class MapBatch:
    """What one forward pass tells about a batch; all on the CPU.

    Attributes:
        logits: (image, class) float32.
        shown: outputs whose maps are given: the labels, top 1, top 2, top 3; (image, label + 3)
            int64. With fewer than three classes the last is repeated.
        maps: (image, label + 3, row, column) float32, raw and signed, in logit units.
        features: the map layer's channels averaged over the image, (image, channel) float32.
        cells: mid-level features, (image, channel, row, column) float32, or what was made of them.
        fine: the same of the fine cells, (image, channel, 2 row, 2 column); of no channels where
            the network has none.
    """

    logits: Tensor
    shown: Tensor
    maps: Tensor
    features: Tensor
    cells: Tensor
    fine: Tensor
