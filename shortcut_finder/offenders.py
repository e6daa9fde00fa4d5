"""Offenders: every image that carries a finding, worst first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from shortcut_finder.findings import Finding
from shortcut_finder.preprocessing import Preprocessing
from shortcut_finder.schema import OFFENDER_COLUMNS


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
        for number in np.flatnonzero(finding.carries):
            image = images.iloc[int(number)]
            box = preprocessing.to_original(
                finding.boxes(int(number)), int(image["width"]), int(image["height"])
            )
            rows.append(
                {
                    "image": image["image"],
                    "label": image["label"],
                    "predicted": image["predicted"],
                    "confidence": image["confidence"],
                    "score": float(finding.score[number]),
                    "finding": finding.key,
                    "kind": finding.kind,
                    "region": finding.region,
                    **dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)),
                    "reason": _reason(finding, str(image["label"])),
                }
            )
    table = pd.DataFrame(rows, columns=list(OFFENDER_COLUMNS[1:]))
    table = table.sort_values(
        ["score", "image", "finding"], ascending=[False, True, True], ignore_index=True
    )
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table


def _reason(finding: Finding, label: str) -> str:
    if finding.kind == "property":
        return f"{finding.region} is typical of {finding.label} and of no other class"
    if finding.kind == "metadata":
        return f"column {finding.region} tells {finding.label} from the other classes"
    place = "" if finding.region == "anywhere" else f" ({finding.region})"
    if label != finding.label:
        return f"carries the {finding.kind}{place} found in {finding.label}, in another class"
    return f"carries the {finding.kind}{place} that {finding.share:.0%} of {label} images carry"
