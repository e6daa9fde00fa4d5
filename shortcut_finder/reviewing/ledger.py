"""Ledger: decisions about a run as they are made, kept in ``RUN/decisions.json``."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from shortcut_finder.errors import RunError
from shortcut_finder.run.decisions import DECISIONS, Decisions, read_decisions
from shortcut_finder.run.folder import Run
from shortcut_finder.run.workspace import DECIDED
from shortcut_finder.schema import to_json, write_whole


class Ledger:
    """What was decided about a run; every change is in the file before it is answered.

    Several people, or one in several windows, may decide at once: the file is read again before
    each change, so that nobody's decision is lost but one about the same thing, where the last
    counts.

    Args:
        run: as loaded from its folder.

    Raises:
        RunError: the file that is there belongs to another run, or is damaged.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.path = run.folder / DECIDED
        self._lock = threading.Lock()
        self.now()

    def now(self) -> Decisions:
        """Everything that was decided up to now, by anyone."""
        if not self.path.exists():
            return Decisions(self.run.fingerprint)
        return read_decisions(self.path, self.run)

    def decide(self, finding: str, image: str | None, decision: str | None) -> Decisions:
        """Decide about a finding, or about an image of it; ``None`` takes a decision back.

        Raises:
            RunError: there is no such finding or decision.
        """
        if finding not in {str(detail["finding"]) for detail in self.run.details}:
            raise RunError(f"{self.run.folder}: no finding {finding[:40]!r}")
        if decision is not None and decision not in DECISIONS:
            raise RunError(f"{decision[:40]!r}: expected one of {', '.join(DECISIONS)}")
        with self._alone():
            findings, images = _open(self.now())
            marks = findings if image is None else images.setdefault(image, {})
            if decision is None:
                marks.pop(finding, None)
            else:
                marks[finding] = decision
            return self._write(findings, images)

    def merge(self, other: Decisions) -> int:
        """Take over what somebody else decided where nothing was decided here.

        Returns:
            How many decisions of the other differ from those here, which stay.
        """
        with self._alone():
            findings, images = _open(self.now())
            differ = _take(findings, dict(other.findings))
            for image, marks in other.images.items():
                differ += _take(images.setdefault(image, {}), dict(marks))
            self._write(findings, images)
        return differ

    def _write(self, findings: dict[str, str], images: dict[str, dict[str, str]]) -> Decisions:
        kept = Decisions(
            self.run.fingerprint,
            findings,
            {image: marks for image, marks in images.items() if marks},
        )
        write_whole(self.path, to_json(kept.as_dict()))
        return kept

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread, and no other process on a system that has locks, writes meanwhile."""
        with self._lock:
            try:
                import fcntl
            except ImportError:
                yield
                return
            folder = os.open(self.run.folder, os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
                yield
            finally:
                os.close(folder)


def _open(decisions: Decisions) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    return dict(decisions.findings), {i: dict(marks) for i, marks in decisions.images.items()}


def _take(own: dict[str, str], others: dict[str, str]) -> int:
    differ = sum(own.get(finding, decision) != decision for finding, decision in others.items())
    own.update({finding: d for finding, d in others.items() if finding not in own})
    return differ


def merge_file(ledger: Ledger, path: Path) -> int:
    """Merge a ``decisions.json`` of somebody else, see `Ledger.merge`.

    Raises:
        RunError: it belongs to another run, or is damaged.
    """
    return ledger.merge(read_decisions(path, ledger.run))
