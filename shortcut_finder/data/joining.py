"""Joining: facts about images from a table of their own, matched by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from shortcut_finder.data import tables
from shortcut_finder.data.reading import storable


def joined_columns(
    path: Path, images: Sequence[str], root: Path | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The columns of a metadata file, joined on the images' names; every image stays.

    Args:
        path: of the file.
        images: names of the dataset's images.
        root: folder that relative names start from, where there are files.

    Returns:
        One row an image, and what a user should know, a sentence each.

    Raises:
        DatasetError: the file cannot be used.
    """
    table = tables.need_columns(tables.read_table(path), (), str(path))
    column = tables.image_column(table, str(path))
    names = tables.cells(table, column, str(path))
    columns, notes = tables.metadata_columns(
        table.drop(columns=[column, "image", "label"], errors="ignore"), str(path)
    )
    if "mask" in columns:
        columns["mask"] = [
            _beside(value, tables.absolute(path.parent)) for value in columns["mask"]
        ]
    columns.index = _matching(names, images, root, path)
    first = columns[~columns.index.duplicated()]
    if len(first) < len(columns):
        notes += (f"{path}: {len(columns) - len(first)} rows repeat an image; the first counts",)
    matched = int(pd.Index(images).isin(first.index).sum())
    notes += (f"{path}: metadata for {matched or 'none'} of {len(images)} images",)
    if names and not matched:
        notes += (
            f"{path}: the file names images like {names[0]!r}, the dataset like "
            f"{images[0]!r}; they must be the same",
        )
    return first.reindex(list(images)).reset_index(drop=True), notes


def _beside(value: Any, home: Path) -> Any:
    """The path of a file that a metadata file names from where it lies; anything else as it is."""
    return str(home / value) if isinstance(value, str) and tables.exists(home / value) else value


def _matching(
    names: Sequence[str], images: Sequence[str], root: Path | None, path: Path
) -> pd.Index:
    """Names of a metadata file as the dataset has them, read in the way that fits most images.

    Paths may start at the dataset's root or at the folder of the file; names alone will do, with
    or without their ending, where no two images share one.
    """
    root = root or Path.cwd()
    home = tables.absolute(path.parent)
    readings = [
        [storable(tables.relative(name, root)) for name in names],
        [storable(tables.relative(str(tables.absolute(home / name)), root)) for name in names],
    ]
    for part in ("name", "stem"):
        own = {getattr(PurePosixPath(image), part): image for image in images}
        short = {name: getattr(PurePosixPath(name), part) for name in readings[0]}
        if len(own) == len(images) and len(set(short.values())) == len(short):
            readings.append([own.get(short[name], name) for name in readings[0]])
    known = pd.Index(images)
    return max(map(pd.Index, readings), key=lambda reading: int(known.isin(reading).sum()))
