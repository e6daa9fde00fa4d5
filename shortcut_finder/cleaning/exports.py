"""Exports: tables of a cleaned dataset, as other tools read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shortcut_finder.cleaning.originals import Originals
from shortcut_finder.cleaning.plan import CleaningPlan
from shortcut_finder.data.labels import PREFIX
from shortcut_finder.data.membership import label_lists, labelled
from shortcut_finder.run.folder import Run
from shortcut_finder.schema import to_csv

CHANGE_COLUMNS = ("image", "label", "findings", "score", "reason")


def write_table(part: Path, name: str, rows: pd.DataFrame) -> None:
    """A table of what became of images, by name of the file."""
    (part / name).write_bytes(to_csv(rows[list(CHANGE_COLUMNS)]))


def write_manifest(part: Path, kept: pd.DataFrame, plan: CleaningPlan, run: Run) -> None:
    """The new dataset as CSV and Parquet for `scan`, and as Parquet for Hugging Face datasets."""
    columns = {"image": kept["path"], **_labels(kept, run)}
    if plan.action == "reweight":
        columns["weight"] = kept["weight"]
    manifest = pd.DataFrame(columns)
    (part / "manifest.csv").write_bytes(to_csv(manifest))
    manifest.to_parquet(part / "manifest.parquet", index=False)
    if run.card["dataset"]["root"] is not None:
        # In the order of the model's outputs.
        classes = [str(name) for name in run.card["dataset"]["classes"]]
        lists = label_lists(kept)
        pq.write_table(
            _hugging_face(part, manifest, lists, classes, several="labels" in kept),
            part / "datasets.parquet",
        )


def _labels(kept: pd.DataFrame, run: Run) -> dict[str, pd.Series]:
    """The label, or a column a label where an image may have several, blank if unknown."""
    if "labels" not in kept:
        return {"label": kept["label"]}
    columns = {}
    for name in map(str, run.card["dataset"]["classes"]):
        states = pd.Series(labelled(kept, name).astype(int), kept.index, dtype="Int64")
        unknown = np.array([name in names for names in kept["unknown"]], dtype=bool)
        columns[f"{PREFIX}{name}"] = states.mask(unknown)
    return columns


def _hugging_face(
    part: Path,
    manifest: pd.DataFrame,
    lists: list[list[str]],
    classes: list[str],
    *,
    several: bool,
) -> pa.Table:
    """A table that ``datasets.load_dataset("parquet", ...)`` takes for images with class labels."""
    home = part.with_name(part.name.removesuffix(".part"))
    paths = [str(home / path) for path in manifest["image"]]
    images = pa.StructArray.from_arrays(
        [pa.nulls(len(paths), pa.binary()), pa.array(paths, pa.string())], ["bytes", "path"]
    )
    number = {label: index for index, label in enumerate(classes)}
    numbers = [[number[label] for label in labels] for labels in lists]
    feature: dict[str, Any] = {"names": classes, "_type": "ClassLabel"}
    columns = {"image": images}
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    if several:
        columns["labels"] = pa.array(numbers, pa.list_(pa.int64()))
        features["labels"] = {"feature": feature, "_type": "Sequence"}
    else:
        columns["label"] = pa.array([own for (own,) in numbers], pa.int64())
        features["label"] = feature
    if "weight" in manifest:
        columns["weight"] = pa.array(manifest["weight"], pa.float64())
        features["weight"] = {"dtype": "float64", "_type": "Value"}
    described = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.table(columns).replace_schema_metadata(described)


def write_numbers(
    part: Path, rows: pd.DataFrame, plan: CleaningPlan, originals: Originals, run: Run
) -> None:
    """Indices of what is kept, and weights, as arrays that torch and scikit-learn take."""
    if originals.root is None and rows["image"].str.match(r"item/\d+$").all():
        # The number of an item is its place in the user's dataset.
        numbers = rows["image"].str.rpartition("/")[2].astype(np.int64).to_numpy()
        size = int(run.card["counts"]["images"])
    else:
        numbers, size = np.arange(len(rows)), len(rows)
    kept = (rows["change"] != "drop").to_numpy() & (rows["weight"] > 0).to_numpy()
    np.save(part / "indices.npy", np.sort(numbers[kept]).astype(np.int64))
    if plan.action == "reweight":
        weights = np.zeros(size)
        weights[numbers] = rows["weight"]
        np.save(part / "weights.npy", weights)


def tags_of(plan: CleaningPlan, originals: Originals) -> bytes:
    """JSON Lines with tags and boxes, one image a line; what FiftyOne and its like can take in."""
    change = dict(zip(plan.images["image"], plan.images["change"], strict=True))
    lines = []
    for image, rows in plan.carriers.groupby("image", sort=True):
        path = image if originals.root is None else str(originals.root / str(image))
        findings = [_tagged(row) for row in rows.to_dict("records")]
        line = {
            "filepath": path,
            "label": rows["label"].iloc[0],
            "tags": [change[str(image)], *(finding["finding"] for finding in findings)],
            "findings": findings,
        }
        lines.append(json.dumps(line, ensure_ascii=False, sort_keys=True))
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _tagged(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "finding": str(row["finding"]),
        "kind": str(row["kind"]),
        "score": float(row["score"]),
        # x0, y0, x1, y1 in pixels of the upright original.
        "box": [
            None if pd.isna(row[side]) else int(row[side]) for side in ("x0", "y0", "x1", "y1")
        ],
    }
