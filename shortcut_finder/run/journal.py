"""Journal: ``run.log``, a line for each stage, warning and failure of a scan."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shortcut_finder.texts import shown

JOURNAL = "run.log"


class _Lines(logging.Formatter):
    """One line a record, in Coordinated Universal Time."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


class _File(logging.FileHandler):
    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - of the library
        """A full disk is reported by what writes results, not by the journal."""


@contextmanager
def journal(folder: Path) -> Iterator[logging.Logger]:
    """Add what is logged meanwhile to ``run.log`` in a folder, and how it ended."""
    logger = logging.getLogger("shortcut_finder")
    handler = _File(folder / JOURNAL, encoding="utf-8", errors="backslashreplace", delay=True)
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(logging.INFO, logger.getEffectiveLevel()))
    try:
        yield logger
    except (KeyboardInterrupt, Exception) as error:
        if _interrupted(error):
            logger.warning("interrupted; the same command goes on")
            raise KeyboardInterrupt from error
        logger.error("stopped: %s: %s", type(error).__name__, error)
        raise
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        handler.close()


def _interrupted(error: BaseException | None) -> bool:
    """Whether a Ctrl-C is behind an error: a pool that was half begun fails at its own end."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
