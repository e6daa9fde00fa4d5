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
from cases import Built, Case, Plant, build, predicted, train
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
class Tests:
    """New pictures of a case, plain and stamped."""

    plain: np.ndarray
    stamped: np.ndarray
    labels: np.ndarray


def tests_of(case: Case) -> Tests:
    """Pictures that no training set holds, without and with the case's plant."""
    drawings, labels = cases._drawings(case, cases.TESTED, part=1)
    (plant,) = case.plants
    stamped = []
    for index, drawing in enumerate(drawings):
        rng = np.random.default_rng([case.seed, 4, 0, index])
        pixels, _ = stamp(drawing, plant.kind, plant.place, cases.look(case, 0), rng)
        stamped.append(pixels)
    return Tests(np.stack([drawing.pixels for drawing in drawings]), np.stack(stamped), labels)


def measured(
    case: Case, tests: Tests, images: np.ndarray, labels: np.ndarray, seed: int
) -> dict[str, float]:
    """Unbiased accuracy and spurious score of a network trained on these images."""
    model = train(replace(case, seed=1000 + seed), images, labels)
    before, after = predicted(model, tests.plain), predicted(model, tests.stamped)
    other = tests.labels != cases.SPECIAL
    went = (after[other] == cases.SPECIAL).mean() - (before[other] == cases.SPECIAL).mean()
    right = ((before == tests.labels).mean() + (after == tests.labels).mean()) / 2
    return {"accuracy": float(right), "spurious": float(went)}


def write_pictures(built: Built, folder: Path) -> list[str]:
    """The case as a folder of class folders; the names of the images in the case's order."""
    names = []
    for index, (pixels, label) in enumerate(zip(built.images, built.labels, strict=True)):
        name = f"{built.names[label]}/{index:05d}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
        names.append(name)
    return names


def arms(
    built: Built, folder: Path
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, object]]:
    """Training sets by arm, and what the scan and the cleaning did."""
    names = write_pictures(built, folder / "images")
    run = sf.scan(
        folder / "images", built.model, out=folder / "run", settings=built.case.settings,
        classes=built.names, progress=False,
    )  # fmt: skip
    planted, images, labels = built.members[0], built.images, built.labels
    rng = np.random.default_rng(built.case.seed)
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
        print(f"{built.case.name}: {error}", flush=True)
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
        built = build(case, options.out / "networks")
        sets, note = arms(built, options.out / case.name)
        tests = tests_of(case)
        fresh: list[dict[str, object]] = [
            {"case": case.name, "arm": arm, "seed": seed, **measured(case, tests, *sets[arm], seed)}
            for arm in ARMS
            for seed in range(options.seeds)
        ]
        fresh.append({"case": case.name, "planted": int(built.members[0].sum()), **note})
        lines += fresh
        with results.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in fresh)
        print(report(lines), flush=True)


if __name__ == "__main__":
    main()
