"""Whitening: mid-level features as unit vectors whose cosine says "looks alike"."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from shortcut_finder.errors import RunError
from shortcut_finder.schema import write_whole

# Added to the eigenvalues of the correlation matrix, so that directions that hardly vary are not
# blown up more than tenfold.
RIDGE = 1e-2
# Descriptors of wider layers are rotated into this many dimensions; cosines are kept within +-0.09.
WIDTH = 128
# The same for fine cells, of which there are four times as many.
FINE_WIDTH = 48
# Cells the covariance is estimated on; more change nothing that can be measured.
SAMPLE = 50_000
# Cells are unit vectors stored as signed bytes. Components of wide layers stay below one half; a
# cell with a larger one gets a smaller scale, which reading makes good.
CELL_SCALE = 254.0


@dataclass(frozen=True, eq=False)
class Whitening:
    """An affine map that makes the channels of a layer uncorrelated and of equal variance.

    Attributes:
        mean: (channel,) float32.
        matrix: (channel, width) float32, on the same device.
    """

    mean: Tensor
    matrix: Tensor

    def __call__(self, cells: Tensor) -> Tensor:
        """Unit descriptors, float32.

        Args:
            cells: raw features, (image, channel, row, column), on the whitening's device.

        Returns:
            (image, row, column, width); all zero where a cell equals the mean.
        """
        white = (cells.float().movedim(1, -1) - self.mean) @ self.matrix
        return white / white.norm(dim=-1, keepdim=True).clamp(min=1e-6)

    def to(self, device: torch.device) -> Whitening:
        """The same on a device."""
        return Whitening(self.mean.to(device), self.matrix.to(device))


@dataclass(frozen=True, eq=False)
class Whitenings:
    """Those of the cells and of the fine cells of a network.

    Attributes:
        cells: of the cells.
        fine: of the fine cells; of no channels where the network has none.
    """

    cells: Whitening
    fine: Whitening

    def to(self, device: torch.device) -> Whitenings:
        """The same on a device."""
        return Whitenings(self.cells.to(device), self.fine.to(device))


def fit_whitening(cells: np.ndarray, seed: int, width: int = WIDTH) -> Whitening:
    """Learn a whitening from the cells of a random set of images.

    Args:
        cells: raw features, (image, channel, row, column).
        seed: for the sample of cells and the rotation of wide layers.
        width: descriptors of wider layers are rotated into so many dimensions.
    """
    if cells.shape[1] == 0:
        return _from_arrays(np.zeros(0), np.zeros((0, 0)))
    rng = np.random.default_rng(seed)
    channels = cells.shape[1]
    rows = np.moveaxis(cells, 1, -1).reshape(-1, channels)
    if len(rows) > SAMPLE:
        rows = rows[np.sort(rng.choice(len(rows), SAMPLE, replace=False))]
    rows = rows.astype(np.float64)
    mean, spread = rows.mean(0), rows.std(0)
    spread = np.where(spread > 1e-6 * max(spread.max(), 1e-12), spread, np.inf)
    scaled = (rows - mean) / spread
    values, vectors = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    white = (vectors / np.sqrt(np.clip(values, 0, None) + RIDGE)) @ vectors.T
    matrix = white / spread[:, None]
    if channels > width:
        # A random rotation keeps angles (Johnson and Lindenstrauss 1984); principal components
        # would drop the rare directions that a rare artifact lives in.
        rotation = np.linalg.qr(rng.standard_normal((channels, channels)))[0]
        matrix = matrix @ rotation[:, :width]
    return _from_arrays(mean, matrix)


def stored_cells(units: Tensor) -> Tensor:
    """Unit vectors as signed bytes, any leading axes, the channel last; see `shards.unit_cells`."""
    if units.shape[-1] == 0:
        return units.to(torch.int8)
    largest = units.abs().amax(dim=-1, keepdim=True)
    scale = (127 / largest.clamp(min=1e-6)).clamp(max=CELL_SCALE)
    return (units * scale).round().to(torch.int8)


def save_whitenings(path: Path, whitening: Whitenings) -> None:
    """Write both whitenings, whole or not at all."""
    arrays = {
        f"{name}_{part}": getattr(getattr(whitening, name), part).cpu().numpy()
        for name in ("cells", "fine")
        for part in ("mean", "matrix")
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_whole(path, buffer.getvalue())


def load_whitenings(path: Path) -> Whitenings:
    """Read both whitenings.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            return Whitenings(
                *(
                    _from_arrays(kept[f"{name}_mean"], kept[f"{name}_matrix"])
                    for name in ("cells", "fine")
                )
            )
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise RunError(f"{path}: cannot be read ({error}); scan again with --fresh") from error


def _from_arrays(mean: np.ndarray, matrix: np.ndarray) -> Whitening:
    return Whitening(*(torch.from_numpy(part.astype(np.float32)) for part in (mean, matrix)))
