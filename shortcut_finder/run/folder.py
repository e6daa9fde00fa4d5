"""Run: the record of one scan, in memory and as a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.data.reading import decode
from shortcut_finder.errors import RunError, UnreadableImage
from shortcut_finder.schema import (
    CONFUSION_COLUMNS,
    FINDING_COLUMNS,
    LATER,
    OFFENDER_COLUMNS,
    REGION_COLUMNS,
    SCHEMA_VERSION,
    UNREADABLE_COLUMNS,
    to_csv,
    to_json,
    write_whole,
)

if TYPE_CHECKING:
    from shortcut_finder.figures.charts import Chart
    from shortcut_finder.figures.notebook import RunFinding

# What reading a file of another's making can raise.
BROKEN = (OSError, ValueError, KeyError, TypeError, pa.ArrowException)

# Columns of counts, which are always known.
WHOLE = ("images", "rank")


@dataclass(frozen=True, eq=False)
class Run:
    """Everything one scan found; report, compare and clean read nothing else.

    Attributes:
        folder: where the run is kept.
        card: ``run.json``: settings, dataset, model, counts, timings, versions, warnings.
        images: one row an image (``images.parquet``).
        regions: one row a class and region (``regions.csv``).
        findings: strongest first (``findings.csv``).
        details: the same findings with the numbers of every test (``findings.json``).
        offenders: every image that carries a finding, worst first (``offenders.csv``).
        confusions: class pairs that fire on the same spot (``confusions.csv``).
        unreadable: images that could not be read, with the reason (``unreadable.csv``).
    """

    folder: Path
    card: Mapping[str, Any]
    images: pd.DataFrame
    regions: pd.DataFrame
    findings: pd.DataFrame
    details: Sequence[Mapping[str, Any]]
    offenders: pd.DataFrame
    confusions: pd.DataFrame
    unreadable: pd.DataFrame

    @property
    def preprocessing(self) -> Preprocessing:
        """How images became the model's input."""
        return Preprocessing.from_dict(self.card["model"]["preprocessing"])

    @property
    def fingerprint(self) -> str:
        """What tells this run from others: dataset, model, and what each finding's name means."""
        names = ("finding", "label", "kind", "region", "images")
        card = [self.card[part]["fingerprint"] for part in ("dataset", "model")]
        content = [*card, *([detail[name] for name in names] for detail in self.details)]
        return hashlib.sha256(to_json(content)).hexdigest()[:32]

    @cached_property
    def label_maps(self) -> dict[str, np.ndarray]:
        """The class map of each image's label, (row, column) at native grid, raw and signed."""
        from shortcut_finder.sweep.shards import read_label_maps

        return read_label_maps(self.folder / "shards")

    def maps_of(self, label: str) -> dict[str, np.ndarray]:
        """The class map of a label where an image may have several, else that of its own label."""
        if "labels" not in self.images:
            return self.label_maps
        from shortcut_finder.sweep.shards import read_maps_of

        classes = [str(name) for name in self.card["model"]["classes"]]
        return read_maps_of(self.folder / "shards", classes.index(label))

    @cached_property
    def thumbnails(self) -> dict[str, Image.Image]:
        """Small copies of the images that the report shows; nothing where there are none."""
        path = self.folder / "thumbnails.parquet"
        if not path.exists():
            return {}
        try:
            table = pd.read_parquet(path)
            return {
                str(name): decode(bytes(data))[0]
                for name, data in zip(table["image"], table["jpeg"], strict=True)
            }
        except (*BROKEN, UnreadableImage) as error:
            raise _damaged(self.folder, error) from error

    def finding(self, name: str) -> RunFinding:
        """One finding, to look at in a notebook.

        Args:
            name: as in ``findings.csv``, such as ``"F1"``.

        Raises:
            RunError: there is no such finding.
        """
        from shortcut_finder.figures.notebook import RunFinding

        for detail in self.details:
            if detail["finding"] == name:
                return RunFinding(
                    detail=detail,
                    offenders=self.offenders[self.offenders["finding"] == name],
                    thumbnails=self.thumbnails,
                    maps=self.maps_of(str(detail["label"])),
                    sizes=self.sizes,
                    preprocessing=self.preprocessing,
                )
        known = ", ".join(str(detail["finding"]) for detail in self.details) or "none"
        raise RunError(f"{self.folder}: no finding {name!r}; there are: {known}")

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Width and height of the original images, in pixels, by name."""
        columns = (self.images[name] for name in ("image", "width", "height"))
        return {name: (int(w), int(h)) for name, w, h in zip(*columns, strict=True)}

    def plot_regions(self) -> Chart:
        """Where each class finds its evidence: the effect of every class and region."""
        from shortcut_finder.figures.charts import charted_classes, region_figure

        classes = charted_classes(self.regions, self.card["dataset"]["classes"])
        return region_figure(self.regions, classes)

    def _repr_html_(self) -> str:
        from shortcut_finder.figures.notebook import run_html

        page = str(self.folder / "report.html")
        return run_html(self.findings, self.card["counts"], self.card["dataset"]["name"], page)


def load_run(folder: str | Path) -> Run:
    """Read a run folder.

    Args:
        folder: what ``scan --out`` wrote.

    Raises:
        RunError: the folder is no finished run, or one of a later version.
    """
    folder = Path(folder)
    card = _read_json(folder / "run.json")
    if not isinstance(card, dict) or card.get("schema_version") != SCHEMA_VERSION:
        raise RunError(f"{folder}: written by another version of shortcut-finder; scan again")
    details = _read_json(folder / "findings.json")
    try:
        return Run(
            folder=folder,
            card=card,
            images=pd.read_parquet(folder / "images.parquet"),
            regions=_read_csv(folder / "regions.csv", REGION_COLUMNS),
            findings=_read_csv(folder / "findings.csv", FINDING_COLUMNS),
            details=details["findings"],
            offenders=_read_csv(folder / "offenders.csv", OFFENDER_COLUMNS),
            confusions=_read_csv(folder / "confusions.csv", CONFUSION_COLUMNS),
            unreadable=_read_csv(folder / "unreadable.csv", UNREADABLE_COLUMNS),
        )
    except BROKEN as error:
        raise _damaged(folder, error) from error


def _damaged(folder: Path, error: Exception) -> RunError:
    # Readers of tables and of Parquet tell more than a line.
    reason = " ".join(str(error).split())[:200]
    return RunError(f"{folder}: the run folder is damaged ({reason}); scan again")


def save_run(run: Run) -> None:
    """Write the tables of a run; ``run.json`` last, so that a folder with it is a whole run."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "run.json").unlink(missing_ok=True)
    write_whole(run.folder / "images.parquet", run.images.to_parquet(index=False))
    for name, table, columns in (
        ("regions.csv", run.regions, REGION_COLUMNS),
        ("findings.csv", run.findings, FINDING_COLUMNS),
        ("offenders.csv", run.offenders, OFFENDER_COLUMNS),
        ("confusions.csv", run.confusions, CONFUSION_COLUMNS),
        ("unreadable.csv", run.unreadable, UNREADABLE_COLUMNS),
    ):
        write_whole(run.folder / name, to_csv(table[list(columns)]))
    details = {"schema_version": SCHEMA_VERSION, "findings": list(run.details)}
    write_whole(run.folder / "findings.json", to_json(details))
    save_card(run)


def save_card(run: Run) -> None:
    """Write ``run.json`` alone."""
    write_whole(run.folder / "run.json", to_json(run.card))


def _read_json(path: Path) -> Any:
    try:
        # Paths that are no UTF-8 were written byte for byte.
        return json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except FileNotFoundError as error:
        reason = "no finished run here" if path.name == "run.json" else f"{path.name} is missing"
        raise RunError(f"{path.parent}: {reason}; run `shortcut-finder scan` first") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); scan again") from error


def _read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    # Names like "NA" or "null" are names, so only number columns may be empty.
    text = {"label", "region", "finding", "kind", "verdict", "severity", "sentence", "image"}
    text |= {"predicted", "reason", "rival", "error", "tier"}
    table = pd.read_csv(
        path,
        keep_default_na=False,
        dtype={column: str for column in columns if column in text},
        na_values={column: [""] for column in columns if column not in text},
        encoding_errors="surrogateescape",
    )
    for column in set(table.columns).intersection(columns) - text:
        table[column] = pd.to_numeric(table[column])
        if column in WHOLE and not np.isfinite(table[column]).all():
            raise ValueError(f"{path.name}: a number is missing in the column {column}")
    missing = [column for column in columns if column not in table.columns]
    for column in missing:
        if column not in LATER:
            raise RunError(f"{path}: column {column} is missing; scan again")
    return table.assign(**{column: LATER[column] for column in missing})
