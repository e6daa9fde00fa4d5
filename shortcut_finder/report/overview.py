"""Overview: every finding as a row of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shortcut_finder.report.bars import Bar, known, percent_bar, two_digits
from shortcut_finder.settings import SEVERITIES
from shortcut_finder.texts import clipped, shown

VERDICTS = {
    "confirmed": "masking or pasting it changes what the model says, more than any control does",
    "suspect": "no experiment has settled it, or it looks like a true part of the class",
    "present": "it is in the data, but the model hardly reacts to it",
}
MAX_LABEL = 60


@dataclass(frozen=True)
class FindingRow:
    """One finding as a row.

    Attributes:
        anchor: where it stands on the page with its pictures; empty where it has none there.
        keys: what it is sorted by: a number for each column of the table.
        shares: part of the class and of the other classes that carry it.
    """

    anchor: str
    finding: str
    label: str
    kind: str
    region: str
    severity: str
    verdict: str
    keys: Mapping[str, float]
    shares: tuple[Bar, ...]
    reliance: str


def finding_row(detail: Mapping[str, Any], position: int, *, pictured: bool) -> FindingRow:
    """One finding as a row.

    Args:
        detail: the finding, as in ``findings.json``.
        position: its place in the list of findings, from 0.
        pictured: whether it also stands on the page with its pictures.
    """
    severity = detail["severity"] if detail["severity"] in SEVERITIES else SEVERITIES[-1]
    label = shown(detail["label"])
    return FindingRow(
        anchor=f"finding-{position + 1}" if pictured else "",
        finding=shown(detail["finding"]),
        label=label,
        kind=shown(detail["kind"]),
        region=shown(str(detail["region"])),
        severity=severity,
        verdict=shown(detail["verdict"]),
        keys=_keys(detail, severity, position),
        shares=(
            percent_bar(clipped(label, MAX_LABEL), detail["share"], "class"),
            percent_bar("all other classes", detail["elsewhere"], "rest"),
        ),
        reliance=two_digits(detail["reliance"]) if known(detail["reliance"]) else "–",
    )


def _keys(detail: Mapping[str, Any], severity: str, position: int) -> dict[str, float]:
    """Numbers to sort by, the largest first; what is not known comes last."""
    verdicts = list(VERDICTS)
    verdict = verdicts.index(detail["verdict"]) if detail["verdict"] in verdicts else len(verdicts)
    keys = {
        "order": float(-position),
        "share": detail["share"],
        "elsewhere": detail["elsewhere"],
        "reliance": detail["reliance"],
        "severity": float(-SEVERITIES.index(severity)),
        "verdict": float(-verdict),
    }
    return {name: float(value) if known(value) else -9.0 for name, value in keys.items()}
