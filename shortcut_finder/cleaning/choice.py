"""Choice: which rows of the offenders are cleaned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from shortcut_finder.cleaning.places import Reader, boxes_of, pictures_of
from shortcut_finder.cleaning.recall import recalled
from shortcut_finder.data.membership import label_lists
from shortcut_finder.detect.placing import resembling
from shortcut_finder.run.decisions import Decisions
from shortcut_finder.run.folder import Run
from shortcut_finder.settings import SURE

# A class of which this part carries the artifact is not to be cured by dropping; nor is one of
# which most has a background or another look of whole images: what is left is the odd ones.
NEARLY_ALL, MOST = 0.9, 0.5


def cleaned_without_asking(details: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Findings that are cleaned where no person decided; see `plan_cleaning`."""
    verified = any(detail.get("verification") for detail in details)
    return tuple(
        str(detail["finding"])
        for detail in details
        if detail["severity"] != "low"
        and (
            detail["verdict"] == "confirmed"
            or (
                detail["verdict"] == "suspect"
                and (detail["severity"] == "high" or not verified)
                and not _tested_in_vain(detail)
            )
        )
    )


def _tested_in_vain(detail: Mapping[str, Any]) -> bool:
    """Whether interventions were made and the model may not rely on it at all."""
    low = detail["reliance_low"]
    return low is not None and float(low) <= 0


def listed_rows(run: Run, decisions: Decisions | None) -> pd.DataFrame:
    """The rows of the offenders that are to be cleaned, of both tiers."""
    offenders = run.offenders
    if decisions is None:
        return offenders[offenders["finding"].isin(cleaned_without_asking(run.details))]
    accepted = [answer == "accept" for answer in _answers(offenders, decisions)]
    # A plain list would choose columns where there are no rows.
    return offenders[np.array(accepted, dtype=bool)]


def sure_rows(listed: pd.DataFrame, decisions: Decisions | None) -> np.ndarray:
    """Which rows are sure, or were accepted one by one."""
    named = {} if decisions is None else decisions.images
    return np.array(
        [
            tier == SURE or named.get(image, {}).get(finding) == "accept"
            for image, finding, tier in zip(
                listed["image"], listed["finding"], listed["tier"], strict=True
            )
        ],
        dtype=bool,
    )


def expanded(
    run: Run, carriers: pd.DataFrame, decisions: Decisions | None, read: Reader
) -> pd.DataFrame:
    """The rows, and those of further images that show the same.

    Args:
        run: a scan.
        carriers: accepted rows of the offenders.
        decisions: what a person said; pairs that were refused stay out.
        read: the picture of an image.
    """
    return _resembling(run, carriers, recalled(run, carriers, _refused(decisions)), read)


def _refused(decisions: Decisions | None) -> set[tuple[str, str]]:
    """Pairs of finding and image that a person did not accept though the finding lists them."""
    if decisions is None:
        return set()
    return {
        (finding, image)
        for image, marks in decisions.images.items()
        for finding, answer in marks.items()
        if answer != "accept"
    }


def _resembling(
    run: Run, accepted: pd.DataFrame, found: pd.DataFrame, read: Reader
) -> pd.DataFrame:
    """The accepted rows, and those found that hold against the accepted pictures."""
    kept = [accepted]
    for finding, rows in found.groupby("finding", sort=True):
        mine = accepted[accepted["finding"] == finding].sort_values("score", ascending=False)
        added = rows[~rows["image"].isin(set(mine["image"]))]
        boxes = boxes_of(run, rows)
        alike = resembling(
            pictures_of(mine["image"].tolist(), read),
            pictures_of(added["image"].tolist(), read),
            boxes,
        )
        kept.append(added[added["image"].isin(alike)])
    return pd.concat(kept, ignore_index=True)


def _answers(offenders: pd.DataFrame, decisions: Decisions) -> list[str]:
    """What was decided on each row; an answer for the image overrules that for the finding."""
    return [
        decisions.images.get(image, {}).get(finding) or decisions.findings.get(finding, "")
        for image, finding in zip(offenders["image"], offenders["finding"], strict=True)
    ]


def shares_of_class(run: Run, carriers: pd.DataFrame) -> list[tuple[str, str, float]]:
    """Findings and classes, with the share of the class that is cleaned for each."""
    images = Counter(name for some in label_lists(run.images) for name in some)
    pairs = carriers[["finding", "label", "image"]].drop_duplicates()
    carrying = pairs.groupby(["finding", "label"], sort=False).size().reset_index(name="images")
    return [
        (str(finding), str(label), carried / images[label])
        for finding, label, carried in carrying.itertuples(index=False)
        if label in images
    ]


def spared_findings(
    carriers: pd.DataFrame,
    shares: Sequence[tuple[str, str, float]],
    place_less: Collection[str],
) -> list[str]:
    """Findings whose images go only where a person says so: little of the class would be left.

    Args:
        carriers: rows that would be dropped.
        shares: from `shares_of_class`.
        place_less: findings of whole images; those in most of a class are spared. Others are in
            nearly all of it, where there is something else that can be dropped.
    """
    nearly = {one for one, _, share in shares if share >= NEARLY_ALL}
    spared = {one for one, _, share in shares if one in place_less and share > MOST} - nearly
    if spared | nearly < set(carriers["finding"]):
        spared |= nearly
    return sorted(spared, key=finding_number)


def finding_number(finding: str) -> tuple[int, str]:
    """Sorts keys of findings by their number."""
    return (int(finding[1:]) if finding[1:].isdecimal() else 0, finding)


def left_alone(action: str, listed: pd.DataFrame, carriers: pd.DataFrame) -> dict[str, int]:
    """Images that likely carry something that is cleaned and stay as they are, by finding."""
    cleaned = set(zip(carriers["finding"], carriers["image"], strict=True))
    dropped = set(carriers["image"]) if action == "drop" else set()
    left = {
        pair
        for pair in zip(listed["finding"], listed["image"], strict=True)
        if pair not in cleaned and pair[1] not in dropped
    }
    found = Counter(finding for finding, _ in left)
    return {finding: found[finding] for finding in sorted(found, key=finding_number)}
