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


def discovery_half(labels: np.ndarray, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """A random half of every class, (image,) of bool; of every set of labels, if there are any.

    Args:
        labels: class of each image, (image,), or membership.
        seed: decides which half.
        groups: number of the group that each image must stay with, (image,): no group is divided,
            and classes are halved as nearly as that allows.
    """
    rng = np.random.default_rng([seed, 1])
    if groups is not None:
        return _half_of_groups(labels, groups, rng)
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


def _half_of_groups(labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Groups in random order, the large ones first, each to the half that has less of its classes.

    Args:
        labels: class of each image, (image,).
        groups: number of each image's group, (image,).
        rng: decides the order.
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    label = np.unique(labels, axis=0, return_inverse=True)[1].ravel()
    order = rng.permutation(len(sizes))
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(sizes)[:-1])
    half = np.zeros(len(labels), dtype=bool)
    # How many images more the first half has of each class.
    ahead = np.zeros(int(label.max(initial=-1)) + 1)
    for number in order[np.argsort(-sizes[order], kind="stable")]:
        images = members[number]
        classes, images_of = np.unique(label[images], return_counts=True)
        first = bool(ahead[classes] @ images_of <= 0)
        half[images] = first
        ahead[classes] += images_of if first else -images_of
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
    counted = records.counted
    associations = find_associations(records.table, records.labels, half, counted)
    # Whether a thing explains a look, experiments say.
    properties = property_findings(associations, (), records, half, classes)
    telling = telling_columns(columns, records.labels, half, counted)
    findings = [
        *with_companions([*things, *properties], records.labels, classes, columns, counted),
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
    counted = scene.records.counted
    study = Study(folder, labels, half, seed, device or torch.device("cpu"), counted)
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
