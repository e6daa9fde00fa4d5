"""The command ``review``."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from shortcut_finder.cli.exits import told_errors


def review(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="What `scan --out` wrote.", show_default=False)
    ],
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DATA", help="Where the images lie, if they were moved."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", metavar="N", help="Port on 127.0.0.1; any free one if 0.")
    ] = 0,
    merge: Annotated[
        list[Path] | None,
        typer.Option("--merge", metavar="FILE", help="Decisions of somebody else, taken over."),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Decide about every image of a run, on a page that this machine serves to itself alone.

    Decisions are saved to RUN/decisions.json as they are made; Ctrl-C ends the server.

    \b
    Example:
      shortcut-finder review run/ --open
    """
    with told_errors():
        from shortcut_finder.reviewing.server import serve
        from shortcut_finder.run.folder import load_run

        def tell(text: str) -> None:
            typer.echo(text)
            if show and text.startswith("http://"):
                webbrowser.open(text)

        try:
            serve(load_run(run), data=data, port=port, merge=tuple(merge or ()), told=tell)
        except KeyboardInterrupt:
            # How a server is ended.
            return
