"""Judge: from things that hold on images they were not found on to lists of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from shortcut_finder.data.groups import first_of_each
from shortcut_finder.data.membership import having, lacking
from shortcut_finder.data.regions import cell_centres
from shortcut_finder.detect.finding import (
    LEAST,
    Carriers,
    Decided,
    Finding,
    Measured,
    same_thing,
    sureness,
    surest_first,
)
from shortcut_finder.detect.likeness import Likeness, laid_on, shift_of
from shortcut_finder.detect.motifs import Repetition, by_motif, repetition_of
from shortcut_finder.detect.place import Place
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.detect.proposals import Concluded
from shortcut_finder.detect.sentences import EXACT, advice_for, sentences_of
from shortcut_finder.detect.spot import (
    Spot,
    along_border,
    border_share,
    boxes_of,
    kind_of_cells,
    reaching,
    spot_of,
)
from shortcut_finder.detect.study import Study
from shortcut_finder.detect.things import Thing
from shortcut_finder.detect.tiers import Tiers, false_shares, tiers_of
from shortcut_finder.detect.view import View
from shortcut_finder.stats.evidence import exclusivity, share_above
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.sweep.threads import side_by_side

# Below this share of common grey variance an exact repetition is seen through.
TRANSLUCENT = 0.35
# Share of the carriers that are copies of one another from which they are duplicates.
DUPLICATES = 0.5
# Images of other classes that a thing is looked for in where its own class has too few without it.
BESIDE = 40
# Score from which an image of another class is listed, too: that of a typical carrier.
TYPICAL = 1.0


def judged(things: Sequence[Thing], view: View, before: Sequence[Finding]) -> Concluded:
    """Findings from scored things, and sentences about what is none.

    Args:
        things: scored, of all classes.
        view: where they were learned, and the pictures.
        before: what was found before, which a thing may be again.
    """
    found, notes = list(before), list[str]()
    for seen in side_by_side(partial(_looked_at, scene=view.scene), things):
        if seen is None:
            continue
        thing, own, tiers, looks = seen
        finding = _finding(thing, own, tiers, looks, view)
        if looks.duplicates >= DUPLICATES:
            notes.append(
                f"{finding.label}: {int(tiers.likely.sum())} images look like copies of one "
                "another; near-duplicates are no shortcut, but they do inflate accuracy."
            )
        elif not any(same_thing(finding, other) for other in found):
            found.append(finding)
    return Concluded(found[len(before) :], list(dict.fromkeys(notes)))


def _looked_at(thing: Thing, scene: Scene) -> tuple[Thing, np.ndarray, Tiers, Repetition] | None:
    """A thing as its pictures show it, its class's images, who carries it, and how it repeats.

    ``None`` where too few images carry it.
    """
    own = np.flatnonzero(having(scene.records.labels, thing.label))
    tiers = listed(thing, own, scene.records.labels)
    if tiers.likely.sum() < POLICY.fewest:
        return None
    looks = _looks(thing, own, tiers, scene)
    if thing.extent is None and looks.exact:
        thing, tiers = _by_pixels(thing, tiers, own, looks, scene)
    return thing, own, tiers, looks


def _by_pixels(
    thing: Thing, tiers: Tiers, own: np.ndarray, looks: Repetition, scene: Scene
) -> tuple[Thing, Tiers]:
    """What repeats to the pixel as its pixels know it, which miss none of it.

    As it was where the cells know it as well or better, or the pixels list no image to speak of.
    """
    again = by_motif(thing, own, looks, scene)
    if again is None:
        return thing, tiers
    known = listed(again, own, scene.records.labels)
    return (again, known) if known.likely.sum() >= POLICY.fewest else (thing, tiers)


def listed(thing: Thing, own: np.ndarray, labels: np.ndarray) -> Tiers:
    """Who carries a thing, each half listed by the model that has not seen it.

    Args:
        thing: scored.
        own: numbers of the class's images.
        labels: class of each image, (image,), or membership.
    """
    wrong = np.ones(len(own))
    for half in (thing.half, ~thing.half):
        rest = thing.score[half & thing.strange(labels)]
        mine = half[own]
        if mine.any() and len(rest):
            wrong[mine] = _wrong(thing, thing.score[own[mine]], rest)
    return tiers_of(wrong, thing.half[own].astype(int))


def _wrong(thing: Thing, own: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """False share of the list that ends with each image of one half."""
    if thing.extent is None:
        return false_shares(own, rest)
    # Nearly all of the class carries it, so that only other classes show what carries nothing.
    return np.minimum(share_above(rest, own) / share_above(own, own), 1.0)


def _finding(thing: Thing, own: np.ndarray, tiers: Tiers, looks: Repetition, view: View) -> Finding:
    label, grid = view.classes[thing.label], view.records.cell_grid
    members, without = _sides(thing, own, tiers)
    spot = _spot(thing, members, without, view.study, grid)
    rest = thing.strange(view.labels)
    likeness = Likeness(
        thing.gain * max(thing.agreement, 0.0),
        shift_of(thing.score[without], thing.score[rest]),
        border_share(thing.best[members], grid),
        looks.exact,
    )
    artifact = likeness.artifact if thing.extent is None else laid_on(thing.gain)
    alike = _alike(thing, own[tiers.likely])
    elsewhere = float(alike[rest].sum()) / max(int(rest.sum()), 1)
    return Finding(
        label=label,
        number=thing.label,
        place=Place(
            kind=_kind(spot, looks),
            region=spot.region,
            counts=spot.counts,
            boxes=boxes_of(spot, thing.best, thing.covers, grid),
            extent=spot.extent,
            strip=spot.strip,
        ),
        carriers=_carriers(thing, own, tiers, members, alike, rest, artifact),
        measured=Measured(
            share=tiers.share,
            elsewhere=elsewhere,
            q=thing.test["q"],
            artifact=artifact,
            parts={
                "evidence": min(likeness.evidence, 1.0),
                "border": likeness.border,
                "rigidity": likeness.exact,
                "exclusivity": exclusivity(tiers.share, elsewhere),
                "fixed_place": spot.fixed,
            },
            numbers={
                **thing.test,
                "agreement": thing.agreement,
                "shift": likeness.shift,
                "members": float(tiers.likely.sum()),
                "short_side": float(looks.short),
            },
            share_range=tiers.share_range,
            wrong=tiers.wrong,
        ),
        decided=Decided(POLICY.severity(artifact)),
        said=sentences_of(label, spot.region, elsewhere, tiers, likeness, artifact),
        advice=advice_for(spot.region, tiers.share, artifact),
    )


def _carriers(
    thing: Thing,
    own: np.ndarray,
    tiers: Tiers,
    members: np.ndarray,
    alike: np.ndarray,
    rest: np.ndarray,
    artifact: float,
) -> Carriers:
    """Who is listed: the likely ones of the class, and typical carriers of others."""
    listed, sure = np.zeros((2, len(thing.score)), dtype=bool)
    listed[own[tiers.likely]], sure[own[tiers.sure]] = True, True
    listed |= rest & (thing.score >= TYPICAL)
    return Carriers(
        listed=listed,
        score=np.where(listed, max(artifact, LEAST) * sureness(thing.score), 0.0),
        # Both halves found it, and each was listed by the other's model.
        found_on=np.zeros(len(listed), dtype=bool),
        typical=members,
        sure=sure,
        alike=alike,
    )


def _sides(thing: Thing, own: np.ndarray, tiers: Tiers) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the images that carry a thing, the surest first, and of those that do not."""
    tier = tiers.sure if tiers.sure.sum() >= POLICY.fewest else tiers.likely
    return surest_first(own[tier], thing.score), own[~tiers.likely]


def _looks(thing: Thing, own: np.ndarray, tiers: Tiers, scene: Scene) -> Repetition:
    """How exactly a thing repeats."""
    centres = cell_centres(thing.best, scene.records.cell_grid)
    carriers = surest_first(own[tiers.likely], thing.score)
    # Where nearly all of the class carry it, other classes show what the place looks like without.
    rest = np.flatnonzero(thing.strange(scene.records.labels))
    others = np.append(own[~tiers.likely], rest[:: max(len(rest) // BESIDE, 1)])
    # Ten copies of a picture are alike whatever it shows.
    alone, beside = (first_of_each(some, scene.records.groups) for some in (carriers, others))
    return repetition_of(alone, beside, centres, thing.half, scene)


def _alike(thing: Thing, carriers: np.ndarray) -> np.ndarray:
    """Which images of any class answer like a listed one of their half, (image,) of bool."""
    beyond = np.zeros(len(thing.score), dtype=bool)
    for half in (thing.half, ~thing.half):
        mine = carriers[half[carriers]]
        if len(mine):
            beyond |= half & (thing.score >= thing.score[mine].min())
    return beyond


def _spot(
    thing: Thing,
    carriers: np.ndarray,
    without: np.ndarray,
    study: Study,
    grid: tuple[int, int],
) -> Spot:
    if thing.extent is not None:
        # Hardly any image of the class lacks it; inside the frame it is the objects that are alike.
        spot = spot_of(thing.best, thing.covers, carriers, without[:0], grid)
        excess = study.excess(carriers, np.flatnonzero(lacking(study.labels, thing.label)))
        return reaching(spot, np.where(along_border(grid), excess.reshape(grid), 0.0))
    spot = spot_of(thing.best, thing.covers, carriers, without, grid)
    # Both halves may know a thing by different parts of it, each at its own place.
    sides = [
        spot_of(thing.best, thing.covers, carriers[half[carriers]], without[half[without]], grid)
        for half in (thing.half, ~thing.half)
        if half[carriers].any()
    ]
    extents = [side.extent for side in sides if side.extent is not None]
    if len(extents) < len(sides):
        return spot
    spot = replace(
        spot, extent=np.any(extents, axis=0), strip=None, fixed=min(side.fixed for side in sides)
    )
    return reaching(spot, study.excess(carriers, without).reshape(grid))


def _kind(spot: Spot, looks: Repetition) -> str:
    """One of the kinds of the files."""
    exact = looks.exact >= EXACT
    if spot.region != "frame" and exact and looks.opacity < TRANSLUCENT:
        return "overlay"
    # What repeats to the pixel is no background, however much it covers.
    covers = np.zeros(1) if spot.extent is None or exact else spot.extent
    return kind_of_cells(covers, spot.region)
