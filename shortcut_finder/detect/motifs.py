"""Motifs: what repeats to the pixel, looked for in every image of its class.

Cells find a mark in the images where it falls on the grid as it did where they learned it. What
they list is aligned, each half by itself, and the motif of one half is looked for in the images of
the other. Parts of objects have no motif: none of them splits its class.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from shortcut_finder.data.membership import lacking
from shortcut_finder.detect.mixture import FEWEST, Splits, best_splits
from shortcut_finder.detect.scoring import in_terms_of
from shortcut_finder.detect.things import Thing
from shortcut_finder.pixels.motif import Motif, motif_of, sought
from shortcut_finder.sweep.scene import Scene

# Carriers of a half that are aligned, the surest, and images of either kind that the motif of the
# other half is looked for in.
ALIGNED, COMPARED = 12, 8
# How much more of a motif carriers show than images without the thing show at the same places, as a
# difference of correlations: parts of photographed objects up to the first, marks and frames from
# the second on. From a part of the first on it is looked at closer.
ORDINARY, EXACT, HOPEFUL = 0.2, 0.4, 0.08
# Shorter side of the pictures that are compared at the same one, at most, in pixels, and how far
# those of the carriers must differ for that.
SHORT, VARIED = 192, 1.05
# Images of a class in a half that are looked through, and of all other classes together.
OWN, OTHERS = 300, 60
# Score from which an image is worth knowing where it shows the motif: 0 is the limit.
NEAR = -0.5


@dataclass(frozen=True, eq=False)
class Repetition:
    """How exactly a thing repeats.

    Attributes:
        margin: how much more of the motif of one half the other half's carriers show than its
            images without the thing, a difference of correlations in [-2, 2].
        opacity: part of the grey variance at its edges that all carriers share; low where one
            sees through.
        duplicates: share of the carriers that are the same picture altogether.
        short: shorter side at which pictures were compared, in pixels; 0 for as they are.
        motifs: of the first half and of the second; ``None`` where there are too few carriers or
            they share nothing.
    """

    margin: float = 0.0
    opacity: float = 1.0
    duplicates: float = 0.0
    short: int = 0
    motifs: tuple[Motif | None, Motif | None] = (None, None)

    @property
    def exact(self) -> float:
        """In [0, 1]: 0 as parts of objects are, 1 as nothing in nature is."""
        return float(np.clip((self.margin - ORDINARY) / (EXACT - ORDINARY), 0, 1))


def repetition_of(
    carriers: np.ndarray, others: np.ndarray, centres: np.ndarray, half: np.ndarray, scene: Scene
) -> Repetition:
    """Compare the pictures of a thing, and those of images of its class without it there.

    A mark may be drawn in the same number of pixels or as the same part of every picture, so that
    pictures of different sizes are compared at the same shorter side, too.

    Args:
        carriers: numbers of images, the surest first.
        others: numbers of images of the class that do not carry it, in any order.
        centres: where each image of the dataset has it, x and y as fractions, (image, 2).
        half: the first half, (image,) of bool.
        scene: the pictures.
    """
    found = _repeated(carriers, others, centres, half, scene, 0)
    if found.margin < HOPEFUL:
        return found
    sides = scene.sizes[carriers].min(axis=1)
    if sides.max() < VARIED * sides.min():
        return found
    usual = int(min(np.median(sides), SHORT))
    scaled = _repeated(carriers, others, centres, half, scene, usual)
    return max(found, scaled, key=lambda one: one.margin)


def _repeated(
    carriers: np.ndarray,
    others: np.ndarray,
    centres: np.ndarray,
    half: np.ndarray,
    scene: Scene,
    short: int,
) -> Repetition:
    """How exactly a thing repeats at one scale."""
    sides = (half, ~half)
    looks = [
        scene.rigidity(some, centres[some], short)
        for side in sides
        for some in [carriers[side[carriers]][:ALIGNED]]
    ]
    motifs = [
        motif_of(one.aligned, one.inside) if len(one.aligned) >= FEWEST else None for one in looks
    ]
    margins = []
    for motif, side in zip(motifs, reversed(sides), strict=True):
        with_it = carriers[side[carriers]][:COMPARED]
        without = others[side[others]][:COMPARED]
        if motif is None or min(len(with_it), len(without)) == 0:
            continue
        there = centres[np.resize(with_it, len(without))]
        shown, usual = (
            sought(motif, scene.patches(images, places, short))[0]
            for images, places in ((with_it, centres[with_it]), (without, there))
        )
        margins.append(float(np.median(shown) - np.median(usual)))
    weights = [len(one.aligned) for one in looks]
    return Repetition(
        float(np.mean(margins)) if margins else 0.0,
        float(np.average([one.opacity for one in looks], weights=np.maximum(weights, 1))),
        float(np.average([one.duplicates for one in looks], weights=np.maximum(weights, 1))),
        short,
        (motifs[0], motifs[1]),
    )


@dataclass(frozen=True, eq=False)
class _Sought:
    """A half's images, looked through for the motif of the other half.

    Attributes:
        images: numbers of the images, those of the class first.
        own: how many are of the class.
        likeness: of each to the motif, (image,).
        places: where each has it, x and y as fractions of the picture, (image, 2).
        sizes: width and height of the pictures that it was looked for in, in pixels.
        splits: of the class's images by likeness.
    """

    images: np.ndarray
    own: int
    likeness: np.ndarray
    places: np.ndarray
    sizes: list[tuple[int, int]]
    splits: Splits

    @property
    def gain(self) -> float:
        """Nats an image that the motif saves."""
        return float(self.splits.gain[0])

    @property
    def score(self) -> np.ndarray:
        """Likeness in terms of the split, (image,)."""
        limit = float(self.splits.limit[0])
        return in_terms_of(limit, self.likeness, self.likeness[: self.own])


def by_motif(thing: Thing, own: np.ndarray, repetition: Repetition, scene: Scene) -> Thing | None:
    """A thing as its motif knows it; ``None`` where the cells know it as well or better.

    Args:
        thing: scored by its cells.
        own: numbers of the class's images.
        repetition: what its carriers share to the pixel.
        scene: the pictures.
    """
    motifs = [motif for motif in repetition.motifs if motif is not None]
    if len(motifs) < len(repetition.motifs):
        return None
    rng = np.random.default_rng([thing.label, len(own)])
    rest = np.flatnonzero(lacking(scene.records.labels, thing.label))
    found: list[_Sought] = []
    # The motif of one half is looked for in the other.
    for motif, half in zip(motifs, (~thing.half, thing.half), strict=True):
        mine, others = own[half[own]], rest[half[rest]]
        found.append(_looked_through(motif, mine, others, repetition.short, scene, rng))
        if found[-1].gain <= 0:
            return None
    if sum(one.gain for one in found) / 2 <= thing.gain:
        return None
    return _known_by(thing, found, motifs, scene)


def _looked_through(
    motif: Motif,
    own: np.ndarray,
    rest: np.ndarray,
    short: int,
    scene: Scene,
    rng: np.random.Generator,
) -> _Sought:
    images = np.concatenate(
        [
            some if len(some) <= most else np.sort(rng.choice(some, most, replace=False))
            for some, most in ((own, OWN), (rest, OTHERS))
        ]
    )
    greys = {int(n): grey for n in images if (grey := scene.grey(int(n), short)) is not None}
    images = np.array(list(greys), dtype=np.int64)
    count = int(np.isin(images, own).sum())
    likeness, places = sought(motif, list(greys.values()))
    values = torch.from_numpy(likeness).float()[None]
    sizes = [(grey.shape[1], grey.shape[0]) for grey in greys.values()]
    splits = best_splits(values[:, :count], values[:, count:])
    return _Sought(images, count, likeness, places, sizes, splits)


def _known_by(thing: Thing, found: list[_Sought], motifs: list[Motif], scene: Scene) -> Thing:
    """The thing with the scores, places and gains of its motifs."""
    known = np.zeros(len(thing.score), dtype=bool)
    score, best = np.minimum(thing.score, -1.0), thing.best.copy()
    covers: dict[int, np.ndarray] = {}
    for one, motif in zip(found, motifs, strict=True):
        known[one.images], score[one.images] = True, one.score
        for image, place, size in zip(one.images.tolist(), one.places, one.sizes, strict=True):
            if score[image] >= NEAR:
                best[image], covers[image] = _covered(place, size, motif, scene, image)
    return replace(
        thing,
        witnesses=(found[0].gain, found[1].gain),
        # Each half knows the thing by itself, and to the pixel.
        agreement=1.0,
        score=score,
        best=best,
        covers=covers,
        known=known,
    )


def _covered(
    place: np.ndarray,
    size: tuple[int, int],
    motif: Motif,
    scene: Scene,
    image: int,
) -> tuple[int, np.ndarray]:
    """The cell in the middle of a motif, and the cells that it lies in, (cell,) of bool.

    Args:
        place: middle of the motif, x and y as fractions of the picture.
        size: width and height of the picture that it was found in, in pixels.
        motif: what was found.
        scene: the pictures.
        image: number of the image.
    """
    rows, columns = (np.flatnonzero(motif.weight.sum(axis).numpy()) for axis in (1, 0))
    # From the middle of the motif to the corners of what it shows, as fractions of the picture.
    first, last = np.array([columns[0], rows[0]]), np.array([columns[-1], rows[-1]]) + 1
    middle = np.array(motif.weight.shape[::-1]) / 2
    grid = np.array(scene.records.cell_grid[::-1])
    (left, top), (right, bottom), (column, row) = (
        (scene.in_frame(image, place + offset / size) * grid).astype(int)
        for offset in (first - middle, last - middle, np.zeros(2))
    )
    cells = np.zeros(scene.records.cell_grid, dtype=bool)
    cells[top : bottom + 1, left : right + 1] = True
    return int(row * grid[0] + column), cells.ravel()
