"""Tracking: a run beside the training runs in MLflow or Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shortcut_finder.errors import SettingsError
from shortcut_finder.run.folder import Run, load_run
from shortcut_finder.settings import SEVERITIES, TRACKERS

# Files of a run that people look at; shards stay where they are.
FILES = ("report.html", "findings.csv", "offenders.csv", "regions.csv", "run.json")
FOLDER = "shortcut-finder"
# Columns of the table of findings in Weights & Biases.
TABLE = (
    "finding", "label", "kind", "region", "images", "share", "reliance", "artifact", "verdict",
    "severity", "sentence",
)  # fmt: skip


def log_run(run: Run | str | Path, to: str = "mlflow", *, step: int | None = None) -> str:
    """Log a scan to the tracker's run that is active, or to one of its own.

    What is logged: how many findings there are, of each severity and verdict, the images that carry
    one, the accuracy, the strongest reliance and likeness, as metrics below ``shortcuts/``; the
    model and the fingerprints as parameters; page and tables as files.

    Args:
        run: a scan, or its folder.
        to: ``mlflow`` or ``wandb`` (extras of the same names). Where it logs to is as it is set up:
            by its own functions and variables.
        step: of the training, for the metrics.

    Returns:
        The identifier of the tracker's run.

    Raises:
        SettingsError: there is no such tracker, or it is not installed.
        RunError: the run cannot be read.
    """
    if to not in TRACKERS:
        raise SettingsError(f"to={to!r}: choose one of {', '.join(TRACKERS)}")
    run = run if isinstance(run, Run) else load_run(run)
    try:
        return {"mlflow": _to_mlflow, "wandb": _to_wandb}[to](run, step)
    except ImportError as error:
        raise SettingsError(
            f"{to} is not installed; pip install 'shortcut-finder[{to}]'"
        ) from error


def metrics_of(run: Run) -> dict[str, float]:
    """The numbers that are logged, by name."""
    findings = run.findings
    counts = {
        "findings": len(findings),
        **{f"{name}_severity": int((findings["severity"] == name).sum()) for name in SEVERITIES},
        "confirmed": int((findings["verdict"] == "confirmed").sum()),
        "offenders": run.offenders["image"].nunique(),
        "unreadable": len(run.unreadable),
    }
    largest = {
        f"largest_{name}": float(findings[name].max())
        for name in ("reliance", "artifact")
        if findings[name].notna().any()
    }
    numbers = {**counts, **largest, "accuracy": run.card["accuracy"]}
    return {f"shortcuts/{name}": float(value) for name, value in numbers.items()}


def parameters_of(run: Run) -> Mapping[str, Any]:
    """What was scanned with what, by name."""
    card = run.card
    return {
        "shortcuts/dataset": card["dataset"]["name"],
        "shortcuts/dataset_fingerprint": card["dataset"]["fingerprint"],
        "shortcuts/model": card["model"]["name"],
        "shortcuts/model_fingerprint": card["model"]["fingerprint"],
        "shortcuts/version": card["version"],
        "shortcuts/seed": card["settings"]["seed"],
    }


def _files(run: Run) -> list[Path]:
    return [run.folder / name for name in FILES if (run.folder / name).is_file()]


def _to_mlflow(run: Run, step: int | None) -> str:
    import mlflow

    active = mlflow.active_run()
    tracked = active or mlflow.start_run(run_name=f"shortcuts of {run.card['dataset']['name']}")
    try:
        if step is None:
            # Parameters cannot change within a run; the scans of one training are its metrics.
            mlflow.log_params(dict(parameters_of(run)))
        mlflow.log_metrics(metrics_of(run), step=step)
        folder = FOLDER if step is None else f"{FOLDER}/{step}"
        for path in _files(run):
            mlflow.log_artifact(str(path), folder)
    finally:
        if active is None:
            mlflow.end_run()
    return str(tracked.info.run_id)


def _to_wandb(run: Run, step: int | None) -> str:
    import wandb

    active = wandb.run
    tracked = active or wandb.init(job_type=FOLDER, config=dict(parameters_of(run)))
    rows = run.findings[list(TABLE)].astype(object).replace({np.nan: None}).to_numpy().tolist()
    table = wandb.Table(columns=list(TABLE), data=rows)
    tracked.log({**metrics_of(run), "shortcuts/table": table}, step=step)
    kept = wandb.Artifact(f"{FOLDER}-{tracked.id}", type=FOLDER)
    for path in _files(run):
        kept.add_file(str(path))
    tracked.log_artifact(kept)
    identifier = str(tracked.id)
    if active is None:
        tracked.finish()
    return identifier
