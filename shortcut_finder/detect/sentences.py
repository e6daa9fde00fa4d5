"""Sentences: what a finding says in words, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from shortcut_finder.data.regions import ANYWHERE
from shortcut_finder.detect.candidates import LIFT, Candidate
from shortcut_finder.detect.suspicion import CLEAR, EXACT, is_all_over
from shortcut_finder.sweep.records import Records

_THINGS = {
    "corner": "the same mark",
    "edge": "the same mark",
    "frame": "the same frame",
    "patch": "the same small thing",
    "overlay": "the same translucent overlay",
    "background": "a background that looks alike",
}
_WHERE = {
    "frame": "around the border",
    "centre": "at one place inside the frame",
    ANYWHERE: "at changing places",
}


def sharing_classes(candidate: Candidate, records: Records, classes: tuple[str, ...]) -> str:
    """The other classes that have a shared thing about as often, with their shares; often none."""
    if not candidate.template.shared:
        return ""
    carried = {n: candidate.carries[records.labels == n].mean() for n in np.unique(records.labels)}
    least = carried[candidate.label] / LIFT
    return ", ".join(
        f"{classes[n]} ({_percent(share)})"
        for n, share in carried.items()
        if n != candidate.label and share > least
    )


def sentence_of(
    label: str,
    kind: str,
    region: str,
    test: Mapping[str, float],
    weight: Mapping[str, float],
    sharing: str,
) -> str:
    """What a person should know of a finding.

    Args:
        label: class name.
        kind: of the finding.
        region: where it stands.
        test: share of the class and of the others.
        weight: suspicion and its parts.
        sharing: other classes that have it, from `sharing_classes`.
    """
    rigid = weight["rigidity"] >= EXACT
    spotlike, all_over = weight["spot"] >= CLEAR, is_all_over(weight)
    alike = "a mark that looks alike" if spotlike else "a part that looks alike"
    thing = _THINGS[kind] if rigid or kind == "background" else alike
    where = _WHERE.get(region, f"at the {region}")
    if region.startswith("grid"):
        where = _WHERE["centre"]
    if all_over:
        where = "all over the frame"
    share, other = _percent(test["share"]), _percent(test["elsewhere"])
    what = f"{share} of the {label} images carry {thing} {where}; {other} of the others do."
    looks = " It does not repeat exactly, so it may well be a true part of the class."
    if all_over:
        looks = " They are alike wherever one looks, as images with the same object are not."
    elif rigid:
        looks = " It repeats almost exactly, as natural objects seldom do."
    elif spotlike:
        looks = (
            " It does not repeat exactly, but it keeps to one small place, as objects seldom do."
        )
    heat = " The class map is hot there." if weight["evidence"] >= 0.25 else ""
    shared = f" Other classes carry it too: {sharing}." if sharing else ""
    return what + shared + looks + heat


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%" if 0 < share < 0.1 else f"{100 * share:.0f}%"


def advice_for(kind: str, share: float, weight: Mapping[str, float]) -> str:
    """What to do about it."""
    if is_all_over(weight):
        return "Add images of the class without it, or leave the listed ones out, and train again."
    if weight["rigidity"] < EXACT and weight["spot"] < CLEAR:
        return "Look at the pictures: a true part of the class needs nothing."
    if kind == "frame":
        return "Crop the border of every image, of all classes, and train again."
    if share >= 0.5:
        return "Too many images carry it to drop them: mask it in every image and train again."
    return "Mask it in the listed images or leave them out, and train again."
