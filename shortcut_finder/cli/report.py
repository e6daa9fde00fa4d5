"""The command ``report``."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from shortcut_finder.cli.exits import told_errors
from shortcut_finder.cli.output import printable


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="What `scan --out` wrote.", show_default=False)
    ],
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    decisions: Annotated[
        Path | None,
        typer.Option("--decisions", metavar="FILE", help="Decisions downloaded from the page."),
    ] = None,
) -> None:
    """Build the page of a run again; the images and the model are not needed.

    \b
    Example:
      shortcut-finder report run/ --open
    """
    with told_errors():
        from shortcut_finder.report.page import write_report
        from shortcut_finder.run.decisions import read_decisions
        from shortcut_finder.run.folder import load_run

        loaded = load_run(run)
        page = write_report(loaded, read_decisions(decisions, loaded) if decisions else None)
        typer.echo(printable(str(page)))
        if show:
            webbrowser.open(page.resolve().as_uri())
