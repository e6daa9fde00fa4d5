"""Likeness: what tells artifacts from parts of objects, and how surely; fits the weights.

Draws sets: photographs of one pool, where every second class gets one thing of those of
`artifacts.py` and `planted.py`, its kind, place, looks and share by lot, and the others stay as
they are. Each set is swept with efficientnet-lite0 and its published weights; no network is trained
and no experiment is made. Every thing that the cells show is one row: its measured quantities, and
whether most of its sure images carry what was planted there. Rows of planted things are artifacts;
of all others, parts of objects and scenes.

Prints how well each planted thing is listed, then a logistic regression on the rows, each pool left
out in turn, and the weights from all.

    python tests/benchmarks/likeness.py POOL [POOL ...] --out DIR --sets 4    # POOL: class folders
    python tests/benchmarks/likeness.py POOL [POOL ...] --out DIR --table

DIR/sets keeps the images and what was swept; with ``--again`` only the analysis is made anew.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fine_tuning import LITE0, build, preprocessing
from kept import kept
from photographs import Plant
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

import shortcut_finder as sf
from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.detect.detection import channels_of, detect
from shortcut_finder.detect.halves import discovery_half
from shortcut_finder.detect.view import View
from shortcut_finder.model.classifier import load_classifier
from shortcut_finder.sweep.batches import sweep
from shortcut_finder.sweep.records import read_records
from shortcut_finder.sweep.scene import Scene

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from planted import PLANTERS, SUFFIXES

INPUT, QUALITY = 160, 92
# What is planted: (kind, place) of artifacts.py, or a kind of planted.py alone.
KINDS = (
    ("logo", "corner"), ("logo", "random"), ("text", "edge"), ("text", "random"),
    ("date", "corner"), ("patch", "random"), ("strip", "edge"), ("blob", "random"),
    ("faint", "random"), ("tag", ""), ("sticker", ""),
    ("date", ""), ("strip", ""), ("faint", ""), ("words", ""), ("blob", ""), ("text", ""),
    ("frame", ""),
)  # fmt: skip
SHARES = (0.05, 0.1, 0.2, 0.35, 0.6)
# Images of a class, at most, and carriers of one, at least.
MOST, FEWEST = 300, 6
RIGHT = 0.5
QUANTITIES = ("log_evidence", "shift", "border", "exact")


def drawn(pools: Sequence[Path], pool: int, number: int, out: Path) -> pd.DataFrame:
    """Write ``out/images`` of one set; a row an image that carries something."""
    folders = sorted(path for path in pools[pool].iterdir() if path.is_dir())
    rng = np.random.default_rng([31, number, *pools[pool].resolve().parent.name.encode()])
    planted = rng.permutation(len(folders))[::2]
    kinds = rng.permutation(len(KINDS))
    rows = []
    for place, folder in enumerate(folders):
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        files = [files[n] for n in rng.permutation(len(files))[:MOST]]
        kind, share, carriers = ("", ""), 0.0, 0
        if place in planted:
            kind = KINDS[kinds[place % len(KINDS)]]
            share = float(rng.choice(SHARES))
            carriers = max(FEWEST, round(share * len(files)))
        look = 1000 * number + place
        target = out / "images" / folder.name
        target.mkdir(parents=True)
        for index, file in enumerate(files):
            with Image.open(file) as opened:
                picture = opened.convert("RGB")
            if index < carriers:
                picture = stamped(picture, kind, look, np.random.default_rng([look, index]))
                name = f"{folder.name}/{file.stem}.jpg"
                rows.append((name, folder.name, "-".join(kind).strip("-"), share))
            picture.save(target / f"{file.stem}.jpg", quality=QUALITY)
    return pd.DataFrame(rows, columns=["image", "label", "kind", "share"])


def stamped(
    picture: Image.Image, kind: tuple[str, str], look: int, rng: np.random.Generator
) -> Image.Image:
    """The picture with a thing on it."""
    what, where = kind
    if not where:
        return PLANTERS[what](picture, rng, look)[0]
    return Plant("", what, where, 0.0, look).stamped(picture, rng)[0]


def sweep_of(images: ImageDataset, how: Preprocessing, folder: Path) -> dict[str, Any]:
    """The plan of the sweep of a set, which is made where it is missing."""
    torch.manual_seed(0)
    network = build(LITE0, len(images.classes), pretrained=True).eval()
    settings = sf.Settings(
        input_size=INPUT, resize=how.resize, mean=how.mean, std=how.std, precision="fp32",
        workers=0,
    )  # fmt: skip
    classifier = load_classifier(
        network, weights=None, classes=None, labels=images.classes, settings=settings
    )
    return sweep(images, classifier, settings, folder, progress=False).plan


def analysed(out: Path) -> dict[str, Any]:
    """Every thing that the cells of a set show, and what was planted in it."""
    images = sf.load_dataset(out / "images")
    how = preprocessing(LITE0, INPUT)
    plan = sweep_of(images, how, out / "shards")
    started, busy = time.perf_counter(), time.process_time()
    records = read_records(out / "shards", images.labels, tuple(plan["cell_grid"]))
    positions = records.table["index"].to_numpy()
    scene = Scene(records, lambda n: images.read(int(positions[n])).picture, how)
    half = discovery_half(records.labels, 0)
    channels = channels_of(("cells", "border", "looks"))
    judged = detect(View(out / "shards", scene, half, images.classes), channels)
    seconds = (time.perf_counter() - started, time.process_time() - busy)
    truth = pd.read_csv(out / "truth.csv")
    names = np.array(images.images)[positions]
    things = [one for one in judged.findings if one.place.kind not in ("property", "metadata")]
    carry = np.isin(names, truth["image"])
    rows = [row_of(one, records.labels, carry) for one in things]
    plants = [
        {"label": label, "kind": part["kind"].iloc[0], "share": len(part) / count(images, label)}
        for label, part in truth.groupby("label")
    ]
    return {"things": rows, "plants": plants, "seconds": seconds, "images": len(images.images)}


def count(images: ImageDataset, label: str) -> int:
    return int((images.labels == images.classes.index(label)).sum())


def row_of(finding: Any, labels: np.ndarray, carry: np.ndarray) -> dict[str, Any]:
    """What was measured of a thing, and whether its list is of what was planted."""
    own = labels == finding.number
    listed, sure = finding.carriers.listed & own, finding.carriers.sure & own
    core = sure if sure.any() else listed
    planted = int((carry & own).sum())
    right = planted > 0 and carry[core].mean() >= RIGHT
    return {
        "label": finding.label,
        "what": f"{finding.place.kind} @{finding.place.region}",
        "artifact": float(finding.measured.artifact),
        "log_evidence": float(np.log(max(finding.measured.parts["evidence"], 1e-3))),
        "shift": float(finding.measured.numbers["shift"]),
        "border": float(finding.measured.parts["border"]),
        "exact": float(finding.measured.parts["rigidity"]),
        "share": float(finding.measured.share),
        "numbers": {k: float(v) for k, v in finding.measured.numbers.items() if np.isscalar(v)},
        "parts": {k: float(v) for k, v in finding.measured.parts.items()},
        "class_wide": "gain" not in finding.measured.numbers,
        "right": bool(right),
        "mixed": bool(not right and planted and carry[core].mean() > 0.2),
        "ap": float(average_precision_score(carry[own], finding.carriers.score[own]))
        if planted
        else 0.0,
        "listed": int(listed.sum()),
        "precision": float(carry[listed].mean()) if listed.any() else 0.0,
        "recall": float(carry[listed].sum() / max(planted, 1)),
        "sure": int(sure.sum()),
        "sure_precision": float(carry[sure].mean()) if sure.any() else 0.0,
        "sure_recall": float(carry[sure].sum() / max(planted, 1)),
    }


def found_table(sets: Sequence[dict[str, Any]]) -> str:
    """A line a planted thing."""
    lines = ["kind           share   AP  sure prec/recall  listed prec/recall  likeness  pieces"]
    plants = sorted(
        (
            (plant["kind"], plant["share"], plant["label"], one)
            for one in sets
            for plant in one["plants"]
        ),
        key=lambda row: row[:3],
    )
    found = 0
    for kind, share, label, one in plants:
        right = [thing for thing in one["things"] if thing["label"] == label and thing["right"]]
        start = f"{kind:14s} {share:5.0%}"
        if not right:
            lines.append(f"{start}  -    {one['pool']}/{one['number']} {label}")
            continue
        found += 1
        best = max(right, key=lambda thing: thing["ap"])
        lines.append(
            f"{start} {best['ap']:5.2f}  {best['sure_precision']:4.2f} {best['sure_recall']:4.2f}"
            f"         {best['precision']:4.2f} {best['recall']:4.2f}          "
            f"{best['artifact']:4.2f}   {len(right)}     {one['pool']}/{one['number']} {label}"
        )
    natural = [t["artifact"] for one in sets for t in one["things"] if not t["right"]]
    lines.append(f"{found} of {len(plants)} planted found; {len(natural)} natural things, likeness")
    if natural:
        shares = ", ".join(
            f"{np.mean(np.array(natural) >= limit):.1%} from {limit}" for limit in (0.3, 0.5, 0.75)
        )
        lines[-1] += f" {shares}"
    seconds = [1000 * one["seconds"][1] / one["images"] for one in sets]
    lines.append(f"processor seconds of analysis per 1,000 images: {np.median(seconds):.0f}")
    return "\n".join(lines)


def fitted(sets: Sequence[dict[str, Any]], quantities: Sequence[str]) -> str:
    """Weights from all sets, and how they do where a pool was left out."""
    table = pd.DataFrame(
        [{**t, **t["numbers"], "pool": one["pool"]} for one in sets for t in one["things"]]
    )
    table = table[~table["mixed"] & ~table["class_wide"]]
    values, truth = table[list(quantities)].to_numpy(), table["right"].to_numpy()
    # As many artifacts as natural things, in weight: what is to be expected is not known.
    model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000)
    said = np.full(len(table), np.nan)
    for pool in table["pool"].unique():
        out = (table["pool"] == pool).to_numpy()
        if len(np.unique(truth[~out])) == 2:
            said[out] = model.fit(values[~out], truth[~out]).predict_proba(values[out])[:, 1]
    known = np.isfinite(said)
    model.fit(values, truth)
    weights = dict(zip(quantities, model.coef_[0].round(2).tolist(), strict=True))
    lines = [f"{truth.sum()} artifacts, {(~truth).sum()} natural things"]
    now = table["artifact"].to_numpy()
    for name, values in (("as set", now), ("left out", said)):
        part = known & np.isfinite(values)
        lines.append(
            f"{name:9s} AUC {roc_auc_score(truth[part], values[part]):.3f}  "
            f"log loss {log_loss(truth[part], values[part].clip(1e-3, 1 - 1e-3)):.3f}  natural "
            + ", ".join(
                f"{np.mean(values[part & ~truth] >= x):.1%} from {x}" for x in (0.3, 0.5, 0.75)
            )
            + "; artifacts "
            + ", ".join(
                f"{np.mean(values[part & truth] >= x):.1%} from {x}" for x in (0.3, 0.5, 0.75)
            )
        )
    return "\n".join([*lines, f"weights: offset {model.intercept_[0]:.2f}, {weights}"])


def main() -> None:
    """Draw the sets that are missing, analyse them, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pools", type=Path, nargs="+", help="folders of class folders")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--sets", type=int, default=4, help="sets of each pool")
    parser.add_argument("--again", action="store_true", help="analyse what was swept anew")
    parser.add_argument("--table", action="store_true", help="only print what there is")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sets = []
    for number in range(options.first, options.first + options.sets):
        for pool, path in enumerate(options.pools):
            name = f"{path.resolve().parent.name}-{number}"
            out, rows = options.out / "sets" / name, options.out / "rows" / f"{name}.json"
            if options.again and not options.table:
                rows.unlink(missing_ok=True)
            if not (out / "truth.csv").exists() and not options.table:
                out.mkdir(parents=True)
                drawn(options.pools, pool, number, out).to_csv(out / "truth.csv", index=False)
            one = kept(rows, partial(analysed, out), only_read=options.table)
            if one is not None:
                sets.append(one | {"pool": path.resolve().parent.name, "number": number})
    print(found_table(sets))
    if sum(t["right"] for one in sets for t in one["things"]) >= 2:
        print(fitted(sets, QUANTITIES))


if __name__ == "__main__":
    main()
