"""Artifacts planted in a folder of photos: how well the offenders are ranked.

Plants a tag in 31% of the first class, leaves the second clean, a thin frame in 51% of the third,
a sticker at random places in 27% of the fourth and translucent text in 58% of the fifth. With
`--small`, harder ones, seen at 160 pixels: a tag in 30%, a thin strip at random places in 25%,
dates that change in a corner of 40%, a faint ring at random places in 20% and a colour cast in 50%.
Trains efficientnet-lite0 as `examples/train_classifier.py` does; scans; and prints the average
precision of ranking each class's images, beside that of region shares and of confidence on the same
scan.

Usage: python tests/benchmarks/plantings.py FOLDER_OF_FIVE_CLASSES --out NEW_FOLDER [--seed N]
           [--small]
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from sklearn.metrics import average_precision_score

import shortcut_finder as sf

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from planted import Planting, plant  # noqa: E402

# What is planted, and in which part of a class.
Kind = tuple[str, float]
KINDS = (
    ("tag", 0.31), None, ("frame", 0.51), ("sticker", 0.27), ("text", 0.58),
)  # fmt: skip
SMALL = (
    ("tag", 0.30), ("strip", 0.25), ("date", 0.40), ("faint", 0.20), ("cast", 0.50),
)  # fmt: skip


def plantings(classes: list[str], kinds: Sequence[Kind | None], look: int) -> list[Planting]:
    """What goes into which class."""
    pairs = zip(classes, kinds, strict=True)
    return [Planting(label, kind[0], kind[1], look) for label, kind in pairs if kind]


def precision_table(run: sf.Run, truth: pd.DataFrame) -> pd.DataFrame:
    """Average precision per planted class: ours, the best region share, and confidence."""
    scores = run.offenders.groupby("image")["score"].max()
    planted = set(truth["image"])
    rows = []
    for label, kind in truth.groupby("label")["kind"].first().items():
        own = run.images[run.images["label"] == label]
        carries = own["image"].isin(planted)
        regions = [column for column in own if column.startswith("share: ")]
        rows.append(
            {
                "class": label,
                "planted": kind,
                "images": int(carries.sum()),
                "chance": carries.mean(),
                "offenders": average_precision_score(carries, own["image"].map(scores).fillna(0.0)),
                "best region share": max(
                    average_precision_score(carries, own[column]) for column in regions
                ),
                "confidence": average_precision_score(carries, own["confidence"]),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Plant, train, scan, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="folder of five class folders")
    parser.add_argument("--out", type=Path, required=True, help="new folder for data and run")
    parser.add_argument(
        "--seed", type=int, default=0, help="which images, and what marks look like"
    )
    parser.add_argument("--small", action="store_true", help="harder ones, at 160 pixels")
    options = parser.parse_args()
    kinds, side = (SMALL, 160) if options.small else (KINDS, 224)
    classes = sorted(path.name for path in options.photos.iterdir() if path.is_dir())
    data = options.out / "images"
    truth = plant(options.photos, data, plantings(classes, kinds, options.seed), seed=options.seed)
    trained = options.out / "trained"
    command = [sys.executable, str(ROOT / "examples/train_classifier.py"), str(data)]
    said = subprocess.run(
        [*command, "--out", str(trained), "--input-size", str(side)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    print(said)
    scan = shlex.split(said.strip().splitlines()[-1])[1:]
    subprocess.run([sys.executable, "-m", "shortcut_finder", *scan], check=True)
    run = sf.load_run(trained / "run")
    print(precision_table(run, truth).to_string(index=False, float_format="{:.3f}".format))
    for label in (label for label, kind in zip(classes, kinds, strict=True) if kind is None):
        severities = list(run.findings.loc[run.findings["label"] == label, "severity"])
        print(f"findings in {label}, which is clean: {severities or 'none'}")


if __name__ == "__main__":
    main()
