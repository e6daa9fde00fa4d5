"""Traits: findings that lie in no place of the image but in the whole of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shortcut_finder.associations import Association
from shortcut_finder.evidence import phi
from shortcut_finder.findings import TOGETHER, Finding, severity_of
from shortcut_finder.records import Records
from shortcut_finder.texts import percent


def property_findings(
    associations: Sequence[Association],
    judged: Sequence[Finding],
    records: Records,
    classes: tuple[str, ...],
) -> list[Finding]:
    """Findings for properties that tell a class, unless a finding already says why.

    Args:
        associations: strongest first.
        judged: what was found in the pictures; a frame changes the border's properties.
        records: what the sweep kept.
        classes: class names.
    """
    found = []
    for one in associations:
        own = records.labels == one.label
        explained = any(
            f.label == classes[one.label]
            and f.severity != "low"
            and phi(f.carries[own].astype(float), one.carries[own].astype(float)) >= TOGETHER
            for f in judged
        )
        if not explained:
            found.append(_property_finding(one, own, records, classes[one.label]))
    return found


def _property_finding(one: Association, own: np.ndarray, records: Records, label: str) -> Finding:
    name = one.trait.replace("_", " ")
    exclusive = one.share / max(one.share + one.elsewhere, 1e-9)
    excess = one.share - one.elsewhere
    # Colour may belong to the class; the size of its files cannot.
    suspicion = exclusive * (0.3 + 0.7 * excess if one.extrinsic else min(excess, 0.3))
    side = "above" if one.above else "below"
    why = (
        "How a file was made should not tell the class."
        if one.extrinsic
        else "It may belong to the class, or to how its pictures were made."
    )
    return Finding(
        key="",
        label=label,
        number=one.label,
        kind="property",
        region=name,
        share=one.share,
        elsewhere=one.elsewhere,
        q=one.q,
        suspicion=suspicion,
        severity=severity_of(suspicion),
        sentence=(
            f"{percent(one.share)} of the {label} images have a {name} {side} {one.limit:.3g}; "
            f"{percent(one.elsewhere)} of the others do. {why}"
        ),
        advice=(
            "Bring all classes to the same size, format and border, and train again."
            if one.extrinsic
            else "Look at the pictures; augment or equalise this property and train again."
        ),
        carries=one.carries & own,
        score=np.where(one.carries & own, suspicion, 0.0),
        boxes=lambda _image: (0.0, 0.0, 1.0, 1.0),
        parts={"exclusivity": exclusive, "excess_share": max(excess, 0.0)},
        numbers={"limit": one.limit, "p": one.p, "above": float(one.above)},
        place=np.zeros(records.cell_grid),
        typical=np.flatnonzero(one.carries & own),
    )
