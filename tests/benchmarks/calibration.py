"""Calibration: p of candidates when labels are drawn by lot, which must be uniform.

Usage: python tests/benchmarks/calibration.py --out DIR [--rounds 60]

One clean set is scanned once; then its labels are permuted again and again, candidates are found on
one half and tested on the other, and one candidate of each round gives its p. Exact p of counts are
steps, so each is drawn uniformly within its step before Kolmogorov and Smirnov's test.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from cases import Case, build
from scipy.stats import hypergeom, kstest

import shortcut_finder as sf
from shortcut_finder.detect.halves import discovery_half
from shortcut_finder.detect.study import Study
from shortcut_finder.sweep.records import read_records

CASE = Case(images=120, seed=8000)


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


def permuted_p(folder: Path, labels: np.ndarray, seed: int) -> float | None:
    """p of one candidate under permuted labels; ``None`` where no candidate comes up."""
    rng = np.random.default_rng([seed, 9])
    drawn = rng.permutation(labels)
    study = Study(folder, drawn, discovery_half(drawn, seed), seed, torch.device("cpu"))
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


def main() -> None:
    """Scan once, permute, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    built = build(CASE, options.out / "networks")
    folder = options.out / "runs" / CASE.name
    run = sf.scan(
        built.dataset, built.model, out=folder, settings=CASE.settings, fresh=True, progress=False
    )
    records = read_records(folder / "shards", built.labels, tuple(run.card["maps"]["cell_grid"]))
    rounds = [permuted_p(folder / "shards", records.labels, n) for n in range(options.rounds)]
    values = np.array([p for p in rounds if p is not None])
    test = kstest(values, "uniform")
    print(
        f"{len(values)} candidates in {options.rounds} rounds; "
        f"KS {test.statistic:.3f}, p {test.pvalue:.3f}; "
        f"share of p <= .05: {np.mean(values <= 0.05):.3f}"
    )


if __name__ == "__main__":
    main()
