"""Claims: the short way to write a channel.

A channel that can say how surely each image carries something, and where that stands, makes a
`Claim` of each and hands them to `claimed`, which tests them and makes findings of what holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from shortcut_finder.data.membership import having
from shortcut_finder.detect.finding import (
    LEAST,
    Carriers,
    Decided,
    Finding,
    Measured,
    same_thing,
    sureness,
    surest_first,
)
from shortcut_finder.detect.place import Place
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.detect.proposals import Concluded, Proposals
from shortcut_finder.detect.sentences import advice_for
from shortcut_finder.detect.spot import bounds_of, kind_of_cells, name_of
from shortcut_finder.detect.tiers import CONFIDENCE
from shortcut_finder.detect.view import View
from shortcut_finder.stats.evidence import exclusivity
from shortcut_finder.texts import percent


@dataclass(frozen=True, eq=False)
class Claim:
    """That part of a class carries something at one place of the frame.

    Attributes:
        label: index of the class.
        found_on: images that it was learned from, (image,) of bool; it is tested on the others.
        score: how surely each image carries it, (image,): 0 at the limit, 1 for a typical carrier.
        cells: where it stands, (row, column) of bool, on the grid of the records.
        artifact: how much it looks like an artifact rather than a part of the object, in [0, 1].
        words: what it is, as in "carry a corner of one colour".
    """

    label: int
    found_on: np.ndarray
    score: np.ndarray
    cells: np.ndarray
    artifact: float
    words: str


def claimed(claims: Sequence[Claim], view: View) -> Proposals:
    """The claims, each tested on the images that it was not learned from.

    Of claims of one class with the same carriers the surest is listed, and none that a channel
    before has found.

    Args:
        claims: in any order.
        view: the images.
    """
    tests = [view.tested(one.label, one.score >= 0, one.found_on) for one in claims]

    def conclude(q: np.ndarray, before: Sequence[Finding]) -> Concluded:
        found = list(before)
        for number in np.argsort(q, kind="stable"):
            test = {**tests[number], "q": float(q[number])}
            finding = _finding(claims[number], test, view)
            few = test["tested_members"] < POLICY.fewest
            if (
                POLICY.holds(test)
                and not few
                and not any(same_thing(finding, one) for one in found)
            ):
                found.append(finding)
        return Concluded(found[len(before) :])

    return Proposals(np.array([test["p"] for test in tests]), conclude)


def _finding(claim: Claim, test: dict[str, float], view: View) -> Finding:
    label, carries = view.classes[claim.label], claim.score >= 0
    listed = carries & having(view.labels, claim.label)
    region, bounds = name_of(claim.cells), bounds_of(claim.cells)
    members, images = round(test["tested_members"]), max(round(test["tested_images"]), 1)
    low, high = stats.binomtest(members, images).proportion_ci(CONFIDENCE, "wilson")
    share, elsewhere = test["share"], test["elsewhere"]
    return Finding(
        label=label,
        number=claim.label,
        place=Place(
            kind_of_cells(claim.cells, region),
            region,
            claim.cells / claim.cells.sum(),
            lambda _image: bounds,
            claim.cells,
        ),
        carriers=Carriers(
            listed,
            np.where(listed, max(claim.artifact, LEAST) * sureness(claim.score), 0.0),
            claim.found_on,
            surest_first(np.flatnonzero(listed), claim.score),
            alike=carries,
        ),
        measured=Measured(
            share,
            elsewhere,
            test["q"],
            claim.artifact,
            {"exclusivity": exclusivity(share, elsewhere)},
            test,
            (float(low), float(high)),
        ),
        decided=Decided(POLICY.severity(claim.artifact)),
        said=(
            f"{percent(share)} of the {label} images ({percent(low)} to {percent(high)}) carry "
            f"{claim.words} ({region}); {percent(elsewhere)} of the others do.",
        ),
        advice=advice_for(region, share, claim.artifact),
    )
