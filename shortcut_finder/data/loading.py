"""Loading: a dataset as a scan takes it, with its window, its headers and its groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from shortcut_finder.data.dataset import ImageDataset, load_dataset
from shortcut_finder.data.groups import numbered
from shortcut_finder.data.headers import GROUPS, with_headers
from shortcut_finder.data.items import Items
from shortcut_finder.data.levels import Window
from shortcut_finder.data.membership import HAS, LACKS
from shortcut_finder.errors import DatasetError


def open_dataset(
    data: Any,
    *,
    metadata: Path | None = None,
    label_columns: Sequence[str] = (),
    window: Window | None = None,
    frames: str = "first",
    group: str | None = None,
) -> ImageDataset:
    """A labelled dataset, with what its files say of themselves.

    Args:
        data: as `load_dataset` takes it.
        metadata: likewise.
        label_columns: likewise.
        window: the numbers that become black and white, of grey deeper than 8 bits.
        frames: of DICOM files: the ``first``, or ``all``.
        group: column whose images must stay together, or an element of DICOM headers, by the names
            of `GROUPS`. It is taken out of the metadata: no group can be found on one half and
            tested on the other.

    Raises:
        DatasetError: it cannot be used as labelled images, or nothing says the groups.
    """
    dataset = load_dataset(data, metadata=metadata, label_columns=label_columns)
    if window is not None:
        dataset = dataclasses.replace(dataset, source=_windowed(dataset.source, window))
    dataset = with_headers(dataset, frames, group)
    if group is None:
        return dataset
    if group in dataset.metadata:
        names = ["" if one is None else str(one).strip() for one in _cells(dataset, group)]
        return dataclasses.replace(
            dataset,
            metadata=dataset.metadata.drop(columns=[group]),
            groups=numbered(names),
        )
    if dataset.groups is None or group not in (*GROUPS, *GROUPS.values()):
        found = ", ".join(map(str, dataset.metadata.columns)) or "none"
        raise DatasetError(
            f"{dataset.name}: no column {group!r} to keep images together by; columns found: "
            f"{found}; name one with --group, or join a table with --metadata"
        )
    return dataset


def with_outputs(dataset: ImageDataset, outputs: Sequence[str]) -> ImageDataset:
    """The dataset with those of several labels an image that a model tells, if there are any.

    The others become columns of the metadata, so that findings can be held against them.

    Args:
        dataset: with one label an image it stays as it is.
        outputs: names of the model's outputs.
    """
    told = [number for number, name in enumerate(dataset.classes) if name in outputs]
    if not dataset.several or not told or len(told) == len(dataset.classes):
        return dataset
    labels = dataset.labels[:, told]
    if not (labels == HAS).any():
        raise DatasetError(f"{dataset.name}: no image has a label that the model tells")
    words = {HAS: "yes", LACKS: "no"}
    strange = pd.DataFrame(
        {
            name: [words.get(int(state)) for state in dataset.labels[:, number]]
            for number, name in enumerate(dataset.classes)
            if number not in told
        }
    )
    kept = dataset.metadata.drop(columns=strange.columns, errors="ignore")
    return dataclasses.replace(
        dataset,
        labels=labels,
        classes=tuple(dataset.classes[number] for number in told),
        metadata=pd.concat([kept, strange], axis=1),
        notes=(
            *dataset.notes,
            f"{dataset.name}: the model has no output for {', '.join(map(str, strange))}; "
            "taken as metadata",
        ),
    )


def _windowed(source: Any, window: Window) -> Any:
    if isinstance(source, Items):
        return Items(source.items, source.spec, window)
    return dataclasses.replace(source, window=window)


def _cells(dataset: ImageDataset, column: str) -> list[Any]:
    values = dataset.metadata[column]
    return values.astype(object).where(values.notna(), None).tolist()
