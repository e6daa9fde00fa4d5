"""Photographs: things drawn by lot, planted in a folder of photos, and whether they are found.

For each seed one class stays as it is and every other class gets one artifact: its kind, place,
looks and the share of the class that carries it are drawn by lot. Trains efficientnet-lite0 on four
fifths of the photos, scans these, and stamps the other fifth to see how many photos of other
classes go over to the planted one (the spurious score, as in `cases.py`). Where less than half of a
class carries the artifact, the network also learns from stamped copies of the class's photos that
are not scanned; a few hundred photos would not teach it the artifact. Files are JPEGs in the
photos' own sizes.

    python tests/benchmarks/photographs.py FOLDER --out DIR --seeds 3
    python tests/benchmarks/photographs.py FOLDER --out DIR --seeds 3 --table

DIR/rows has what was found for each seed; a seed that has its rows is not run again.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from artifacts import CHANGES, THINGS, stamp
from cases import IGNORED, LEARNED, TAUGHT
from drawings import Drawing
from fine_tuning import LITE0, TrainingImages, fine_tuned, preprocessing
from kept import kept
from PIL import Image
from scoring import bootstrap_interval, near, right_kind
from shares import share_of
from sklearn.metrics import average_precision_score

import shortcut_finder as sf
from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.preprocessing import Preprocessing

# Passes over the photos, the side at which the network sees them, and the quality of the files.
EPOCHS, INPUT, QUALITY = 3, 160, 92
# Shares of a class: of things, and of changes of the whole picture.
SHARES = {False: (0.1, 0.2, 0.3, 0.5), True: (0.5, 0.8, 1.0)}
# A photo has no outline of its object, so a weave behind the object cannot be drawn.
KINDS = (*THINGS, *(kind for kind in CHANGES if kind != "background"))


@dataclass(frozen=True)
class Plant:
    """What one class gets; `look` is the seed of what it looks like and of its corner or edge."""

    label: str
    kind: str
    place: str
    share: float
    look: int

    def stamped(self, photo: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Any]:
        """The photo with it, and the box it lies in."""
        pixels = np.asarray(photo)
        drawing = Drawing(pixels, np.zeros(pixels.shape[:2], bool), (0.0, 0.0), 0.0)
        made, box = stamp(drawing, self.kind, self.place, self.look, rng)
        return Image.fromarray(made), box


def plants(classes: Sequence[str], seed: int) -> list[Plant]:
    """What goes into which class; one class is left out."""
    rng = np.random.default_rng([seed, 11])
    chosen = rng.permutation(np.array(classes))[1:]
    kinds = rng.permutation(np.array(KINDS))[: len(chosen)]
    found = []
    for number, (label, kind) in enumerate(zip(chosen.tolist(), kinds.tolist(), strict=True)):
        diffuse = kind in CHANGES
        place = "whole" if diffuse else str(rng.choice(["corner", "edge", "random"]))
        share = float(rng.choice(SHARES[diffuse]))
        found.append(Plant(label, kind, place, share, 100 * seed + number))
    return found


def make(photos: Path, out: Path, planted: Sequence[Plant], seed: int) -> pd.DataFrame:
    """Write ``out/train`` with the plants, ``out/learn`` with more of them, ``out/test`` without.

    Returns:
        Row an image that carries one: class and box, by image.
    """
    rows = {}
    by_class = {plant.label: plant for plant in planted}
    for number, folder in enumerate(sorted(path for path in photos.iterdir() if path.is_dir())):
        plant = by_class.get(folder.name)
        files = sorted(path for path in folder.iterdir() if path.is_file())
        kept = [place for place in range(len(files)) if place % 5]
        order = np.random.default_rng([seed, number]).permutation(kept)
        share = plant.share if plant else 0.0
        # Stamped copies come on top, so that of all that is learned from the wanted part has it.
        copies = max(0, round((TAUGHT - share) / (1 - TAUGHT) * len(kept)))
        carriers, taught = order[: round(share * len(kept))], order[len(kept) - copies :]
        for place, file in enumerate(files):
            photo = Image.open(file).convert("RGB")
            name = f"{folder.name}/{folder.name}-{place:04d}.jpg"
            if plant is not None and place in carriers:
                rng = np.random.default_rng([seed, number, place])
                photo, box = plant.stamped(photo, rng)
                rows[name] = (folder.name, *box)
            elif plant is not None and place in taught:
                rng = np.random.default_rng([seed, number, place])
                copy, _ = plant.stamped(photo, rng)
                _save(copy, out / "learn" / folder.name / f"more-{place}.jpg")
            for split in ("train", "learn") if place % 5 else ("test",):
                _save(photo, out / split / name)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["label", "x0", "y0", "x1", "y1"])
    return table.rename_axis("image")


def _save(photo: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    photo.save(path, quality=QUALITY)


def predicted(network: torch.nn.Module, images: ImageDataset, how: Preprocessing) -> np.ndarray:
    """Class index of each image, (image,)."""
    batches = torch.utils.data.DataLoader(TrainingImages(images, how, mirror=False), 32)
    with torch.inference_mode():
        return np.concatenate([network(inputs).argmax(1).numpy() for inputs, _ in batches])


def spurious_score(
    network: torch.nn.Module, folder: Path, plant: Plant, how: Preprocessing
) -> float:
    """Share of other classes' photos that go over to the planted class once stamped."""
    tests = sf.load_dataset(folder / "test")
    target = tests.classes.index(plant.label)
    other = np.flatnonzero(tests.labels != target)
    stamped = folder / "stamped"
    for index in other.tolist():
        photo, _ = plant.stamped(
            Image.open(folder / "test" / tests.images[index]).convert("RGB"),
            np.random.default_rng([plant.look, index]),
        )
        _save(photo, stamped / tests.images[index])
    # Class folders sort the same way with one class missing, so the rows fit.
    before = predicted(network, tests.subset(other), how)
    after = predicted(network, sf.load_dataset(stamped), how)
    shutil.rmtree(stamped)
    return float((after == target).mean() - (before == target).mean())


def is_right(
    finding: Any, listed: pd.DataFrame, truth: pd.DataFrame, plant: Plant, grid: int
) -> bool:
    """Whether a finding is of the plant, as `scoring.py` has it; cells are of the longer side."""
    own = listed[listed["image"].str.startswith(f"{plant.label}/")]
    carry = own[own["image"].isin(truth.index)]
    if finding.label != plant.label or len(carry) < max(1, 0.5 * len(own)):
        return False
    if plant.kind in CHANGES:
        # The whole photo is blurred here, so its background alone is the wrong thing to say.
        right = right_kind(plant.kind, finding.kind, finding.region)
        return right and finding.kind != "background"
    boxes = truth.loc[carry["image"], ["x0", "y0", "x1", "y1"]].to_numpy()
    side = carry[["width", "height"]].max(axis=1).to_numpy()
    return near(carry[["x0", "y0", "x1", "y1"]].to_numpy(float), boxes, side / grid)


def run_seed(photos: Path, out: Path, seed: int, *, keep: bool) -> list[dict[str, Any]]:
    """Plant, train, scan and score; a row a class."""
    folder = out / "sets" / str(seed)
    shutil.rmtree(folder, ignore_errors=True)
    classes = sorted(path.name for path in photos.iterdir() if path.is_dir())
    planted = plants(classes, seed)
    truth = make(photos, folder, planted, seed)
    how = preprocessing(LITE0, INPUT)
    network = fine_tuned(sf.load_dataset(folder / "learn"), how, epochs=EPOCHS, seed=seed)
    tests = sf.load_dataset(folder / "test")
    accuracy = float((predicted(network, tests, how) == tests.labels).mean())
    scores = {plant.label: spurious_score(network, folder, plant, how) for plant in planted}
    settings = sf.Settings(input_size=INPUT, resize=how.resize, mean=how.mean, std=how.std)
    run = sf.scan(folder / "train", network, out=folder / "run", settings=settings, progress=False)
    details = out / "details" / f"{seed}.json"
    details.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / "run" / "findings.json", details)
    torch.save(network.state_dict(), out / "details" / f"{seed}.pt")
    rows = [describe(run, truth, label, planted, scores) for label in classes]
    if not keep:
        shutil.rmtree(folder)
    return [{"seed": seed, "accuracy": accuracy, **row} for row in rows]


def describe(
    run: sf.Run,
    truth: pd.DataFrame,
    label: str,
    planted: Sequence[Plant],
    scores: dict[str, float],
) -> dict[str, Any]:
    """What was planted in a class, how far the network uses it, and what was found there."""
    plant = next((plant for plant in planted if plant.label == label), None)
    sizes = run.images[["image", "width", "height"]]
    offenders = run.offenders.merge(sizes, on="image")
    grid = max(run.card["maps"]["grid"])
    found = []
    for finding in run.findings[run.findings["label"] == label].itertuples():
        listed = offenders[offenders["finding"] == finding.finding]
        right = plant is not None and is_right(finding, listed, truth, plant, grid)
        found.append(
            {
                "what": f"{finding.kind} @{finding.region}",
                "severity": finding.severity,
                "verdict": finding.verdict,
                "suspicion": round(float(finding.suspicion), 3),
                "images": int(finding.images),
                "carriers": float(listed["image"].isin(truth.index).mean()),
                "right": bool(right),
            }
        )
    row = {"label": label, "kind": "", "place": "", "share": 0.0, "score": 0.0, "found": found}
    if plant is None:
        return row
    own = run.images.loc[run.images["label"] == label, "image"]
    best = own.map(run.offenders.groupby("image")["score"].max()).fillna(0.0)
    carries = own.isin(truth.index)
    ranked = None if carries.all() else float(average_precision_score(carries, best))
    what = {"kind": plant.kind, "place": plant.place, "share": plant.share}
    return row | what | {"score": scores[label], "ap": ranked}


# --- the table -----------------------------------------------------------------------------------


def is_loud(finding: dict[str, Any]) -> bool:
    """Above low severity, or confirmed."""
    return finding["severity"] != "low" or finding["verdict"] == "confirmed"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line a class, then recall and precision with 95% intervals."""
    lines = []
    for row in rows:
        what = f"{row['kind']} {row['place']} {row['share']:.0%}" if row["kind"] else "as it is"
        ranked = "" if row.get("ap") is None else f"AP {row['ap']:.2f}"
        lines.append(f"{row['seed']:4d} {row['label']:12s} {what:22s} {row['score']:5.2f} {ranked}")
        lines += [
            f"       {'+' if one['right'] else '-'} {one['what']} {one['severity']}/"
            f"{one['verdict']} {one['suspicion']:.2f} n={one['images']} "
            f"carriers {one['carriers']:.2f}"
            for one in row["found"]
            if one["right"] or is_loud(one)
        ]
    planted = [row for row in rows if row["kind"]]
    groups = {
        "learned": [row for row in planted if row["score"] >= LEARNED],
        "between": [row for row in planted if IGNORED < row["score"] < LEARNED],
        "ignored": [row for row in planted if row["score"] <= IGNORED],
    }
    for name, part in groups.items():
        loud = sum(any(one["right"] and is_loud(one) for one in row["found"]) for row in part)
        sure = sum(
            any(one["right"] and one["verdict"] == "confirmed" for one in row["found"])
            for row in part
        )
        lines.append(f"{name}: above low {share_of(loud, len(part))}, confirmed {sure}")
        ranked = np.array([row["ap"] for row in part if row.get("ap") is not None])
        if len(ranked):
            low, high = bootstrap_interval(ranked)
            lines.append(f"  AP median {np.median(ranked):.2f} ({low:.2f} to {high:.2f})")
    findings = [one for row in rows for one in row["found"] if is_loud(one)]
    right = sum(one["right"] for one in findings)
    sure = [one for one in findings if one["verdict"] == "confirmed"]
    lines.append(f"precision above low {share_of(right, len(findings))}")
    lines.append(f"precision confirmed {share_of(sum(one['right'] for one in sure), len(sure))}")
    return "\n".join(lines)


def main() -> None:
    """Run the seeds that have no rows yet, and print the table of those asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="folder of class folders, 11 at most")
    parser.add_argument("--out", type=Path, required=True, help="rows; may exist")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds")
    parser.add_argument("--table", action="store_true", help="only print what there is")
    parser.add_argument("--keep", action="store_true", help="leave photos and run folders")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for seed in range(options.first, options.first + options.seeds):
        make = partial(run_seed, options.photos, options.out, seed, keep=options.keep)
        file = options.out / "rows" / f"{seed}.json"
        rows += kept(file, make, only_read=options.table) or []
    print(table(rows))


if __name__ == "__main__":
    main()
