"""Region findings: a class whose evidence lies in a corner, at the border or off its object.

What lies there need not look alike, as members of a group must. That makes them weak: a beach is at
the bottom of its pictures. So heat that blank pictures have, too, is left out, evidence must go
along when the picture is moved, what another finding explains is passed over, and the bar is high.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from shortcut_finder.data.membership import having, lacking, occurring
from shortcut_finder.data.preprocessing import Box
from shortcut_finder.data.regions import (
    BORDER,
    BOXES,
    CORNERS,
    EDGES,
    OUTSIDE,
    cell_counts,
    even_shares,
    frame_regions,
    object_shares,
    region_shares,
)
from shortcut_finder.detect.channels.traits import NEARLY_ALL
from shortcut_finder.detect.finding import Finding, together
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.maps.blanks import Explain
from shortcut_finder.stats.evidence import LIFTED, exclusivity_test, false_discovery_rate
from shortcut_finder.stats.experiments import signed_rank_p
from shortcut_finder.sweep.records import Records, resample
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.texts import percent

# Parts of the frame where artifacts stand; those inside hold the object.
NAMED = (*CORNERS, *EDGES, "frame")
# What the images of the other classes reach: all but a twentieth of them.
REACHED = 0.95
# Share of the class that must lie beyond it, in excess of the others: where objects lie differs a
# little between natural classes.
EXCESS = 0.15
# Least part of an image's evidence that has to lie there: what the region's area makes of it, times
# `LIFTED`, or this much in large regions.
PLENTY = 1 / 3
# Images that are mirrored and moved, and the fewest that can tell.
MOVED, FEWEST_MOVED = 24, 6
# Chance at most that heat which stays seems to go along.
STAYS = 0.05
# Suspicion at most. Where things lie may belong to the class, so a place is of low severity until
# experiments say more; that the evidence is off the object is of medium severity, and no more.
QUIET, QUESTION = POLICY.artifact - 0.01, 0.59
# What covers this part of a finding's cells, or carries this part of its images, is the same thing.
SAME = 0.5


@dataclass(frozen=True, eq=False)
class Spread:
    """Where the evidence of each image lies.

    Attributes:
        names: of the regions that are looked at.
        even: share of each region as if it were half of the frame, (image, region) in [0, 1]; NaN
            where unknown.
        least: the same of the least share that is worth a word, (image, region).
        masks: parts of the frame as part of each cell of the maps, (region, row, column).
        cover: part of each cell that the object covers, (image, row, column); ``None`` where no
            object is known.
        own: the same by label, where images have several: of the map of that label in images that
            have it.
    """

    names: tuple[str, ...]
    even: np.ndarray
    least: np.ndarray
    masks: np.ndarray
    cover: np.ndarray | None
    own: Mapping[int, Spread] = field(default_factory=dict)

    def of(self, label: int) -> Spread:
        """Where the evidence of each image lies, for one label against the others."""
        return self.own.get(label, self)

    def mask(self, region: str, images: np.ndarray) -> np.ndarray:
        """A region as part of each cell of some images, (image, row, column)."""
        if region == OUTSIDE:
            assert self.cover is not None
            return np.asarray(1 - self.cover[images])
        mask = self.masks[self.names.index(region)]
        return np.broadcast_to(mask, (len(images), *mask.shape))


def spread_of(records: Records, heat: np.ndarray, cover: np.ndarray | None) -> Spread:
    """Where evidence lies: as the maps say, or without what blank pictures show, if that is less.

    Args:
        records: what the sweep kept.
        heat: that blank pictures have, too, (class, row, column).
        cover: part of each cell that the object covers, (image, row, column), NaN where unknown.
    """
    spread = _spread(records.maps, without(records.maps, heat, records.firsts), cover)
    if records.labels.ndim == 1:
        return spread
    own = {}
    for label in occurring(records.labels):
        own[label] = _spread(records.maps_of(label), evidence_for(label, records, heat), cover)
    return replace(spread, own=own)


def evidence_for(label: int, records: Records, heat: np.ndarray) -> np.ndarray:
    """Evidence that a label is held against the others by, (image, row, column).

    Of the label in images that have it, and of their own label in the others, without what blank
    pictures show, too.
    """
    firsts = np.where(having(records.labels, label), label, records.firsts)
    return without(records.maps_of(label), heat, firsts)


def without(maps: np.ndarray, heat: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Class maps less the heat that blank pictures have, too.

    Args:
        maps: one an image, (image, row, column).
        heat: of each class, (class, row, column).
        labels: class that each map is of, (image,); -1 for another.
    """
    if (labels >= 0).all():
        return np.asarray(maps - heat[labels])
    return np.asarray(maps - np.concatenate([heat, np.zeros_like(heat[:1])])[labels])


def _spread(maps: np.ndarray, less: np.ndarray, cover: np.ndarray | None) -> Spread:
    """Where the evidence of class maps lies, and of the same without heat, whichever is less."""
    regions = frame_regions(*maps.shape[1:])
    chosen = [regions.names.index(name) for name in NAMED]
    masks = regions.masks[chosen]
    areas = np.broadcast_to(masks.mean(axis=(1, 2)), (len(maps), len(masks)))
    names: tuple[str, ...] = NAMED
    if cover is not None:
        names = (*NAMED, OUTSIDE)
        areas = np.column_stack([areas, 1 - cover.mean(axis=(1, 2))])
    shares = []
    for evidence in (maps, less):
        found = region_shares(evidence, regions)[:, chosen]
        if cover is not None:
            found = np.column_stack([found, object_shares(evidence, cover)[:, 1]])
        shares.append(found)
    return Spread(
        names,
        even_shares(np.minimum(*shares), areas),
        even_shares(np.minimum(LIFTED * areas, PLENTY), areas),
        masks,
        cover,
    )


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


def find_regions(
    spread: Spread,
    judged: Sequence[Finding],
    scene: Scene,
    half: np.ndarray,
    classes: tuple[str, ...],
    explain: Explain,
    seed: int = 0,
) -> list[Finding]:
    """Findings for classes whose evidence lies in a region as that of no other class does.

    Args:
        spread: where the evidence of each image lies.
        judged: what else was found, which may be why.
        scene: what the sweep kept, and the pictures behind it.
        half: the discovery half, (image,) of bool.
        classes: class names.
        explain: draws maps of pixels.
        seed: for who is mirrored and moved.
    """
    labels = scene.records.labels
    chances: list[float] = []
    clear: dict[int, _Held] = {}
    for number in occurring(labels):
        for place in range(len(spread.names)):
            one, stands_out = _hold(
                number, place, spread.of(number), labels, half, scene.records.counted
            )
            # All are tested, few are kept: each has an entry for every image.
            if stands_out:
                clear[len(chances)] = one
            chances.append(one.test["p"])
    rates = false_discovery_rate(np.array(chances))
    held = [
        replace(one, test={**one.test, "q": float(rates[number])})
        for number, one in clear.items()
        if rates[number] <= POLICY.q
    ]
    kept: list[Finding] = []
    for one in sorted(held, key=lambda one: -one.found):
        label = classes[one.label]
        reasons = [each for each in (*judged, *kept) if each.label == label]
        if any(_explains(reason, one, labels, spread.of(one.label)) for reason in reasons):
            continue
        rng = np.random.default_rng([seed, 5, one.label, spread.names.index(one.region)])
        moves = _goes_along(one, spread.of(one.label), scene, ~half, explain, rng)
        if moves is not None:
            kept.append(_finding(one, moves, spread.of(one.label), scene.records, half, label))
    return kept


def _hold(
    label: int,
    place: int,
    spread: Spread,
    labels: np.ndarray,
    half: np.ndarray,
    counted: np.ndarray,
) -> tuple[_Held, bool]:
    """How many images of a class lie beyond what the others reach; the limit is of one half.

    Returns:
        The numbers, and whether they are beyond the floors in both halves.
    """
    even, own, rest = spread.even[:, place], having(labels, label), lacking(labels, label)
    seen = np.where(np.isfinite(even), even, 0.0)
    known = np.isfinite(even) & counted
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


def _explains(reason: Finding, one: _Held, labels: np.ndarray, spread: Spread) -> bool:
    """Whether another finding of the class says why its evidence lies there."""
    # A column of a table says where pictures come from, not what is to be seen in them.
    if reason.kind == "metadata":
        return False
    own = having(labels, one.label)
    there, members = reason.carries[own], one.carries[own]
    if together(there, members):
        return True
    if reason.extent is not None and one.region != OUTSIDE:
        inside = reason.extent & _cells(one.region, reason.extent.shape)
        if inside.sum() >= SAME * reason.extent.sum() and there[members].mean() >= SAME:
            return True
    return reason.severity != "low" and bool(there.mean() >= NEARLY_ALL)


def _cells(region: str, grid: tuple[int, ...]) -> np.ndarray:
    """The cells of a part of the frame, (row, column) of bool."""
    regions = frame_regions(grid[0], grid[1])
    mask = regions.masks[regions.names.index(region)]
    # On a coarse grid a region may be less than half of any cell.
    return np.asarray(mask >= min(0.5, mask.max()))


# What goes along with the picture ----------------------------------------------------------------


def _goes_along(
    one: _Held,
    spread: Spread,
    scene: Scene,
    tested: np.ndarray,
    explain: Explain,
    rng: np.random.Generator,
) -> dict[str, float] | None:
    """Whether evidence goes where the picture goes, when it is mirrored and moved.

    Heat of the padding stays where it is.

    Returns:
        The p of each move, or ``None`` where heat may have stayed, or too few images tell.
    """
    members = rng.permutation(np.flatnonzero(one.carries & tested))
    images, pixels = readable_pixels(members, scene, MOVED)
    if len(images) < FEWEST_MOVED:
        return None
    records = scene.records
    output = np.array([records.output_of(one.label)], dtype=np.int64)
    heat = records.maps_of(one.label)[images]
    before = _parts_of_one(np.clip(heat, 0, None) * spread.mask(one.region, images))
    found = {}
    for name, of_pixels, of_maps in _moves(one.region, scene.preprocessing.mean):
        moved = np.stack([of_pixels(picture) for picture in pixels])
        after = _parts_of_one(np.clip(explain(moved, output)[:, 0], 0, None))
        expected = np.stack([of_maps(heat) for heat in before])
        gain = ((expected - before) * after).sum(axis=(1, 2))
        found[name] = signed_rank_p(gain)
        if found[name] > STAYS:
            return None
    return found


def readable_pixels(
    images: np.ndarray, scene: Scene, count: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The first so many images that can be read, and what the model sees of them."""
    found: list[int] = []
    pixels: list[np.ndarray] = []
    for image in images.tolist():
        if len(found) == count:
            break
        seen = scene.pixels(image)
        if seen is not None:
            pixels.append(seen)
            found.append(image)
    return np.array(found, dtype=np.int64), pixels


def _parts_of_one(heat: np.ndarray) -> np.ndarray:
    """Heat that sums to one in each image, (image, row, column); all zero where there is none."""
    total = heat.sum(axis=(1, 2), keepdims=True)
    return np.asarray(heat / np.where(total > 0, total, 1.0))


Move = Callable[[np.ndarray], np.ndarray]


def _moves(region: str, mean: Sequence[float]) -> Iterator[tuple[str, Move, Move]]:
    """Ways to move a picture, by name: what becomes of its pixels, and of a map of it."""
    down = ("top" in region) - ("bottom" in region)
    across = ("left" in region) - ("right" in region)
    if not (down or across):
        down = across = 1
    fill = np.rint(255 * np.array(mean)).astype(np.uint8)
    yield (
        "p_moved_inwards",
        lambda pixels: _pixels_moved(pixels, down * BORDER, across * BORDER, fill),
        lambda heat: ndimage.shift(
            heat, (down * BORDER * heat.shape[0], across * BORDER * heat.shape[1]), order=1
        ),
    )
    # A frame is its own mirror image.
    if region != "frame":
        axis = 0 if across == 0 else 1
        yield "p_mirrored", lambda pixels: np.flip(pixels, axis), lambda heat: np.flip(heat, axis)


def _pixels_moved(pixels: np.ndarray, down: float, across: float, fill: np.ndarray) -> np.ndarray:
    """A picture moved by parts of its height and width; flat colour where it came from."""
    height, width = pixels.shape[:2]
    dy, dx = round(down * height), round(across * width)
    moved = np.empty_like(pixels)
    moved[:] = fill
    moved[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = pixels[
        max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)
    ]
    return moved


# What it is called -------------------------------------------------------------------------------


def _finding(
    one: _Held,
    moves: dict[str, float],
    spread: Spread,
    records: Records,
    half: np.ndarray,
    label: str,
) -> Finding:
    test, off = one.test, one.region == OUTSIDE
    share, elsewhere = test["share"], test["elsewhere"]
    exclusive, excess = share / max(share + elsewhere, 1e-9), max(share - elsewhere, 0.0)
    suspicion = min(exclusive * excess, QUESTION if off else QUIET)
    members, maps = np.flatnonzero(one.carries), records.maps_of(one.label)
    even = np.nan_to_num(spread.even[:, spread.names.index(one.region)])
    sure = 0.5 + 0.5 * (even - one.limit) / np.fmax(1 - one.limit, 1e-9)
    return Finding(
        key="",
        label=label,
        number=one.label,
        kind="region",
        region=one.region,
        share=share,
        elsewhere=elsewhere,
        q=test["q"],
        suspicion=suspicion,
        severity=POLICY.severity(suspicion),
        sentence=_sentence(one, label),
        advice=(
            "Look at what lies there in the listed images: if it is not the object, mask it or "
            "crop it in all classes and train again."
        ),
        carries=one.carries,
        score=np.where(one.carries, suspicion * sure.clip(0, 1), 0.0),
        boxes=_off_object(spread, maps) if off else _fixed(one.region),
        parts={"exclusivity": exclusive, "excess_share": excess},
        numbers={**test, **moves},
        place=_hottest(spread.mask(one.region, members), maps[members], records.cell_grid),
        typical=members[np.argsort(-even[members], kind="stable")],
        half=half,
        extent=None if off else _cells(one.region, records.cell_grid),
        alike=one.alike,
    )


def _sentence(one: _Held, label: str) -> str:
    share, elsewhere = percent(one.test["share"]), percent(one.test["elsewhere"])
    where = {OUTSIDE: "outside the object", "frame": "at the border"}.get(
        one.region, f"at the {one.region}"
    )
    return (
        f"In {share} of the {label} images more of the evidence lies {where} than the images of "
        f"other classes reach ({elsewhere} of them do). It goes along when the picture is moved, "
        "and blank pictures do not have it. What lies there need not look alike."
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
