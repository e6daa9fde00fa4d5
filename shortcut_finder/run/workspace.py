"""Workspace: the folder of a run, which holds nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from shortcut_finder.errors import RunError
from shortcut_finder.run.journal import JOURNAL
from shortcut_finder.run.lock import LOCK

# Files of a run, which --fresh may remove.
RUN_FILES = (
    "run.json", "images.parquet", "regions.csv", "findings.csv", "findings.json", "offenders.csv",
    "confusions.csv", "unreadable.csv", "report.html", "thumbnails.parquet",
    "experiments.parquet", JOURNAL,
)  # fmt: skip
# What a reviewer made of it, which only its maker removes.
DECIDED = "decisions.json"
SHARD_FILES = (
    "shard-*.parquet", "unreadable-*.json", "plan.json", "whitening.npz", "stage-*.bin",
    "*.part",
)  # fmt: skip


def run_folder(folder: Path) -> Path:
    """The run folder, which holds nothing but a run."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; choose a folder for --out")
    shards = folder / "shards"
    if shards.is_symlink():
        raise RunError(f"{shards}: is a link; choose an empty or new folder for --out")
    files = (*RUN_FILES, DECIDED)
    known = (*files, "shards", LOCK, *(f"{name}.part" for name in (*files, f"{LOCK}.*")))
    strange = _strangers(folder, known) + _strangers(shards, SHARD_FILES)
    if strange:
        raise RunError(
            f"{folder}: holds {strange[0]!r}, which is no part of a run; "
            "choose an empty or new folder for --out"
        )
    return folder


def _strangers(folder: Path, known: Sequence[str]) -> list[str]:
    """Names in a folder that match none of the known patterns, sorted."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [name for name in names if not any(fnmatchcase(name, k) for k in known)]


def forget(folder: Path) -> None:
    """Remove the run in a folder that `run_folder` has looked at."""
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "shards", ignore_errors=True)
