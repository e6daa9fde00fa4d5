"""Comparing: two run folders in, one folder with what became of findings and images out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from shortcut_finder.comparison.changes import STATES, Comparison, compared
from shortcut_finder.comparison.page import comparison_page
from shortcut_finder.comparison.pairing import STATES as IMAGE_STATES
from shortcut_finder.errors import RunError
from shortcut_finder.run.decisions import Decisions, read_decisions
from shortcut_finder.run.folder import Run, load_run
from shortcut_finder.schema import to_csv, to_json, write_whole

VERSION = 1
FILES = ("comparison.csv", "comparison.json", "comparison.html", "images.csv", "regions.csv")


def compare(
    a: Run | str | Path,
    b: Run | str | Path,
    *,
    out: str | Path | None = None,
    decisions: str | Path | None = None,
) -> Comparison:
    """Compare two scans, of two versions of a dataset, of two models, or of both.

    Args:
        a: the earlier run, or its folder.
        b: the later run, or its folder.
        out: folder for the page and tables; None writes nothing.
        decisions: ``decisions.json`` of either run; what was dismissed stays dismissed.

    Raises:
        RunError: a run, the decisions or the folder cannot be used.
    """
    a, b = (run if isinstance(run, Run) else load_run(run) for run in (a, b))
    comparison = compared(a, b, _dismissed(a, b, decisions))
    if out is not None:
        save_comparison(comparison, Path(out))
    return comparison


def save_comparison(comparison: Comparison, folder: Path) -> None:
    """Write tables and page; ``comparison.json`` last.

    Raises:
        RunError: the folder holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; choose a folder for --out")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    strange = [name for name in names if name.removesuffix(".part") not in FILES]
    if strange:
        raise RunError(
            f"{folder}: holds {strange[0]!r}, which is no part of a comparison; choose an empty or "
            "new folder for --out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comparison.json").unlink(missing_ok=True)
    write_whole(folder / "comparison.html", comparison_page(comparison))
    write_whole(folder / "comparison.csv", to_csv(comparison.findings))
    write_whole(folder / "images.csv", to_csv(comparison.images))
    write_whole(folder / "regions.csv", to_csv(comparison.regions))
    write_whole(folder / "comparison.json", to_json(comparison_card(comparison)))


def comparison_card(comparison: Comparison) -> dict[str, Any]:
    """``comparison.json`` as plain values."""
    return {
        "schema_version": VERSION,
        "runs": {
            name: {"folder": str(run.folder), "fingerprint": run.fingerprint, **_versions(run)}
            for name, run in (("a", comparison.a), ("b", comparison.b))
        },
        "findings": comparison.findings.to_dict("records"),
        "states": _tally(comparison.findings["state"], STATES),
        "images": _tally(comparison.images["state"], tuple(IMAGE_STATES)),
        "notes": list(comparison.notes),
        "gate": {"tripped": bool(len(comparison.gating))},
    }


def _versions(run: Run) -> dict[str, Any]:
    return {
        "dataset": run.card["dataset"]["fingerprint"],
        "model": run.card["model"]["fingerprint"],
        "accuracy": run.card["accuracy"],
    }


def _tally(values: pd.Series, names: Sequence[str]) -> dict[str, int]:
    return {name: int((values == name).sum()) for name in names}


def _dismissed(a: Run, b: Run, decisions: str | Path | None) -> tuple[set[str], set[str]]:
    """Findings of A and of B that a person dismissed."""
    if decisions is None:
        return set(), set()
    try:
        return _set_aside(read_decisions(decisions, a)), set()
    except RunError as error:
        if "another run" not in str(error):
            raise
        return set(), _set_aside(read_decisions(decisions, b))


def _set_aside(decisions: Decisions) -> set[str]:
    return {key for key, answer in decisions.findings.items() if answer == "dismiss"}
