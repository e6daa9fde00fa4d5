"""What cleaning is worth: planted sets, cleaned without any human hint, and trained again.

For 10%, 20% and 50% of a class, with a mark in a corner, at random places, or as a frame: scan,
then train again (three seeds) on the images as they are, without what `clean` drops, with what it
masks, without exactly the planted images (the oracle), and (one seed) without as many images of
the class drawn at random.

Unbiased accuracy is that on new pictures, each once plain and once stamped. The spurious score is
the share of other classes' pictures that a stamp sends to the planted class, beyond those that go
there plain; `fill` is the same for pictures that were stamped and then filled, so it says whether
the network reads the filling. Where the network does not learn the cue from the scanned images
(a spurious score below .25 as they are) there is nothing to recover, and the cell says so.

Usage: python tests/benchmarks/cleaning.py --out FOLDER [--seeds 3] [--only random.20] [--table]
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cases
import numpy as np
import pandas as pd
from artifacts import stamp
from cases import LEARNED, Case, Plant, predicted, train
from drawings import NAMES
from PIL import Image

import shortcut_finder as sf
from shortcut_finder.cleaning.retouching import filled
from shortcut_finder.detect.placing import EDGE

PLANTS = tuple(
    Plant(kind, place, share)
    for share in (0.1, 0.2, 0.5)
    for kind, place in (("logo", "corner"), ("logo", "random"), ("frame", "whole"))
)
# Pale objects, few classes and many images: else these networks do not learn a cue in a tenth of a
# class, and cleaning has nothing to recover.
DIFFICULTY, CLASSES, IMAGES = "pale", 3, 400
# New pictures of each class: shares of several thousand are known to one part in a hundred.
TESTED = 400
# Trainings of the arm that shows what is lost by dropping images at random; it needs no precision.
RANDOM_SEEDS = 1
# A gain of the oracle below this is noise, of which no share can be recovered.
GAIN = 0.02
FOOTNOTE = (
    "recovered: of the oracle's gain; empty where the network did not learn the cue, or where the\n"
    f"oracle gains less than {GAIN}. behind: the oracle's accuracy minus the arm's; error: the\n"
    "standard error of that over the seeds."
)

Sets = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Planted:
    """A planted set, and new pictures to test on.

    Attributes:
        case: what was asked for.
        images: uint8, (image, row, column, channel), with the plant in some.
        labels: class index, (image,).
        planted: which images carry the plant, (image,) of bool.
        plain: new pictures, like ``images``.
        stamped: the same with the plant, whatever their class.
        filled: the stamped ones with the plant filled in.
        test_labels: class index of the new pictures.
    """

    case: Case
    images: np.ndarray
    labels: np.ndarray
    planted: np.ndarray
    plain: np.ndarray
    stamped: np.ndarray
    filled: np.ndarray
    test_labels: np.ndarray


def plant_case(case: Case) -> Planted:
    """Draw a case; nothing is trained, because here a network sees the set itself and no more."""
    drawings, labels = cases.drawings_of(case, case.images, part=0)
    images, members, _ = cases.planted(case, drawings, labels)
    tests, test_labels = cases.drawings_of(case, TESTED, part=1)
    (plant,) = case.plants
    stamped, refilled = [], []
    for index, drawing in enumerate(tests):
        rng = np.random.default_rng([case.seed, 4, 0, index])
        pixels, box = stamp(drawing, plant.kind, plant.place, cases.look(case, 0), rng)
        stamped.append(pixels)
        if plant.kind == "frame":
            refilled.append(filled(pixels, [], frame=3 / 64))
        else:
            x0, y0, x1, y1 = box
            refilled.append(filled(pixels, [(x0 - EDGE, y0 - EDGE, x1 + EDGE, y1 + EDGE)]))
    return Planted(
        case=case,
        images=images,
        labels=labels,
        planted=members[0],
        plain=np.stack([drawing.pixels for drawing in tests]),
        stamped=np.stack(stamped),
        filled=np.stack(refilled),
        test_labels=test_labels,
    )


def measured(data: Planted, images: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float]:
    """Unbiased accuracy and spurious scores of a network trained on these images."""
    model = train(replace(data.case, seed=1000 + seed), images, labels)
    plain, stamped, refilled = (
        predicted(model, pictures) for pictures in (data.plain, data.stamped, data.filled)
    )
    right = ((plain == data.test_labels).mean() + (stamped == data.test_labels).mean()) / 2
    other = data.test_labels != cases.SPECIAL
    called = [(one[other] == cases.SPECIAL).mean() for one in (plain, stamped, refilled)]
    return {
        "accuracy": float(right),
        "spurious": float(called[1] - called[0]),
        "fill": float(called[2] - called[0]),
    }


def trained_again(data: Planted, sets: Sets, seeds: int) -> list[dict[str, object]]:
    """A line for each arm and seed; arms with the same images share their trainings."""
    known: dict[tuple[str, int], dict[str, float]] = {}
    lines: list[dict[str, object]] = []
    for arm, (images, labels) in sets.items():
        digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        for seed in range(min(seeds, RANDOM_SEEDS) if arm == "random" else seeds):
            if (digest, seed) not in known:
                known[digest, seed] = measured(data, images, labels, seed)
            lines.append({"case": data.case.name, "arm": arm, "seed": seed, **known[digest, seed]})
    return lines


def write_pictures(data: Planted, folder: Path) -> list[str]:
    """The case as a folder of class folders; the names of the images in the case's order."""
    names = []
    for index, (pixels, label) in enumerate(zip(data.images, data.labels, strict=True)):
        name = f"{NAMES[label]}/{index:05d}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
        names.append(name)
    return names


def scanned(data: Planted, folder: Path) -> sf.Run:
    """A scan of the written pictures with a network trained on them; kept where there is one."""
    if (folder / "run" / "run.json").exists():
        return sf.load_run(folder / "run")
    return sf.scan(
        folder / "images", train(data.case, data.images, data.labels), out=folder / "run",
        settings=data.case.settings, progress=False,
    )  # fmt: skip


def arms(data: Planted, folder: Path) -> tuple[Sets, dict[str, object]]:
    """Training sets by arm, and what the scan and the cleaning did."""
    names = write_pictures(data, folder / "images")
    images, labels, planted = data.images, data.labels, data.planted
    run = scanned(data, folder)
    rng = np.random.default_rng(data.case.seed)
    own = np.flatnonzero(labels == cases.SPECIAL)
    chance = np.ones(len(labels), dtype=bool)
    chance[rng.choice(own, int(planted.sum()), replace=False)] = False
    sets: Sets = {
        "as it is": (images, labels),
        "oracle": (images[~planted], labels[~planted]),
        "random": (images[chance], labels[chance]),
    }
    found = run.findings[run.findings["severity"] != "low"]
    said = "; ".join(
        f"{row.label} {row.kind} {row.verdict} {row.severity}" for row in found.itertuples()
    )
    try:
        plan = sf.clean(run)
    except sf.RunError:
        # Nothing was found: cleaning leaves the set as it is, and that is what is measured.
        sets |= {"drop": (images, labels), "mask": (images, labels)}
        return sets, {"residual": int(planted.sum()), "false": 0, "cleaned": "", "found": said}
    kept = (plan.images.set_index("image")["change"].reindex(names) == "keep").to_numpy()
    sets |= {"drop": (images[kept], labels[kept]), "mask": (masked(run, folder, names), labels)}
    return sets, {
        "residual": int((planted & kept).sum()),
        "false": int((~planted & ~kept).sum()),
        "cleaned": " ".join(plan.findings),
        "found": said,
    }


def masked(run: sf.Run, folder: Path, names: Sequence[str]) -> np.ndarray:
    """The pictures as `clean --action mask` leaves them."""
    if not (folder / "mask").exists():
        sf.clean(run, "mask", out=folder / "mask")
    return np.stack([np.asarray(Image.open(folder / "mask" / "images" / name)) for name in names])


def recovered(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, one row a case and arm, with the share of the oracle's gain."""
    table = rows.groupby(["case", "arm"], sort=False)[["accuracy", "spurious", "fill"]].mean()
    by_seed = rows.pivot_table(index=["case", "seed"], columns="arm", values="accuracy")
    behind = by_seed.rsub(by_seed["oracle"], axis=0).groupby(level="case")
    wide = table["accuracy"].unstack()
    gain = wide["oracle"] - wide["as it is"]
    learned = table["spurious"].unstack()["as it is"] >= LEARNED
    share = wide.sub(wide["as it is"], axis=0).div(gain.where(learned & (gain >= GAIN)), axis=0)
    oracle = table["spurious"].unstack()["oracle"]
    table["recovered"] = share.stack().reindex(table.index)
    table["behind"] = behind.mean().stack().reindex(table.index)
    table["error"] = behind.sem().stack().reindex(table.index)
    table["spurious - oracle"] = table["spurious"] - table.index.get_level_values("case").map(
        oracle
    )
    return table.reset_index()


def report(lines: Sequence[Mapping[str, object]]) -> str:
    """The tables as text."""
    rows = pd.DataFrame([line for line in lines if "arm" in line])
    notes = pd.DataFrame([line for line in lines if "arm" not in line])
    floats = "{:.3f}".format
    return "\n\n".join(
        [
            notes.to_string(index=False),
            recovered(rows).to_string(index=False, float_format=floats),
            FOOTNOTE,
        ]
    )


def main() -> None:
    """Build, scan, clean, train again, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for data, runs and results")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each arm")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--table", action="store_true", help="print what there is and stop")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "cleaning.jsonl"
    lines = (
        [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    )
    if options.table:
        print(report(lines))
        return
    done = {line["case"] for line in lines if "residual" in line}
    for plant in PLANTS:
        case = Case((plant,), difficulty=DIFFICULTY, classes=CLASSES, images=IMAGES, seed=11)
        if options.only not in case.name or case.name in done:
            continue
        data = plant_case(case)
        sets, note = arms(data, options.out / case.name)
        fresh = trained_again(data, sets, options.seeds)
        fresh.append({"case": case.name, "planted": int(data.planted.sum()), **note})
        lines += fresh
        with results.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in fresh)
        print(report(lines), flush=True)


if __name__ == "__main__":
    main()
