"""Command line: parse, call one function, print. Results go to stdout, everything else to stderr.

Exit codes: 0 done, 1 the user's input is wrong, 2 usage, 3 the gate of ``--fail-on`` tripped,
130 interrupted.
"""

from __future__ import annotations

import sys

import typer

from shortcut_finder.cli.adapt import adapt
from shortcut_finder.cli.clean import clean
from shortcut_finder.cli.compare import compare
from shortcut_finder.cli.demo import demo
from shortcut_finder.cli.explain import explain
from shortcut_finder.cli.export import export
from shortcut_finder.cli.report import report
from shortcut_finder.cli.review import review
from shortcut_finder.cli.scan import scan

app = typer.Typer(
    name="shortcut-finder",
    help="Find classes that a model recognises by the wrong thing, and the images to blame.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for command in (scan, report, review, explain, adapt, clean, compare, export, demo):
    app.command()(command)


def main() -> None:
    """The ``shortcut-finder`` command."""
    for stream in (sys.stdout, sys.stderr):
        # A class called "向日葵" must not end a scan on a terminal that lacks its letters.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    app()
