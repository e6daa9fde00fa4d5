"""Scoring: which findings are right, and how images are ranked.

A finding is right when it names a planted class, at least half of the images it lists there carry
the plant, and its boxes lie within a cell of it; for a change of the whole picture the kind must be
right instead of the place. What was planted but is hardly used counts neither for nor against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from cases import Built, Plant
from sklearn.metrics import average_precision_score

import shortcut_finder as sf

# What a finding may be called by for each change of the whole picture: kinds, and families of
# properties.
RIGHT_KINDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "frame": (frozenset({"frame"}), frozenset({"border"})),
    "tint": (frozenset(), frozenset({"colour", "colour range"})),
    "background": (frozenset({"background"}), frozenset({"texture", "sharpness"})),
    # The background alone is out of focus.
    "blur": (frozenset({"background"}), frozenset({"sharpness", "texture"})),
}
LEVELS = ("listed", "loud", "confirmed")


@dataclass(frozen=True)
class Hit:
    """What one finding was held to be.

    Attributes:
        finding: its key.
        plant: number of the plant it is right about; -1 for none.
        label: class index it names.
        loud: of more than low severity, or confirmed.
        confirmed: its verdict.
    """

    finding: str
    plant: int
    label: int
    loud: bool
    confirmed: bool

    def at(self, level: str) -> bool:
        """Whether it counts at a level of `LEVELS`."""
        return level == "listed" or (self.loud if level == "loud" else self.confirmed)


def positions(table: pd.DataFrame) -> np.ndarray:
    """Which images of the data set the rows of a table are, (row,)."""
    return table["image"].astype(str).str.split("/").str[-1].astype(int).to_numpy()


def hits(built: Built, run: sf.Run) -> list[Hit]:
    """Every finding of a run, strongest first, held against the truth."""
    found = []
    for row in run.findings.itertuples():
        label = built.names.index(row.label)
        listed = run.offenders[run.offenders["finding"] == row.finding]
        matched = [
            number
            for number, plant in enumerate(built.case.plants)
            if _is_right(built, run, number, plant, label, row, listed)
        ]
        confirmed = row.verdict == "confirmed"
        loud = confirmed or row.severity in ("medium", "high")
        found.append(Hit(row.finding, matched[0] if matched else -1, label, loud, confirmed))
    return found


def _is_right(
    built: Built,
    run: sf.Run,
    number: int,
    plant: Plant,
    label: int,
    row: object,
    listed: pd.DataFrame,
) -> bool:
    if label not in planted_classes(built, plant):
        return False
    images = positions(listed)
    own = built.labels[images] == label
    images, listed = images[own], listed[own]
    if len(images) == 0 or built.members[number, images].mean() < 0.5:
        return False
    if plant.diffuse:
        return right_kind(plant.kind, str(row.kind), str(row.region))  # type: ignore[attr-defined]
    carry = built.members[number, images]
    boxes = listed[["x0", "y0", "x1", "y1"]].to_numpy(dtype=float)[carry]
    truth = built.boxes[number, images[carry]]
    return near(boxes, truth, _cell(built, run))


def right_kind(planted: str, kind: str, region: str) -> bool:
    """Whether a finding of that kind and region may be of that change of the whole picture."""
    kinds, families = RIGHT_KINDS[planted]
    return kind in kinds or (kind == "property" and region in families)


def planted_classes(built: Built, plant: Plant) -> tuple[int, ...]:
    """Classes in which a finding of the plant would be right."""
    everywhere = built.case.control == "equal"
    return tuple(range(built.case.classes)) if everywhere else plant.classes


def _cell(built: Built, run: sf.Run) -> float:
    """Side of a cell of the class map, in pixels."""
    return built.case.size / max(run.card["maps"]["grid"])


def near(boxes: np.ndarray, truth: np.ndarray, cell: float | np.ndarray) -> bool:
    """Whether the middle of most boxes lies in the true box or within a cell of it.

    Args:
        boxes: x0, y0, x1, y1, (image, 4).
        truth: likewise.
        cell: its side, of all images or of each.
    """
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    inside = (
        (x >= truth[:, 0] - cell)
        & (x <= truth[:, 2] + cell)
        & (y >= truth[:, 1] - cell)
        & (y <= truth[:, 3] + cell)
    )
    return bool(inside.mean() >= 0.5)


def finding_counts(built: Built, found: Sequence[Hit], level: str) -> dict[str, float]:
    """What was to be found, what was, and what else was said, at one level.

    Returns:
        ``learned`` plants (counted once a class), ``found`` among them, ``false`` findings,
        ``fragments`` (further findings of the same plant), ``rank`` of the first right one (NaN
        for none).
    """
    counting = [hit for hit in found if hit.at(level)]
    truth = {
        (number, label)
        for number, plant in enumerate(built.case.plants)
        if built.status[number] == "learned" and built.case.control == ""
        for label in plant.classes
    }
    right = [(hit.plant, hit.label) for hit in counting if hit.plant >= 0]
    ranks = [n for n, hit in enumerate(counting, start=1) if (hit.plant, hit.label) in truth]
    return {
        "learned": len(truth),
        "found": len(truth & set(right)),
        "false": sum(hit.plant < 0 for hit in counting),
        "fragments": len(right) - len(set(right)),
        "rank": float(ranks[0]) if ranks else float("nan"),
    }


def image_scores(built: Built, run: sf.Run) -> np.ndarray:
    """Score of each image among the offenders, 0 for those that are not listed; (image,)."""
    scores = np.zeros(len(built.labels))
    np.maximum.at(scores, positions(run.offenders), run.offenders["score"].to_numpy(dtype=float))
    return scores


def ranking(scores: np.ndarray, carries: np.ndarray) -> dict[str, float]:
    """How well a score puts carriers first; ties are taken in random order.

    Args:
        scores: the higher the earlier, (image,).
        carries: the truth, (image,) of bool, neither all nor none.

    Returns:
        Average precision ``ap``, ``chance``, and recall at k and 1.2 k, where k is their number.
    """
    count = int(carries.sum())
    return {
        "ap": float(average_precision_score(carries, scores)),
        "chance": float(carries.mean()),
        "recall_k": _recall(scores, carries, count),
        "recall_1.2k": _recall(scores, carries, round(1.2 * count)),
    }


def _recall(scores: np.ndarray, carries: np.ndarray, first: int) -> float:
    """Expected share of carriers among the first so many."""
    limit = np.sort(scores)[::-1][min(first, len(scores)) - 1]
    sure, tied = scores > limit, scores == limit
    taken = (first - sure.sum()) / tied.sum()
    return float((carries[sure].sum() + min(taken, 1.0) * carries[tied].sum()) / carries.sum())


def bootstrap_interval(
    values: np.ndarray, statistic: str = "median", *, rounds: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95% percentile interval over data sets, one value each."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice(values, (rounds, len(values)))
    low, high = np.percentile(getattr(np, statistic)(drawn, axis=1), [2.5, 97.5])
    return float(low), float(high)
