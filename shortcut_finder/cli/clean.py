"""The command ``clean``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortcut_finder.cli.exits import told_errors
from shortcut_finder.cli.options import one_of
from shortcut_finder.cli.output import log, printable
from shortcut_finder.settings import ACTIONS, FILES, SURE, TIERS


def clean(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="What `scan --out` wrote.", show_default=False)
    ],
    action: Annotated[str, one_of("--action", ACTIONS, "What to do with the images.")] = "drop",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="A new folder for the result.")
    ] = None,
    decisions: Annotated[
        Path | None,
        typer.Option(
            "--decisions", metavar="FILE", help="decisions.json from the page of the run."
        ),
    ] = None,
    expand: Annotated[
        bool, typer.Option("--expand", help="Look for the accepted things in all images again.")
    ] = False,
    tier: Annotated[
        str, one_of("--tier", TIERS, "Images that surely carry it, or also those that likely do.")
    ] = SURE,
    files: Annotated[
        str | None,
        one_of("--files", FILES, "How images that stay as they are get into DIR."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and write nothing.")
    ] = False,
) -> None:
    """Leave out, fill in or reweight the images that carry a shortcut; the source stays as it is.

    Without --decisions, findings are cleaned that are confirmed, or suspect and of high severity.
    DIR/manifest.csv lists the new dataset, ready to be scanned.

    \b
    Example:
      shortcut-finder clean run/ --action mask --out cleaned/
    """
    with told_errors():
        if out is None and not dry_run:
            raise typer.BadParameter("give a new folder, or --dry-run", param_hint="--out")
        from shortcut_finder.cleaning import folder as cleaning

        plan = cleaning.clean(
            run,
            action,
            out=None if dry_run else out,
            decisions=decisions,
            expand=expand,
            tier=tier,
            files=files,
        )
        log(f"warning: {warning}" for warning in plan.warnings)
        typer.echo("\n".join(printable(line) for line in cleaning.summary(plan).splitlines()))
        for advice in plan.advice:
            typer.echo(printable(f"advice: {advice}"))
        if not dry_run:
            typer.echo(printable(str(out)))
