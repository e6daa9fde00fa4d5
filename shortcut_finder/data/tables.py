"""Tables: manifests and metadata from users, read as data and nothing else."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shortcut_finder.errors import DatasetError

SUFFIXES = (".csv", ".parquet")

# What tables of facts call the column that names their images, other than ``image``.
IMAGE_COLUMNS = (
    "path", "file", "filename", "file_name", "filepath", "file_path", "image_path", "image_file",
    "image_name", "image_id",
)  # fmt: skip

# Text that may look like a number but is a code, such as 007, and text that is none.
_NO_NUMBER = re.compile(r"\s*[+-]?0\d|.*[^\d.eE+\-\s]", re.S)


def read_table(path: Path) -> pd.DataFrame:
    """A user's CSV or Parquet file; every CSV cell is text, exactly as written.

    Raises:
        DatasetError: the file is missing, of another kind or damaged.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: file not found")
    if path.suffix.lower() not in SUFFIXES:
        raise DatasetError(f"{path}: expected a .csv or .parquet file")
    try:
        # A file object, not the name: pandas would take some names for addresses or archives.
        with path.open("rb") as file:
            return table_from(file, path.suffix.lower(), str(path))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from error


def table_from(file: BinaryIO, suffix: str, place: str) -> pd.DataFrame:
    """A table from an opened file.

    Args:
        file: opened for reading bytes.
        suffix: ``.csv``, or ``.parquet`` for anything else.
        place: for messages.

    Raises:
        DatasetError: it is damaged.
    """
    try:
        return _read_csv(file) if suffix == ".csv" else _read_parquet(file)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{place}: not UTF-8 text; save the table as UTF-8") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise DatasetError(f"{place}: cannot be read ({reason})") from error


def _read_csv(file: BinaryIO) -> pd.DataFrame:
    # The header is read as a row: pandas would rename repeated columns, and take surplus ones for
    # rows' names.
    rows = pd.read_csv(file, header=None, dtype=str, na_filter=False, encoding="utf-8-sig")
    table = rows.iloc[1:].reset_index(drop=True)
    table.columns = pd.Index(rows.iloc[0])
    return table


def _read_parquet(file: BinaryIO) -> pd.DataFrame:
    # The notes of pandas inside the file are ignored: an index is an ordinary column again.
    return pq.read_table(file).to_pandas(ignore_metadata=True)


def need_columns(table: pd.DataFrame, wanted: Sequence[str], name: str) -> pd.DataFrame:
    """The table with trimmed column names, all of them different, with these among them.

    Args:
        table: from a user.
        wanted: columns that must be there.
        name: of the table, for the message.

    Raises:
        DatasetError: a column is missing or appears twice.
    """
    columns = [str(column).strip() for column in table.columns]
    missing = [column for column in wanted if column not in columns]
    if missing:
        found = ", ".join(columns) or "none"
        raise DatasetError(f"{name}: no column {' and '.join(missing)}; columns found: {found}")
    for column in columns:
        if columns.count(column) > 1:
            raise DatasetError(f"{name}: column {column!r} appears twice; rename one")
    table = table.reset_index(drop=True)
    table.columns = pd.Index(columns)
    return table


def image_column(table: pd.DataFrame, name: str) -> str:
    """The column that names images: ``image``, else the only one of `IMAGE_COLUMNS`.

    Raises:
        DatasetError: there is none, or more than one.
    """
    columns = [str(column) for column in table.columns]
    for wanted in (("image",), IMAGE_COLUMNS):
        found = [column for column in columns if column.lower() in wanted]
        if len(found) == 1:
            return found[0]
        if found:
            raise DatasetError(
                f"{name}: columns {' and '.join(found)} could all name the images; "
                "rename the right one to image"
            )
    raise DatasetError(
        f"{name}: no column image, nor one called {', '.join(IMAGE_COLUMNS)}; "
        f"columns found: {', '.join(columns) or 'none'}"
    )


def cells(table: pd.DataFrame, column: str, name: str) -> list[str]:
    """A column as text; numbers keep the form they have in the table.

    Raises:
        DatasetError: a cell is empty, or neither text, number nor path.
    """
    return [
        _cell(value, f"{name}: row {row}", column)
        for row, value in enumerate(table[column].tolist(), start=1)
    ]


def _cell(value: Any, place: str, column: str) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        if not value.strip():
            raise DatasetError(f"{place} has an empty {column}")
        return value
    if not pd.api.types.is_scalar(value) or isinstance(value, bytes):
        raise DatasetError(f"{place} has a {type(value).__name__} as {column}; expected text")
    if pd.isna(value):
        raise DatasetError(f"{place} has an empty {column}")
    return str(value)


def absolute(path: str | Path) -> Path:
    """A path from the root of the file system; links are kept, so names stay the user's."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def exists(path: Path) -> bool:
    """Whether there is such a file, also for names that no file can have."""
    try:
        return path.exists()
    # Before Python 3.12 a name that no file can have raises.
    except (ValueError, OSError):
        return False


def relative(path: str, root: Path) -> str:
    """A path below ``root`` as a relative one, with ``/`` and without ``./``.

    Example:
        >>> relative("./cats/1.jpg", Path("/data")), relative("/data/cats/1.jpg", Path("/data"))
        ('cats/1.jpg', 'cats/1.jpg')
    """
    pure = PurePath(path)
    if pure.is_absolute() and pure.is_relative_to(root):
        pure = pure.relative_to(root)
    return pure.as_posix()


def one_row_an_image(table: pd.DataFrame, name: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The first row of each image, and a note where there were more.

    Raises:
        DatasetError: an image has two labels.
    """
    again = table["image"].duplicated()
    if not again.any():
        return table, ()
    pairs = table[["image", "label"]].drop_duplicates()
    clash = pairs[pairs["image"].duplicated(keep=False)]
    if len(clash):
        image = clash["image"].iloc[0]
        first, second = clash.loc[clash["image"] == image, "label"].tolist()[:2]
        raise DatasetError(f"{name}: {image!r} has the labels {first!r} and {second!r}; keep one")
    note = f"{name}: {int(again.sum())} rows repeat an image; the first row of each counts"
    return table[~again].reset_index(drop=True), (note,)


def metadata_columns(table: pd.DataFrame, name: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The columns that can be compared with labels, and a note for each that cannot.

    Text that is a number throughout becomes numbers, unless a leading zero shows that it is a code.
    Empty cells are missing values. Lists, structures and bytes cannot be compared.
    """
    kept = {}
    notes = []
    for column in table.columns:
        values = table[column]
        if values.dtype == object and not _plain(values):
            notes.append(f"{name}: metadata column {column!r} holds no plain values; left out")
        else:
            kept[column] = _typed(values)
    return pd.DataFrame(kept, index=table.index), tuple(notes)


def _plain(values: pd.Series) -> bool:
    return all(
        value is None or (pd.api.types.is_scalar(value) and not isinstance(value, bytes))
        for value in values
    )


def _typed(values: pd.Series) -> pd.Series:
    """Text as numbers where that is what it is; other types as they are."""
    if values.dtype != object and not isinstance(values.dtype, pd.StringDtype):
        return values
    texts = values.where(values.notna(), "").astype(str)
    filled = texts.str.strip() != ""
    texts = texts.where(filled, None)
    if not filled.any() or any(map(_NO_NUMBER.match, texts[filled])):
        return texts
    numbers = pd.to_numeric(texts[filled], errors="coerce").astype(np.float64)
    return texts if numbers.isna().any() else numbers.reindex(values.index)
