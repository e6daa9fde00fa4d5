"""Cleaning: a better dataset from a run, in a folder of its own; the source is never touched."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from shortcut_finder.cleaning.plan import CleaningPlan, plan_cleaning
from shortcut_finder.cleaning.retouching import retouched
from shortcut_finder.data.reading import decode, file_bytes, storable
from shortcut_finder.errors import DatasetError, RunError, SettingsError, UnreadableImage
from shortcut_finder.run.decisions import read_decisions
from shortcut_finder.run.folder import Run, load_run
from shortcut_finder.schema import to_csv, to_json
from shortcut_finder.settings import FILES
from shortcut_finder.texts import count, shown

VERSION = 1
CHANGE_COLUMNS = ("image", "label", "findings", "score", "reason")


def clean(
    run: Run | str | Path,
    action: str = "drop",
    *,
    out: str | Path | None = None,
    decisions: str | Path | None = None,
    expand: bool = False,
    files: str | None = None,
) -> CleaningPlan:
    """Clean the dataset of a run.

    Args:
        run: a scan, or its folder.
        action: ``drop`` leaves out the images that carry what is cleaned, ``mask`` fills the places
            in copies of them, ``reweight`` gives sample weights under which it tells nothing.
        out: a new folder for the result; None to plan only.
        decisions: ``decisions.json`` from the page of the run. Without it findings that are
            confirmed, or suspect and of high severity, are cleaned.
        expand: look for the accepted things in all images again before cleaning.
        files: how images that stay as they are get into the new folder: ``hardlink``, ``symlink``,
            ``copy``, or ``none``, which leaves them where they are. Default ``copy`` for ``mask``,
            ``none`` for the others.

    Returns:
        The plan, which says what was done to every image.

    Raises:
        ShortcutFinderError: the run, the decisions, the images or the folder cannot be used.
    """
    run = run if isinstance(run, Run) else load_run(run)
    files = files or ("copy" if action == "mask" else "none")
    if files not in FILES:
        raise SettingsError(f"--files {files}: choose one of {', '.join(FILES)}")
    originals = Originals(run)
    decided = None if decisions is None else read_decisions(Path(decisions), run)
    plan = plan_cleaning(run, action, decisions=decided, expand=expand, read=originals.picture)
    if originals.root is None and (action == "mask" or files != "none"):
        raise DatasetError(
            f"{run.folder}: scanned from a Python dataset, which has no files; use --action drop "
            "or reweight without --files, and the indices and weights it writes"
        )
    if out is not None:
        _write(plan, run, originals, _absolute(Path(out)), files)
    return plan


class Originals:
    """The image files that a run was made from.

    Attributes:
        root: where their names start; None for a Python dataset.
    """

    def __init__(self, run: Run) -> None:
        self.folder = run.folder
        root = run.card["dataset"]["root"]
        self.root = None if root is None else Path(root)
        self._content = dict(zip(run.images["image"], run.images["content"], strict=True))
        self._listings: dict[Path, dict[str, str]] = {}

    def path(self, image: str) -> Path:
        """The file of an image.

        Raises:
            DatasetError: there is none.
        """
        if self.root is None:
            raise DatasetError(f"{self.folder}: scanned from a Python dataset, which has no files")
        path = self.root / image
        if not _is_file(path):
            path = self._spelled_out(self.root, image)
        if not _is_file(path):
            raise DatasetError(
                f"{self.root}: {image!r} of {self.folder} is not there any more; put it back or "
                "scan again"
            )
        return path

    def bytes(self, image: str) -> bytes:
        """The bytes of an image, the same as when it was scanned.

        Raises:
            DatasetError: the file is gone, or has changed since.
        """
        path = self.path(image)
        try:
            data = file_bytes(path)
        except UnreadableImage as error:
            raise DatasetError(f"{path}: {error}; scan again") from error
        if hashlib.sha256(data).hexdigest()[:32] != self._content[image]:
            raise DatasetError(f"{path}: has changed since the scan; scan again")
        return data

    def picture(self, image: str) -> Image.Image:
        """The upright picture of an image.

        Raises:
            UnreadableImage: it cannot be decoded, or is not there.
        """
        try:
            return decode(self.bytes(image))[0]
        except DatasetError as error:
            raise UnreadableImage(str(error)) from error

    def _spelled_out(self, path: Path, image: str) -> Path:
        """The file whose name is not UTF-8 and was kept with the odd bytes spelled out."""
        for part in PurePosixPath(image).parts:
            if path not in self._listings:
                names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
                self._listings[path] = {storable(name): name for name in names}
            path = path / self._listings[path].get(part, part)
        return path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    # Before Python 3.12 a name that no file can have raises.
    except (ValueError, OSError):
        return False


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links are kept


# --- the new folder -------------------------------------------------------------------------------


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder that appears under its name when everything in it is written, or not at all.

    Until then it is called ``<name>.part``; one that a killed run left behind is replaced.

    Raises:
        RunError: there is something under either name already.
    """
    part = out.with_name(out.name + ".part")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise RunError(f"{out}: is a file or a link; choose a new folder for --out")
    if out.exists() and any(out.iterdir()):
        raise RunError(f"{out}: is not empty; choose a new folder for --out")
    if os.path.lexists(part):
        ours = part.is_dir() and not part.is_symlink()
        if not ours or (any(part.iterdir()) and not (part / "plan.json").is_file()):
            raise RunError(f"{part}: is in the way; move it, or choose another --out")
        shutil.rmtree(part)
    part.mkdir(parents=True)
    try:
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if out.exists():
        out.rmdir()
    part.rename(out)


def _write(plan: CleaningPlan, run: Run, originals: Originals, out: Path, files: str) -> None:
    """Everything that the new folder holds."""
    for inside, what in ((originals.root, "the images"), (run.folder, "the run")):
        if inside is not None and out.resolve().is_relative_to(inside.resolve()):
            raise RunError(f"{out}: lies inside {what}, {inside}; choose a folder elsewhere")
    with new_folder(out) as part:
        (part / "plan.json").write_bytes(to_json(_plan_card(plan, run, files)))
        rows = plan.images.assign(path=_place_images(plan, originals, part, out, files))
        unfilled = (rows["change"] == "mask") & (rows["path"] == "")
        rows.loc[unfilled, "change"] = "drop"
        kept = rows[rows["change"] != "drop"]
        _write_table(part, "removed.csv", rows[rows["change"] == "drop"])
        if plan.action == "mask":
            _write_table(part, "masked.csv", rows[rows["change"] == "mask"])
        (part / "tags.jsonl").write_bytes(_tags(plan, originals))
        _write_manifest(part, kept, plan, run)
        _write_numbers(part, rows, plan, originals, run)


def _plan_card(plan: CleaningPlan, run: Run, files: str) -> dict[str, Any]:
    return {
        "schema_version": VERSION,
        "action": plan.action,
        "files": files,
        "run": str(run.folder),
        "run_fingerprint": run.fingerprint,
        "findings": list(plan.findings),
        "classes": plan.counts.to_dict("records"),
        "advice": list(plan.advice),
        "warnings": list(plan.warnings),
    }


def _place_images(
    plan: CleaningPlan, originals: Originals, part: Path, out: Path, files: str
) -> list[str]:
    """Bring the images into the new folder.

    Returns:
        Where each image is to be found: relative to the new folder, absolute where it stayed;
        empty where it was left out or could not be filled.
    """
    if originals.root is None:
        return list(plan.images["image"])
    places = []
    for row in plan.images.itertuples():
        image = str(row.image)
        if row.change == "drop":
            places.append("")
        elif row.change == "mask":
            places.append(_filled_copy(image, plan, originals, part))
        elif files == "none":
            places.append(_listable(originals.path(image), image))
        else:
            name = destination(image)
            _bring(originals, image, part / name, files)
            places.append(name)
    return places


def destination(image: str) -> str:
    """Where an image lies in the new folder, relative to it; never outside.

    Example:
        >>> destination("cat/1.jpg"), destination("../other/1.jpg")
        ('images/cat/1.jpg', 'images/elsewhere/39df24e03b3a/1.jpg')
    """
    path = PurePosixPath(image)
    if path.is_absolute() or ".." in path.parts or not path.name:
        digest = hashlib.sha256(image.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        path = PurePosixPath("elsewhere", digest, path.name or "image")
    return PurePosixPath("images", path).as_posix()


def _listable(path: Path, image: str) -> str:
    """A path as a manifest can hold it."""
    text = str(path)
    if storable(text) != text:
        raise DatasetError(
            f"{image!r}: its name is no UTF-8, which a manifest must be; use --files copy, which "
            "renames it"
        )
    return text


def _filled_copy(image: str, plan: CleaningPlan, originals: Originals, part: Path) -> str:
    name = destination(image)
    data = originals.bytes(image)
    try:
        filled = retouched(data, plan.boxes.get(image, ()), plan.frames.get(image, 0.0))
    except UnreadableImage:
        return ""
    path = part / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(filled)
    return name


def _bring(originals: Originals, image: str, target: Path, files: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source = originals.path(image)
    if files == "copy":
        target.write_bytes(originals.bytes(image))
        return
    try:
        if files == "symlink":
            target.symlink_to(source.resolve())
        else:
            # A link to a link would break when the link goes.
            os.link(source.resolve(), target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        raise DatasetError(
            f"{source}: cannot be linked from {target.parent} ({error.strerror}); use --files copy"
        ) from error


# --- what other tools read ------------------------------------------------------------------------


def _write_table(part: Path, name: str, rows: pd.DataFrame) -> None:
    (part / name).write_bytes(to_csv(rows[list(CHANGE_COLUMNS)]))


def _write_manifest(part: Path, kept: pd.DataFrame, plan: CleaningPlan, run: Run) -> None:
    """The new dataset as CSV and Parquet for `scan`, and as Parquet for Hugging Face datasets."""
    columns = {"image": kept["path"], "label": kept["label"]}
    if plan.action == "reweight":
        columns["weight"] = kept["weight"]
    manifest = pd.DataFrame(columns)
    (part / "manifest.csv").write_bytes(to_csv(manifest))
    manifest.to_parquet(part / "manifest.parquet", index=False)
    if run.card["dataset"]["root"] is not None:
        # In the order of the model's outputs.
        classes = [str(name) for name in run.card["dataset"]["classes"]]
        pq.write_table(_hugging_face(part, manifest, classes), part / "datasets.parquet")


def _hugging_face(part: Path, manifest: pd.DataFrame, classes: list[str]) -> pa.Table:
    """A table that ``datasets.load_dataset("parquet", ...)`` takes for images with class labels."""
    home = part.with_name(part.name.removesuffix(".part"))
    paths = [str(home / path) for path in manifest["image"]]
    images = pa.StructArray.from_arrays(
        [pa.nulls(len(paths), pa.binary()), pa.array(paths, pa.string())], ["bytes", "path"]
    )
    number = {label: index for index, label in enumerate(classes)}
    columns = {
        "image": images,
        "label": pa.array([number[label] for label in manifest["label"]], pa.int64()),
    }
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": classes, "_type": "ClassLabel"},
    }
    if "weight" in manifest:
        columns["weight"] = pa.array(manifest["weight"], pa.float64())
        features["weight"] = {"dtype": "float64", "_type": "Value"}
    described = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.table(columns).replace_schema_metadata(described)


def _write_numbers(
    part: Path, rows: pd.DataFrame, plan: CleaningPlan, originals: Originals, run: Run
) -> None:
    """Indices of what is kept, and weights, as arrays that torch and scikit-learn take."""
    if originals.root is None:
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


def _tags(plan: CleaningPlan, originals: Originals) -> bytes:
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


def summary(plan: CleaningPlan) -> str:
    """The plan as a table for the terminal: images of each class before and after."""
    verb = {"drop": "dropped", "mask": "masked", "reweight": "reweighted"}[plan.action]
    left = "weighted > 0" if plan.action == "reweight" else "left"
    rows = [("class", "images", verb, left)]
    for row in plan.counts.itertuples():
        rows.append((shown(row.label), f"{row.images:,}", f"{row.changed:,}", f"{row.left:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]
    cleaned = count(len(plan.findings), "finding", "findings")
    return "\n".join([f"{cleaned}: {', '.join(plan.findings)}", "", *lines])
