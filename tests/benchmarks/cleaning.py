"""What cleaning is worth: planted sets, cleaned without any human hint, and trained again.

For 10%, 20% and 50% of a class, with a mark in a corner, at random places, or as a frame: scan,
then train again (three seeds) on the images as they are, without what `clean` drops, with what it
masks, without exactly the planted images (the oracle), and without as many images of the class
drawn at random. Unbiased accuracy is that on new pictures, each once plain and once stamped; the
spurious score is the share of other classes' pictures that a stamp sends to the planted class.

Usage: python tests/benchmarks/cleaning.py --out FOLDER [--seeds 3] [--only random.20]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cases
import numpy as np
import pandas as pd
from artifacts import stamp
from cases import Case, Plant, predicted, train
from drawings import NAMES
from PIL import Image

import shortcut_finder as sf

PLANTS = tuple(
    Plant(kind, place, share)
    for share in (0.1, 0.2, 0.5)
    for kind, place in (("logo", "corner"), ("logo", "random"), ("frame", "whole"))
)
ARMS = ("as it is", "drop", "mask", "oracle", "random")
# A gain of the oracle below this is noise, of which no share can be recovered.
GAIN = 0.02


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
        test_labels: class index of the new pictures.
    """

    case: Case
    images: np.ndarray
    labels: np.ndarray
    planted: np.ndarray
    plain: np.ndarray
    stamped: np.ndarray
    test_labels: np.ndarray


def plant_case(case: Case) -> Planted:
    """Draw a case; nothing is trained, because here a network sees the set itself and no more."""
    drawings, labels = cases._drawings(case, case.images, part=0)
    images, members, _ = cases._planted(case, drawings, labels)
    tests, test_labels = cases._drawings(case, cases.TESTED, part=1)
    (plant,) = case.plants
    stamped = []
    for index, drawing in enumerate(tests):
        rng = np.random.default_rng([case.seed, 4, 0, index])
        stamped.append(stamp(drawing, plant.kind, plant.place, cases.look(case, 0), rng)[0])
    plain = np.stack([drawing.pixels for drawing in tests])
    return Planted(case, images, labels, members[0], plain, np.stack(stamped), test_labels)


def measured(data: Planted, images: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float]:
    """Unbiased accuracy and spurious score of a network trained on these images."""
    model = train(replace(data.case, seed=1000 + seed), images, labels)
    before, after = predicted(model, data.plain), predicted(model, data.stamped)
    other = data.test_labels != cases.SPECIAL
    went = (after[other] == cases.SPECIAL).mean() - (before[other] == cases.SPECIAL).mean()
    right = ((before == data.test_labels).mean() + (after == data.test_labels).mean()) / 2
    return {"accuracy": float(right), "spurious": float(went)}


def write_pictures(data: Planted, folder: Path) -> list[str]:
    """The case as a folder of class folders; the names of the images in the case's order."""
    names = []
    for index, (pixels, label) in enumerate(zip(data.images, data.labels, strict=True)):
        name = f"{NAMES[label]}/{index:05d}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
        names.append(name)
    return names


def arms(
    data: Planted, folder: Path
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, object]]:
    """Training sets by arm, and what the scan and the cleaning did."""
    names = write_pictures(data, folder / "images")
    images, labels, planted = data.images, data.labels, data.planted
    run = sf.scan(
        folder / "images", train(data.case, images, labels), out=folder / "run",
        settings=data.case.settings, progress=False,
    )  # fmt: skip
    rng = np.random.default_rng(data.case.seed)
    own = np.flatnonzero(labels == cases.SPECIAL)
    chance = np.ones(len(labels), dtype=bool)
    chance[rng.choice(own, int(planted.sum()), replace=False)] = False
    sets = {
        "as it is": (images, labels),
        "oracle": (images[~planted], labels[~planted]),
        "random": (images[chance], labels[chance]),
    }
    try:
        plan = sf.clean(run, out=folder / "drop")
        sf.clean(run, "mask", out=folder / "mask")
    except sf.RunError as error:
        # Nothing was found: cleaning leaves the set as it is, and that is what is measured.
        print(f"{data.case.name}: {error}", flush=True)
        sets |= {"drop": (images, labels), "mask": (images, labels)}
        return sets, {"residual": int(planted.sum()), "false": 0, "findings": 0}
    change = plan.images.set_index("image")["change"].reindex(names)
    kept = (change == "keep").to_numpy()
    masked = np.stack([np.asarray(Image.open(folder / "mask" / "images" / name)) for name in names])
    sets |= {"drop": (images[kept], labels[kept]), "mask": (masked, labels)}
    return sets, {
        "residual": int((planted & kept).sum()),
        "false": int((~planted & ~kept).sum()),
        "findings": len(plan.findings),
    }


def recovered(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, one row a case and arm, with the share of the oracle's gain."""
    table = rows.groupby(["case", "arm"], sort=False)[["accuracy", "spurious"]].mean()
    wide = table["accuracy"].unstack()
    gain = wide["oracle"] - wide["as it is"]
    share = wide.sub(wide["as it is"], axis=0).div(gain.where(gain >= GAIN), axis=0)
    table["recovered"] = share.stack().reindex(table.index)
    table["spurious - oracle"] = (
        table["spurious"]
        - table["spurious"]
        .unstack()["oracle"]
        .reindex(table.index.get_level_values("case"))
        .to_numpy()
    )
    return table.reset_index()


def report(lines: Sequence[dict[str, object]]) -> str:
    """The tables as text."""
    rows = pd.DataFrame([line for line in lines if "arm" in line])
    notes = pd.DataFrame([line for line in lines if "arm" not in line])
    floats = "{:.3f}".format
    return "\n\n".join(
        [notes.to_string(index=False), recovered(rows).to_string(index=False, float_format=floats)]
    )


def main() -> None:
    """Build, scan, clean, train again, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for data, runs and results")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each arm")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "cleaning.jsonl"
    lines = (
        [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    )
    done = {line["case"] for line in lines if "residual" in line}
    for plant in PLANTS:
        case = Case((plant,), seed=11)
        if options.only not in case.name or case.name in done:
            continue
        data = plant_case(case)
        sets, note = arms(data, options.out / case.name)
        fresh: list[dict[str, object]] = [
            {"case": case.name, "arm": arm, "seed": seed, **measured(data, *sets[arm], seed)}
            for arm in ARMS
            for seed in range(options.seeds)
        ]
        fresh.append({"case": case.name, "planted": int(data.planted.sum()), **note})
        lines += fresh
        with results.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in fresh)
        print(report(lines), flush=True)


if __name__ == "__main__":
    main()
