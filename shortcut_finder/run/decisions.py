"""Decisions: what a reviewer thinks of findings and of single images, as the page saves it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shortcut_finder.errors import RunError
from shortcut_finder.run.folder import Run

SCHEMA_VERSION = 1
# accept: it is a shortcut, act on it; dismiss: it is none; unsure: somebody else should look.
DECISIONS = ("accept", "dismiss", "unsure")


@dataclass(frozen=True)
class Decisions:
    """What was decided about one run.

    Attributes:
        run: `Run.fingerprint` of the run that was reviewed.
        findings: decision by finding.
        images: decision by finding, by image.
    """

    run: str
    findings: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as in ``decisions.json``."""
        return {
            "schema_version": SCHEMA_VERSION,
            "run": self.run,
            "findings": dict(self.findings),
            "images": {image: dict(marks) for image, marks in self.images.items()},
        }


def read_decisions(path: str | Path, run: Run) -> Decisions:
    """Read a ``decisions.json`` that was downloaded from the page of a run.

    Args:
        path: the file.
        run: the run it must belong to.

    Raises:
        RunError: the file is missing or damaged, or belongs to another run.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path}: file not found; download it from the page of the run") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: not a decisions file ({error}); download it again") from error
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
        raise RunError(f"{path}: not a decisions file of this version; download it again")
    if content.get("run") != run.fingerprint:
        raise RunError(f"{path}: made on the page of another run, not of {run.folder}")
    known = {str(detail["finding"]) for detail in run.details}
    findings = _marks(content.get("findings", {}), known, path)
    images = content.get("images", {})
    if not isinstance(images, dict):
        raise RunError(f"{path}: damaged at 'images'; download it again")
    return Decisions(
        run.fingerprint,
        findings,
        {image: _marks(marks, known, path) for image, marks in images.items()},
    )


def _marks(marks: Any, known: set[str], path: Path) -> dict[str, str]:
    """Decision by finding, each of them known."""
    if not isinstance(marks, dict):
        raise RunError(f"{path}: damaged at {str(marks)[:40]!r}; download it again")
    for finding, decision in marks.items():
        if finding not in known:
            raise RunError(f"{path}: the run has no finding {finding[:40]!r}; download it again")
        if decision not in DECISIONS:
            wanted = ", ".join(DECISIONS)
            raise RunError(f"{path}: {finding} is {str(decision)[:40]!r}; expected {wanted}")
    return dict(marks)
