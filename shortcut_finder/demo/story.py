"""The demo: a dataset with planted shortcuts, a network that falls for them, and the way out.

Six classes of pictures differ by the shape of one object and by nothing else (`pictures`). Four
classes then get a mark in part of their images. Nobody tells the scan which; the demo prints what
was planted next to what was found. Then it cleans the images of what was found, trains and scans
again, compares, and prints how well both networks do where the marks say nothing about the class.

Everything is drawn and trained here: no network, no download.
"""

from __future__ import annotations

import shlex
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import typer
from PIL import Image
from torch import nn

from shortcut_finder.demo.dataset import IMAGES_PER_CLASS, make_dataset
from shortcut_finder.demo.marks import MARKS, PLANTS
from shortcut_finder.demo.network import BATCH_SIZE, EPOCHS, INPUT_SIZE, MODEL, normalised, train
from shortcut_finder.demo.pictures import BACKGROUNDS, draw_scene
from shortcut_finder.demo.shapes import SHAPES
from shortcut_finder.errors import DatasetError, RunError
from shortcut_finder.run.folder import Run
from shortcut_finder.settings import Settings

FRESH_PER_CLASS = 30
DEFAULT_OUT = Path("demo-run")

# The same text in every demo folder: by it the demo knows a folder that it may write again.
_NOTE = """A shortcut-finder demo; `shortcut-finder demo` makes this folder again.

images/      the dataset: a folder for each class
planted.csv  which images carry a planted mark, and where
weights.pt   the network that was trained on the images
run/         what the scan found; open run/report.html
cleaned/     the images with what was found filled in, and the network that was trained on them
run-cleaned/ what the scan of those found
comparison/  what became of the findings; open comparison/comparison.html
"""
_PRODUCTS = (
    "images", "planted.csv", "weights.pt", "run", "cleaned", "cleaned.part", "run-cleaned",
    "comparison",
)  # fmt: skip
_HEADS = (
    "class", "planted", "images", "fools", "finding", "kind", "region", "severity", "listed",
)  # fmt: skip
_FOOTNOTE = (
    "fools: new pictures of other classes that the network calls by this name, before and after\n"
    "the mark is put on them. listed: marked images among those that the finding lists."
)

# --- the story -----------------------------------------------------------------------------------


def run_demo(
    out: Path | None = None,
    *,
    per_class: int = IMAGES_PER_CLASS,
    epochs: int = EPOCHS,
    progress: bool = True,
) -> Run:
    """Make the dataset, train, scan, print what was found; clean, train and scan again, compare.

    Args:
        out: folder to write, `DEFAULT_OUT` when left out; an earlier demo in it is made again.
        per_class: images of each class.
        epochs: passes over the images.
        progress: whether to show bars on stderr.

    Returns:
        The run in ``out/run``.

    Raises:
        DatasetError: the folder holds something else.
    """
    out = DEFAULT_OUT if out is None else out
    _clear(out)
    truth = make_dataset(out, per_class=per_class, progress=progress)
    network = train(out, epochs=epochs, progress=progress)
    run = _scan(out, out / "run", progress=progress)
    typer.echo(planted_and_found(truth, run, fooled(network)))
    typer.echo(improvement(out, run, network, epochs=epochs, progress=progress))
    command = ["shortcut-finder", "scan", f"{out}/images", "--model", MODEL]
    command += ["--weights", f"{out}/weights.pt", "--input-size", str(INPUT_SIZE)]
    command += ["--out", f"{out}/run", "--fresh"]
    typer.echo(f"\nThe scan again: {shlex.join(command)}\n")
    return run


def _scan(folder: Path, out: Path, *, progress: bool) -> Run:
    """Scan the images in a folder with the network beside them."""
    from shortcut_finder import scanning

    return scanning.scan(
        folder / "images",
        MODEL,
        out=out,
        weights=folder / "weights.pt",
        settings=Settings(input_size=INPUT_SIZE),
        progress=progress,
    )


def improvement(
    out: Path, run: Run, network: nn.Module, *, epochs: int = EPOCHS, progress: bool = True
) -> str:
    """Clean what the scan found, train and scan again, compare; a text for the terminal.

    Args:
        out: the demo's folder.
        run: the scan of its images.
        network: what was trained on them.
        epochs: passes over the images.
        progress: whether to show bars on stderr.
    """
    from shortcut_finder.cleaning.folder import clean
    from shortcut_finder.comparison.folder import compare

    try:
        plan = clean(run, "mask", out=out / "cleaned")
    except RunError as error:
        return f"\nNothing was cleaned: {error}"
    masked = int((plan.images["change"] == "mask").sum())
    better = train(out / "cleaned", epochs=epochs, progress=progress)
    again = _scan(out / "cleaned", out / "run-cleaned", progress=progress)
    comparison = compare(run, again, out=out / "comparison")
    lines = [f"\nMasked {', '.join(plan.findings)} in {masked} images, trained and scanned again:"]
    lines += [
        f"  {row['state']:9} {row['severity']:7} {row['sentence']}"
        for row in comparison.findings.to_dict("records")
        if row["severity"] != "low"
    ]
    before, after = unbiased_accuracy(network), unbiased_accuracy(better)
    lines.append(f"Right where the marks say nothing: {before:.1%} before, {after:.1%} after.")
    shares = fooled(better)
    lines += [
        f"  {plant.mark} sends {shares[plant.label][1]:.0%} of other classes to {plant.label}"
        for plant in PLANTS
    ]
    return "\n".join([*lines, f"{out / 'comparison' / 'comparison.html'}"])


def planted_and_found(truth: pd.DataFrame, run: Run, fooled: dict[str, tuple[float, float]]) -> str:
    """A table for the terminal: each class, its mark, and the findings in it.

    A class's findings are in the order of the run; ``listed`` counts the marked images among the
    offenders of each.

    Args:
        truth: what `make_dataset` returned.
        run: the scan of that dataset.
        fooled: what `fooled` returned.
    """
    rows: list[tuple[str, ...]] = [_HEADS]
    marks = {plant.label: plant.mark for plant in PLANTS}
    for label in sorted(run.card["dataset"]["classes"], key=lambda name: name not in marks):
        marked = set(truth.loc[truth["label"] == label, "image"])
        fools = "{:.0%} -> {:.0%}".format(*fooled[label]) if label in fooled else ""
        planted = (label, marks.get(label, "nothing"), str(len(marked) or ""), fools)
        found = run.findings[run.findings["label"] == label]
        for number, finding in enumerate(found.itertuples()):
            offenders = run.offenders.loc[run.offenders["finding"] == finding.finding, "image"]
            listed = f"{len(marked & set(offenders))} of {len(marked)}" if marked else ""
            what = (finding.finding, finding.kind, finding.region, finding.severity, listed)
            rows.append((*(planted if number == 0 else ("", "", "", "")), *map(str, what)))
        if found.empty:
            rows.append((*planted, "none", "", "", "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join([*(line.rstrip() for line in lines), "", _FOOTNOTE])


def fooled(
    network: nn.Module, *, per_class: int = FRESH_PER_CLASS
) -> dict[str, tuple[float, float]]:
    """How far the network relies on each mark, on pictures it has never seen.

    Returns:
        For each class with a mark, the share of the other classes' pictures that the network gives
        to it, without the mark and with it.
    """
    images, labels = _fresh_pictures(per_class)
    before = _predicted(network, images)
    shares = {}
    for plant in PLANTS:
        other = labels != plant.label
        rng = np.random.default_rng(0)
        after = _predicted(network, [MARKS[plant.mark](image, rng)[0] for image in images])
        shares[plant.label] = (
            float((before[other] == plant.label).mean()),
            float((after[other] == plant.label).mean()),
        )
    return shares


def unbiased_accuracy(network: nn.Module, *, per_class: int = FRESH_PER_CLASS) -> float:
    """Accuracy where no mark says anything about the class.

    Every new picture counts once as it is and once with each of the marks.
    """
    images, labels = _fresh_pictures(per_class)
    rng = np.random.default_rng(0)
    versions = [images, *([mark(image, rng)[0] for image in images] for mark in MARKS.values())]
    right = [_predicted(network, version) == labels for version in versions]
    return float(np.mean(right))


@cache
def _fresh_pictures(per_class: int) -> tuple[list[Image.Image], np.ndarray]:
    """Pictures that are in no dataset, without marks, and their classes."""
    images, labels = [], []
    for number, label in enumerate(SHAPES):
        for index in range(per_class):
            background = list(BACKGROUNDS)[index % len(BACKGROUNDS)]
            # A fourth number: no picture of the dataset has the same seed.
            rng = np.random.default_rng([0, number, index, 1])
            images.append(draw_scene(label, background, rng))
            labels.append(label)
    return images, np.array(labels)


def _predicted(network: nn.Module, images: list[Image.Image]) -> np.ndarray:
    with torch.inference_mode():
        logits = torch.cat(
            [network(batch) for batch in torch.split(normalised(images), BATCH_SIZE)]
        )
    return np.array(sorted(SHAPES))[logits.argmax(1).numpy()]


def _clear(out: Path) -> None:
    """Make the folder, or empty it of an earlier demo; anything else in it is the user's."""
    note = out / "README.txt"
    if out.exists() and not out.is_dir():
        raise DatasetError(f"{out}: is a file; give the demo a folder of its own")
    if out.exists() and any(out.iterdir()):
        if not note.is_file() or note.read_text(encoding="utf-8", errors="replace") != _NOTE:
            raise DatasetError(f"{out}: holds other files; give the demo a folder of its own")
        for product in (out / name for name in _PRODUCTS):
            if product.is_dir() and not product.is_symlink():
                shutil.rmtree(product)
            else:
                product.unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    note.write_text(_NOTE, encoding="utf-8")
