"""Embedded: images kept as bytes in the rows of Parquet files, as Hugging Face datasets are.

Rows come out of a Parquet file by the group only. The groups read last are kept, and where they are
too many to be kept all, the sweep takes images group by group (`Embedded.block`).
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shortcut_finder.data import tables
from shortcut_finder.data.labels import class_order
from shortcut_finder.data.levels import Window
from shortcut_finder.data.reading import MOST_BYTES, storable
from shortcut_finder.data.sources import Bytes
from shortcut_finder.data.storage import Storage, safe_name
from shortcut_finder.errors import DatasetError, UnreadableImage

# Bytes of row groups that one process keeps, and that one group may have.
KEPT, MOST_GROUP = 256 * 2**20, 4 * 2**30


@dataclass(frozen=True)
class Row:
    """Where an image lies.

    Attributes:
        file: below the folder.
        group: of rows in the file.
        place: in the group.
    """

    file: str
    group: int
    place: int


@dataclass(frozen=True)
class Embedded(Bytes):
    """Images in the rows of Parquet files.

    Attributes:
        storage: the folder of the files.
        rows: where each image lies, by its name.
        column: of the images, as Parquet names the leaf with the bytes.
        total: bytes of all row groups.
        window: the numbers that become black and white, of grey deeper than 8 bits.
        kept: groups read last, of this process.
    """

    storage: Storage
    rows: Mapping[str, Row]
    column: str
    total: int
    window: Window | None = None
    kept: OrderedDict[tuple[str, int], pa.ChunkedArray] = field(
        default_factory=OrderedDict, compare=False, repr=False
    )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "kept": OrderedDict()}

    def bytes(self, image: str) -> bytes:
        """The bytes of the image's file.

        Raises:
            UnreadableImage: with a reason in plain words.
        """
        if image not in self.rows:
            raise UnreadableImage("not in the file")
        row = self.rows[image]
        cell = self._group(row.file, row.group)[row.place]
        size = None if not cell.is_valid else len(cell.as_buffer())
        if not size:
            raise UnreadableImage("an empty cell")
        if size > MOST_BYTES:
            raise UnreadableImage(f"a file of {size:,} bytes; up to {MOST_BYTES:,}")
        return bytes(cell.as_buffer())

    def block(self, image: str) -> tuple[str, int] | None:
        """What is read together with an image; None where everything can be kept anyhow."""
        if self.total <= KEPT:
            return None
        row = self.rows[image]
        return row.file, row.group

    def _group(self, file: str, group: int) -> pa.ChunkedArray:
        key = file, group
        if key not in self.kept:
            try:
                with self.storage.open(file) as opened:
                    read = pq.ParquetFile(opened).read_row_group(group, columns=[self.column])
            except (DatasetError, OSError, ValueError, pa.ArrowException) as error:
                raise UnreadableImage(f"damaged: {str(error).partition(chr(10))[0]}") from error
            column = read.column(0)
            while pa.types.is_struct(column.type):
                column = pa.chunked_array([chunk.field(0) for chunk in column.chunks])
            self.kept[key] = column
            while len(self.kept) > 1 and sum(one.nbytes for one in self.kept.values()) > KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]


@dataclass(frozen=True)
class Table:
    """What the files say.

    Attributes:
        source: of the images.
        labels: one an image.
        classes: their names, in the order that the files state or else in the usual one.
        metadata: the other plain columns.
        notes: what a user should know.
    """

    source: Embedded
    labels: list[str]
    classes: tuple[str, ...]
    metadata: pd.DataFrame
    notes: tuple[str, ...]


def image_leaf(schema: pa.Schema) -> str | None:
    """The leaf column with the bytes of images; None where a Parquet file holds none."""
    for entry in schema:
        if pa.types.is_struct(entry.type):
            names = [entry.type.field(n).name for n in range(entry.type.num_fields)]
            if "bytes" in names and _is_bytes(entry.type.field(names.index("bytes")).type):
                return f"{entry.name}.bytes"
        elif entry.name in ("image", "img") and _is_bytes(entry.type):
            return str(entry.name)
    return None


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def schema_of(storage: Storage, file: str) -> pa.Schema:
    """The columns of a Parquet file.

    Raises:
        DatasetError: it is damaged.
    """
    with storage.open(file) as opened:
        try:
            return pq.read_schema(opened)
        except (OSError, ValueError, pa.ArrowException) as error:
            reason = str(error).partition("\n")[0][:200]
            raise DatasetError(f"{storage.root}/{file}: cannot be read ({reason})") from error


def table_of(storage: Storage, files: Sequence[str], place: str) -> Table:
    """Read the labels and other plain columns, and where each image lies.

    Args:
        storage: the folder of the files.
        files: Parquet files of one schema.
        place: for messages.

    Raises:
        DatasetError: they hold no images with labels, or differ.
    """
    schema = schema_of(storage, files[0])
    leaf = image_leaf(schema)
    if leaf is None:
        raise DatasetError(f"{place}: no column with the bytes of images")
    label, names = _label_column(schema, leaf.partition(".")[0], place)
    rows: dict[str, Row] = {}
    parts, total = [], 0
    for file in files:
        with storage.open(file) as opened:
            try:
                read, size = _read_file(file, opened, leaf, rows)
            except (OSError, ValueError, KeyError, pa.ArrowException) as error:
                reason = str(error).partition("\n")[0][:200]
                raise DatasetError(f"{storage.root}/{file}: cannot be read ({reason})") from error
        parts.append(tables.need_columns(read, [label], f"{storage.root}/{file}"))
        total += size
    table = pd.concat(parts, ignore_index=True)
    labels = _labels(table, label, names, place)
    metadata, notes = tables.metadata_columns(table.drop(columns=[label]), place)
    return Table(
        Embedded(storage, rows, leaf, total),
        labels,
        names or tuple(class_order(labels)),
        metadata,
        notes,
    )


def _read_file(file: str, opened: Any, leaf: str, rows: dict[str, Row]) -> tuple[pd.DataFrame, int]:
    """The plain columns of a file; its images go into ``rows``."""
    parquet = pq.ParquetFile(opened)
    column, _, part = leaf.partition(".")
    plain = [name for name in parquet.schema_arrow.names if name != column]
    has_paths = part and "path" in [
        parquet.schema_arrow.field(column).type.field(n).name
        for n in range(parquet.schema_arrow.field(column).type.num_fields)
    ]
    facts = [parquet.metadata.row_group(g) for g in range(parquet.metadata.num_row_groups)]
    largest = max((fact.total_byte_size for fact in facts), default=0)
    if largest > MOST_GROUP:
        raise ValueError(f"a row group of {largest:,} bytes; write it anew with smaller ones")
    paths: list[Any] = [None] * parquet.metadata.num_rows
    if has_paths:
        read = parquet.read(columns=[f"{column}.path"]).column(0)
        paths = [cell and cell["path"] for cell in read.to_pylist()]
    own = [safe_name(path) if isinstance(path, str) and path else None for path in paths]
    if None in own or len(set(own)) < len(own):
        own = [f"{number:07d}" for number in range(len(own))]
    number = 0
    for group, fact in enumerate(facts):
        for place in range(fact.num_rows):
            rows[storable(f"{file}/{own[number]}")] = Row(file, group, place)
            number += 1
    table = parquet.read(columns=plain).to_pandas(ignore_metadata=True)
    return table, sum(fact.total_byte_size for fact in facts)


def _label_column(schema: pa.Schema, image: str, place: str) -> tuple[str, tuple[str, ...] | None]:
    """The column of labels, and the names of the classes where the schema has them."""
    stated: dict[str, tuple[str, ...]] = {}
    try:
        content = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        for name, kind in content.get("info", {}).get("features", {}).items():
            if isinstance(kind, dict) and kind.get("_type") == "ClassLabel":
                stated[name] = tuple(storable(str(one)) for one in kind.get("names") or ())
    # A note for other programs, and perhaps of another version; columns can be named without it.
    except (ValueError, AttributeError, TypeError, RecursionError):
        stated = {}
    plain = [name for name in schema.names if name != image]
    for wanted in (["label"], [name for name in stated if name in plain], ["labels"]):
        found = [name for name in wanted if name in plain]
        if len(found) == 1:
            return found[0], stated.get(found[0]) or None
    columns = ", ".join(plain) or "none"
    raise DatasetError(f"{place}: no column label beside the images; columns found: {columns}")


def _labels(
    table: pd.DataFrame, column: str, names: tuple[str, ...] | None, place: str
) -> list[str]:
    texts = [one.strip() for one in tables.cells(table, column, place)]
    if names is None:
        return texts
    labels = []
    for row, text in enumerate(texts, start=1):
        number = int(text) if text.lstrip("-").isdigit() else -1
        if not 0 <= number < len(names):
            raise DatasetError(
                f"{place}: row {row} has the label {text!r}, which is none of the {len(names)} "
                "classes that the file names"
            )
        labels.append(names[number])
    return labels
