"""Real data sets: what a scan finds where nothing was planted.

Each FOLDER holds ``train/`` with class folders and may hold ``metadata.csv`` with a column
``image`` or ``path``. Trains efficientnet-lite0 on ``train/`` as `examples/train_classifier.py`
does, scans it without the metadata, and prints every finding with the value of the metadata that
tells its list best: how often listed images of the class have it, and the others of the class.
OUT/<set>/sheets has a picture of each list, to be looked at.

Usage: python tests/benchmarks/real.py FOLDER [FOLDER ...] --out DIR [--input 160] [--epochs 3]
           [--no-verify] [--record]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fine_tuning import LITE0, fine_tuned, preprocessing
from PIL import Image, ImageDraw
from rows import add_row, read_rows, recording

import shortcut_finder as sf

ROOT = Path(__file__).resolve().parents[2]
# Images of a list in its picture, side of each, and columns.
SHOWN, SIDE, ACROSS = 30, 110, 10
# Values of a column of the metadata that many images share.
VALUES = 20
# Side of the input, and epochs of training.
SIZE, EPOCHS = 160, 3


def told_by(listed: pd.Series, others: pd.Series, table: pd.DataFrame) -> str:
    """The value of the metadata that is most over-represented among listed images."""
    best, said = 0.0, ""
    for column in table.columns:
        if table[column].nunique() > VALUES:
            continue
        inside, outside = (
            table.loc[table.index.intersection(names), column].value_counts(normalize=True)
            for names in (listed, others)
        )
        for value, share in inside.items():
            more = share - outside.get(value, 0.0)
            if more > best:
                best = more
                usual = outside.get(value, 0.0)
                said = f"{column}={value}: {share:.0%} of the list, {usual:.0%} else"
    return said


def sheet(run: sf.Run, finding: Any, folder: Path, out: Path) -> None:
    """A picture of a finding's list, the surest first, boxes drawn."""
    rows = run.offenders[run.offenders["finding"] == finding.finding].head(SHOWN)
    down = -(-max(len(rows), 1) // ACROSS)
    made = Image.new("RGB", (ACROSS * SIDE, down * SIDE), "white")
    for place, row in enumerate(rows.itertuples()):
        with Image.open(folder / row.image) as opened:
            picture = opened.convert("RGB")
        ImageDraw.Draw(picture).rectangle(
            (row.x0, row.y0, max(row.x1 - 1, row.x0), max(row.y1 - 1, row.y0)), outline="red"
        )
        made.paste(picture.resize((SIDE, SIDE)), (place % ACROSS * SIDE, place // ACROSS * SIDE))
    out.mkdir(parents=True, exist_ok=True)
    made.save(out / f"{finding.finding}.png")


def scan_set(
    folder: Path,
    out: Path,
    *,
    size: int = SIZE,
    epochs: int = EPOCHS,
    verify: bool = True,
    run: Path | None = None,
    channels: tuple[str, ...] = (),
) -> sf.Run:
    """Train on a set, once, and scan it.

    Args:
        folder: the set, with ``train/``.
        out: for the network, and the run unless said otherwise.
        size: side of the model's input.
        epochs: of training.
        verify: with experiments.
        run: folder of the run.
        channels: ways to find; all if empty.
    """
    how = preprocessing(LITE0, size)
    out.mkdir(parents=True, exist_ok=True)
    weights = out / f"{size}-{epochs}.pt"
    if not weights.exists():
        images = sf.load_dataset(folder / "train")
        network = fine_tuned(images, how, epochs=epochs, seed=0)
        torch.save(network.state_dict(), weights)
    settings = sf.Settings(
        input_size=size, resize=how.resize, mean=how.mean, std=how.std, verify=verify,
        channels=channels,
    )  # fmt: skip
    model = f"{ROOT}/examples/train_classifier.py:efficientnet_lite0"
    return sf.scan(
        folder / "train", model, weights=weights, out=run or out / "run", settings=settings,
        progress=False,
    )  # fmt: skip


def metadata_of(folder: Path) -> pd.DataFrame:
    """By image below ``train/``; without columns where there is no table."""
    file = folder / "metadata.csv"
    if not file.exists():
        return pd.DataFrame()
    table = pd.read_csv(file)
    names = table["image" if "image" in table else "path"].str.removeprefix("train/")
    return table.set_index(names).drop(columns=["image", "path", "label", "split"], errors="ignore")


def in_short(findings: pd.DataFrame) -> str:
    """Label, place and size of findings."""
    said = [f"{one.label}: {one.region}, {one.images} images" for one in findings.itertuples()]
    return "; ".join(said) or "none"


def record(name: str, run: sf.Run, size: int, epochs: int) -> None:
    """Write what was found of a set; what the set is called stays, what was said of it goes."""
    confirmed = run.findings["verdict"] == "confirmed"
    loud = run.findings["severity"] != "low"
    called = {row["set"]: row["what"] for row in read_rows("real")}
    add_row(
        "real", set=name, what=called.get(name, name), n=len(run.images),
        classes=run.images["label"].nunique(), confirmed=in_short(run.findings[confirmed]),
        unconfirmed=in_short(run.findings[loud & ~confirmed]), seeds="0",
        setting=f"EfficientNet-Lite0 at {size} pixels, fine-tuned for {epochs} epochs, scanned "
        "without metadata",
        command='make bench-real SETS="FOLDER ..." OUT=FOLDER',
    )  # fmt: skip


def main() -> None:
    """Scan each set and print its findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--input", type=int, default=SIZE)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--no-verify", dest="verify", action="store_false")
    recording(parser)
    options = parser.parse_args()
    for folder in options.folders:
        if not (folder / "train").is_dir():
            print(f"{folder}: no train/, skipped")
            continue
        out = options.out / folder.name
        run = scan_set(
            folder, out, size=options.input, epochs=options.epochs, verify=options.verify
        )
        table = metadata_of(folder)
        stages = ", ".join(f"{k} {v['seconds']:.0f} s" for k, v in run.card["stages"].items())
        print(f"\n{folder.name}: {len(run.images)} images, {stages}", flush=True)
        for finding in run.findings.itertuples():
            rows = run.offenders[run.offenders["finding"] == finding.finding]
            own = run.images.loc[run.images["label"] == finding.label, "image"]
            listed = own[own.isin(rows["image"])]
            said = told_by(listed, own[~own.isin(listed)], table)
            print(
                f"  {finding.finding} {finding.label:14s} {finding.kind} @{finding.region} "
                f"{finding.severity}/{finding.verdict} {finding.suspicion:.2f} n={len(listed)} "
                f"sure={(rows['tier'] == 'sure').sum()}  {said}"
            )
            sheet(run, finding, folder / "train", out / "sheets")
        if options.record:
            record(folder.name, run, options.input, options.epochs)


if __name__ == "__main__":
    main()
