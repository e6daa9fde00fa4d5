"""The command ``demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortcut_finder.cli.exits import told_errors
from shortcut_finder.cli.output import page_path


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the images and the run.")
    ] = Path("demo-run"),
) -> None:
    """Plant shortcuts in a generated dataset, train a small model on it, and find them.

    Needs no network and takes a few minutes.

    \b
    Example:
      shortcut-finder demo --out demo/
    """
    with told_errors():
        from shortcut_finder.demo.story import run_demo

        # It prints a table of its own: what was planted next to what was found.
        typer.echo(page_path(run_demo(out)))
