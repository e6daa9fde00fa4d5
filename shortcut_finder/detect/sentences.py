"""Sentences: what a finding says in words, and what to do about it."""

from __future__ import annotations

from shortcut_finder.data.regions import ANYWHERE
from shortcut_finder.detect.likeness import Likeness
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.detect.tiers import Tiers
from shortcut_finder.texts import percent

_WHERE = {
    "frame": "around the border",
    "centre": "at one place inside the frame",
    ANYWHERE: "at changing places",
}
# Exactness from which a thing is said to repeat exactly, and share of the carriers from which it is
# said to keep to the border.
EXACT, BORDER = 0.5, 0.8


def sentences_of(
    label: str, region: str, elsewhere: float, tiers: Tiers, likeness: Likeness, artifact: float
) -> tuple[str, ...]:
    """What a person should know of a finding, a sentence each.

    Args:
        label: class name.
        region: where it stands.
        elsewhere: share of the other classes' images that carry it.
        tiers: how many of the class do.
        likeness: what speaks for an artifact.
        artifact: likeness to an artifact, in [0, 1].
    """
    thing = "the same mark" if likeness.exact >= EXACT else "something that looks alike"
    inside = region.startswith("grid") or region == "centre"
    where = _WHERE["centre"] if inside else _WHERE.get(region, f"at the {region}")
    low, high = tiers.share_range
    said = [
        f"{percent(tiers.share)} of the {label} images ({percent(low)} to {percent(high)}) carry "
        f"{thing} {where}; {percent(elsewhere)} of the others do."
    ]
    if likeness.exact >= EXACT:
        said.append("It repeats almost exactly, as natural objects seldom do.")
    elif likeness.border >= BORDER:
        said.append("It keeps to the border of the frame, as objects seldom do.")
    if artifact < POLICY.artifact:
        said.append("It may well be a true part of the class: look at the pictures.")
    return tuple(said)


def advice_for(region: str, share: float, artifact: float) -> str:
    """What to do about a thing in part of the frame."""
    if artifact < POLICY.artifact:
        return "Look at the pictures: a true part of the class needs nothing."
    if region == "frame":
        return "Crop the border of every image, of all classes, and train again."
    if share >= POLICY.usual:
        return "Too many images carry it to drop them: mask it in every image and train again."
    return "Mask it in the listed images or leave them out, and train again."
