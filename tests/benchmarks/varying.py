"""Varying looks: things of which no two copies are alike, planted in photographs, and their lists.

The classes of PHOTOS are merged in two, so that a twentieth of a class is some images. For each
seed three sets are made: a soft blob of any colour and size, cut by the border, in 5, 10 and 20% of
the first class, and in the second dates that change in 10%, see-through words that change in 20%,
and dates in 5%. Trains efficientnet-lite0 as `examples/train_classifier.py` does, scans, and prints
for each planted thing the finding that lists it best: its average precision over the class, and
precision and recall of the sure images and of all listed ones.

    python tests/benchmarks/varying.py PHOTOS [PHOTOS ...] --out DIR --seeds 3
    python tests/benchmarks/varying.py PHOTOS --out DIR --seeds 3 --table

DIR/rows has what was found; a set that has its rows is not run again.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from fine_tuning import LITE0, fine_tuned, preprocessing
from kept import kept
from rows import add_row, recording
from sklearn.metrics import average_precision_score

import shortcut_finder as sf

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from planted import SUFFIXES, Planting, plant

EPOCHS, INPUT = 2, 160
# What the first class and the second get, in each set of a seed.
SETS = (
    (("blob", 0.05), ("date", 0.10)),
    (("blob", 0.10), ("words", 0.20)),
    (("blob", 0.20), ("date", 0.05)),
)
LABELS = ("a", "b")
# Share of a list that must carry the thing for the list to be of it.
RIGHT = 0.5


def merged(photos: Sequence[Path], out: Path, seed: int) -> None:
    """Write ``out/<a or b>``: links to the photographs of half of the classes each."""
    classes = sorted({path.name for root in photos for path in root.iterdir() if path.is_dir()})
    order = np.random.default_rng([seed, 21]).permutation(classes).tolist()
    for root in photos:
        for place, name in enumerate(order):
            folder = out / LABELS[place % 2]
            folder.mkdir(parents=True, exist_ok=True)
            for file in sorted((root / name).glob("*")):
                if file.suffix.lower() in SUFFIXES:
                    (folder / f"{root.name}-{name}-{file.name}").symlink_to(file.resolve())


def run_set(photos: Sequence[Path], out: Path, seed: int, number: int) -> list[dict[str, Any]]:
    """Plant, train, scan and score one set; a row a planted thing."""
    folder = out / "sets" / f"{seed}-{number}"
    if not (folder / "truth.csv").exists():
        shutil.rmtree(folder, ignore_errors=True)
        merged(photos, folder / "photos", seed)
        kinds = zip(LABELS, SETS[number], strict=True)
        look = 100 * seed + number
        plantings = [Planting(label, kind, share, look) for label, (kind, share) in kinds]
        truth = plant(folder / "photos", folder / "images", plantings, seed=look)
        truth.to_csv(folder / "truth.csv", index=False)
    truth = pd.read_csv(folder / "truth.csv")
    how = preprocessing(LITE0, INPUT)
    weights = folder / "weights.pt"
    images = sf.load_dataset(folder / "images")
    if not weights.exists():
        network = fine_tuned(images, how, epochs=EPOCHS, seed=seed)
        torch.save(network.state_dict(), weights)
    settings = sf.Settings(input_size=INPUT, resize=how.resize, mean=how.mean, std=how.std)
    run = sf.scan(
        folder / "images",
        f"{Path(__file__).resolve().parents[2]}/examples/train_classifier.py:efficientnet_lite0",
        weights=weights, out=folder / "run", settings=settings, progress=False,
    )  # fmt: skip
    stages = {name: round(stage["seconds"], 1) for name, stage in run.card["stages"].items()}
    return [
        {"seed": seed, "kind": kind, "share": share, "stages": stages, **scored(run, truth, label)}
        for label, (kind, share) in zip(LABELS, SETS[number], strict=True)
    ]


def scored(run: sf.Run, truth: pd.DataFrame, label: str) -> dict[str, Any]:
    """How well the best of a class's findings lists what was planted, and what else was said."""
    planted = set(truth.loc[truth["label"] == label, "image"])
    own = run.images.loc[run.images["label"] == label, "image"]
    carries = own.isin(planted).to_numpy()
    found = []
    for finding in run.findings[run.findings["label"] == label].itertuples():
        rows = run.offenders[run.offenders["finding"] == finding.finding]
        rows = rows[rows["image"].isin(own)]
        score = own.map(rows.set_index("image")["score"]).fillna(0.0)
        listed = rows["image"].isin(planted)
        sure = listed[rows["tier"] == "sure"]
        found.append(
            {
                "what": f"{finding.kind} @{finding.region}",
                "severity": finding.severity,
                "verdict": finding.verdict,
                "artifact": round(float(finding.suspicion), 3),
                "ap": float(average_precision_score(carries, score)),
                "listed": len(listed),
                "precision": float(listed.mean()) if len(listed) else 0.0,
                "recall": float(listed.sum() / len(planted)),
                "sure": len(sure),
                "sure_precision": float(sure.mean()) if len(sure) else 0.0,
                "sure_recall": float(sure.sum() / len(planted)),
            }
        )
    return {"carriers": len(planted), "images": len(own), "found": found}


def best_of(row: dict[str, Any]) -> dict[str, Any] | None:
    """The finding that lists a planted thing best; ``None`` where most of its list lacks it."""
    best = max(row["found"], key=lambda one: one["ap"], default=None)
    return None if best is None or best["precision"] < RIGHT else best


def record(rows: Sequence[dict[str, Any]], photos: Sequence[Path]) -> None:
    """Write a row for each kind of thing and share of the class."""
    kinds = sorted({(row["kind"], row["share"]) for row in rows})
    for kind, share in kinds:
        mine = [row for row in rows if (row["kind"], row["share"]) == (kind, share)]
        found = [(row, best) for row in mine if (best := best_of(row)) is not None]
        add_row(
            "varying", kind=kind, share=share, things=len(mine), found=len(found),
            confirmed=sum(best["verdict"] == "confirmed" for _, best in found),
            ap=median([best["ap"] for _, best in found]) if found else math.nan,
            **{
                f"{tier}_right": sum(
                    round(best[size] * best[right]) for _, best in found
                )
                for tier, size, right in (
                    ("sure", "sure", "sure_precision"), ("listed", "listed", "precision")
                )
            },
            sure=sum(best["sure"] for _, best in found),
            listed=sum(best["listed"] for _, best in found),
            carriers=sum(row["carriers"] for row, _ in found),
            n=f"{mine[0]['images']} images a class",
            seeds=f"{mine[0]['seed']} to {mine[-1]['seed']}",
            setting=f"{', '.join(root.name for root in photos)}; EfficientNet-Lite0 at {INPUT} "
            f"pixels, fine-tuned for {EPOCHS} epochs",
            command='make bench-varying PHOTOS="FOLDER ..." OUT=FOLDER',
        )  # fmt: skip


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line a planted thing, and one for each other thing that is loud."""
    lines = ["seed kind    share  carriers   AP   sure, precision, recall  listed, the same  what"]
    for row in sorted(rows, key=lambda one: (one["kind"], one["share"], one["seed"])):
        best = best_of(row)
        start = f"{row['seed']:4d} {row['kind']:7s} {row['share']:5.0%} {row['carriers']:9d}"
        lines.append(f"{start} {'not found' if best is None else described(best)}")
        lines += [
            f"{'also':>29} {described(one)}"
            for one in row["found"]
            if one is not best and (one["severity"] != "low" or one["verdict"] == "confirmed")
        ]
    return "\n".join(lines)


def described(one: dict[str, Any]) -> str:
    return (
        f"{one['ap']:5.2f} {one['sure']:8d} {one['sure_precision']:5.2f} {one['sure_recall']:6.2f}"
        f" {one['listed']:10d} {one['precision']:5.2f} {one['recall']:6.2f}  {one['what']} "
        f"{one['severity']}/{one['verdict']} {one['artifact']:.2f}"
    )


def main() -> None:
    """Run the sets that have no rows yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+", help="folders of class folders")
    parser.add_argument("--out", type=Path, required=True, help="rows; may exist")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds")
    parser.add_argument("--table", action="store_true", help="only print what there is")
    recording(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for seed in range(options.first, options.first + options.seeds):
        for number in range(len(SETS)):
            make = partial(run_set, options.photos, options.out, seed, number)
            file = options.out / "rows" / f"{seed}-{number}.json"
            rows += kept(file, make, only_read=options.table) or []
    print(table(rows))
    if options.record:
        record(rows, options.photos)


if __name__ == "__main__":
    main()
