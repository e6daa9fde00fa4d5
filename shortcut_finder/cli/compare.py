"""The command ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortcut_finder.cli.exits import GATE_TRIPPED, told_errors
from shortcut_finder.cli.output import log, printable


def compare(
    run_a: Annotated[
        Path, typer.Argument(metavar="RUN_A", help="The earlier run.", show_default=False)
    ],
    run_b: Annotated[
        Path, typer.Argument(metavar="RUN_B", help="The later run.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results.")],
    decisions: Annotated[
        Path | None,
        typer.Option(
            "--decisions", metavar="FILE", help="decisions.json of a run: what it dismisses."
        ),
    ] = None,
    fail_on_new: Annotated[
        bool,
        typer.Option(
            "--fail-on-new", help="Exit 3 if a finding is new or worse, and not of low severity."
        ),
    ] = False,
) -> None:
    """Say what was resolved, persists, worsened or appeared between two scans.

    DIR/comparison.html shows it; DIR/comparison.csv and comparison.json are for programs.

    \b
    Example:
      shortcut-finder compare run-v1/ run-v2/ --out v1-v2/ --fail-on-new
    """
    with told_errors():
        from shortcut_finder.comparison import folder as comparing

        comparison = comparing.compare(run_a, run_b, out=out, decisions=decisions)
        log(f"note: {note}" for note in comparison.notes)
        rows = comparison.findings.to_dict("records")
        for row in rows:
            typer.echo(printable(f"{row['state']}: {row['sentence']}"))
        if not rows:
            typer.echo("no findings in either run")
        typer.echo(printable(str(out / "comparison.html")))
        gating = len(comparison.gating)
        if fail_on_new and gating:
            words = "finding is" if gating == 1 else "findings are"
            log([f"gate: {gating} {words} new or worse"])
            raise typer.Exit(GATE_TRIPPED)
