"""Traits: findings that lie in no place of the image: its properties, and the user's columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from shortcut_finder.data.membership import having
from shortcut_finder.data.preprocessing import WHOLE_FRAME
from shortcut_finder.data.regions import ANYWHERE
from shortcut_finder.detect.channels.associations import Association
from shortcut_finder.detect.channels.metadata import Column, Companion, Telling, companions
from shortcut_finder.detect.finding import Finding, together
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.sweep.records import Records
from shortcut_finder.texts import percent

_ADVICE = {
    "colour range": "Bring the colours of all classes to the same range, or vary them",
    "sharpness": "Resize and compress all classes alike, or vary sharpness and noise",
    "compression": "Save all classes with the same compression, or vary it",
    "corner light": "Crop the corners or even out the light, in all classes,",
    "image size": "Bring all classes to the same size and shape",
    "file type": "Save all classes in the same file type and colour mode",
    "border": "Crop the border of every image, of all classes,",
}

# Families of looks that nothing inside the frame decides.
OUTER = ("corner light", "border", "image size", "file type", "compression")
# Suspicion of what natural classes reach, too.
FAINT = 0.1
# A thing in this share of a class explains all that moves with the class.
NEARLY_ALL = 0.8
# Values and columns that a sentence names.
_NAMED = 3


def property_findings(
    associations: Sequence[Association],
    judged: Sequence[Finding],
    records: Records,
    half: np.ndarray,
    classes: tuple[str, ...],
) -> list[Finding]:
    """Findings for looks of the whole image, unless a finding already says why.

    Args:
        associations: the clearest first.
        judged: what was found in the pictures; a frame changes the border's properties.
        records: what the sweep kept.
        half: the discovery half, (image,) of bool.
        classes: class names.
    """
    found: list[Finding] = []
    reasons = [finding for finding in judged if finding.severity != "low"]
    for one in associations:
        own = having(records.labels, one.label)
        explained = any(
            other.label == classes[one.label] and _explains(other, one, own) for other in reasons
        )
        if not explained:
            finding = _property_finding(one, own, records, half, classes[one.label])
            found.append(finding)
            reasons.append(finding)
    return found


def _explains(reason: Finding, look: Association, own: np.ndarray) -> bool:
    """Whether a finding explains a look of its class: in the same images, or in nearly all.

    What stands inside the frame changes neither its border nor the file. Whether a look explains
    what is alike all over the frame or the reverse, only experiments can tell.
    """
    there, alike = reason.carries[own], look.carries[own]
    apart = look.family in OUTER and reason.region in (ANYWHERE, "centre")
    everywhere = there.mean() >= NEARLY_ALL and not apart
    return bool(everywhere or together(there, alike))


def _property_finding(
    one: Association, own: np.ndarray, records: Records, half: np.ndarray, label: str
) -> Finding:
    # Colour may belong to the class; the range of its colours and the size of its files hardly can.
    beyond = one.made and one.excess > 0
    suspicion = min(0.44 + 1.2 * one.excess, 1.0) if beyond else max(0.3 * one.excess, FAINT)
    carries = one.carries & own
    typical = np.flatnonzero(carries)
    exclusive = one.share / max(one.share + one.elsewhere, 1e-9)
    most = one.shifts[0]
    trait = most.trait.replace("_", " ")
    why = (
        "What a picture shows seldom does that; how it was made does."
        if beyond
        else "It may belong to the class, or to how its pictures were made."
    )
    return Finding(
        key="",
        label=label,
        number=one.label,
        kind="property",
        region=one.family,
        share=one.share,
        elsewhere=one.elsewhere,
        q=one.q,
        suspicion=suspicion,
        severity=POLICY.severity(suspicion),
        sentence=(
            f"{percent(one.share)} of the {label} images are alike in {one.family} (typical "
            f"{trait} {most.members:.3g}, in other images {most.others:.3g}); "
            f"{percent(one.elsewhere)} of the others are. {why}"
        ),
        advice=(
            f"{_ADVICE[one.family]} and train again."
            if beyond
            else "Look at the pictures; augment or equalise this property and train again."
        ),
        carries=carries,
        score=np.where(carries, suspicion / (1 + np.exp(-one.margin.clip(-30, 30))), 0.0),
        boxes=lambda _image: WHOLE_FRAME,
        parts={"exclusivity": exclusive, "beyond_nature": max(one.excess, 0.0)},
        numbers={"p": one.p, **{f"median {s.trait}": s.members for s in one.shifts}},
        place=np.zeros(records.cell_grid),
        typical=typical[np.argsort(-one.margin[typical], kind="stable")],
        half=half,
        shifts=one.shifts,
        alike=one.carries,
    )


def metadata_findings(
    telling: Sequence[Telling], records: Records, half: np.ndarray, classes: tuple[str, ...]
) -> list[Finding]:
    """Findings for columns of the user's metadata that the label can be read off."""
    return [_metadata_finding(one, records, half, classes[one.label]) for one in telling]


def _metadata_finding(one: Telling, records: Records, half: np.ndarray, label: str) -> Finding:
    exclusive = one.share / max(one.share + one.elsewhere, 1e-9)
    excess = one.share - one.elsewhere
    suspicion = exclusive * excess
    carries = one.carries & having(records.labels, one.label)
    also = f" Other columns tell it too: {_listed(one.also)}." if one.also else ""
    return Finding(
        key="",
        label=label,
        number=one.label,
        kind="metadata",
        region=one.column,
        share=one.share,
        elsewhere=one.elsewhere,
        q=one.q,
        suspicion=suspicion,
        severity=POLICY.severity(suspicion),
        sentence=(
            f"The label can be read off column {one.column}: {percent(one.share)} of the {label} "
            f"images have {one.column} = {_listed(one.values, 'or')}; {percent(one.elsewhere)} of "
            "the others do. Unless the column is the label by another name, anything that differs "
            f"between its values may stand for the class.{also}"
        ),
        advice=(
            f"Collect images of every class from every {one.column}, and measure accuracy within "
            f"each {one.column}."
        ),
        carries=carries,
        score=np.where(carries, suspicion, 0.0),
        boxes=lambda _image: WHOLE_FRAME,
        parts={"exclusivity": exclusive, "excess_share": max(excess, 0.0)},
        numbers={"p": one.p, "values": float(len(one.values))},
        place=np.zeros(records.cell_grid),
        typical=np.flatnonzero(carries),
        half=half,
        alike=one.carries,
    )


def _listed(names: Sequence[str], last: str = "and") -> str:
    """The first few names as text."""
    few = list(names[:_NAMED])
    if len(names) > _NAMED:
        few.append(f"{len(names) - _NAMED} more")
    return few[0] if len(few) == 1 else f"{', '.join(few[:-1])} {last} {few[-1]}"


def with_companions(
    findings: Sequence[Finding],
    labels: np.ndarray,
    classes: tuple[str, ...],
    columns: Sequence[Column],
    counted: np.ndarray | None = None,
) -> list[Finding]:
    """The findings with what the user's columns say about their images, or those that count."""
    homes = [classes.index(finding.label) for finding in findings]
    carries = [finding.carries for finding in findings]
    found = companions(carries, homes, labels, columns, counted)
    return [_explained(*pair) for pair in zip(findings, found, strict=True)]


def _explained(finding: Finding, found: tuple[Companion, ...]) -> Finding:
    sentence = finding.sentence + "".join(f" {one.sentence}" for one in found[:1])
    return replace(finding, metadata=found, sentence=sentence)
