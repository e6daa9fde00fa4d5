"""Containers: datasets whose images lie in archives, in Parquet files, or in a remote folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from shortcut_finder.data import tables
from shortcut_finder.data.archives import ARCHIVES, Archived, index_of, labels_of
from shortcut_finder.data.embedded import Embedded, image_leaf, schema_of, table_of
from shortcut_finder.data.labels import class_order
from shortcut_finder.data.levels import Window
from shortcut_finder.data.reading import MOST_BYTES, SUFFIXES
from shortcut_finder.data.sources import Bytes
from shortcut_finder.data.storage import Storage, is_url, safe_name, storage_of
from shortcut_finder.errors import DatasetError, UnreadableImage

PARQUET = ".parquet"


@dataclass(frozen=True)
class Remote(Bytes):
    """Image files below a folder that a URL names.

    Attributes:
        storage: the folder.
        window: the numbers that become black and white, of grey deeper than 8 bits.
    """

    storage: Storage
    window: Window | None = None

    def bytes(self, image: str) -> bytes:
        """The bytes of the image's file.

        Raises:
            UnreadableImage: with a reason in plain words.
        """
        data = self.storage.part(image, 0, MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise UnreadableImage(f"a file of more than {MOST_BYTES:,} bytes")
        if not data:
            raise UnreadableImage("an empty file (0 bytes)")
        return data


@dataclass(frozen=True)
class Contents:
    """What containers hold.

    Attributes:
        name: of the dataset.
        images: one name an image: of the container, and in it.
        labels: one an image.
        classes: their names in order.
        source: reads an image by its name.
        metadata: one row an image; None where there is none.
        notes: what a user should know.
    """

    name: str
    images: list[str]
    labels: list[str]
    classes: tuple[str, ...]
    source: Archived | Embedded | Remote
    metadata: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()


def contents_of(data: str) -> Contents | None:
    """The images of an archive, of a Parquet file that holds images, or of a remote folder.

    Args:
        data: file or URL of one; or a folder of them, without class folders.

    Returns:
        None where ``data`` is something else, such as a folder of class folders or a manifest.

    Raises:
        DatasetError: it cannot be used as labelled images.
    """
    storage, last = storage_of(data)
    suffix = PurePosixPath(last).suffix.lower()
    name = PurePosixPath(last).stem
    if suffix in ARCHIVES:
        return _from_archives(storage, [last], name, data)
    if suffix == PARQUET:
        if image_leaf(schema_of(storage, last)) is None:
            return None
        return _from_parquet(storage, [last], name, data)
    if suffix in tables.SUFFIXES:
        return None
    folder = Storage(data.rstrip("/") if is_url(data) else f"{storage.root}/{last}")
    names = folder.names()
    top = [one for one in names if "/" not in one and not one.startswith(".")]
    archives = [one for one in top if PurePosixPath(one).suffix.lower() in ARCHIVES]
    parquet = [one for one in top if PurePosixPath(one).suffix.lower() == PARQUET]
    if archives and parquet:
        raise DatasetError(f"{data}: archives and Parquet files in one folder; name one of them")
    if archives:
        return _from_archives(folder, archives, last, data)
    if parquet:
        return _from_parquet(folder, parquet, last, data)
    return _from_remote(folder, names, last, data) if folder.remote else None


def _from_archives(storage: Storage, archives: Sequence[str], name: str, place: str) -> Contents:
    index = index_of(storage, archives)
    if not index.images:
        raise DatasetError(f"{place}: no images inside")
    labels = labels_of(storage, index, place)
    notes = []
    if index.left_out:
        notes.append(f"{place}: {index.left_out} names lead out of the archive; left out")
    if index.repeated:
        notes.append(f"{place}: {index.repeated} names come again; the last of each counts")
    source = Archived(storage, index.images)
    # Folders are ordered as folders are, and numbers of outputs by value.
    classes = class_order(labels) if index.labels else tuple(sorted(set(labels)))
    return Contents(name, list(index.images), labels, classes, source, notes=tuple(notes))


def _from_parquet(storage: Storage, files: Sequence[str], name: str, place: str) -> Contents:
    table = table_of(storage, files, place)
    images = list(table.source.rows)
    return Contents(
        name, images, table.labels, table.classes, table.source, table.metadata, table.notes
    )


def _from_remote(storage: Storage, names: Sequence[str], name: str, place: str) -> Contents:
    """As a folder of this machine: each folder is a class, its images lie anywhere below it."""
    images = [
        one
        for one in names
        if "/" in one
        and PurePosixPath(one).suffix.lower() in SUFFIXES
        and safe_name(one) == one
        and not any(part.startswith(".") for part in PurePosixPath(one).parts)
    ]
    if not images:
        raise DatasetError(f"{place}: no images; expected {place}/<class>/<image>, or a manifest")
    labels = [one.partition("/")[0] for one in images]
    return Contents(name, images, labels, tuple(sorted(set(labels))), Remote(storage))


def remote_manifest(data: str) -> tuple[pd.DataFrame, Remote]:
    """A manifest that a URL names, and what reads the images below its folder.

    Raises:
        DatasetError: it cannot be read.
    """
    storage, last = storage_of(data)
    with storage.open(last) as file:
        table = tables.table_from(file, PurePosixPath(last).suffix.lower(), data)
    return table, Remote(storage)
