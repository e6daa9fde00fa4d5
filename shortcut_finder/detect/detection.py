"""Detection: from what the sweep kept to findings, found on one half and tested on the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from shortcut_finder.data.membership import comparable
from shortcut_finder.detect.channels.associations import find_associations
from shortcut_finder.detect.channels.metadata import Column, telling_columns
from shortcut_finder.detect.channels.traits import (
    metadata_findings,
    property_findings,
    with_companions,
)
from shortcut_finder.detect.finding import Finding, Judged, ranked
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.stats.evidence import false_discovery_rate
from shortcut_finder.sweep.scene import Scene

if TYPE_CHECKING:
    import torch


def discovery_half(labels: np.ndarray, seed: int) -> np.ndarray:
    """A random half of every class, (image,) of bool; of every set of labels, if there are any."""
    rng = np.random.default_rng([seed, 1])
    half = np.zeros(len(labels), dtype=bool)
    if labels.ndim == 2:
        # Every second image of a random order in which those of the same labels stand together.
        order = rng.permutation(len(labels))
        alike = np.unique(labels, axis=0, return_inverse=True)[1].ravel()
        half[order[np.argsort(alike[order], kind="stable")][::2]] = True
        return half
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        half[own[: (len(own) + 1) // 2]] = True
    return half


def find_shortcuts(
    folder: Path,
    scene: Scene,
    half: np.ndarray,
    classes: tuple[str, ...],
    columns: Sequence[Column],
    *,
    seed: int = 0,
    device: torch.device | None = None,
    progress: bool = False,
) -> Judged:
    """What classes have and others have not: things, looks of the whole image, and columns.

    Args:
        folder: the shards.
        scene: what the sweep kept, and the pictures behind it.
        half: the first half, (image,) of bool; what each half finds is tested on the other. Looks
            and columns of the metadata are found on the first alone.
        classes: class names.
        columns: of the user's metadata.
        seed: for the samples.
        device: to compute on; the CPU if None.
        progress: show a bar on stderr.
    """
    records = scene.records
    things, notes, tested = _things(folder, scene, half, classes, seed, device, progress)
    associations = find_associations(records.table, records.labels, half)
    # Whether a thing explains a look, experiments say.
    properties = property_findings(associations, (), records, half, classes)
    telling = telling_columns(columns, records.labels, half)
    findings = [
        *with_companions([*things, *properties], records.labels, classes, columns),
        *metadata_findings(telling, records, half, classes),
    ]
    return Judged(ranked(findings), tuple(notes), tested)


def _things(
    folder: Path,
    scene: Scene,
    half: np.ndarray,
    classes: tuple[str, ...],
    seed: int,
    device: torch.device | None,
    progress: bool,
) -> tuple[list[Finding], list[str], int]:
    """Findings of things in the pictures, notes, and how many candidates were tested."""
    import torch

    from shortcut_finder.detect.channels.border import border_things
    from shortcut_finder.detect.channels.cells import Study, paired, scored, strongest, thing_of
    from shortcut_finder.detect.judge import judged

    labels = scene.records.labels
    if not comparable(labels) or (~half).sum() < 2:
        return [], [], 0
    study = Study(folder, labels, half, seed, device or torch.device("cpu"))
    rounds = [(half_number, label) for half_number in (0, 1) for label in study.classes]
    bar = tqdm(rounds, desc="analyse", unit=" classes", disable=not progress)
    candidates = [one for half_number, label in bar for one in study.candidates(label, half_number)]
    border = border_things(study, scene.records.cell_grid)
    tests = [one.test for one in candidates] + [one.test for one in border]
    q = false_discovery_rate(np.array([test["p"] for test in tests]))
    for test, rate in zip(tests, q, strict=True):
        test["q"] = float(rate)
    holding = [one for one in candidates if _holds(one.test) and one.test["gain"] > POLICY.gain]
    pairs = strongest(
        paired(study, holding, POLICY.evidence), POLICY.tried, POLICY.evidence, POLICY.same
    )
    kept = [one for one in border if _holds(one.test)] + [thing_of(pair, study) for pair in pairs]
    found, notes = judged(scored(study, kept, folder), study, scene, classes)
    return found, notes, len(tests)


def _holds(test: dict[str, float]) -> bool:
    """Whether a class has it so much more often, on the other half, that it is worth a look."""
    return (
        test["q"] <= POLICY.q
        and test["share"] >= POLICY.lift * test["elsewhere"]
        and test["share"] - test["elsewhere"] >= POLICY.difference
    )
