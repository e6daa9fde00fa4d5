"""Calibration: p of candidates when labels are drawn by lot, which must be uniform.

Usage: python tests/benchmarks/calibration.py --out DIR [--rounds 60] [--copies 10] [--record]

One clean set is scanned once; then its labels are permuted again and again, candidates are found on
one half and tested on the other, and one candidate of each round gives its p. Exact p of counts are
steps, so each is drawn uniformly within its step before Kolmogorov and Smirnov's test.

With --copies, a smaller set has that many files of each picture, saved anew at another quality and
lightness, as a patient has many pictures; labels of the pictures are permuted, so that all files of
one keep the same. Once the files of a picture stay together (``--group``), once each counts for
itself; of the regions, too, one p a round. At last the set is scanned without ``--group``, and what
the scan says that it kept together is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from cases import Case, build
from PIL import Image
from rows import add_row, recording
from scipy.stats import hypergeom, kstest
from shares import share_of

import shortcut_finder as sf
from shortcut_finder.data.groups import numbered, one_of_each
from shortcut_finder.data.regions import frame_regions, region_shares
from shortcut_finder.detect.halves import discovery_half
from shortcut_finder.detect.study import Study
from shortcut_finder.stats.evidence import weigh_regions
from shortcut_finder.sweep.records import Records, read_records

CASE = Case(images=120, seed=8000)
FEW = Case(images=80, classes=2, seed=8001)
# A p that is called small.
LOW = 0.05
# How files of a picture count.
TOGETHER, ALONE = "together", "each for itself"


def random_p(carries: np.ndarray, own: np.ndarray, rng: np.random.Generator) -> float:
    """Exact one-sided p of carriers in a class, drawn within its step.

    Args:
        carries: of the tested images, (image,) of bool.
        own: which of them are of the class, (image,) of bool.
        rng: for the draw.
    """
    null = hypergeom(len(own), int(carries.sum()), int(own.sum()))
    members = int((carries & own).sum())
    return float(null.sf(members) + rng.uniform() * null.pmf(members))


def permuted(labels: np.ndarray, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels by lot; all images of a picture get the same, (image,).

    Args:
        labels: of the images, (image,).
        pictures: number of each image's picture, (image,), from 0.
        rng: for the draw.
    """
    _, first = np.unique(pictures, return_index=True)
    return rng.permutation(labels[first])[pictures]


def permuted_p(
    folder: Path, labels: np.ndarray, seed: int, pictures: np.ndarray, *, together: bool
) -> float | None:
    """p of one candidate under permuted labels; ``None`` where no candidate comes up."""
    rng = np.random.default_rng([seed, 9])
    drawn = permuted(labels, pictures, rng)
    half = discovery_half(drawn, seed, pictures if together else None)
    counted = one_of_each(pictures, drawn, seed) if together else None
    study = Study(folder, drawn, half, seed, torch.device("cpu"), counted)
    found = [
        (one, half)
        for half in (0, 1)
        for label in study.classes
        for one in study.candidates(label, half)
    ]
    if not found:
        return None
    one, half = found[int(rng.integers(len(found)))]
    tested = int(one.test["tested_images"])
    others = len(study.images(1 - half, one.label, own=False))
    members, strays = int(one.test["tested_members"]), round(one.test["elsewhere"] * others)
    own = np.arange(tested + others) < tested
    carries = np.arange(tested + others) < members
    carries[tested : tested + strays] = True
    return random_p(carries, own, rng)


def region_p(records: Records, seed: int, pictures: np.ndarray, *, together: bool) -> float:
    """p of the first class in one region of the maps, under permuted labels."""
    rng = np.random.default_rng([seed, 10])
    drawn = permuted(records.labels, pictures, rng)
    counted = one_of_each(pictures, drawn, seed) if together else None
    regions = frame_regions(*records.maps.shape[1:])
    shares = region_shares(np.maximum(records.maps, 0), regions)
    table = weigh_regions(shares, drawn, ("one", "other"), regions, counted=counted)
    own = table.loc[table["label"] == "one", "p"]
    return float(own.iloc[int(rng.integers(len(own)))])


def figures(values: Sequence[float | None]) -> dict[str, Any]:
    """How far from uniform some p are, of rounds of which some may have none."""
    found = np.array([p for p in values if p is not None])
    test, few = kstest(found, "uniform"), int((found <= LOW).sum())
    return {
        "n": len(values),
        "tested": len(found),
        "distance": float(test.statistic),
        "p": float(test.pvalue),
        "few": few,
        "share": few / len(found),
    }


def told(
    of: str, values: Sequence[float | None], options: argparse.Namespace, counted: str = ALONE
) -> None:
    """Print how far from uniform some p are, and write it where that was asked for.

    Args:
        of: whose p they are.
        values: one a round, from round 0 on.
        options: of the command.
        counted: how files of a picture count.
    """
    made = figures(values)
    print(
        f"{of}, {counted}: {made['tested']} p of {made['n']} rounds; KS {made['distance']:.3f}, "
        f"p {made['p']:.3f}; p at or below {LOW}: {share_of(made['few'], made['tested'])}",
        flush=True,
    )
    if options.record:
        asked = f"--copies {options.copies} --rounds {options.rounds}"
        add_row(
            "calibration", of=of, files=options.copies, counted=counted, **made,
            seeds=f"0 to {made['n'] - 1}", setting="a clean set of drawn pictures",
            command=f'make bench-calibration OPTIONS="{asked}"',
        )  # fmt: skip


def copied(images: np.ndarray, labels: np.ndarray, copies: int, folder: Path) -> Path:
    """A manifest of several files of each picture, with a column ``patient``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (pixels, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        rng = np.random.default_rng(number)
        for copy in range(copies):
            name = f"{number:04d}-{copy:02d}.jpg"
            lighter = pixels.astype(float) + rng.uniform(-3, 3)
            file = Image.fromarray(lighter.clip(0, 255).astype(np.uint8))
            file.save(folder / name, quality=int(rng.integers(75, 96)))
            rows.append((name, f"class {label}", f"patient {number}"))
    table = pd.DataFrame(rows, columns=["image", "label", "patient"])
    table.to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


def of_copies(options: argparse.Namespace) -> None:
    """Scan once with groups, permute, print; then scan without."""
    built = build(FEW, options.out / "networks")
    table = copied(built.images, built.labels, options.copies, options.out / "copies")
    plain = sf.Settings(input_size=FEW.size, verify=False)
    names = [f"class {number}" for number in range(FEW.classes)]
    how = {"classes": names, "progress": False, "fresh": True}
    grouped = sf.Settings(**{**plain.as_dict(), "group": "patient"})
    run = sf.scan(table, built.model, out=options.out / "run", settings=grouped, **how)
    print(run.card["groups"], flush=True)
    dataset = sf.load_dataset(table)
    grid = tuple(run.card["maps"]["cell_grid"])
    records = read_records(run.folder / "shards", dataset.labels, grid)
    index = records.table["index"].to_numpy()
    pictures = numbered(dataset.metadata["patient"].tolist())[index]
    for together in (True, False):
        which = TOGETHER if together else ALONE
        rounds = range(options.rounds if together else 10)
        folder, labels = run.folder / "shards", records.labels
        of_cells = [permuted_p(folder, labels, n, pictures, together=together) for n in rounds]
        told("candidates of cells", of_cells, options, which)
        of_regions = [region_p(records, n, pictures, together=together) for n in range(400)]
        told("regions", of_regions, options, which)
    alone = sf.scan(table, built.model, out=options.out / "alone", settings=plain, **how)
    print(alone.card.get("groups", "nothing kept together"))
    print("\n".join(line for line in alone.card["warnings"] if "near-duplicate" in line))


def main() -> None:
    """Scan once, permute, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--copies", type=int, default=1, help="files of each picture")
    recording(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.copies > 1:
        of_copies(options)
        return
    built = build(CASE, options.out / "networks")
    folder = options.out / "runs" / CASE.name
    run = sf.scan(
        built.dataset, built.model, out=folder, settings=CASE.settings, fresh=True, progress=False
    )
    records = read_records(folder / "shards", built.labels, tuple(run.card["maps"]["cell_grid"]))
    labels, each = records.labels, np.arange(len(records.labels))
    rounds = range(options.rounds)
    found = [permuted_p(folder / "shards", labels, n, each, together=False) for n in rounds]
    told("candidates of cells", found, options)


if __name__ == "__main__":
    main()
