"""Four artifacts planted in a folder of photos: how well the offenders are ranked.

Plants a tag in 31% of the first class, leaves the second clean, a thin frame in 51% of the third,
a sticker at random places in 27% of the fourth and translucent text in 58% of the fifth; trains
efficientnet-lite0 as `examples/train_classifier.py` does; scans; and prints the average precision
of ranking each class's images, beside that of region shares and of confidence on the same scan.

Usage: python tests/benchmarks/plantings.py FOLDER_OF_FIVE_CLASSES --out NEW_FOLDER [--seed N]
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
from sklearn.metrics import average_precision_score

import shortcut_finder as sf

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from planted import Planting, plant  # noqa: E402

KINDS = (
    ("tag", 0.31), None, ("frame", 0.51), ("sticker", 0.27), ("text", 0.58),
)  # fmt: skip


def plantings(classes: list[str], look: int) -> list[Planting]:
    """What goes into which class."""
    pairs = zip(classes, KINDS, strict=True)
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
    options = parser.parse_args()
    classes = sorted(path.name for path in options.photos.iterdir() if path.is_dir())
    data = options.out / "images"
    truth = plant(options.photos, data, plantings(classes, options.seed), seed=options.seed)
    trained = options.out / "trained"
    command = [sys.executable, str(ROOT / "examples/train_classifier.py"), str(data)]
    said = subprocess.run(
        [*command, "--out", str(trained)], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    print(said)
    scan = shlex.split(said.strip().splitlines()[-1])[1:]
    subprocess.run([sys.executable, "-m", "shortcut_finder", *scan], check=True)
    run = sf.load_run(trained / "run")
    print(precision_table(run, truth).to_string(index=False, float_format="{:.3f}".format))
    clean = next(label for label, kind in zip(classes, KINDS, strict=True) if kind is None)
    severities = list(run.findings.loc[run.findings["label"] == clean, "severity"])
    print(f"findings in {clean}, which is clean: {severities or 'none'}")


if __name__ == "__main__":
    main()
