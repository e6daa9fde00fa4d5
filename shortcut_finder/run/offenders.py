"""Offenders: every image that carries a finding, worst first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from shortcut_finder.data.membership import labelled
from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.detect.finding import Finding
from shortcut_finder.schema import OFFENDER_COLUMNS
from shortcut_finder.settings import LIKELY
from shortcut_finder.texts import percent


def rank_offenders(
    findings: Sequence[Finding], images: pd.DataFrame, preprocessing: Preprocessing
) -> pd.DataFrame:
    """One row for each image and finding it carries, highest score first.

    Args:
        findings: strongest first.
        images: one row an image, in the order the findings' arrays have.
        preprocessing: to give boxes in pixels of the original.
    """
    rows = []
    for finding in findings:
        own = labelled(images, finding.label)
        tiers = _tiers(finding, own)
        for number in np.flatnonzero(finding.carriers.listed):
            image = images.iloc[int(number)]
            box = preprocessing.to_original(
                finding.place.boxes(int(number)), int(image["width"]), int(image["height"])
            )
            rows.append(
                {
                    "image": image["image"],
                    "label": finding.label if own[number] else image["label"],
                    "predicted": image["predicted"],
                    "confidence": image["confidence"],
                    "score": float(finding.carriers.score[number]),
                    "finding": finding.key,
                    "kind": finding.place.kind,
                    "region": finding.place.region,
                    **dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)),
                    "reason": _reason(finding, int(number), image, own=bool(own[number])),
                    "tier": str(tiers[number]),
                }
            )
    table = pd.DataFrame(rows, columns=list(OFFENDER_COLUMNS[1:]))
    table = table.sort_values(
        ["score", "image", "finding"], ascending=[False, True, True], ignore_index=True
    )
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table


def _tiers(finding: Finding, own: np.ndarray) -> np.ndarray:
    """How surely images carry it; what is sure was measured on images of the class alone."""
    if finding.carriers.sure is None:
        return finding.carriers.tiers
    return np.where(own, finding.carriers.tiers, LIKELY)


def _reason(finding: Finding, number: int, image: pd.Series, *, own: bool) -> str:
    if finding.place.look:
        return f"{finding.place.region} is typical of {finding.label} and of no other class"
    if finding.place.column:
        return f"column {finding.place.region} tells {finding.label} from the other classes"
    place = "" if finding.place.region == "anywhere" else f" ({finding.place.region})"
    thing = f"carries the {finding.place.kind}{place}"
    if not own:
        return f"{thing} found in {finding.label}, in another class"
    reason = f"{thing} that {finding.measured.share:.0%} of {finding.label} images carry"
    if finding.place.kind == "region":
        reason = (
            f"has more evidence in the region {finding.place.region} than images of other classes"
        )
    without = {} if finding.decided.verification is None else finding.decided.verification.without
    if number not in without:
        return reason
    probability = image.get(f"probability: {finding.label}", image["label_probability"])
    return (
        f"{reason}; without it this image is {percent(without[number])} {finding.label}, "
        f"with it {percent(probability)}"
    )
