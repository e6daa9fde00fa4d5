"""Looks: properties of whole images that tell the label where no map can show why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from shortcut_finder.data.membership import having, two_classes
from shortcut_finder.detect.associations import Association, shifts_of, tried_associations
from shortcut_finder.detect.finding import (
    Carriers,
    Decided,
    Finding,
    Measured,
    surest_first,
    together,
)
from shortcut_finder.detect.place import Place
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.detect.proposals import Concluded, Proposals
from shortcut_finder.detect.view import View
from shortcut_finder.stats.evidence import exclusivity
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
# What stays within nature, but not by much and beyond all chance, is worth a word where most of a
# class has it.
NEARLY, PLAIN, MOST = -0.6, 1e-8, 0.5
# Suspicion of what natural classes reach, too.
FAINT = 0.1


def propose(view: View) -> Proposals:
    """What every class has beyond cut-offs in families of traits, learned on one half."""
    tried: list[Association] = []
    if view.numbers:
        records = view.records
        tried = tried_associations(records.table, records.labels, view.half, records.counted)

    def conclude(q: np.ndarray, found: Sequence[Finding]) -> Concluded:
        told = [replace(one, q=float(rate)) for one, rate in zip(tried, q, strict=True)]
        kept = clearest(told, two=two_classes(view.labels))
        return Concluded([_finding(one, view) for one in _unexplained(kept, view)])

    return Proposals(np.array([one.p for one in tried]), conclude)


def clearest(tried: Sequence[Association], *, two: bool) -> list[Association]:
    """What tells a class beyond what natural classes do, the clearest first, a family once a class.

    For a class without any, the plainest way in which its images were made that comes near this.

    Args:
        tried: with the q of each.
        two: whether there are but two classes: "covid is wide" and "the others are narrow" are one
            statement, and one is reported.
    """
    sure: dict[tuple[int, str], list[Association]] = {}
    near: dict[int, Association] = {}
    for one in tried:
        if one.q > POLICY.q or one.share < POLICY.lift * one.elsewhere:
            continue
        label = -1 if two else one.label
        sure.setdefault((label, one.family), []).append(one)
        if one.made and NEARLY < one.excess <= 0 and one.share >= MOST and one.q <= PLAIN:
            best = near.setdefault(label, one)
            near[label] = one if one.p < best.p else best
    kept = {key: told for key, those in sure.items() if (told := _of_family(those)).excess > 0}
    told_of = {label for label, _ in kept}
    all_kept = [*kept.values(), *(one for label, one in near.items() if label not in told_of)]
    return sorted(all_kept, key=lambda one: (not one.made, -one.excess))


def _of_family(cuts: Sequence[Association]) -> Association:
    """The cut-off that tells members best, with what the one that says most goes beyond nature by.

    The strictest may say most and still leave half of the members out.
    """
    most = max(cuts, key=lambda one: one.excess)
    same = [one for one in cuts if one.label == most.label]
    return replace(max(same, key=lambda one: one.share - 2 * one.elsewhere), excess=most.excess)


def _unexplained(associations: Sequence[Association], view: View) -> list[Association]:
    """Those that a clearer one of the class does not say already."""
    kept: list[Association] = []
    for one in associations:
        own = having(view.labels, one.label)
        if not any(_explains(other, one, own) for other in kept if other.label == one.label):
            kept.append(one)
    return kept


def _explains(reason: Association, look: Association, own: np.ndarray) -> bool:
    """Whether one look explains another of its class: in the same images, or in nearly all.

    Whether a thing explains a look or the reverse, only experiments can tell.
    """
    there, alike = reason.carries[own], look.carries[own]
    return bool(there.mean() >= POLICY.nearly_all or together(there, alike))


def _beyond(one: Association) -> bool:
    """Whether it passes what natural classes reach, in how pictures are made.

    Colour may belong to the class; the range of its colours and the size of its files hardly can.
    """
    return one.made and one.excess > 0


def _suspicion(one: Association) -> float:
    return min(0.44 + 1.2 * one.excess, 1.0) if _beyond(one) else max(0.3 * one.excess, FAINT)


def _finding(one: Association, view: View) -> Finding:
    records, label = view.records, view.classes[one.label]
    shifts = shifts_of(records.table, one, records.labels)
    beyond, suspicion = _beyond(one), _suspicion(one)
    carries = one.carries & having(records.labels, one.label)
    exclusive = exclusivity(one.share, one.elsewhere)
    most = shifts[0]
    trait = most.trait.replace("_", " ")
    why = (
        "What a picture shows seldom does that; how it was made does."
        if beyond
        else "It may belong to the class, or to how its pictures were made."
    )
    return Finding(
        label=label,
        number=one.label,
        place=Place(
            kind="property",
            region=one.family,
            counts=np.zeros(records.cell_grid),
        ),
        carriers=Carriers(
            listed=carries,
            score=np.where(carries, suspicion / (1 + np.exp(-one.margin.clip(-30, 30))), 0.0),
            found_on=view.half,
            typical=surest_first(np.flatnonzero(carries), one.margin),
            alike=one.carries,
        ),
        measured=Measured(
            share=one.share,
            elsewhere=one.elsewhere,
            q=one.q,
            artifact=suspicion,
            parts={"exclusivity": exclusive, "beyond_nature": max(one.excess, 0.0)},
            numbers={"p": one.p, **{f"median {s.trait}": s.members for s in shifts}},
            shifts=shifts,
        ),
        decided=Decided(POLICY.severity(suspicion)),
        said=(
            f"{percent(one.share)} of the {label} images are alike in {one.family} (typical "
            f"{trait} {most.members:.3g}, in other images {most.others:.3g}); "
            f"{percent(one.elsewhere)} of the others are.",
            why,
        ),
        advice=(
            f"{_ADVICE[one.family]} and train again."
            if beyond
            else "Look at the pictures; augment or equalise this property and train again."
        ),
    )
