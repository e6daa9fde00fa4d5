"""A run's journal, and how a command that was interrupted is told from one that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from shortcut_finder.run.journal import JOURNAL, journal


@pytest.mark.parametrize(
    ("first", "expected", "line"),
    [
        # A pool of processes that is half begun cannot be ended: it raises in its own exit.
        (KeyboardInterrupt(), KeyboardInterrupt, "WARNING interrupted; the same command goes on"),
        (KeyError("before"), RuntimeError, "ERROR stopped: RuntimeError: cannot join thread"),
    ],
)
def test_a_cleanup_that_fails_after_an_interrupt_is_an_interrupt(
    first: BaseException, expected: type[BaseException], line: str, tmp_path: Path
) -> None:
    with pytest.raises(expected):
        _fail_twice(tmp_path, first)
    assert line in (tmp_path / JOURNAL).read_text()


def _fail_twice(folder: Path, first: BaseException) -> None:
    with journal(folder):
        try:
            raise first
        finally:
            raise RuntimeError("cannot join thread")
