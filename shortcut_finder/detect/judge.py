"""Judge: from things that hold on images they were not found on to lists of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from shortcut_finder.data.groups import first_of_each
from shortcut_finder.data.membership import having, lacking
from shortcut_finder.data.regions import CORNERS, EDGES, cell_centres
from shortcut_finder.detect.channels.border import LAID_ON, NATURAL
from shortcut_finder.detect.channels.cells import Study, Thing
from shortcut_finder.detect.finding import LEAST, Finding, sureness
from shortcut_finder.detect.likeness import Likeness, shift_of
from shortcut_finder.detect.motifs import Repetition, by_motif, repetition_of
from shortcut_finder.detect.place import (
    Place,
    along_border,
    border_share,
    boxes_of,
    place_of,
    reaching,
)
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.detect.sentences import EXACT, advice_for, sentence_of
from shortcut_finder.detect.tiers import Tiers, false_shares, tiers_of
from shortcut_finder.stats.evidence import phi, share_above
from shortcut_finder.sweep.scene import Scene

# Share of the frame that a thing at one place covers from which it is a background.
WIDE = 0.25
# Below this share of common grey variance an exact repetition is seen through.
TRANSLUCENT = 0.35
# Share of the carriers that are copies of one another from which they are duplicates.
DUPLICATES = 0.5
# Images of other classes that a thing is looked for in where its own class has too few without it.
BESIDE = 40
# Score from which an image of another class is listed, too: that of a typical carrier.
TYPICAL = 1.0


def judged(
    things: Sequence[Thing], study: Study, scene: Scene, classes: tuple[str, ...]
) -> tuple[list[Finding], list[str]]:
    """Findings from scored things, and sentences about what is none.

    Args:
        things: scored, of all classes.
        study: where they were learned.
        scene: the pictures.
        classes: class names.
    """
    found: list[Finding] = []
    notes: list[str] = []
    # Lists by two heaps are better than lists by one.
    for thing in sorted(things, key=lambda one: one.extent is not None):
        own = np.flatnonzero(having(scene.records.labels, thing.label))
        tiers = listed(thing, own, scene.records.labels)
        if tiers.likely.sum() < POLICY.fewest:
            continue
        looks = _looks(thing, own, tiers, scene)
        again = by_motif(thing, own, looks, scene) if thing.extent is None and looks.exact else None
        if again is not None:
            # What repeats to the pixel is known by its pixels, which miss none of it.
            thing, tiers = again, listed(again, own, scene.records.labels)
        finding = _finding(thing, own, tiers, looks, study, scene, classes)
        if looks.duplicates >= DUPLICATES:
            notes.append(
                f"{finding.label}: {int(tiers.likely.sum())} images look like copies of one "
                "another; near-duplicates are no shortcut, but they do inflate accuracy."
            )
        elif not any(_same(finding, other) for other in found):
            found.append(finding)
    return found, list(dict.fromkeys(notes))


def _same(one: Finding, other: Finding) -> bool:
    """Whether two findings are one thing: what lies on the border is found by its cells, too."""
    alike = phi(one.carries.astype(float), other.carries.astype(float))
    return one.label == other.label and alike >= POLICY.same


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


def _finding(
    thing: Thing,
    own: np.ndarray,
    tiers: Tiers,
    looks: Repetition,
    study: Study,
    scene: Scene,
    classes: tuple[str, ...],
) -> Finding:
    records, label = scene.records, classes[thing.label]
    grid, score = records.cell_grid, thing.score
    carriers, without = _sides(thing, own, tiers)
    place = _place(thing, carriers, without, study, grid)
    rest = thing.strange(records.labels)
    likeness = Likeness(
        thing.gain * max(thing.agreement, 0.0),
        shift_of(score[without], score[rest]),
        border_share(thing.best[carriers], grid),
        looks.exact,
    )
    artifact = likeness.artifact
    if thing.extent is not None:
        # What nearly all of a class carries makes one heap: how alike it is says all.
        artifact = float(np.clip((thing.gain - NATURAL) / (LAID_ON - NATURAL), 0, 1))
    lists = np.zeros(len(score), dtype=bool)
    sure = np.zeros(len(score), dtype=bool)
    lists[own[tiers.likely]], sure[own[tiers.sure]] = True, True
    lists |= rest & (score >= TYPICAL)
    alike = _alike(thing, own[tiers.likely])
    elsewhere = float(alike[rest].sum()) / max(int(rest.sum()), 1)
    return Finding(
        key="",
        label=label,
        number=thing.label,
        kind=_kind(place, looks),
        region=place.region,
        share=tiers.share,
        elsewhere=elsewhere,
        q=thing.test["q"],
        suspicion=artifact,
        severity=POLICY.severity(artifact),
        sentence=sentence_of(label, place.region, elsewhere, tiers, likeness, artifact),
        advice=advice_for(place.region, tiers.share, artifact),
        carries=lists,
        score=np.where(lists, max(artifact, LEAST) * sureness(score), 0.0),
        boxes=boxes_of(place, thing.best, thing.covers, grid),
        parts={
            "evidence": min(likeness.evidence, 1.0),
            "border": likeness.border,
            "rigidity": likeness.exact,
            "exclusivity": tiers.share / max(tiers.share + elsewhere, 1e-9),
            "fixed_place": place.fixed,
        },
        numbers={
            **thing.test,
            "agreement": thing.agreement,
            "shift": likeness.shift,
            "members": float(tiers.likely.sum()),
            "short_side": float(looks.short),
        },
        place=place.counts,
        typical=carriers,
        half=np.zeros(len(score), dtype=bool),
        extent=place.extent,
        strip=place.strip,
        sure=sure,
        wrong=tiers.wrong,
        share_range=tiers.share_range,
        alike=alike,
    )


def _sides(thing: Thing, own: np.ndarray, tiers: Tiers) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the images that carry a thing, the surest first, and of those that do not."""
    tier = tiers.sure if tiers.sure.sum() >= POLICY.fewest else tiers.likely
    return _surest_first(thing, own[tier]), own[~tiers.likely]


def _surest_first(thing: Thing, images: np.ndarray) -> np.ndarray:
    return images[np.argsort(-thing.score[images], kind="stable")]


def _looks(thing: Thing, own: np.ndarray, tiers: Tiers, scene: Scene) -> Repetition:
    """How exactly a thing repeats."""
    centres = cell_centres(thing.best, scene.records.cell_grid)
    carriers = _surest_first(thing, own[tiers.likely])
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


def _place(
    thing: Thing,
    carriers: np.ndarray,
    without: np.ndarray,
    study: Study,
    grid: tuple[int, int],
) -> Place:
    if thing.extent is not None:
        # Hardly any image of the class lacks it; inside the frame it is the objects that are alike.
        place = place_of(thing.best, thing.covers, carriers, without[:0], grid)
        excess = study.excess(carriers, np.flatnonzero(lacking(study.labels, thing.label)))
        return reaching(place, np.where(along_border(grid), excess.reshape(grid), 0.0))
    place = place_of(thing.best, thing.covers, carriers, without, grid)
    # Both halves may know a thing by different parts of it, each at its own place.
    sides = [
        place_of(thing.best, thing.covers, carriers[half[carriers]], without[half[without]], grid)
        for half in (thing.half, ~thing.half)
        if half[carriers].any()
    ]
    extents = [side.extent for side in sides if side.extent is not None]
    if len(extents) < len(sides):
        return place
    place = replace(
        place, extent=np.any(extents, axis=0), strip=None, fixed=min(side.fixed for side in sides)
    )
    return reaching(place, study.excess(carriers, without).reshape(grid))


def _kind(place: Place, looks: Repetition) -> str:
    """One of the kinds of the files."""
    if place.region == "frame":
        return "frame"
    if looks.exact >= EXACT and looks.opacity < TRANSLUCENT:
        return "overlay"
    if place.region in CORNERS:
        return "corner"
    if place.region in EDGES:
        return "edge"
    wide = place.extent is not None and place.extent.mean() >= WIDE
    return "background" if wide and looks.exact < EXACT else "patch"
