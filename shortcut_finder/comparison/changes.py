"""Comparison: two runs, and what became of every finding and image between them.

Whether an image carries a thing is decided by its content: what one scan lists in a picture, the
same picture carries in the other version too, listed there or not. So two scans that differ by
chance alone do not look like two datasets that differ; only images that were added, removed or
edited can change a share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from shortcut_finder.comparison.coupling import FEWEST, Carried, Couple, couples_of
from shortcut_finder.comparison.pairing import STATES as IMAGE_STATES
from shortcut_finder.comparison.pairing import pair_images
from shortcut_finder.comparison.shares import Part, share_difference
from shortcut_finder.run.folder import Run
from shortcut_finder.texts import clipped, count, percent, shown

STATES = ("new", "worse", "persists", "better", "resolved", "unclear")
COMPARISON_COLUMNS = (
    "state", "label", "kind", "region", "finding_a", "finding_b", "images_a", "share_a",
    "images_b", "share_b", "difference", "low", "high", "reliance_a", "reliance_b", "verdict",
    "severity", "dismissed", "gates", "sentence",
)  # fmt: skip
REGION_COLUMNS = ("label", "region", "effect_a", "effect_b", "difference")

# A share that changes by less is the same for all purposes.
DIFFERENCE = 0.02
# Pictures both versions have, from which what one scan saw in them speaks for the other version.
ENOUGH = 20


@dataclass(frozen=True, eq=False)
class Comparison:
    """What became of findings and images from run A to run B.

    Attributes:
        a: the earlier run.
        b: the later run.
        findings: `COMPARISON_COLUMNS`, what is worst first.
        images: one row an image of either version; see `pair_images`.
        regions: effect of each class and region in both runs, and the difference.
        notes: what cannot be compared, and why.
    """

    a: Run
    b: Run
    findings: pd.DataFrame
    images: pd.DataFrame
    regions: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def gating(self) -> pd.DataFrame:
        """Findings for which ``--fail-on-new`` exits with 3."""
        return self.findings[self.findings["gates"].astype(bool)]


def compared(a: Run, b: Run, dismissed: tuple[set[str], set[str]]) -> Comparison:
    """Compare two runs.

    Args:
        a: the earlier run.
        b: the later run.
        dismissed: findings of either run that are no shortcuts.
    """
    images = pair_images(a, b)
    findings = _findings(a, b, images, dismissed)
    return Comparison(a, b, findings, images, _regions(a, b), _notes(a, b, images))


# --- findings -------------------------------------------------------------------------------------


def _findings(
    a: Run, b: Run, pairs: pd.DataFrame, dismissed: tuple[set[str], set[str]]
) -> pd.DataFrame:
    carried = Carried(a, b, pairs)
    rows = [_row(couple, carried, a, b, dismissed) for couple in couples_of(a, b, carried)]
    table = pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))
    order = table.assign(
        by_state=table["state"].map({state: n for n, state in enumerate(STATES)}),
        by_severity=table["severity"].map({"high": 0, "medium": 1, "low": 2}),
        quiet=table["severity"] == "low",
    ).sort_values(
        ["quiet", "by_state", "by_severity", "share_b", "label"],
        ascending=[True, True, True, False, True],
    )
    return table.loc[order.index].reset_index(drop=True)


def _row(
    couple: Couple, carried: Carried, a: Run, b: Run, dismissed: tuple[set[str], set[str]]
) -> dict[str, Any]:
    one, other, latest = couple.a, couple.b, couple.latest
    kept, removed, added = carried.parts(couple)
    powers = [float(_number(run.card["testable"].get(latest["label"]), 1.0)) for run in (a, b)]
    removed, added, blind = _judged(couple, kept, removed, added, powers)
    difference, low, high = share_difference(kept, removed, added)
    state = "unclear" if blind else _state(couple, kept, removed, added, (difference, low, high))
    set_aside = bool(
        (one and str(one["finding"]) in dismissed[0])
        or (other and str(other["finding"]) in dismissed[1])
    )
    row = {
        "state": state,
        "label": latest["label"],
        "kind": latest["kind"],
        "region": latest["region"],
        "finding_a": one["finding"] if one else "",
        "finding_b": other["finding"] if other else "",
        "images_a": kept.carriers + removed.carriers,
        "share_a": _share(kept, removed),
        "images_b": kept.carriers + added.carriers,
        "share_b": _share(kept, added),
        "difference": difference,
        "low": low,
        "high": high,
        "reliance_a": _number(one["reliance"] if one else None),
        "reliance_b": _number(other["reliance"] if other else None),
        "verdict": latest["verdict"],
        "severity": latest["severity"],
        "dismissed": set_aside,
        "gates": state in ("new", "worse")
        and latest["severity"] != "low"
        and latest["verdict"] != "present"
        and not set_aside,
    }
    return {**row, "sentence": _sentence(row)}


def _number(value: Any, missing: float = math.nan) -> float:
    return missing if value is None else float(value)


def _share(kept: Part, alone: Part) -> float:
    images = kept.images + alone.images
    return (kept.carriers + alone.carriers) / images if images else 0.0


def _judged(
    couple: Couple, kept: Part, removed: Part, added: Part, powers: Sequence[float]
) -> tuple[Part, Part, bool]:
    """What is known of the images that only one version has.

    Where one scan alone knows the thing, it has judged the pictures that both versions have. For
    what the other version has alone we must take that one's word, if it could have seen so much.

    Returns:
        The removed and the added images as far as they were judged, and whether that is too
        little to tell.
    """
    nothing = Part(0, 0)
    speaks = kept.images >= ENOUGH
    blind = False
    if couple.a is None and removed.images:
        blind = not speaks and powers[0] > _share(kept, added)
        removed = nothing if speaks or blind else removed
    if couple.b is None and added.images:
        remains = speaks and kept.carriers >= FEWEST
        blind = not remains and powers[1] > _share(kept, removed)
        added = nothing if remains or blind else added
    return removed, added, blind


def _state(
    couple: Couple,
    kept: Part,
    removed: Part,
    added: Part,
    interval: tuple[float, float, float],
) -> str:
    difference, low, high = interval
    before, after = kept.carriers + removed.carriers, kept.carriers + added.carriers
    if low > 0 and difference >= DIFFERENCE:
        seen = couple.a is not None or before >= FEWEST
        return "worse" if seen and _share(kept, removed) >= DIFFERENCE else "new"
    if high < 0 and -difference >= DIFFERENCE:
        remains = couple.b is not None or after >= FEWEST
        return "better" if remains and _share(kept, added) >= DIFFERENCE else "resolved"
    if couple.a is not None and couple.b is not None:
        return _by_reliance(couple.a, couple.b)
    return "persists"


def _by_reliance(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """As common as before; but does the model rely on it more, or less?"""
    ends = [
        [_number(finding[name]) for name in ("reliance_low", "reliance_high")]
        for finding in (one, other)
    ]
    if ends[1][0] > ends[0][1]:
        return "worse"
    return "better" if ends[1][1] < ends[0][0] else "persists"


_SENTENCES = {
    "new": "was not there before",
    "worse": "is worse than before",
    "persists": "is still there",
    "better": "is less than before",
    "resolved": "is gone",
    "unclear": "cannot be judged: the other version has too few images in common, and its scan "
    "could not have seen so small a share",
}


def _sentence(row: Mapping[str, Any]) -> str:
    where = row["region"] if row["region"] != row["kind"] else ""
    thing = f"{shown(row['kind'])}{f' ({shown(where)})' if where else ''}"
    label = clipped(shown(row["label"]), 60)
    shares = f"{percent(row['share_a'])} of the images before, {percent(row['share_b'])} now"
    aside = "; dismissed" if row["dismissed"] else ""
    return f"The {thing} in {label} {_SENTENCES[row['state']]}: {shares}{aside}."


# --- regions, notes ------------------------------------------------------------------------------


def _regions(a: Run, b: Run) -> pd.DataFrame:
    columns = ["label", "region", "effect"]
    both = a.regions[columns].merge(
        b.regions[columns], on=["label", "region"], how="outer", suffixes=("_a", "_b")
    )
    both["difference"] = both["effect_b"] - both["effect_a"]
    return both[list(REGION_COLUMNS)]


def _notes(a: Run, b: Run, pairs: pd.DataFrame) -> tuple[str, ...]:
    """What a reader must know before trusting the rest."""
    cards = a.card, b.card
    notes = []
    if cards[0]["model"]["fingerprint"] != cards[1]["model"]["fingerprint"]:
        notes.append(
            "The models differ, so reliance, maps and region effects show what each model does, "
            "not what was changed in the data; shares of images are compared by content."
        )
    if cards[0]["model"]["preprocessing"] != cards[1]["model"]["preprocessing"]:
        notes.append(
            "The models see the images in different ways (size or cropping), so places and levels "
            "are only roughly comparable."
        )
    classes = [set(card["dataset"]["classes"]) for card in cards]
    for name, missing in (("before", classes[1] - classes[0]), ("now", classes[0] - classes[1])):
        if missing:
            names = ", ".join(clipped(shown(one), 40) for one in sorted(missing)[:5])
            notes.append(f"Not a class {name}: {names}; findings there have no counterpart.")
    same = int(pairs["state"].map(IMAGE_STATES).sum())
    if same < ENOUGH:
        notes.append(
            f"The versions have {count(same, 'picture', 'pictures')} in common; findings are "
            "matched by looks and place, and a share that one scan could not have seen is unclear."
        )
    for name, run in (("before", a), ("now", b)):
        if not any(detail.get("verification") for detail in run.details) and len(run.details):
            notes.append(f"No finding was verified {name}, so reliance cannot be compared.")
        skipped = run.card["counts"]["images"] - run.card["counts"]["scanned"]
        if skipped > 0:
            notes.append(f"{count(skipped, 'image was', 'images were')} not scanned {name}.")
    return tuple(notes)
