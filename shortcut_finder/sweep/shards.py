"""Shards: what the sweep keeps of every image, one Parquet file for some hundred images.

A shard is the unit of resume: it is there whole or not at all. Arrays are stored as bytes, with
their shape and type in the file's own metadata; nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shortcut_finder.errors import RunError
from shortcut_finder.schema import write_whole

# One entry per array kept for each image, with the type it is stored in.
ARRAYS = {
    "maps": np.float16,  # raw signed class maps, (4, row, column): label, then the top 3; of
    # several labels all come first, and the top one where an image has fewer
    "shown": np.int32,  # the classes those maps belong to, (4,)
    "logits": np.float16,  # (class,)
    "features": np.float16,  # pooled last features, (channel,)
    "cells": np.int8,  # whitened unit descriptors as signed bytes, (row, column, channel)
    "fine": np.int8,  # the same at twice the grid, (2 row, 2 column, channel); of no channels
    # where the network has no finer layer
}


@dataclass(frozen=True, eq=False)
class Shard:
    """The images of one file.

    Attributes:
        table: one row an image: position in the dataset, name, content hash, size, properties.
        arrays: (image, ...) for each name asked for.
    """

    table: pd.DataFrame
    arrays: Mapping[str, np.ndarray]


def shard_path(folder: Path, number: int) -> Path:
    """Where the shard with that number is kept."""
    return folder / f"shard-{number:06d}.parquet"


def write_shard(path: Path, table: pd.DataFrame, arrays: Mapping[str, np.ndarray]) -> None:
    """Write one shard, whole or not at all.

    Args:
        path: of the new file.
        table: one row an image.
        arrays: (image, ...) for each name in `ARRAYS`.
    """
    columns = {name: pa.array(table[name]) for name in table.columns}
    shapes = {}
    for name, kept_type in ARRAYS.items():
        values = np.ascontiguousarray(arrays[name], dtype=kept_type)
        shapes[name] = list(values.shape[1:])
        columns[f"array:{name}"] = pa.array([row.tobytes() for row in values], pa.binary())
    plain = pa.table(columns)
    facts = json.dumps(shapes)
    written = plain.replace_schema_metadata({"shapes": facts, "checksum": checksum(plain, facts)})
    buffer = io.BytesIO()
    pq.write_table(written, buffer, compression="zstd", write_page_checksum=True)
    write_whole(path, buffer.getvalue())


def checksum(table: pa.Table, shapes: str) -> str:
    """Of the shapes of arrays, and the names, types and values of all columns, 64 hex digits."""
    digest = hashlib.sha256(shapes.encode())
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f"{name}\0{len(column)}\0".encode())
        values = column.to_numpy()
        digest.update(str(values.dtype).encode())
        if values.dtype != object:
            digest.update(values.tobytes())
            continue
        for value in values:
            content = value.encode() if isinstance(value, str) else bytes(value or b"")
            digest.update(f"{type(value).__name__}{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def is_whole(path: Path) -> bool:
    """Whether all of a shard is what was written, by its checksum."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        kept = table.schema.metadata
        return kept[b"checksum"].decode() == checksum(table, kept[b"shapes"].decode())
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return False


def read_shards(folder: Path, arrays: Sequence[str] = ()) -> Iterator[Shard]:
    """The shards of a run in order, with only the arrays asked for.

    Raises:
        RunError: a shard is damaged.
    """
    for path in sorted(folder.glob("shard-*.parquet")):
        yield read_shard(path, arrays)


def read_shard(path: Path, arrays: Sequence[str] = ()) -> Shard:
    """One shard, with only the arrays asked for.

    Raises:
        RunError: the file is damaged.
    """
    try:
        schema = pq.read_schema(path)
        shapes = json.loads(schema.metadata[b"shapes"])
        plain = [name for name in schema.names if not name.startswith("array:")]
        columns = [*plain, *(f"array:{name}" for name in arrays)]
        read = pq.read_table(path, columns=columns, page_checksum_verification=True)
        kept = {
            name: np.frombuffer(
                b"".join(read[f"array:{name}"].to_pylist()), dtype=ARRAYS[name]
            ).reshape(len(read), *shapes[name])
            for name in arrays
        }
        return Shard(read.select(plain).to_pandas(), kept)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        # Arrow's messages go on over many lines.
        reason = str(error).partition("\n")[0]
        raise RunError(f"{path}: damaged shard ({reason}); scan again with --fresh") from error


def read_label_maps(folder: Path) -> dict[str, np.ndarray]:
    """The class map of each image's label, raw and signed, (row, column)."""
    maps: dict[str, np.ndarray] = {}
    for shard in read_shards(folder, ["maps"]):
        label_maps = shard.arrays["maps"][:, 0].astype(np.float32)
        maps.update(zip(shard.table["image"], label_maps, strict=True))
    return maps


def read_maps_of(folder: Path, output: int) -> dict[str, np.ndarray]:
    """The class map of an output in every image that has one, and of its first label elsewhere."""
    maps: dict[str, np.ndarray] = {}
    for shard in read_shards(folder, ["maps", "shown"]):
        shown = shard.arrays["shown"] == output
        place = np.where(shown.any(axis=1), shown.argmax(axis=1), 0)
        chosen = shard.arrays["maps"][np.arange(len(place)), place].astype(np.float32)
        maps.update(zip(shard.table["image"], chosen, strict=True))
    return maps


def unit_cells(stored: np.ndarray) -> np.ndarray:
    """Stored cells as unit vectors, float32, any leading axes and the channel last."""
    cells = stored.astype(np.float32)
    return cells / np.maximum(np.linalg.norm(cells, axis=-1, keepdims=True), 1e-6)


def plan_of(folder: Path) -> dict[str, Any] | None:
    """What the shards in this folder belong to; ``None`` where there is no plan yet."""
    path = folder / "plan.json"
    if not path.exists():
        return None
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); scan again with --fresh") from error
    if not isinstance(plan, dict):
        raise RunError(f"{path}: not a plan; scan again with --fresh")
    return plan
