"""Suspicion: how much a candidate looks like an artifact, by what its images show.

An artifact repeats exactly, keeps to a spot, or is all over the frame; parts of objects do none of
these. How far they go in a dataset is read off its other images and classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from shortcut_finder.data.preprocessing import Box
from shortcut_finder.data.regions import ANYWHERE, CORNERS, EDGES, box_region, cell_centres
from shortcut_finder.detect.candidates import FEWEST, Candidate
from shortcut_finder.detect.channels.groups import TAIL, place_concentration
from shortcut_finder.pixels.rigidity import PATCH, Rigidity
from shortcut_finder.sweep.records import Records
from shortcut_finder.sweep.scene import Scene

# Images compared for rigidity.
COMPARED = 16
# Gradient correlation: ordinary parts of photographed objects reach 0.3, the most alike of many
# 0.5, drawn objects 0.6; texts begin at 0.7, marks and frames at 0.9. In between lies doubt.
ORDINARY, RIGID = 0.55, 0.80
# Where the most rigid parts of other classes repeat less than that, doubt begins lower: this much
# above them, but never below.
ABOVE_NATURE, LOWEST = 0.12, 0.42
# How far members of what repeats a motif stand above all but a hundredth of the images of other
# classes (correlation): parts of photographed objects reach the first. A handful of members reaches
# more by luck, falling with the root of their number.
SELDOM, NEVER, LUCK = 0.05, 0.19, 0.3
# A thing that keeps to a spot off the middle, of so many cells of the frame at most, in part of a
# class alone: objects seldom do, whatever it looks like. Suspicion of the clearest of these, and
# the part of its likeness that must set it apart from other images to be that clear.
SPOT, SPOTTED, CLEARLY = 0.12, 0.5, 0.5
# How much more alike members are than the rest of their class, at most places of the frame, from
# which something is all over them, and by how much more plainly (correlation): no object is, but
# nearly all images of a class may be alike throughout.
ALL_OVER, PLAINLY = 0.1, 0.1
# Places that must have been compared for that, and how alike members must be there.
PLACES, ALIKE = 3, 0.5
# How clearly it must keep to a spot, or be all over the frame, for us to say so.
CLEAR = 0.8
# Share of a class from which what does not repeat exactly may be the class itself, and from which
# nothing is left to compare with.
COMMON, NEARLY_ALL = 0.6, 0.8
# Share of the others from which what moves about tells of the images that lack it.
LACKED = 0.5
# Places of the frame where members are compared for what is ordinary in them, and how far from the
# thing itself these must lie.
ELSEWHERE = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75), (0.5, 0.5))
APART = 0.3
# Places where a frame must repeat.
AROUND = tuple((x, y) for x in (0.1, 0.5, 0.9) for y in (0.1, 0.5, 0.9) if (x, y) != (0.5, 0.5))
# Rigidity, on the scale between those two, from which we say that a thing repeats exactly.
EXACT = 0.5
# Suspicion from which a finding is of high, medium severity.
HIGH, MEDIUM = 0.60, 0.45
# Suspicion from which a little more or less of it tells nothing.
BEYOND_DOUBT = 0.8


def repetition(
    candidate: Candidate, likeness: np.ndarray, labels: np.ndarray, images: np.ndarray
) -> dict[str, float]:
    """How exactly members repeat a motif, and what next to no other image reaches.

    Args:
        candidate: who carries it.
        likeness: correlation of each image with the motif, (image,).
        labels: class of each image, (image,).
        images: which images count, (image,) of bool.
    """
    known, own = images & candidate.known, labels == candidate.label
    members = likeness[known & own & candidate.carries]
    others = likeness[known & ~own & ~candidate.carries]
    return {
        "repeating": float(len(members)),
        "likeness": float(np.median(members)) if len(members) else 0.0,
        "likeness_elsewhere": float(np.quantile(others, 1 - TAIL)) if len(others) else 1.0,
    }


def exactness(numbers: Mapping[str, float]) -> float:
    """Whether a motif repeats as parts of objects do, 0, or as nothing in nature does, 1.

    Args:
        numbers: from `repetition`.
    """
    apart = numbers["likeness"] - numbers["likeness_elsewhere"]
    apart -= LUCK / max(numbers["repeating"], 1.0) ** 0.5
    return float(np.clip((apart - SELDOM) / (NEVER - SELDOM), 0, 1))


def exactness_found(candidate: Candidate, labels: np.ndarray) -> float:
    """`exactness` of a candidate that repeats a pattern, on the images that it was found on."""
    assert candidate.likeness is not None
    return exactness(repetition(candidate, candidate.likeness, labels, candidate.half))


def rigidity_of(candidate: Candidate, scene: Scene) -> tuple[Rigidity, float, float]:
    """Rigidity of the members, and of what is ordinary in such images.

    Returns:
        What members show at their places; the most that they show at other places, where aligned
        anatomy would be as alike, and that images least like the members show at the same places;
        and how far members pass these at the usual other place, 0 where they are not alike there.
    """
    own = scene.records.labels == candidate.label
    members = np.flatnonzero(own & candidate.carries & ~candidate.half)
    if len(members) < FEWEST:
        members = np.flatnonzero(own & candidate.carries)
    members = candidate.surest(members)[:COMPARED]
    centres = cell_centres(candidate.closest, scene.records.cell_grid)
    found = scene.rigidity(members, centres[members])
    if found.gradient > ORDINARY and region_of(candidate, scene.records.cell_grid) == "frame":
        around = [scene.rigidity(members, _at(place, len(members))).gradient for place in AROUND]
        # A frame repeats all around, where soft edges are alike here and there.
        if (usual := float(np.median(around))) <= ORDINARY:
            found = replace(found, gradient=usual)
    if found.gradient <= ORDINARY:
        return found, 0.0, 0.0
    rest = np.flatnonzero(~candidate.carries & own)
    rest = rest[np.argsort(candidate.membership[rest], kind="stable")][: len(rest) // 2]
    if len(rest) < FEWEST:
        rest = np.flatnonzero(~candidate.carries)
    rest = rest[np.linspace(0, len(rest) - 1, min(COMPARED, len(rest))).astype(int)]
    control = scene.rigidity(rest, centres[rest]).gradient
    extent = candidate.extent
    places: list[tuple[tuple[float, float], float]] = []
    for place in ELSEWHERE:
        apart = np.abs(centres[members] - place).max(axis=1) >= APART
        if apart.sum() >= FEWEST:
            there = scene.rigidity(members[apart], _at(place, apart.sum())).gradient
            places.append((place, there))
    other = [there for place, there in places if extent is None or not _covers(extent, *place)]
    all_over = 0.0
    if len(places) >= PLACES and np.median([there for _, there in places]) >= ALIKE:
        beyond = [
            there - scene.rigidity(rest, _at(place, len(rest))).gradient for place, there in places
        ]
        all_over = float(np.median(beyond))
    return found, max([control, *other]), all_over


def _at(place: tuple[float, float], images: int) -> np.ndarray:
    """The same place in every image, (image, 2)."""
    return np.tile(place, (int(images), 1))


def _covers(extent: np.ndarray, x: float, y: float) -> bool:
    """Whether the patch around a place holds a cell of the thing."""
    rows, columns = extent.shape
    down = np.abs((np.arange(rows) + 0.5) / rows - y) <= PATCH / 2
    across = np.abs((np.arange(columns) + 0.5) / columns - x) <= PATCH / 2
    return bool(extent[np.ix_(down, across)].any())


def weigh(candidate: Candidate, test: dict[str, float], records: Records) -> dict[str, float]:
    """Suspicion and its parts, each in [0, 1]."""
    region = region_of(candidate, records.cell_grid)
    border = float(region in (*CORNERS, *EDGES, "frame"))
    rigid = _rigid(candidate, test, bordering=border > 0)
    exclusive = test["share"] / max(test["share"] + test["elsewhere"], 1e-9)
    members = np.flatnonzero(candidate.carries & (records.labels == candidate.label))
    maps = records.cell_maps(members).reshape(len(members), -1)
    here = maps[np.arange(len(members)), candidate.closest[members]]
    # As hot as the hottest cell of the members' maps: 1; no hotter than their mean: 0.
    peak = max(float(maps.max(axis=1).mean() - maps.mean()), 1e-6)
    heat = float(np.clip((here.mean() - maps.mean()) / peak, 0, 1))
    test["evidence"], test["evidence_mean"] = float(here.mean()), float(maps.mean())
    spot = _spot(candidate, region, test["share"])
    spread = float(np.clip((test["all_over"] - ALL_OVER) / PLAINLY, 0, 1))
    unlike = spread if test["share"] < NEARLY_ALL else 0.0
    # Without rigidity, what is rare in the class and hot comes first: true parts are common.
    soft = max(0.1 * heat * (1 - test["share"]), SPOTTED * spot, SPOTTED * unlike)
    suspicion = exclusive * float(
        np.clip(soft + 0.8 * rigid + 0.1 * rigid**0.5 + 0.1 * border * (rigid > 0), 0, 1)
    )
    return {
        "suspicion": suspicion,
        "rigidity": rigid,
        "exclusivity": exclusive,
        "border": border,
        "evidence": heat,
        "spot": spot,
        "all_over": spread,
        "fixed_place": place_concentration(candidate.closest[members], records.cell_grid),
    }


def _rigid(candidate: Candidate, test: Mapping[str, float], *, bordering: bool) -> float:
    """How exactly it repeats, in [0, 1].

    Parts of objects stand where their objects do, so that inside the frame only a motif tells.
    """
    if candidate.likeness is not None:
        moves = candidate.covers is None
        # Objects of some classes are exact copies: road signs, coins.
        if moves and candidate.template.unseen and test["share"] >= COMMON:
            return 0.0
        # Edges that all but a blurred class have are nothing of the classes that have them.
        if moves and test["elsewhere"] >= LACKED:
            return 0.0
        # By luck a part of an object may seem to repeat exactly on one half, seldom on both.
        return min(exactness(test), test["exactness_found"])
    if not bordering:
        return 0.0
    ordinary = min(ORDINARY, max(test["natural_rigidity"] + ABOVE_NATURE, LOWEST))
    ordinary = max(ordinary, test["control_rigidity"] + 0.1)
    span = max(RIGID - ordinary, 0.25)
    return float(np.clip((test["rigidity"] - ordinary) / span, 0, 1))


def _spot(candidate: Candidate, region: str, share: float) -> float:
    """How clearly a thing keeps to a spot off the middle, in [0, 1].

    By how far the images that carry it stand apart from those that do not.
    """
    extent, template = candidate.extent, candidate.template
    if extent is None or region not in (*CORNERS, *EDGES) or extent.mean() > SPOT:
        return 0.0
    if share >= COMMON:
        return 0.0
    apart = (template.typical - template.limit) / max(template.typical, 1e-6)
    return float(np.clip(apart / CLEARLY, 0, 1))


def severity_of(suspicion: float) -> str:
    """``high``, ``medium`` or ``low``."""
    return "high" if suspicion >= HIGH else "medium" if suspicion >= MEDIUM else "low"


def region_of(candidate: Candidate, grid: tuple[int, int]) -> str:
    """The name of the place a thing stands at or moves in; ``anywhere`` for the rest."""
    cells = candidate.covers
    if cells is None:
        return ANYWHERE
    sides = (cells[0], cells[-1], cells[:, 0], cells[:, -1])
    inner = ~along_border(cells.shape)
    if sum(side.mean() >= 0.4 for side in sides) >= 3 and cells[inner].mean() < 0.5:
        return "frame"
    return box_region(*bounds_of(cells))


def along_border(grid: tuple[int, ...]) -> np.ndarray:
    """The cells that a frame may cover, two deep, (row, column) of bool."""
    border = np.ones(grid, dtype=bool)
    border[2:-2, 2:-2] = False
    return border


def bounds_of(extent: np.ndarray) -> Box:
    """Smallest box around the cells of a fixed thing, as fractions of the frame."""
    rows, columns = np.flatnonzero(extent.any(axis=1)), np.flatnonzero(extent.any(axis=0))
    height, width = extent.shape
    return (
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1) / width),
        float((rows[-1] + 1) / height),
    )


def is_all_over(parts: Mapping[str, float]) -> bool:
    """Whether it has no place, by the parts of its suspicion."""
    return parts.get("all_over", 0.0) >= CLEAR
