"""Advice: what a user should know of a cleaning before doing it, in sentences."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from shortcut_finder.run.decisions import Decisions
from shortcut_finder.run.folder import Run
from shortcut_finder.texts import clipped, count, percent, shown

# A class that loses more than one in so many of its images is worth a warning.
LARGE_LOSS = 3
# What helps where nothing done to the images can.
MORE_IMAGES = "add images of the class without it, or images of the other classes with it"


def nothing_to_do(
    action: str,
    place_less: Sequence[str],
    hopeless: Collection[str],
    decisions: Decisions | None,
    likely: int,
) -> str:
    """Why nothing is cleaned, and what would help."""
    if likely:
        images = count(likely, "image", "images")
        return f"no image surely carries what is cleaned; --tier likely takes {images}"
    if place_less and action == "mask":
        other = "use --action drop or reweight"
        return (
            f"{', '.join(place_less)} {'concerns' if len(place_less) == 1 else 'concern'} whole "
            "images, so there is no place to fill; "
            f"{MORE_IMAGES if set(hopeless) >= set(place_less) else other}"
        )
    if decisions is not None:
        return "nothing was accepted in the decisions; accept a finding on the page"
    return (
        "nothing to clean: no finding is confirmed or of high severity; look at the page and pass "
        "--decisions"
    )


def losses(action: str, counts: pd.DataFrame) -> list[str]:
    """Classes that lose more than a third of their images, a sentence each."""
    rows = counts[["label", "images", "left"]].itertuples(index=False)
    return [
        f"{_name(label)}: loses {percent(1 - left / images)} of its images ({left:,} of "
        f"{images:,} are left)"
        for label, images, left in rows
        if LARGE_LOSS * (images - left) > images
    ]


def in_vain(action: str, finding: str, label: str, share: float, hopeless: Collection[str]) -> str:
    """There is nothing to learn the class from without it."""
    cure = MORE_IMAGES if finding in hopeless else "use --action mask"
    return (
        f"{finding} is in {percent(share)} of {_name(label)}: to {action} cannot help, because the "
        f"class is hardly seen without it; {cure}"
    )


def is_spared(
    finding: str,
    detail: Mapping[str, Any],
    shares: Sequence[tuple[str, str, float]],
    *,
    hopeless: bool,
) -> str:
    """That images of a finding were kept because little of the class would be left, and what helps.

    Args:
        finding: its key.
        detail: of the finding.
        shares: findings, classes, and the share of the class that each would take.
        hopeless: whether only other images can help.
    """
    label, share = max(
        ((label, share) for key, label, share in shares if key == finding), key=lambda one: one[1]
    )
    others = "" if hopeless else ", use --action reweight, or accept it in the decisions"
    return (
        f"{finding} ({shown(detail['kind'])}: {shown(detail['region'])}) is in {percent(share)} of "
        f"{_name(label)}, which were kept: little of the class would be left; {MORE_IMAGES}{others}"
    )


def no_place(finding: str, detail: Mapping[str, Any], hopeless: Collection[str]) -> str:
    """That there is no place to fill, and what would help."""
    other = "bring all classes to the same, or use --action drop"
    return (
        f"{finding} ({shown(detail['region'])} of {_name(detail['label'])}) concerns whole images "
        f"and was left as it is; {MORE_IMAGES if finding in hopeless else other}"
    )


def unseen(run: Run) -> list[str]:
    """Images of the dataset that the result cannot hold, because the scan did not see them."""
    counts = run.card["counts"]
    unreadable = int(counts["unreadable"])
    skipped = int(counts["images"]) - int(counts["scanned"]) - unreadable
    warnings = []
    if unreadable:
        warnings.append(
            f"{count(unreadable, 'unreadable image is', 'unreadable images are')} left out; "
            "see unreadable.csv"
        )
    if skipped > 0:
        warnings.append(
            f"{count(skipped, 'image was', 'images were')} not scanned (--limit) and "
            f"{'is' if skipped == 1 else 'are'} left out"
        )
    return warnings


def crop_advice(
    details: Mapping[str, Mapping[str, Any]], widths: Mapping[str, float]
) -> tuple[str, ...]:
    """How much of the border to crop where a frame was found, a sentence each."""
    return tuple(
        f"{key}: a frame in {_name(details[key]['label'])}; crop {percent(width)} off each side of "
        "every image, of all classes, in training and in use"
        for key, width in widths.items()
    )


def _name(label: Any) -> str:
    return clipped(shown(label), 60)
