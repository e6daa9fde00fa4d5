"""Schema: the files of a run folder, their columns and how they are written."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SCHEMA_VERSION = 1

PRODUCT = "shortcut-finder"
REGION_COLUMNS = ("label", "region", "images", "share", "elsewhere", "lift", "effect", "p", "q")
FINDING_COLUMNS = (
    "finding", "label", "kind", "region", "images", "share", "elsewhere", "reliance",
    "reliance_low", "reliance_high", "q", "suspicion", "verdict", "severity", "sentence",
    "artifact", "share_low", "share_high",
)  # fmt: skip
OFFENDER_COLUMNS = (
    "rank", "image", "label", "predicted", "confidence", "score", "finding", "kind", "region",
    "x0", "y0", "x1", "y1", "reason", "tier",
)  # fmt: skip
# Columns that came later, and what a run without them is taken to hold.
LATER: dict[str, Any] = {
    "artifact": np.nan,
    "share_low": np.nan,
    "share_high": np.nan,
    "tier": "sure",
}
CONFUSION_COLUMNS = ("label", "rival", "images", "overlap", "region")
UNREADABLE_COLUMNS = ("image", "error")


def version_of(package: str = PRODUCT) -> str:
    """The version of a package that is installed; of this one by default."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename: it is there whole or not at all.

    Raises:
        OSError: with the name of the file; nothing of it is left then.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            # A name that outlives a power cut must not name an empty file.
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if error.errno is None:
            raise
        # What fails while bytes are written does not say where.
        raise OSError(error.errno, error.strerror, str(path)) from error


def to_json(value: Any) -> bytes:
    """JSON with stable bytes: sorted keys, six significant digits, ``null`` for NaN."""
    text = json.dumps(_plain(value), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "surrogateescape")


def to_csv(table: pd.DataFrame) -> bytes:
    """CSV with stable bytes: line ends as on Unix, six significant digits."""
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    if "\r" in text:
        # A lone carriage return would end the line for most readers, unless it is quoted.
        text = table.to_csv(
            index=False, float_format="%.6g", lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC
        )
    return text.encode("utf-8", "surrogateescape")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value if value is None else str(value)
