"""Exits: errors as one line, gates, and the codes that a command ends with."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from shortcut_finder.cli.output import log
from shortcut_finder.errors import ShortcutFinderError
from shortcut_finder.settings import SEVERITIES

if TYPE_CHECKING:
    from shortcut_finder.run.folder import Run

WRONG_INPUT = 1
GATE_TRIPPED = 3
INTERRUPTED = 130


@contextmanager
def told_errors(interrupted: str = "interrupted") -> Iterator[None]:
    """Turn what a user can mend, or did, into one line and an exit code."""
    try:
        yield
    except ShortcutFinderError as error:
        log([f"error: {error}"])
        raise typer.Exit(WRONG_INPUT) from error
    except OSError as error:
        # Of the user's machine: a full disk, a folder that may not be written to.
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if error.filename is None and not full:
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        more = "; make room, then give the same command again" if full else ""
        log([f"error: {where}{os.strerror(error.errno or 0)}{more}"])
        raise typer.Exit(WRONG_INPUT) from error
    except KeyboardInterrupt as error:
        log([interrupted])
        raise typer.Exit(INTERRUPTED) from error


def check_gate(run: Run, fail_on: str | None) -> None:
    """End the command if a finding is at least this severe."""
    if fail_on is None:
        return
    severe = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    count = int(run.findings["severity"].isin(severe).sum())
    if count:
        words = "finding is" if count == 1 else "findings are"
        log([f"gate: {count} {words} of severity {' or '.join(severe)}"])
        raise typer.Exit(GATE_TRIPPED)
