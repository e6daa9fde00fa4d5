"""Surroundings: classes whose images are alike in what lies around the middle of the frame.

A natural background neither repeats nor keeps to a spot, so nothing about a group of its cells is
suspicious, and where objects are small the class map says little of where a network looks. What
tells a background is that the middle of the frame does not have it; whether the network goes by it
is for the experiments to say (Xiao et al. 2021, "Noise or signal", exchange backgrounds, too).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shortcut_finder.candidates import FEWEST, LIFT, Q_LIMIT
from shortcut_finder.evidence import association_p, false_discovery_rate
from shortcut_finder.findings import LEAST, WHOLE_FRAME, Finding
from shortcut_finder.groups import cell_blocks
from shortcut_finder.records import Records
from shortcut_finder.regions import SURROUNDINGS, from_middle, surroundings
from shortcut_finder.shards import unit_cells
from shortcut_finder.suspicion import MEDIUM, severity_of
from shortcut_finder.texts import percent

# Where an object is in most pictures: this near the middle, as part of the side.
INNERMOST = 0.2
# What the middle shows of it, as part of what the surroundings do: what is all over the pictures,
# as tissue or a field of flowers is, is no background.
HOLLOW = 0.5
# Share of the class that must have it, in excess of the others.
EXCESS = 0.15
# Suspicion at most: backgrounds belong to most classes, so experiments alone can make it worse.
QUIET = MEDIUM - 0.01


@dataclass(frozen=True, eq=False)
class _Around:
    """A class and what its surroundings look like.

    Attributes:
        label: index of the class.
        said: how like them the surroundings of each image are, (image,): 0 at the limit of
            membership, 1 for the mean of the class.
        test: numbers of the test; ``in_the_middle`` is how much of it the middle of the frame
            shows, as part of what the surroundings do.
    """

    label: int
    said: np.ndarray
    test: dict[str, float]


def find_surroundings(
    folder: Path, records: Records, half: np.ndarray, classes: tuple[str, ...]
) -> list[Finding]:
    """Findings for classes whose surroundings, but not their middle, tell them from the others.

    All are of low severity: whether they are worth a word is for the experiments to say.

    Args:
        folder: the shards.
        records: what the sweep kept.
        half: the discovery half, (image,) of bool.
        classes: class names.
    """
    outer, inner = _means(folder, records)
    found = [
        _around(number, outer, inner, records.labels, half)
        for number in np.unique(records.labels).tolist()
    ]
    rates = false_discovery_rate(np.array([one.test["p"] for one in found]))
    return [
        _finding(replace(one, test={**one.test, "q": float(q)}), records, half, classes)
        for one, q in zip(found, rates, strict=True)
        if q <= Q_LIMIT and _stands_out(one)
    ]


def _means(folder: Path, records: Records) -> tuple[np.ndarray, np.ndarray]:
    """Mean cell of the surroundings and of the middle of each image, (image, width)."""
    around = surroundings(*records.cell_grid).ravel()
    middle = (from_middle(*records.cell_grid) < INNERMOST).ravel()
    means = [
        tuple(unit_cells(stored[:, chosen]).mean(axis=1) for chosen in (around, middle))
        for _, stored in cell_blocks(folder)
    ]
    outer, inner = zip(*means, strict=True)
    return np.concatenate(outer), np.concatenate(inner)


def _around(
    label: int, outer: np.ndarray, inner: np.ndarray, labels: np.ndarray, half: np.ndarray
) -> _Around:
    """What one half says of a class's surroundings, tested on the other.

    Cells are white, so the difference of two means is the linear discriminant (Fisher 1936).
    """
    own = labels == label
    if not (own & half).any() or not (~own & half).any():
        return _Around(label, np.full(len(labels), -1.0), {"p": 1.0})
    usual, others = outer[own & half].mean(axis=0), outer[~own & half].mean(axis=0)
    vector = usual - others
    limit, reach = (usual + others) @ vector / 2, max(vector @ vector / 2, 1e-9)
    said = (outer @ vector - limit) / reach
    carries, tested = said >= 0, ~half
    members, strangers = tested & own & carries, tested & ~own
    counts = [int(n.sum()) for n in (members, tested & own, strangers & carries, strangers)]
    test = {
        "tested_images": float(counts[1]),
        "tested_members": float(counts[0]),
        "share": counts[0] / max(counts[1], 1),
        "elsewhere": counts[2] / max(counts[3], 1),
        "p": association_p(*counts),
        "in_the_middle": 1.0,
    }
    if counts[0] and counts[3]:
        middle, around = (
            float((cells[members].mean(axis=0) - cells[strangers].mean(axis=0)) @ vector)
            for cells in (inner, outer)
        )
        test["in_the_middle"] = middle / max(around, 1e-9)
    return _Around(label, said, test)


def _stands_out(one: _Around) -> bool:
    """Whether enough of the class has it, few of the others, and the middle of the frame not."""
    share, elsewhere = one.test["share"], one.test["elsewhere"]
    enough = one.test["tested_members"] >= FEWEST and share - elsewhere >= EXCESS
    return enough and share >= LIFT * elsewhere and one.test["in_the_middle"] <= HOLLOW


def _finding(one: _Around, records: Records, half: np.ndarray, classes: tuple[str, ...]) -> Finding:
    label, test, own = classes[one.label], one.test, records.labels == one.label
    share, elsewhere = test["share"], test["elsewhere"]
    exclusive, hollow = share / max(share + elsewhere, 1e-9), 1 - max(test["in_the_middle"], 0.0)
    suspicion = min(exclusive * hollow, 1.0) * QUIET
    carries = own & (one.said >= 0)
    members = np.flatnonzero(carries)
    extent = surroundings(*records.cell_grid)
    sure = 1 / (1 + np.exp(-3.0 * np.clip(one.said, -3, 3)))
    return Finding(
        key="",
        label=label,
        number=one.label,
        kind="background",
        region=SURROUNDINGS,
        share=share,
        elsewhere=elsewhere,
        q=test["q"],
        suspicion=suspicion,
        severity=severity_of(suspicion),
        sentence=(
            f"{percent(share)} of the {label} images are alike in what surrounds the middle of the "
            f"frame; {percent(elsewhere)} of the others are like them. The middle does not show it."
        ),
        advice=(
            "Add images of the class on other backgrounds, and of other classes on this one, or "
            "give the images that the report does not list more weight, and train again."
        ),
        carries=carries,
        score=np.where(carries, max(suspicion, LEAST) * sure, 0.0),
        boxes=lambda _image: WHOLE_FRAME,
        parts={"exclusivity": exclusive, "hollow": hollow},
        numbers=test,
        place=extent / extent.sum(),
        typical=members[np.argsort(-one.said[members], kind="stable")],
        half=half,
        extent=extent,
    )
