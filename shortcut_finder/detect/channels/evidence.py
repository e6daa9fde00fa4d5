"""Evidence: a class whose evidence lies in a corner, at the border or off its object.

What lies there need not look alike, as members of a group must. That makes them weak: a beach is at
the bottom of its pictures. So heat that blank pictures have, too, is left out, evidence must go
along when the picture is moved, what another finding explains is passed over, and the bar is high.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from shortcut_finder.data.membership import having, lacking
from shortcut_finder.data.preprocessing import Box
from shortcut_finder.data.regions import BOXES, OUTSIDE, cell_counts, frame_regions
from shortcut_finder.detect.finding import (
    Carriers,
    Decided,
    Finding,
    Measured,
    surest_first,
    together,
)
from shortcut_finder.detect.moves import goes_along
from shortcut_finder.detect.place import Place
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.detect.proposals import Concluded, Proposals, rated
from shortcut_finder.detect.spread import Spread
from shortcut_finder.detect.view import View
from shortcut_finder.maps.blanks import Explain
from shortcut_finder.stats.evidence import exclusivity, exclusivity_test
from shortcut_finder.sweep.records import resample
from shortcut_finder.texts import percent

# What the images of the other classes reach: all but a twentieth of them.
REACHED = 0.95
# Share of the class that must lie beyond it, in excess of the others: where objects lie differs a
# little between natural classes.
EXCESS = 0.15
# Images that are mirrored and moved, and the fewest that can tell.
MOVED, FEWEST_MOVED = 24, 6
# Suspicion at most. Where things lie may belong to the class, so a place is of low severity until
# experiments say more; that the evidence is off the object is of medium severity, and no more.
QUIET, QUESTION = POLICY.artifact - 0.01, 0.59
# What covers this part of a finding's cells, or carries this part of its images, is the same thing.
SAME = 0.5


@dataclass(frozen=True, eq=False)
class _Held:
    """A class and a region.

    Attributes:
        label: index of the class.
        region: name of it.
        limit: of the even share, that images of the other classes stay below, (image,).
        carries: images of the class beyond it, (image,) of bool.
        alike: images of any class beyond it, (image,) of bool.
        found: share of the class beyond it less that of the others, on the discovery half.
        test: the same on the other half, and its p.
    """

    label: int
    region: str
    limit: np.ndarray
    carries: np.ndarray
    alike: np.ndarray
    found: float
    test: dict[str, float]


def propose(view: View) -> Proposals:
    """Every class and region: images whose evidence there is more than the others reach."""
    if view.spread is None or view.explain is None:
        return Proposals()
    spread, explain = view.spread, view.explain
    chances: list[float] = []
    clear: dict[int, _Held] = {}
    for label in view.numbers:
        for place in range(len(spread.names)):
            one, stands_out = _hold(label, place, spread.of(label), view)
            # All are tested, few are kept: each has an entry for every image.
            if stands_out:
                clear[len(chances)] = one
            chances.append(one.test["p"])

    def conclude(q: np.ndarray, found: Sequence[Finding]) -> Concluded:
        held = [rated(one, q[number]) for number, one in clear.items() if q[number] <= POLICY.q]
        return Concluded(_findings(held, found, spread, explain, view))

    return Proposals(np.array(chances), conclude)


def _findings(
    held: Sequence[_Held],
    before: Sequence[Finding],
    spread: Spread,
    explain: Explain,
    view: View,
) -> list[Finding]:
    """Findings of what nothing else explains, and what goes along when the picture is moved."""
    kept: list[Finding] = []
    for one in sorted(held, key=lambda one: -one.found):
        own = spread.of(one.label)
        reasons = [each for each in (*before, *kept) if each.number == one.label]
        if any(_explains(reason, one, view.labels) for reason in reasons):
            continue
        rng = np.random.default_rng([view.seed, 5, one.label, spread.names.index(one.region)])
        moves = _moved(one, own, explain, view, rng)
        if moves is not None:
            kept.append(_finding(one, moves, own, view))
    return kept


def _moved(
    one: _Held, spread: Spread, explain: Explain, view: View, rng: np.random.Generator
) -> dict[str, float] | None:
    """The p of each move; ``None`` where heat may have stayed, or too few images tell."""
    members = rng.permutation(np.flatnonzero(one.carries & ~view.half))
    images, pixels = view.scene.readable(members, MOVED)
    if len(images) < FEWEST_MOVED:
        return None
    records = view.records
    output = np.array([records.output_of(one.label)], dtype=np.int64)
    return goes_along(
        one.region,
        records.maps_of(one.label)[images],
        spread.mask(one.region, images),
        pixels,
        lambda moved: explain(moved, output)[:, 0],
        view.scene.preprocessing.mean,
    )


def _hold(label: int, place: int, spread: Spread, view: View) -> tuple[_Held, bool]:
    """How many images of a class lie beyond what the others reach; the limit is of one half.

    Returns:
        The numbers, and whether they are beyond the floors in both halves.
    """
    half, even = view.half, spread.even[:, place]
    own, rest = having(view.labels, label), lacking(view.labels, label)
    seen = np.where(np.isfinite(even), even, 0.0)
    known = np.isfinite(even) & view.records.counted
    others = seen[known & rest & half]
    reached = float(np.quantile(others, REACHED)) if len(others) else 1.0
    limit = np.fmax(spread.least[:, place], reached)
    beyond = seen > limit
    halves = []
    for images in (half, ~half):
        inside, outside = beyond[known & own & images], beyond[known & rest & images]
        halves.append((int(inside.sum()), len(inside), int(outside.sum()), len(outside)))
    found, found_elsewhere = _shares(halves[0])
    test = exclusivity_test(*halves[1]) | {"even_share_reached_by_others": reached}
    region = spread.names[place]
    one = _Held(label, region, limit, beyond & own, beyond, found - found_elsewhere, test)
    return one, all(map(_stands_out, halves))


Counts = tuple[int, int, int, int]


def _shares(counts: Counts) -> tuple[float, float]:
    """Share of the class, and of the others, that lies beyond the limit."""
    return counts[0] / max(counts[1], 1), counts[2] / max(counts[3], 1)


def _stands_out(counts: Counts) -> bool:
    """Whether enough of the class lies beyond the limit, and few enough of the others."""
    share, elsewhere = _shares(counts)
    enough = min(counts[0], counts[3]) >= POLICY.fewest
    return enough and share >= POLICY.lift * elsewhere and share - elsewhere >= EXCESS


def _explains(reason: Finding, one: _Held, labels: np.ndarray) -> bool:
    """Whether another finding of the class says why its evidence lies there."""
    # A column of a table says where pictures come from, not what is to be seen in them.
    if reason.place.column:
        return False
    own = having(labels, one.label)
    there, members = reason.carriers.listed[own], one.carries[own]
    if together(there, members):
        return True
    if reason.place.extent is not None and one.region != OUTSIDE:
        inside = reason.place.extent & _cells(one.region, reason.place.extent.shape)
        if inside.sum() >= SAME * reason.place.extent.sum() and there[members].mean() >= SAME:
            return True
    return reason.decided.severity != "low" and bool(there.mean() >= POLICY.nearly_all)


def _cells(region: str, grid: tuple[int, ...]) -> np.ndarray:
    """The cells of a part of the frame, (row, column) of bool."""
    regions = frame_regions(grid[0], grid[1])
    mask = regions.masks[regions.names.index(region)]
    # On a coarse grid a region may be less than half of any cell.
    return np.asarray(mask >= min(0.5, mask.max()))


def _finding(one: _Held, moves: dict[str, float], spread: Spread, view: View) -> Finding:
    records, label = view.records, view.classes[one.label]
    test, off = one.test, one.region == OUTSIDE
    share, elsewhere = test["share"], test["elsewhere"]
    exclusive, excess = exclusivity(share, elsewhere), max(share - elsewhere, 0.0)
    suspicion = min(exclusive * excess, QUESTION if off else QUIET)
    members, maps = np.flatnonzero(one.carries), records.maps_of(one.label)
    even = np.nan_to_num(spread.even[:, spread.names.index(one.region)])
    sure = 0.5 + 0.5 * (even - one.limit) / np.fmax(1 - one.limit, 1e-9)
    return Finding(
        label=label,
        number=one.label,
        place=Place(
            kind="region",
            region=one.region,
            counts=_hottest(spread.mask(one.region, members), maps[members], records.cell_grid),
            boxes=_off_object(spread, maps) if off else _fixed(one.region),
            extent=None if off else _cells(one.region, records.cell_grid),
        ),
        carriers=Carriers(
            listed=one.carries,
            score=np.where(one.carries, suspicion * sure.clip(0, 1), 0.0),
            found_on=view.half,
            typical=surest_first(members, even),
            alike=one.alike,
        ),
        measured=Measured(
            share=share,
            elsewhere=elsewhere,
            q=test["q"],
            artifact=suspicion,
            parts={"exclusivity": exclusive, "excess_share": excess},
            numbers={**test, **moves},
        ),
        decided=Decided(POLICY.severity(suspicion)),
        said=_said(one, label),
        advice=(
            "Look at what lies there in the listed images: if it is not the object, mask it or "
            "crop it in all classes and train again."
        ),
    )


def _said(one: _Held, label: str) -> tuple[str, ...]:
    share, elsewhere = percent(one.test["share"]), percent(one.test["elsewhere"])
    where = {OUTSIDE: "outside the object", "frame": "at the border"}.get(
        one.region, f"at the {one.region}"
    )
    return (
        f"In {share} of the {label} images more of the evidence lies {where} than the images of "
        f"other classes reach ({elsewhere} of them do).",
        "It goes along when the picture is moved, and blank pictures do not have it.",
        "What lies there need not look alike.",
    )


def _fixed(region: str) -> Callable[[int], Box]:
    x0, y0, x1, y1 = np.array(BOXES[region]).T
    box = (float(x0.min()), float(y0.min()), float(x1.max()), float(y1.max()))
    return lambda _image: box


def _off_object(spread: Spread, maps: np.ndarray) -> Callable[[int], Box]:
    """The cells of an image that hold most evidence outside the object, around the hottest."""

    def box(image: int) -> Box:
        heat = np.clip(maps[image], 0, None) * spread.mask(OUTSIDE, np.array([image]))[0]
        groups, _ = ndimage.label(heat >= heat.max() / 2)
        rows, columns = np.nonzero(groups == groups.flat[int(heat.argmax())])
        height, width = heat.shape
        return (
            float(columns.min() / width),
            float(rows.min() / height),
            float((columns.max() + 1) / width),
            float((rows.max() + 1) / height),
        )

    return box


def _hottest(masks: np.ndarray, maps: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Share of some images' maps whose hottest cell of a region lies there, (row, column)."""
    heat = resample(np.clip(maps, 0, None) * masks, grid)
    cells = heat.reshape(len(maps), -1).argmax(axis=1)
    return np.asarray(cell_counts(cells, grid) / max(len(maps), 1))
