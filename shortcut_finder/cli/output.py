"""Output: what commands print, safe for a terminal."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import typer

from shortcut_finder.texts import clipped, percent

if TYPE_CHECKING:
    from shortcut_finder.run.folder import Run

TABLE_COLUMNS = ("finding", "label", "kind", "region", "images", "share", "severity", "verdict")

# Longer labels would push the other columns off a terminal of 100 characters.
WIDEST = 28


def log(lines: Iterable[str]) -> None:
    """Print lines to stderr."""
    for line in lines:
        typer.echo(printable(line), err=True)


def findings_json(run: Run) -> str:
    """The findings and what was looked at, as one JSON object."""
    from shortcut_finder.schema import FINDING_COLUMNS, to_json

    result = {
        "run": str(run.folder),
        "report": str(run.folder / "report.html"),
        "counts": run.card["counts"],
        "warnings": run.card["warnings"],
        "findings": run.findings[list(FINDING_COLUMNS)].to_dict("records"),
    }
    # ASCII, so that no name can drive a terminal or break a pipe.
    return json.dumps(json.loads(to_json(result)), indent=1)


def findings_table(run: Run) -> str:
    """The findings, strongest first, what was looked at, and where the page is."""
    counts = run.card["counts"]
    rows = [TABLE_COLUMNS, *(_row(finding) for finding in run.findings.to_dict("records"))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TABLE_COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    if len(rows) == 1:
        lines = ["no findings"]
    seen = f"{counts['scanned']} images scanned"
    if counts["unreadable"]:
        seen += f", {counts['unreadable']} unreadable (unreadable.csv)"
    return "\n".join([*lines, "", seen, page_path(run)])


def page_path(run: Run) -> str:
    """Where the page of a run is."""
    return printable(str(run.folder / "report.html"))


def _row(finding: Mapping[Hashable, Any]) -> tuple[str, ...]:
    cells = {**finding, "share": percent(finding["share"])}
    return tuple(clipped(printable(str(cells[column])), WIDEST) for column in TABLE_COLUMNS)


def printable(text: str) -> str:
    r"""Text whose control characters are written out, so that no name can drive a terminal.

    Example:
        >>> printable("cat\x1b[2J.jpg")
        'cat\\x1b[2J.jpg'
    """
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in text
    )
