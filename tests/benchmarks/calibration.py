"""Calibration: p of candidates when labels are drawn by lot, which must be uniform.

Usage: python tests/benchmarks/calibration.py --out DIR [--rounds 60]

One clean set is scanned once; then its labels are permuted again and again, candidates are found on
one half and tested on the other, and one candidate of each round gives its p: of those that repeat
a motif where there are any. Exact p of counts are steps, so each is drawn uniformly within its step
before Kolmogorov and Smirnov's test.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from cases import Case, build
from PIL import Image
from scipy.stats import hypergeom, kstest

import shortcut_finder as sf
from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.detect.candidates import classes_without, gather_candidates
from shortcut_finder.detect.channels.groups import discovery_half, find_templates, match_templates
from shortcut_finder.detect.channels.repeats import with_motifs, with_windows
from shortcut_finder.sweep.records import read_records
from shortcut_finder.sweep.scene import Scene

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


def permuted_p(folder: Path, scene: Scene, seed: int) -> tuple[float, bool] | None:
    """p of one candidate under permuted labels, and whether it repeats a motif.

    ``None`` where no candidate comes up.
    """
    rng = np.random.default_rng([seed, 9])
    drawn = replace(scene.records, labels=rng.permutation(scene.records.labels))
    half = discovery_half(drawn.labels, seed)
    templates = find_templates(folder, drawn, half, seed)
    if not templates:
        return None
    matches = match_templates(folder, templates, len(drawn.labels), drawn.cell_grid)
    candidates = gather_candidates(templates, matches, drawn, [half] * len(templates))
    drawn_scene = replace(scene, records=drawn)
    motifs = with_motifs(candidates, None, drawn_scene, half, seed)
    motifs += with_windows(drawn_scene, half, seed)
    candidates = motifs or candidates
    chosen = candidates[int(rng.integers(len(candidates)))]
    lacking = classes_without(chosen, drawn.labels)
    if not len(lacking):
        return None
    tested = ~half & chosen.known & np.isin(drawn.labels, [chosen.label, *lacking])
    p = random_p(chosen.carries[tested], drawn.labels[tested] == chosen.label, rng)
    return p, bool(motifs)


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
    order = records.table["index"].to_numpy()
    scene = Scene(
        records,
        lambda n: Image.fromarray(built.images[order[n]]),
        Preprocessing(CASE.size, CASE.size),
    )
    rounds = [permuted_p(folder / "shards", scene, seed) for seed in range(options.rounds)]
    drawn = [found for found in rounds if found is not None]
    values = np.array([p for p, _ in drawn])
    test = kstest(values, "uniform")
    print(
        f"{len(values)} candidates in {options.rounds} rounds, "
        f"{sum(motif for _, motif in drawn)} of them with a motif; "
        f"KS {test.statistic:.3f}, p {test.pvalue:.3f}; "
        f"share of p <= .05: {np.mean(values <= 0.05):.3f}"
    )


if __name__ == "__main__":
    main()
