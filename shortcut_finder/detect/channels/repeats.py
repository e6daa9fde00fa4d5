"""Repeats: candidates whose images carry a motif, to the pixel, where cells alone are too coarse.

A motif is sought where those parts of a class lie that raise it most and where the members of each
candidate match it, on one half. One that images of other classes do not have is then looked for
anywhere in the images.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from shortcut_finder.data.preprocessing import WHOLE_FRAME, Box
from shortcut_finder.data.regions import cell_centres, cell_counts, cells_at, edge_strip
from shortcut_finder.detect.candidates import (
    FEWEST,
    Candidate,
    association_test,
    classes_without,
    holds,
    same_images,
)
from shortcut_finder.detect.channels.groups import (
    ASUNDER,
    TAIL,
    counts_around,
    two_heaps,
    unseen_template,
)
from shortcut_finder.detect.channels.parts import Parts
from shortcut_finder.detect.channels.windows import recurring_windows
from shortcut_finder.detect.suspicion import bounds_of, exactness_found
from shortcut_finder.pixels.gradients import sharpness
from shortcut_finder.pixels.motifs import Match, Motif, find_motifs, match_motif
from shortcut_finder.sweep.records import Records
from shortcut_finder.sweep.scene import Scene

# Images that a motif is sought in, and images of other classes it must be rare in; images that it
# is sought in once more, in case it is too rare for most of those to have it.
COMPARED, RARE = 12, 5
# How exactly and how rarely it must repeat for images to be searched for it (correlations).
PROMISING, RARER = 0.6, 0.3
# Images of other classes that a motif is looked for in before all images are searched, and how far
# above the best of them the images it was found in must stand.
TRIED, ABOVE = 48, 0.2
# Images softer than all but so many of the other classes, and the blurs that these are then looked
# at through, too, as part of the picture's side: soft edges are alike, whatever they are edges of.
SOFTER, BLURS = 0.1, (1 / 64, 1 / 32)
# Candidates of a class that are tried, strongest first.
CANDIDATES = 12
# Images of the class and of the others, of the half it was found on, searched at first, and how
# exactly it must repeat there for more to be searched.
SAMPLE, HOPEFUL = 200, 0.05
# Images of a class and of all others that are searched; those of the class that match best first.
OWN, OTHERS = 2000, 2000
# Share of the images that cells take for members and that repeat the motif from which the others of
# them are members, too.
AGREED = 0.85
# Share of the members within one cell of the commonest place from which they keep to it.
STEADY = 0.8
# Share of their images that two moving candidates have in common when they are one.
ONE_THING = 0.8
# Images of the half that a pattern is found on that must repeat it; the other half has its say.
LEAST = 3
# Scales at which images are compared at one place: what is as large as the shorter side allows
# differs by an eighth between usual shapes of photos.
SCALES = (0.88, 0.94, 1.0, 1.06, 1.13)
# How far between other images and typical members a member begins.
BETWEEN = 1 / 3

# Motifs or windows, the small picture of an image, where it can be read, and how like each it is
# with its middle within a box, at some scale.
Patterns = Sequence[Motif] | np.ndarray
View = Callable[[int], np.ndarray | None]
Compare = Callable[[Any, np.ndarray, Box, float], Sequence[Match]]


@dataclass(frozen=True, eq=False)
class _Source:
    """Where a motif may be.

    Attributes:
        candidate: what the cells there have in common.
        images: of the class, from the half it was found on, surest first.
        cells: the place in each.
    """

    candidate: Candidate
    images: np.ndarray
    cells: np.ndarray


def with_motifs(
    candidates: Sequence[Candidate],
    parts: Parts | None,
    scene: Scene,
    half: np.ndarray,
    seed: int,
) -> list[Candidate]:
    """Candidates whose images repeat a motif, found on one half alone.

    Args:
        candidates: from cells, found on that half.
        parts: what parts of its images do to the model; ``None`` where that was not tried.
        scene: what the sweep kept, and the pictures behind it.
        half: that half, (image,) of bool.
        seed: for the images of other classes.
    """
    strangers = _strangers(scene, seed)
    explained: Candidate | None = None
    made: list[_Found] = []
    for source in _sources(candidates, parts, scene.records.labels, half):
        if source.candidate is explained:
            continue
        motif = _motif(source, strangers, scene)
        if motif is not None:
            search = _Search(_match_motifs, [motif], scene.view, scene.records)
            found = _repeat(source.candidate, search, 0, strangers)
            explained = source.candidate if found else explained
            made += found
    return _different(made, scene.records.labels)


def _match_motifs(
    motifs: Sequence[Motif], view: np.ndarray, within: Box, scale: float
) -> list[Match]:
    return [match_motif(motif, view, within, scale) for motif in motifs]


def with_windows(scene: Scene, half: np.ndarray, seed: int) -> list[Candidate]:
    """Candidates whose images repeat a window, found on one half alone.

    Args:
        scene: what the sweep kept, and the pictures behind it.
        half: that half, (image,) of bool.
        seed: for the images that take part.
    """
    whitening, found = recurring_windows(scene, half, seed)
    vectors = [vector for recurring in found for vector in recurring.vectors]
    if whitening is None or not vectors:
        return []
    search = _Search(whitening.match, np.stack(vectors), scene.squashed_view, scene.records)
    labels = np.repeat([one.label for one in found], [len(one.vectors) for one in found])
    strangers, made = _strangers(scene, seed), list[_Found]()
    for number, label in enumerate(labels.tolist()):
        source = _unseen(label, half)
        made += _repeat(source, search, number, strangers)
    return _different(made, scene.records.labels)


def _unseen(label: int, half: np.ndarray) -> Candidate:
    """Of what cells show nothing of: no image is known to carry it."""
    unknown, nowhere = np.full(len(half), -1.0), np.zeros(len(half), dtype=np.int32)
    return Candidate(label, unknown, nowhere, None, unseen_template(label), half)


def _strangers(scene: Scene, seed: int) -> np.ndarray:
    """All images in the order in which those of other classes take part."""
    return np.random.default_rng([seed, 6]).permutation(len(scene.records.labels))


def _different(found: Iterable[_Found], labels: np.ndarray) -> list[Candidate]:
    """Each thing once, by what cells show of it where they do.

    Which of a motif and a window tells more of one thing is for the other half to say.
    """
    kept: list[_Found] = []
    for one in sorted(found, key=lambda one: one.candidate.template.unseen):
        if not any(_same(one.candidate, other.candidate, labels) for other in kept):
            kept.append(one)
    return [_placed(one) for one in kept]


def _same(one: Candidate, other: Candidate, labels: np.ndarray) -> bool:
    """Whether two candidates are one thing: the same images, also where nearly all have it."""
    if one.label != other.label:
        return False
    both, either = one.carries & other.carries, one.carries | other.carries
    moving = one.extent is None and other.extent is None
    nearly = both.sum() >= ONE_THING * max(int(either.sum()), 1)
    return same_images(one, other, labels) or (moving and bool(nearly))


def _sources(
    candidates: Sequence[Candidate], parts: Parts | None, labels: np.ndarray, half: np.ndarray
) -> Iterator[_Source]:
    """The strongest parts first, then what a class has more often than others, strongest first."""
    if parts is not None:
        potent = {one.label: one for one in candidates if one.template.potent}
        for label in np.unique(parts.labels).tolist():
            yield from _strongest_parts(potent.get(label) or _unseen(label, half), parts)
    tried: list[Candidate] = []
    for candidate in candidates:
        own = np.flatnonzero(half & (labels == candidate.label) & candidate.carries)
        before = [other for other in tried if other.label == candidate.label]
        # What classes share comes last, and is never much.
        enough = len(before) >= CANDIDATES and not candidate.template.shared
        if candidate.template.potent or len(own) < FEWEST or enough:
            continue
        test = association_test(candidate, labels, half, classes_without(candidate, labels))
        if not holds(test, test["p"]) or any(same_images(candidate, t, labels) for t in before):
            continue
        tried.append(candidate)
        images = candidate.surest(own)[:COMPARED]
        yield _Source(candidate, images, candidate.closest[images])


def _strongest_parts(candidate: Candidate, parts: Parts) -> Iterator[_Source]:
    """The parts that raise the class most; only few of them show what is rare.

    Where none is potent, what most of them show is the class's object.
    """
    strongest = parts.strongest(candidate.label)
    for count in (COMPARED, RARE) if candidate.template.potent else (RARE,):
        some = strongest[:count]
        yield _Source(candidate, parts.images[some], parts.cells[some])


def _motif(source: _Source, strangers: np.ndarray, scene: Scene) -> Motif | None:
    """The motif that sets the images apart from those of other classes most; often none does."""
    labels, half = scene.records.labels, source.candidate.half
    others = strangers[half[strangers] & (labels[strangers] != source.candidate.label)]
    # Of a thing that classes share, those that carry it would hide it.
    others = others[~source.candidate.carries[others]]
    seen = [
        (view, cell)
        for view, cell in zip(map(scene.view, source.images.tolist()), source.cells, strict=True)
        if view is not None
    ]
    before = _views(scene.view, others[:TRIED])
    if len(seen) < FEWEST or not before:
        return None
    views = [view for view, _ in seen]
    centres = cell_centres(np.array([cell for _, cell in seen]), scene.records.cell_grid)
    controls = before[:COMPARED]
    compared = [before]
    if _is_softer(views, before):
        compared += [[_blurred(view, blur) for view in before] for blur in BLURS]
    best, most = None, ABOVE
    for motif in find_motifs(views, centres, controls, np.resize(centres, (len(controls), 2))):
        if motif.likeness < PROMISING or motif.likeness - motif.elsewhere < RARER:
            continue
        inside = _likeness(motif, views)
        outside = np.max([_likeness(motif, others) for others in compared], axis=0)
        apart = float(np.median(inside)) - commonest(inside, outside)
        if apart >= most:
            best, most = motif, apart
    return best


def _views(view: View, images: np.ndarray) -> list[np.ndarray]:
    """Of those images, given by number, that can be read now."""
    return [seen for seen in map(view, images.tolist()) if seen is not None]


def _likeness(motif: Motif, views: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([match_motif(motif, view)[0] for view in views])


def _blurred(view: np.ndarray, blur: float) -> np.ndarray:
    """The view through a Gaussian whose standard deviation is that part of its side."""
    deviation = blur * np.sqrt(view.shape[0] * view.shape[1])
    return np.asarray(ndimage.gaussian_filter(view, (deviation, deviation, 0)))


def _is_softer(views: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    """Whether views are blurred, in comparison."""
    own, rest = ([sharpness(view) for view in some] for some in (views, others))
    return bool(np.median(own) < np.quantile(rest, SOFTER))


@dataclass(frozen=True, eq=False)
class _Found:
    """A candidate, and the search and the number of the pattern that made it."""

    candidate: Candidate
    search: _Search
    number: int


def _repeat(source: Candidate, search: _Search, number: int, strangers: np.ndarray) -> list[_Found]:
    """The candidates that a pattern makes; none where it repeats no better than parts do."""
    labels, label, half = search.records.labels, source.label, source.half
    own = source.surest(np.flatnonzero(labels == label))[:OWN]
    others = strangers[labels[strangers] != label][:OTHERS]
    sample = own[half[own]][:SAMPLE], others[half[others]][:SAMPLE]
    first = _hopeful(source, search, number, sample)
    if first is None:
        return []
    members = first.surest(sample[0][first.carries[sample[0]]])[:COMPARED]
    if _is_softer(_views(search.view, members), _views(search.view, sample[1][:TRIED])):
        search = search.through_blurs(label)
        if _hopeful(source, search, number, sample) is None:
            return []
    search(own, others)
    candidate = _candidate(source, search, number)
    if candidate is None:
        return []
    found, classes = [_Found(candidate, search, number)], np.unique(labels)
    # The same in each further class that has it more often than the rest.
    for other in classes[classes != label].tolist():
        template = replace(source.template, label=other, shared=True)
        there = replace(candidate, label=other, template=template, extent=None)
        test = association_test(there, labels, half, classes_without(there, labels))
        if holds(test, test["p"]):
            search(np.flatnonzero(labels == other)[:OWN])
            again = _candidate(there, search, number, by_cells=False)
            found += [] if again is None else [_Found(again, search, number)]
    return found


def _hopeful(
    source: Candidate, search: _Search, number: int, sample: tuple[np.ndarray, np.ndarray]
) -> Candidate | None:
    """Who of a sample carries a pattern; ``None`` unless it is worth a search of all images."""
    search(*sample)
    first = _candidate(source, search, number)
    if first is None or exactness_found(first, search.records.labels) < HOPEFUL:
        return None
    return first


def _placed(found: _Found) -> Candidate:
    """The candidate with what its place alone says of each image, where it has one.

    Somewhere in an image something is like the pattern; at that place seldom.
    """
    candidate, labels = found.candidate, found.search.records.labels
    if candidate.covers is None:
        return candidate
    test = association_test(candidate, labels, ~candidate.half, classes_without(candidate, labels))
    if not holds(test, test["p"]):
        # It will not be judged: its images are not searched again.
        return candidate
    there = found.search.at(candidate.covers, found.number)
    there(np.flatnonzero(candidate.known))
    placed = _candidate(candidate, there, 0, by_cells=False)
    if placed is None:
        return candidate
    return replace(
        candidate,
        closest=np.where(candidate.carries, candidate.closest, placed.closest),
        placed=np.fmax(candidate.membership, placed.membership),
    )


class _Search:
    """How like some patterns images are, those that were asked for so far.

    Images of other classes than ``sharp``, if one is given, are compared blurred, too.

    Attributes:
        view: small picture of an image, by its number.
        records: what the sweep kept.
        likeness: correlation, (pattern, image); not a number where it is not known.
        closest: the cell in the middle of the best window, (pattern, image).
    """

    def __init__(
        self,
        match: Compare,
        patterns: Patterns,
        view: View,
        records: Records,
        within: Box = WHOLE_FRAME,
        scales: Sequence[float] = (1.0,),
        sharp: int | None = None,
    ) -> None:
        self._match, self._patterns = match, patterns
        self._within, self._scales, self._sharp = within, scales, sharp
        self.view, self.records = view, records
        self._blurred: dict[int, _Search] = {}
        self.likeness = np.full((len(patterns), len(self.records.labels)), np.nan)
        self.closest = np.zeros(self.likeness.shape, dtype=np.int32)
        self._asked = np.zeros(len(self.records.labels), dtype=bool)

    def __call__(self, *images: np.ndarray) -> None:
        """Search further images; those that cannot be read stay unknown."""
        for image in map(int, np.concatenate(images)):
            if self._asked[image]:
                continue
            self._asked[image] = True
            for view, scale in itertools.product(self._seen(image), self._scales):
                matches = self._match(self._patterns, view, self._within, scale)
                likeness, middles = zip(*matches, strict=True)
                cells = cells_at(np.array(middles), self.records.cell_grid)
                better = ~(self.likeness[:, image] >= likeness)
                self.likeness[better, image] = np.array(likeness)[better]
                self.closest[better, image] = cells[better]

    def at(self, place: np.ndarray, number: int) -> _Search:
        """A new search for one of the patterns, at one place: cells, (row, column) of bool."""
        one = self._patterns[number : number + 1]
        within = bounds_of(place)
        return _Search(self._match, one, self.view, self.records, within, SCALES, self._sharp)

    def through_blurs(self, label: int) -> _Search:
        """A search for the same that sees images of other classes than one blurred, too."""
        if label not in self._blurred:
            self._blurred[label] = _Search(
                self._match, self._patterns, self.view, self.records, sharp=label
            )
        return self._blurred[label]

    def _seen(self, image: int) -> list[np.ndarray]:
        """What an image is compared by; nothing if it is unreadable now."""
        view = self.view(image)
        if view is None:
            return []
        as_it_is = self._sharp is None or self.records.labels[image] == self._sharp
        return [view, *(_blurred(view, blur) for blur in BLURS if not as_it_is)]


def _candidate(
    source: Candidate, search: _Search, number: int, *, by_cells: bool = True
) -> Candidate | None:
    """Who carries a pattern, by a limit set where it was found; ``None`` if too few do.

    Args:
        source: the candidate that led to it.
        search: what is known of the images.
        number: of the pattern in the search.
        by_cells: whether the cells of the source may tell of images that lack the pattern.
    """
    # Copies: the search goes on for other patterns.
    likeness, closest = search.likeness[number].copy(), search.closest[number].copy()
    records, half = search.records, source.half
    own, known = records.labels == source.label, half & np.isfinite(likeness)
    inside, outside = likeness[known & own], likeness[known & ~own]
    if min(len(inside), len(outside)) < FEWEST:
        return None
    rare = commonest(inside, outside)
    repeating = inside[inside > rare + ABOVE / 2]
    if len(repeating) < LEAST:
        return None
    typical = float(np.median(repeating))
    limit = rare + BETWEEN * (typical - rare)
    membership = (likeness - limit) / (typical - limit)
    # What is cut off by the border is told by cells, where they are seldom mistaken.
    alike = own & (source.membership >= 0) & np.isfinite(likeness)
    if by_cells and (alike & half).any() and (membership[alike & half] >= 0).mean() >= AGREED:
        told = np.where(membership >= 0, membership, source.membership.clip(0, 1) / 2)
        membership = np.where(alike, told, membership)
    shared = bool((outside >= limit).mean() > 2 * TAIL)
    members = closest[own & (membership >= 0)]
    extent = _extent(members, records.cell_grid, source.extent)
    return Candidate(
        label=source.label,
        membership=membership,
        closest=closest,
        extent=extent,
        strip=edge_strip(members, records.cell_grid) if extent is None else None,
        template=replace(source.template, shared=shared),
        half=half,
        likeness=likeness,
    )


def _extent(
    cells: np.ndarray, grid: tuple[int, int], known: np.ndarray | None
) -> np.ndarray | None:
    """The cells around the commonest place, (row, column) of bool; ``None`` for what moves.

    Args:
        cells: where each member has the motif, (member,).
        grid: rows and columns of cells.
        known: cells that a thing around the motif is known to cover.
    """
    counts = cell_counts(cells, grid)
    around = counts_around(counts)
    if around.max() < STEADY * len(cells):
        return None
    row, column = np.unravel_index(int(around.argmax()), grid)
    near = np.zeros(grid, dtype=bool)
    near[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = True
    near &= counts > 0
    return np.asarray(near if known is None else near | known)


def commonest(inside: np.ndarray, outside: np.ndarray) -> float:
    """What next to no image of the other classes surpasses that does not carry the motif itself.

    Args:
        inside: likeness of images of the class, (image,).
        outside: of the others, (image,).
    """
    cut, apart = two_heaps(np.concatenate([inside, outside])[None])
    without = outside[outside < cut[0]] if apart[0] >= ASUNDER else outside
    return float(np.quantile(without if len(without) else outside, 1 - TAIL))
