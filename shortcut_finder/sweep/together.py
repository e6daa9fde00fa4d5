"""Together: which images stay on one half, by the user's word and because they show one picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shortcut_finder.data.groups import joined
from shortcut_finder.sweep.copies import near_duplicates
from shortcut_finder.sweep.records import Records
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.texts import count, shown


@dataclass(frozen=True, eq=False)
class Together:
    """What was kept together.

    Attributes:
        records: with their groups.
        notes: sentences for the page.
        card: for ``run.json``; empty where every image stands for itself.
    """

    records: Records
    notes: tuple[str, ...]
    card: Mapping[str, Any]


def kept_together(
    scene: Scene, groups: np.ndarray | None, column: str | None, folder: Path, seed: int
) -> Together:
    """Records whose images stay together as the dataset says, and near-duplicates in any case.

    Args:
        scene: what the sweep kept, and the pictures behind it.
        groups: number of the group of each image of the dataset, (image,); None for none.
        column: what the user named the groups by.
        folder: the shards.
        seed: decides which image of a group counts.
    """
    # What loads torch is loaded when it is needed.
    from shortcut_finder.sweep.crops import cropped_copies

    records = scene.records
    given = None if groups is None else groups[records.table["index"].to_numpy()]
    given = joined(given, np.empty((0, 2)), len(records.labels))
    again = near_duplicates(folder, records.table, scene.pixels, seed)
    cropped = cropped_copies(folder, records, scene.pixels, seed)
    pairs = np.unique(np.concatenate([again, cropped]), axis=0)
    if given is not None:
        pairs = pairs[given[pairs[:, 0]] != given[pairs[:, 1]]]
    found = joined(given, pairs, len(records.labels))
    if found is None:
        return Together(records, (), {})
    sizes = np.bincount(found)
    alike = np.unique(pairs)
    card = {
        "column": column,
        "groups": len(sizes),
        "largest": int(sizes.max()),
        "near_duplicates": len(alike),
    }
    return Together(
        records.grouped(found, seed),
        _notes(given, pairs, column, records.table["image"].to_numpy()),
        {"groups": card},
    )


def _notes(
    given: np.ndarray | None, pairs: np.ndarray, column: str | None, names: np.ndarray
) -> tuple[str, ...]:
    counts = "they stay on one half, and one of each group counts in tests"
    said = []
    if given is not None:
        sizes = np.bincount(given)
        several = count(int((sizes > 1).sum()), "group", "groups")
        by = "of one file" if column is None else f"of one {shown(column)}"
        said.append(
            f"{int(sizes[sizes > 1].sum()):,} images {by} lie in {several}, at most "
            f"{int(sizes.max())} in one; {counts}."
        )
    if len(pairs):
        first, second = (shown(names[number]) for number in pairs[0])
        said.append(
            f"{count(len(np.unique(pairs)), 'image', 'images')} are near-duplicates of another, "
            f"such as {first} and {second}; {counts}."
        )
    return tuple(said)
