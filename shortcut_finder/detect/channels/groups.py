"""Groups: cells that look alike, over-represented in one class, at any place in the image.

Discovery reads one half of the images at a time: seeds are cells of a class (hot ones, border ones
and some at random); a seed is good when its best matches in the class are much closer than its best
matches elsewhere; a good seed grows into a template, the mean of what it matches. Then one linear
scan measures every image of the dataset against every template. The other half is kept for tests.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from shortcut_finder.data.regions import cell_counts
from shortcut_finder.detect.channels.parts import Parts
from shortcut_finder.sweep.records import Records
from shortcut_finder.sweep.shards import read_shards, unit_cells

# Images of a class that seeds are taken from, and images of other classes they are held against.
OWN_SAMPLE = 200
OTHER_SAMPLE = 500
# Images sampled over all classes at most: some 25 kB each.
ALL_SAMPLE = 20_000
# Seeds an image: where the map is hottest, on the border, anywhere.
HOT, RING, RANDOM = 12, 6, 4
# The best matches of a seed that count: a rare cue fills few of them, a common one many.
TOP_SHARES = (0.04, 0.10, 0.25)
# Fewer images than this are no group.
FEWEST = 4
# Seeds a class that are grown; beyond this many, what follows is ever more ordinary.
TEMPLATES = 10
# A seed this close to a template adds nothing to it (cosine).
SAME = 0.5
# Templates this close are one.
ALIKE = 0.8
# How strictly a template grows; both ways are tried for every seed.
PULLS = (0.0, 0.5)
# A match must be closer than all but this share of the images of other classes, and by a margin.
TAIL, MARGIN = 0.01, 0.02
# Share of the members within one cell of the commonest place that makes a place fixed.
FIXED = 0.6
# Part of the cells of other images that may look like a background.
STRAY = 0.1
# Rounds of growing a template.
ROUNDS = 4
# Things that several classes share are sought too: so many a class.
SHARED = 4
# How far apart images with such a thing and images without must lie, in spreads (Ashman, Bird and
# Zepf 1994). Cut anywhere, a normal distribution reaches 2.7 or so.
ASUNDER = 3.5
# How far from the others towards a typical member a thing at a fixed place begins.
REACH = 0.25
# Rounds of learning what a thing at a fixed place looks like and who carries it.
FIELD_ROUNDS = 4
# Extra likeness of members at one place of the frame that makes it part of the thing (cosine).
EXTENT = 0.08
# The same for things whose matches move, such as the sides of a frame.
PLAIN = 0.3


@dataclass(frozen=True, eq=False)
class Template:
    """What the cells of a group look like.

    Attributes:
        label: the class it was found in.
        vector: unit mean of the group's cells, (width,).
        field: for a thing at a fixed place, how members differ from other images at every cell,
            (cell, width); zero outside the thing. ``None`` for a thing at any place.
        centre: the cell of such a thing where members are most alike; -1 for a thing at any place.
        limit: similarity from which an image is a member.
        typical: median similarity of the members it grew from.
        strength: seed score: likeness inside the class minus likeness elsewhere (cosine).
        shared: whether images of other classes that seemed to carry it too were left out when it
            grew.
        potent: whether it was learned from parts that turn images of other classes into its own.
    """

    label: int
    vector: np.ndarray
    field: np.ndarray | None
    centre: int
    limit: float
    typical: float
    strength: float
    shared: bool = False
    potent: bool = False

    @property
    def unseen(self) -> bool:
        """Whether cells show nothing of it."""
        return len(self.vector) == 0

    @property
    def extent(self) -> np.ndarray | None:
        """Which cells a thing at a fixed place covers, (cell,) of bool."""
        return None if self.field is None else np.abs(self.field).sum(axis=1) > 0


def unseen_template(label: int) -> Template:
    """Of what cells show nothing of: none is like it."""
    return Template(label, np.zeros(0), None, -1, limit=1.0, typical=1.0, strength=0.0)


@dataclass(frozen=True, eq=False)
class Matches:
    """How every image answers to every template.

    Attributes:
        similarity: of the image to the template, (image, template).
        closest: the cell that matches best, (image, template).
    """

    similarity: np.ndarray
    closest: np.ndarray


@dataclass(frozen=True, eq=False)
class _Sample:
    """Cells of some images in memory."""

    index: np.ndarray
    cells: np.ndarray

    def part(self, chosen: np.ndarray) -> _Sample:
        return _Sample(self.index[chosen], self.cells[chosen])

    def joined(self, other: _Sample) -> _Sample:
        return _Sample(
            np.concatenate([self.index, other.index]), np.concatenate([self.cells, other.cells])
        )

    def best(self, vectors: np.ndarray) -> np.ndarray:
        """Closest cell of each image to each vector, as a cosine, (vector, image)."""
        images, cells, width = self.cells.shape
        flat = self.cells.reshape(-1, width).T
        best = np.empty((len(vectors), images), dtype=np.float32)
        for start in range(0, len(vectors), 128):
            block = vectors[start : start + 128] @ flat
            best[start : start + 128] = block.reshape(-1, images, cells).max(axis=2)
        return best


def discovery_half(labels: np.ndarray, seed: int) -> np.ndarray:
    """Images that candidates are found on first: a random half of every class, (image,) of bool."""
    rng = np.random.default_rng([seed, 1])
    half = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        half[own[: (len(own) + 1) // 2]] = True
    return half


def find_templates(
    folder: Path,
    records: Records,
    half: np.ndarray,
    seed: int,
    parts: Parts | None = None,
) -> list[Template]:
    """Templates of every class, from the images of one half alone.

    Args:
        folder: the shards.
        records: what the sweep keeps of every image.
        half: that half, (image,) of bool.
        seed: for the samples.
        parts: what parts of its images do to the model, where that was tried; potent ones make a
            template of their own.
    """
    rng = np.random.default_rng([seed, 2])
    classes = np.unique(records.labels)
    if len(classes) < 2:
        return []
    size = int(np.clip(ALL_SAMPLE // len(classes), 2 * FEWEST, OWN_SAMPLE))
    drawn = [_draw(np.flatnonzero(half & (records.labels == c)), size, rng) for c in classes]
    further = [] if parts is None else [parts.images]
    chosen = np.unique(np.concatenate([*drawn, *further]))
    sample = _Sample(chosen, _read_cells(folder, chosen))
    labels = records.labels[chosen]
    templates: list[Template] = []
    for label in classes:
        own = np.flatnonzero(labels == label)
        others = np.sort(_draw(np.flatnonzero(labels != label), OTHER_SAMPLE, rng))
        if len(own) >= FEWEST and len(others) >= FEWEST:
            maps = records.cell_maps(sample.index[own])
            found = _class_templates(sample.part(own), sample.part(others), maps, records, rng)
            if parts is not None:
                potent = _potent_template(parts, label, sample.part(own), sample.part(others))
                found += [] if potent is None else [potent]
            templates += [dataclasses.replace(one, label=int(label)) for one in found]
    return templates


def _potent_template(parts: Parts, label: int, own: _Sample, others: _Sample) -> Template | None:
    """What potent parts of a class look like, against its other hot parts; ``None`` for a few.

    Cells are white, so the difference of two means is the linear discriminant (Fisher 1936). Who
    carries it and what it looks like are learned in turn, a few times over.
    """

    def cells_of(chosen: np.ndarray) -> np.ndarray:
        return own.cells[np.searchsorted(own.index, parts.images[chosen]), parts.cells[chosen]]

    mine, potent = np.flatnonzero(parts.labels == label), parts.potent_of(label)
    if len(np.unique(parts.images[potent])) < FEWEST:
        return None
    least = mine[parts.turned[mine] <= np.median(parts.turned[mine])]
    cells, usual = cells_of(potent), cells_of(least).mean(axis=0)
    elsewhere = others.cells.mean(axis=(0, 1))
    for _ in range(ROUNDS):
        vector = cells.mean(axis=0) - (elsewhere + usual) / 2
        vector /= max(float(np.linalg.norm(vector)), 1e-6)
        inside, tail = own.cells @ vector, _tail(others, vector)
        similarity = inside.max(axis=1)
        members = _closest(similarity, tail, PULLS[-1])
        rest = np.setdiff1d(np.arange(len(own.cells)), members)
        if min(len(members), len(rest)) < FEWEST:
            break
        cells = own.cells[members, inside[members].argmax(axis=1)]
        usual = own.cells[rest, inside[rest].argmax(axis=1)].mean(axis=0)
    typical = float(np.median(similarity[members])) if len(members) else tail
    limit = tail + max(MARGIN, REACH * (typical - tail))
    # Without a limit that is passed nothing is a member; a motif may still be found there.
    typical = max(typical, limit + MARGIN)
    return Template(label, vector, None, -1, limit, typical, strength=0.0, potent=True)


def _closest(similarity: np.ndarray, tail: float, pull: float) -> np.ndarray:
    """Images that are plainly closer than images of other classes are.

    Args:
        similarity: of each image's best cell, (image,).
        tail: from `_tail`.
        pull: see `_grow`.
    """
    top = float(np.sort(similarity)[-FEWEST:].mean())
    return np.flatnonzero(similarity >= tail + max(MARGIN, pull * (top - tail)))


def _draw(indices: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    return indices if len(indices) <= size else rng.choice(indices, size, replace=False)


def _read_cells(folder: Path, chosen: np.ndarray) -> np.ndarray:
    """Unit cells of the images with these (sorted) numbers, (image, cell, width)."""
    parts = []
    for start, cells in cell_blocks(folder):
        here = chosen[(chosen >= start) & (chosen < start + len(cells))] - start
        parts.append(unit_cells(cells[here]))
    return np.concatenate(parts)


def cell_blocks(folder: Path) -> Iterator[tuple[int, np.ndarray]]:
    """First image number and stored cells, (image, cell, width), of shard after shard."""
    start = 0
    for shard in read_shards(folder, ["cells"]):
        cells = shard.arrays["cells"]
        yield start, cells.reshape(len(cells), -1, cells.shape[-1])
        start += len(cells)


def _class_templates(
    own: _Sample,
    others: _Sample,
    maps: np.ndarray,
    records: Records,
    rng: np.random.Generator,
) -> list[Template]:
    """Templates of one class, strongest seed first."""
    image, cell = _seeds(maps, records.cell_grid, rng)
    vectors = own.cells[image, cell]
    inside, outside = own.best(vectors), others.best(vectors)
    inside[np.arange(len(image)), image] = -1.0
    strength = _strength(inside, outside)
    found: list[Template] = []
    alive = np.ones(len(vectors), dtype=bool)
    while alive.any() and len(found) < len(PULLS) * TEMPLATES:
        best = int(np.argmax(np.where(alive, strength, -np.inf)))
        if strength[best] <= 0:
            break
        alive[best] = False
        alive &= vectors @ vectors[best] < SAME
        for pull in PULLS:
            template = _grow(vectors[best], float(strength[best]), own, others, records, pull)
            if template is None or any(_twins(template, other) for other in found):
                continue
            found.append(template)
            alive &= vectors @ template.vector < SAME
    inside[np.arange(len(image)), image] = np.nan
    return found + _shared_templates(vectors, strength, inside, outside, own, others, records)


def _shared_templates(
    vectors: np.ndarray,
    strength: np.ndarray,
    inside: np.ndarray,
    outside: np.ndarray,
    own: _Sample,
    others: _Sample,
    records: Records,
) -> list[Template]:
    """Templates of things that images of other classes carry too, most clear-cut first.

    Classes play no part in finding them: the best matches of a seed fall into two heaps, and the
    seed grows among the class and the upper one, against the lower one. Whether the class has the
    thing more often than the classes it is then held against is for a test to say.

    Args:
        vectors: the seeds, (seed, width).
        strength: of the seeds, (seed,).
        inside: how like its best cell each image of the class is, (seed, image); NaN for the image
            that the seed is from.
        outside: the same for other classes.
        own: images of the class.
        others: images of other classes.
        records: for the grid of cells.
    """
    limits, apart = two_heaps(np.hstack([inside, outside]))
    carried = (inside >= limits[:, None]).mean(axis=1), (outside >= limits[:, None]).mean(axis=1)
    alive = (apart >= ASUNDER) & (carried[1] > 2 * TAIL) & (carried[0] > carried[1])
    found: list[Template] = []
    while alive.any() and len(found) < SHARED:
        best = int(np.argmax(np.where(alive, apart, -np.inf)))
        alive[best] = False
        alive &= vectors @ vectors[best] < SAME
        upper = outside[best] >= limits[best]
        carriers = own.joined(others.part(np.flatnonzero(upper)))
        without = others.part(np.flatnonzero(~upper))
        if len(without.index) < FEWEST:
            continue
        begun, pull = float(strength[best]), PULLS[-1]
        template = _grow(vectors[best], begun, carriers, without, records, pull)
        if template is not None and not any(_twins(template, other) for other in found):
            found.append(dataclasses.replace(template, shared=True))
            alive &= vectors @ template.vector < SAME
    return found


def two_heaps(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut each row where it falls into two heaps best (Otsu 1979).

    Args:
        values: (row, value); NaN is left out.

    Returns:
        Lowest value of the upper heap, and how far apart the heaps lie: the difference of their
        means over the root mean square of their standard deviations (Ashman, Bird and Zepf 1994).
        No heap is smaller than ``FEWEST``.

    Example:
        >>> limits, apart = two_heaps(np.array([[0.0, 1.0, 0.0, 1.0, 8.0, 9.0, 8.0, 9.0]]))
        >>> limits.tolist(), apart.round(1).tolist()
        ([8.0], [16.0])
    """
    ordered = np.sort(values.astype(np.float64), axis=1)
    known = np.isfinite(ordered)
    filled = np.where(known, ordered, 0.0)
    below = known.cumsum(axis=1)[:, :-1]
    above = known.sum(axis=1, keepdims=True) - below
    first, second = filled.cumsum(axis=1), np.square(filled).cumsum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = first[:, :-1] / below, (first[:, -1:] - first[:, :-1]) / above
        spread_low = second[:, :-1] / below - np.square(low)
        spread_high = (second[:, -1:] - second[:, :-1]) / above - np.square(high)
        between = below * above * np.square(high - low)
    between = np.where((below >= FEWEST) & (above >= FEWEST), between, -np.inf)
    cut = between.argmax(axis=1)
    row = np.arange(len(values))
    spread = np.sqrt((np.maximum(spread_low, 0) + np.maximum(spread_high, 0))[row, cut] / 2)
    apart = (high - low)[row, cut] / np.maximum(spread, 1e-6)
    return ordered[row, cut + 1], np.where(np.isfinite(between[row, cut]), apart, 0.0)


def _twins(one: Template, other: Template) -> bool:
    return float(one.vector @ other.vector) >= ALIKE


def _seeds(
    maps: np.ndarray, grid: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Image and cell of every seed."""
    rows, columns = grid
    count = rows * columns
    inner = np.zeros(grid, dtype=bool)
    inner[1:-1, 1:-1] = True
    ring = np.flatnonzero(~inner.ravel())
    image, cell = [], []
    for number, heat in enumerate(maps.reshape(len(maps), -1)):
        cells = np.unique(
            np.concatenate(
                [
                    np.argsort(-heat, kind="stable")[:HOT],
                    _draw(ring, RING, rng),
                    _draw(np.arange(count), RANDOM, rng),
                ]
            )
        )
        image.append(np.full(len(cells), number))
        cell.append(cells)
    return np.concatenate(image), np.concatenate(cell)


def _strength(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Mean likeness of the best matches inside the class minus that elsewhere, (seed,).

    Taken at several shares of the class, the best of which counts.
    """
    inside, outside = -np.sort(-inside, axis=1), -np.sort(-outside, axis=1)
    gaps = [
        inside[:, : max(FEWEST - 1, round(share * inside.shape[1]))].mean(axis=1)
        - outside[:, : max(FEWEST - 1, round(share * outside.shape[1]))].mean(axis=1)
        for share in TOP_SHARES
    ]
    return np.asarray(np.max(gaps, axis=0))


def _grow(
    vector: np.ndarray,
    strength: float,
    own: _Sample,
    others: _Sample,
    records: Records,
    pull: float,
) -> Template | None:
    """Let a seed become the mean of what it matches; ``None`` when it matches too few images.

    Args:
        vector: the seed.
        strength: of the seed.
        own: images of the class.
        others: images of other classes.
        records: for the grid of cells.
        pull: how far from the others towards the closest matches a match must lie to count. A
            large one keeps a rare thing from drifting into an ordinary part it stands on.
    """
    for _ in range(ROUNDS):
        inside, tail = own.cells @ vector, _tail(others, vector)
        similarity = inside.max(axis=1)
        members = _closest(similarity, tail, pull)
        if len(members) < FEWEST - 1:
            return None
        vector = own.cells[members, inside[members].argmax(axis=1)].mean(axis=0)
        vector /= max(float(np.linalg.norm(vector)), 1e-6)
    inside, tail = own.cells @ vector, _tail(others, vector)
    similarity = inside.max(axis=1)
    typical = float(np.median(similarity[members]))
    limit = tail + max(MARGIN, pull * REACH * (typical - tail))
    members = np.flatnonzero(similarity >= limit)
    if len(members) < FEWEST - 1 or typical <= limit:
        return None
    plain = Template(-1, vector, None, -1, limit, typical, strength)
    steady = place_concentration(inside[members].argmax(axis=1), records.cell_grid) >= FIXED
    return _fixed(plain, members, own, others, records.cell_grid, steady=steady) or plain


def _tail(others: _Sample, vector: np.ndarray) -> float:
    """Similarity that all but a few images of other classes stay below."""
    return float(np.quantile((others.cells @ vector).max(axis=1), 1 - TAIL))


def _fixed(
    plain: Template,
    members: np.ndarray,
    own: _Sample,
    others: _Sample,
    grid: tuple[int, int],
    *,
    steady: bool,
) -> Template | None:
    """A template for a thing at a fixed place: all of its cells at once; ``None`` if it moves.

    A frame's matches slide along the border, so that they need not be ``steady``: then members
    must be plainly alike at some place of the frame.

    Cells are white, so the difference of two means is the linear discriminant (Fisher 1936). Its
    members are found and learned from in turn, a few times over.
    """
    fitted: Template | None = None
    for _ in range(FIELD_ROUNDS):
        like = place_likeness(own.cells[members])
        reference = place_likeness(others.cells)
        mean_other = others.cells.mean(axis=0)
        rest = np.setdiff1d(np.arange(len(own.cells)), members)
        if len(rest) >= 2 * FEWEST:
            reference = np.maximum(reference, place_likeness(own.cells[rest]))
            mean_other = (mean_other + own.cells[rest].mean(axis=0)) / 2
        extra = like - reference
        extent = extra >= max(EXTENT, 0.3 * float(extra.max()))
        if not extent.any() or (not steady and extra.max() < PLAIN):
            break
        centre = int(np.argmax(extra))
        extent = _connected(extent.reshape(grid), centre).ravel()
        field = np.where(extent[:, None], own.cells[members].mean(axis=0) - mean_other, 0.0)
        field /= max(float(np.linalg.norm(field)), 1e-6) * np.sqrt(extent.sum())
        inside, outside = _field_scores(own.cells, field), _field_scores(others.cells, field)
        tail = float(np.quantile(outside, 1 - TAIL))
        typical = float(np.median(inside[members]))
        limit = tail + REACH * max(typical - tail, 0.0)
        members = np.flatnonzero(inside >= limit)
        if len(members) < FEWEST - 1 or typical <= limit:
            break
        fitted = Template(-1, plain.vector, field, centre, limit, typical, plain.strength)
    return fitted


def _connected(extent: np.ndarray, centre: int) -> np.ndarray:
    """The part of the extent that hangs together with the centre, diagonals included."""
    parts, _ = ndimage.label(extent, structure=np.ones((3, 3)))
    return np.asarray(parts == parts.flat[centre])


def _field_scores(cells: np.ndarray, field: np.ndarray) -> np.ndarray:
    return np.asarray(np.tensordot(cells, field, axes=([1, 2], [0, 1])))


def counts_around(counts: np.ndarray) -> np.ndarray:
    """Sum over each cell and those that touch it, (row, column).

    Example:
        >>> counts_around(np.array([[1, 0, 0, 2]])).tolist()
        [[1, 1, 2, 2]]
    """
    near = np.ones((3, 3), dtype=counts.dtype)
    return np.asarray(ndimage.convolve(counts, near, mode="constant"))


def place_concentration(cells: np.ndarray, grid: tuple[int, int]) -> float:
    """Largest share of the given cells that lies within one cell of one place, in [0, 1].

    Example:
        >>> place_concentration(np.array([0, 1, 14, 100]), (14, 14))
        0.75
    """
    around = counts_around(cell_counts(cells, grid))
    return float(around.max() / max(len(cells), 1))


def place_likeness(cells: np.ndarray) -> np.ndarray:
    """Mean cosine of all pairs of images at each place of the frame, (cell,).

    Args:
        cells: unit vectors, (image, cell, width).
    """
    images = len(cells)
    if images < 2:
        return np.zeros(cells.shape[1], dtype=np.float32)
    together = np.square(cells.sum(axis=0)).sum(axis=1)
    return np.asarray((together - images) / (images * (images - 1)))


def match_templates(
    folder: Path, templates: Sequence[Template], images: int, grid: tuple[int, int]
) -> Matches:
    """Measure every image against every template, one shard in memory at a time.

    Args:
        folder: the shards.
        templates: what to look for.
        images: how many the shards hold.
        grid: rows and columns of cells.
    """
    similarity = np.zeros((images, len(templates)), dtype=np.float32)
    closest = np.zeros((images, len(templates)), dtype=np.int32)
    if not templates:
        return Matches(similarity, closest)
    vectors = np.stack([template.vector for template in templates])
    fixed = [number for number, template in enumerate(templates) if template.field is not None]
    fields = np.array([field.ravel() for one in templates if (field := one.field) is not None])
    for start, stored in cell_blocks(folder):
        cells = unit_cells(stored)
        # One flat product with cells last: a batch of small ones takes twice the time.
        answers = vectors @ cells.reshape(-1, cells.shape[-1]).T
        answers = answers.reshape(len(templates), *cells.shape[:2])
        best = answers.argmax(axis=2)
        here = slice(start, start + len(cells))
        similarity[here] = np.take_along_axis(answers, best[..., None], axis=2)[..., 0].T
        closest[here] = best.T
        if fixed:
            # All at once, too: one by one, each would read the cells from memory again.
            similarity[here, fixed] = cells.reshape(len(cells), -1) @ fields.T
            closest[here, fixed] = [templates[number].centre for number in fixed]
    return Matches(similarity, closest)


def matching_cells(
    folder: Path, templates: Sequence[Template], wanted: np.ndarray, grid: tuple[int, int]
) -> list[dict[int, np.ndarray]]:
    """The cells of some images that are as like a template as a member's closest cell must be.

    Args:
        folder: the shards.
        templates: of things at any place.
        wanted: which images to look at, (template, image) of bool.
        grid: rows and columns of cells.

    Returns:
        For each template, by number of the image, the cells that hang together with the closest
        one, diagonals included, (row, column) of bool; only images where it is close enough.
    """
    found: list[dict[int, np.ndarray]] = [{} for _ in templates]
    if not wanted.any():
        return found
    for start, stored in cell_blocks(folder):
        block = wanted[:, start : start + len(stored)]
        here = np.flatnonzero(block.any(axis=0))
        if not len(here):
            continue
        cells = unit_cells(stored[here])
        for template, chosen, covered in zip(templates, block[:, here], found, strict=True):
            answers = cells[chosen] @ template.vector
            for image, answer in zip(start + here[chosen], answers, strict=True):
                alike = (answer >= template.limit).reshape(grid)
                if alike.any():
                    covered[int(image)] = _connected(alike, int(answer.argmax()))
    return found


def cells_around(
    folder: Path,
    members: np.ndarray,
    middles: np.ndarray,
    others: np.ndarray,
    grid: tuple[int, int],
) -> dict[int, np.ndarray]:
    """The cells of members that look like the cell in the middle of a thing that they carry.

    Args:
        folder: the shards.
        members: numbers of the images, in order.
        middles: that cell of each, (member,).
        others: numbers of the images to compare with, in order.
        grid: rows and columns of cells.

    Returns:
        By number of the image, the cells that hang together with the middle, (row, column) of bool:
        nearer to the middles than to the cells of other images; only images whose own middle is.
    """
    chosen = np.union1d(members, others)
    cells = _read_cells(folder, chosen)
    inside, outside = (cells[np.searchsorted(chosen, some)] for some in (members, others))
    middle = inside[np.arange(len(members)), middles].mean(axis=0)
    vector = middle - outside.mean(axis=(0, 1))
    usual, seldom = (outside @ vector).mean(), np.quantile(outside @ vector, 1 - TAIL)
    # What a cell sees reaches beyond it, so that those beside the thing are a little like it, too.
    limit = max(seldom, (usual + middle @ vector) / 2)
    alike = (inside @ vector >= limit).reshape(-1, *grid)
    return {
        image: _connected(covered, int(at))
        for image, covered, at in zip(members.tolist(), alike, middles, strict=True)
        if covered.flat[at]
    }


def background_cells(
    folder: Path, members: np.ndarray, others: np.ndarray, grid: tuple[int, int]
) -> dict[int, np.ndarray]:
    """The cells of members that look like what is all over them, unlike cells of other images.

    Cells are white, so the difference of two means is the linear discriminant (Fisher 1936).

    Args:
        folder: the shards.
        members: numbers of the images, in order.
        others: numbers of the images to compare with, in order.
        grid: rows and columns of cells.

    Returns:
        By number of the image, (row, column) of bool.
    """
    chosen = np.union1d(members, others)
    cells = _read_cells(folder, chosen)
    inside, outside = (cells[np.searchsorted(chosen, some)] for some in (members, others))
    vector = inside.mean(axis=(0, 1)) - outside.mean(axis=(0, 1))
    limit = np.quantile(outside @ vector, 1 - STRAY)
    covered = (inside @ vector >= limit).reshape(-1, *grid)
    return dict(zip(members.tolist(), covered, strict=True))
