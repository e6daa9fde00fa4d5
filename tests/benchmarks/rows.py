"""Rows: what benchmarks measured, one JSON object a line, of which `page.py` makes BENCHMARKS.md.

A script that is called with `--record` (by make: with RECORD=1) adds its figures to
`tests/benchmarks/results/<table>.jsonl`, in place of what it measured of the same things before.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / "results"
# What recording itself changes.
RECORDS = ("tests/benchmarks/results", "BENCHMARKS.md")
# Figures are kept to so many digits.
DIGITS = 4


def recording(parser: argparse.ArgumentParser) -> None:
    """Give a script the option `--record`."""
    parser.add_argument(
        "--record", action="store_true", help="write the figures to tests/benchmarks/results"
    )


def commit(root: Path = ROOT) -> str:
    """The code that runs, as a short commit; "+" after it where tracked files differ from it.

    Args:
        root: of the checkout.

    Returns:
        Empty where the code lies in no checkout.
    """
    # A package that was unpacked within another checkout is none of it.
    above = {**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent)}

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=root, env=above, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        short = git("rev-parse", "--short", "HEAD")
    except FileNotFoundError:
        return ""
    others = (f":(exclude){path}" for path in RECORDS)
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *others)
    return f"{short}+" if short and changed else short


def same(values: Iterable[str]) -> str:
    """What all of some values are; empty where they differ or there is none.

    Example:
        >>> same(["a", "a"]), same(["a", "b"]), same([])
        ('a', '', '')
    """
    first, *others = {*values} or {""}
    return "" if others else first


def read_rows(table: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """The rows of a table, in their order; none where there is no file."""
    file = (folder or RESULTS) / f"{table}.jsonl"
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def add_row(table: str, *, folder: Path | None = None, **figures: Any) -> dict[str, Any]:
    """Write a row, in place of the one with the same key.

    Args:
        table: one of `TABLES`.
        folder: of the rows; that of the repository if left out.
        **figures: fields of the row; `commit` is filled in where it is not given.

    Returns:
        The row as it was written.
    """
    # Here, not above: it loads scipy, and processes that are timed start with this file.
    from tables import TABLES

    row = {name: rounded(value) for name, value in {"commit": commit(), **figures}.items()}
    key = {field: row[field] for field in TABLES[table].key}
    rows = read_rows(table, folder)
    places = [place for place, one in enumerate(rows) if key.items() <= one.items()]
    if places:
        rows[places[0]] = row
    else:
        rows.append(row)
    file = (folder or RESULTS) / f"{table}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(one, ensure_ascii=False) for one in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return row


def rounded(value: Any) -> Any:
    """A value as it is written: numbers of numpy as plain ones, fractions cut to `DIGITS` digits.

    Example:
        >>> rounded(0.123456), rounded(2065.3), rounded(17), rounded("a"), rounded(math.nan)
        (0.1235, 2065.0, 17, 'a', None)
    """
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and math.isnan(value):
        return None
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
