"""The command ``export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortcut_finder.cli.exits import told_errors
from shortcut_finder.cli.options import one_of
from shortcut_finder.cli.output import printable
from shortcut_finder.settings import EXPORTS


def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="What `scan --out` wrote.", show_default=False)
    ],
    to: Annotated[str, one_of("--to", EXPORTS, "The tool or format.")],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="PATH", help="A new file; for fiftyone a new folder."),
    ],
) -> None:
    """Write boxes, tags and scores of the findings for an annotation tool.

    \b
    Example:
      shortcut-finder export run/ --to coco --out shortcuts.json
    """
    with told_errors():
        from shortcut_finder.exporting import export as exporting

        for path in exporting.export(run, to, out):
            typer.echo(printable(str(path)))
