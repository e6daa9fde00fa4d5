"""Surroundings: classes whose images are alike in what lies around the middle of the frame.

A natural background neither repeats nor keeps to a spot, so nothing about a group of its cells is
suspicious, and where objects are small the class map says little of where a network looks. Most
classes are alike in their surroundings; whether the network goes by these, and how much more by the
middle, is for the experiments to say (Xiao et al. 2021, "Noise or signal", exchange backgrounds,
too).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shortcut_finder.data.membership import having, lacking
from shortcut_finder.data.regions import SURROUNDINGS, from_middle, surroundings
from shortcut_finder.detect.finding import (
    LEAST,
    Carriers,
    Decided,
    Finding,
    Measured,
    sureness,
    surest_first,
)
from shortcut_finder.detect.place import Place
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.detect.proposals import Concluded, Proposals, rated
from shortcut_finder.detect.view import View
from shortcut_finder.stats.evidence import exclusivity
from shortcut_finder.sweep.shards import read_shards, unit_cells
from shortcut_finder.texts import percent

# Where an object is in most pictures: this near the middle, as part of the side.
INNERMOST = 0.2
# What the middle shows of it at most, as part of what the surroundings do: what is as much all over
# the pictures, as tissue is, is no background. Places that people act in show .27 to .74 there.
HOLLOW = 0.7
# Share of the class that must have it, in excess of the others.
EXCESS = 0.15
# Suspicion at most: backgrounds belong to most classes, so experiments alone can make it worse.
QUIET = POLICY.artifact - 0.01


@dataclass(frozen=True, eq=False)
class _Around:
    """A class and what its surroundings look like.

    Attributes:
        label: index of the class.
        said: how like them the surroundings of each image are, (image,): 0 at the limit of
            membership, 1 for the mean of the class.
        test: numbers of the test; ``in_the_middle`` is how much of it the middle of the frame
            shows, as part of what the surroundings do.
        half: images that it was found on, (image,) of bool; it is tested on the others.
    """

    label: int
    said: np.ndarray
    test: dict[str, float]
    half: np.ndarray


def propose(view: View) -> Proposals:
    """What either half says that a class's surroundings look like, tested on the other half.

    All are of low severity: whether they are worth a word is for the experiments to say.
    """
    around = surroundings(*view.records.cell_grid).ravel()
    middle = (from_middle(*view.records.cell_grid) < INNERMOST).ravel()
    if not around.any() or not middle.any():
        # Too few cells to tell them apart.
        return Proposals()
    outer, inner = _means(view.folder, around, middle)
    chances: list[float] = []
    clear: dict[int, _Around] = {}
    for half in view.halves:
        everyone = outer[half & view.records.counted].sum(axis=0)
        for label in view.numbers:
            one = _around(label, outer, inner, everyone, view, half)
            # All are tested, few are kept: each has an entry for every image.
            if _stands_out(one):
                clear[len(chances)] = one
            chances.append(one.test["p"])

    def conclude(q: np.ndarray, _found: Sequence[Finding]) -> Concluded:
        # A class is listed for the clearer of the two halves.
        held: dict[int, _Around] = {}
        for n in sorted(clear, key=chances.__getitem__):
            one = clear[n]
            if q[n] <= POLICY.q and one.label not in held:
                held[one.label] = rated(one, q[n])
        return Concluded([_finding(held[label], view) for label in sorted(held)])

    return Proposals(np.array(chances), conclude)


def _means(folder: Path, *parts: np.ndarray) -> list[np.ndarray]:
    """Mean cell of parts of the frame, each (cell,) of bool, in each image, (image, width)."""
    means = [
        [unit_cells(cells[:, part]).mean(axis=1) for part in parts]
        for shard in read_shards(folder, ["cells"])
        for cells in [shard.arrays["cells"].reshape(len(shard.table), len(parts[0]), -1)]
    ]
    return [np.concatenate(blocks) for blocks in zip(*means, strict=True)]


def _around(
    label: int,
    outer: np.ndarray,
    inner: np.ndarray,
    everyone: np.ndarray,
    view: View,
    half: np.ndarray,
) -> _Around:
    """What one half says of a class's surroundings, tested on the other.

    Cells are white, so the difference of two means is the linear discriminant (Fisher 1936).

    Args:
        label: index of the class.
        outer: mean cell of the surroundings, (image, width).
        inner: mean cell of the middle, (image, width).
        everyone: sum of ``outer`` over the half that finds, (width,).
        view: the images.
        half: the half that finds, (image,) of bool.
    """
    labels, counted = view.labels, view.records.counted
    own, rest = having(labels, label), lacking(labels, label)
    learned, tested = half & counted, ~half & counted
    found = outer[own & learned]
    usual = found.sum(axis=0) / max(len(found), 1)
    if labels.ndim == 1:
        others = (everyone - found.sum(axis=0)) / max(int(learned.sum()) - len(found), 1)
    else:
        others = outer[rest & learned].sum(axis=0) / max(int((rest & learned).sum()), 1)
    vector = usual - others
    limit, reach = (usual + others) @ vector / 2, max(vector @ vector / 2, 1e-9)
    said = (outer @ vector - limit) / reach
    carries = said >= 0
    members, strangers = tested & own & carries, tested & rest
    test = view.tested(label, carries, half) | {"in_the_middle": 1.0}
    if members.any() and strangers.any():
        middle, around = (
            float(like[members].mean() - like[strangers].mean())
            for like in (inner @ vector, outer @ vector)
        )
        test["in_the_middle"] = middle / max(around, 1e-9)
    return _Around(label, said, test, half)


def _stands_out(one: _Around) -> bool:
    """Whether enough of the class has it, few of the others, and the middle of the frame less."""
    share, elsewhere = one.test["share"], one.test["elsewhere"]
    enough = one.test["tested_members"] >= POLICY.fewest and share - elsewhere >= EXCESS
    return enough and share >= POLICY.lift * elsewhere and one.test["in_the_middle"] <= HOLLOW


def _finding(one: _Around, view: View) -> Finding:
    records, label = view.records, view.classes[one.label]
    test, own = one.test, having(records.labels, one.label)
    share, elsewhere = test["share"], test["elsewhere"]
    exclusive, hollow = exclusivity(share, elsewhere), 1 - max(test["in_the_middle"], 0.0)
    suspicion = min(exclusive * hollow, 1.0) * QUIET
    carries = own & (one.said >= 0)
    members = np.flatnonzero(carries)
    extent = surroundings(*records.cell_grid)
    return Finding(
        label=label,
        number=one.label,
        place=Place(
            kind="background",
            region=SURROUNDINGS,
            counts=extent / extent.sum(),
            extent=extent,
        ),
        carriers=Carriers(
            listed=carries,
            score=np.where(carries, max(suspicion, LEAST) * sureness(one.said), 0.0),
            found_on=one.half,
            typical=surest_first(members, one.said),
            alike=one.said >= 0,
        ),
        measured=Measured(
            share=share,
            elsewhere=elsewhere,
            q=test["q"],
            artifact=suspicion,
            parts={"exclusivity": exclusive, "hollow": hollow},
            numbers=test,
        ),
        decided=Decided(POLICY.severity(suspicion)),
        said=(
            f"{percent(share)} of the {label} images are alike in what surrounds the middle of the "
            f"frame; {percent(elsewhere)} of the others are like them.",
            f"The middle shows {percent(min(max(test['in_the_middle'], 0.0), 1.0))} as much of it.",
        ),
        advice=(
            "Add images of the class on other backgrounds, and of other classes on this one, or "
            "give the images that the report does not list more weight, and train again."
        ),
    )
