"""Confusions: pairs of classes whose maps fire on the same spot of the same images."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shortcut_finder.data.membership import HAS
from shortcut_finder.data.regions import box_region
from shortcut_finder.schema import CONFUSION_COLUMNS
from shortcut_finder.sweep.records import Records

# A cell is hot from half of its map's highest value.
HOT = 0.5
# Pairs that share a spot in fewer images are chance.
FEWEST = 5


def find_confusions(records: Records, outputs: tuple[str, ...]) -> pd.DataFrame:
    """Which rival class fires where the label fires.

    Args:
        records: what the sweep kept.
        outputs: name of each output of the model.

    Returns:
        One row a pair, most images first: ``label``, ``rival`` (the likeliest other class),
        ``images`` (where the hot cells of both overlap by half or more), ``overlap`` (mean
        intersection over union of the hot cells, over all images of the pair) and ``region``
        (where they overlap most).
    """
    image, labels, maps = _pairs(records)
    top = records.shown[image, 1:]
    other = top != labels[:, None]
    if records.held is not None:
        # Another label of the same image is no rival.
        own_labels = np.where(_held(records), records.held, -1)[image]
        other &= (top[:, :, None] != own_labels[:, None]).all(axis=2)
    rival = np.where(other.any(axis=1), other.argmax(axis=1), 0)
    number = np.arange(len(rival))
    own, theirs = hot_cells(maps), hot_cells(records.rivals[image, rival])
    both, either = (own & theirs), (own | theirs)
    overlap = both.sum(axis=(1, 2)) / np.maximum(either.sum(axis=(1, 2)), 1)
    table = pd.DataFrame(
        {
            "label": [outputs[n] for n in labels],
            "rival": [outputs[n] for n in top[number, rival]],
            "overlap": overlap,
            "number": number,
        }
    )[other.any(axis=1)]
    rows = []
    for (label, name), part in table.groupby(["label", "rival"], sort=True):
        same = part["overlap"] >= HOT
        if same.sum() >= FEWEST:
            spot = both[part["number"][same]].mean(axis=0)
            row, column = np.unravel_index(int(spot.argmax()), spot.shape)
            height, width = spot.shape
            box = (column / width, row / height, (column + 1) / width, (row + 1) / height)
            rows.append((label, name, int(same.sum()), part["overlap"].mean(), box_region(*box)))
    found = pd.DataFrame(rows, columns=list(CONFUSION_COLUMNS))
    return found.sort_values(
        ["images", "label", "rival"], ascending=[False, True, True], ignore_index=True
    )


def _pairs(records: Records) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every image with each of its labels: number of the image, output and class map."""
    if records.held is None or records.held_maps is None:
        return np.arange(len(records.outputs)), records.outputs, records.maps
    image, place = np.nonzero(_held(records))
    return image, records.held[image, place], records.held_maps[image, place]


def _held(records: Records) -> np.ndarray:
    """Which entries of ``held`` are labels of the image, (image, label) of bool."""
    assert records.held is not None
    count = (records.labels == HAS).sum(axis=1)
    return np.asarray(np.arange(records.held.shape[1]) < count[:, None])


def hot_cells(maps: np.ndarray) -> np.ndarray:
    """Cells from half of the map's highest value, where that is positive.

    Args:
        maps: raw and signed, any leading axes, then row and column.
    """
    top = maps.max(axis=(-2, -1), keepdims=True)
    return np.asarray((maps >= HOT * top) & (top > 0))
