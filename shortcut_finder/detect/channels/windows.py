"""Windows: small parts of pictures that recur in a class and nowhere else, by their pixels alone.

What is small, faint or stands anywhere leaves little of itself in a cell, and a model that does not
rely on it shows it in no map. So windows of images of a class are looked for in its others, where
they may lie anywhere. Edges are compared once they are white: what pictures of this dataset seldom
show counts most (the matched filter; Turin 1960). A window that some images of its class match
better than those of other classes is averaged over these, and looked for again: what they
have in common stays, what they stand on does not.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from shortcut_finder.data.preprocessing import WHOLE_FRAME, Box
from shortcut_finder.detect.channels.groups import TAIL
from shortcut_finder.detect.suspicion import exactness
from shortcut_finder.pixels.gradients import box_sums, floor_of, gradients_of, scaled_down
from shortcut_finder.pixels.motifs import FAINT, Match, spans
from shortcut_finder.sweep.scene import Scene

# Geometric mean side of the pictures that are compared, side of the windows and how far apart those
# lie that others are searched for, in pixels.
SIDE, WINDOW, STEP = 64, 8, 4
# Windows that their whitening is learned from, how many principal components are kept, how many of
# these, the smallest, tell where to look closer (of a date in a twentieth of a class the largest,
# which all pictures share, say nothing), and how much of the mean variance is added to each, so
# that noise is not made large.
LEARNED, COMPONENTS, FINE, REGULAR = 20_000, 128, 64, 0.5
# Size of a white window below which it counts as that large, as part of the usual one: what is
# ordinary throughout is like nothing.
PLAIN = 0.5
# Images of a class that take part, at least and at most, and over all classes; images of all other
# classes, and in so many of these windows are looked for at first.
FEWEST, OWN, ALL, OTHERS, COMPARED = 24, 110, 6000, 120, 48
# The strongest and most unusual windows of each, which are looked for in the others: few of every
# image find what is rare sooner than many of some.
STRONGEST = 17
# Windows that are kept then, after all images, and at last; how exactly these must recur.
HOPEFUL, KEPT, LAST, RECURRING = 400, 80, 12, 0.25
# Images that a window is averaged over at first, and at most; rounds of both.
BEGUN, MOST, FIRST_ROUNDS, ROUNDS = 4, 24, 2, 4
# Parts of the images of the class and of the others whose best matches are held against each other.
TOP_OWN, TOP_OTHERS = 0.05, 0.02
# Of the images that match two windows best, so many in common make them one.
BEST, COMMON = 8, 5


@dataclass(frozen=True, eq=False)
class Whitening:
    """Turns windows into vectors whose dot product says how alike they are.

    Attributes:
        basis: from colour gradients to white components, (2 x channel x row x column, component).
        floor: size of the gradients of a window below which it counts as flat.
    """

    basis: np.ndarray
    floor: float

    def describe(
        self, view: np.ndarray, within: Box = WHOLE_FRAME, scale: float = 1.0
    ) -> _Described:
        """The windows of a `Scene.squashed_view` whose middles lie in a part of it."""
        gradients = _gradients(view, scale)
        rows, columns = spans(within, gradients.shape[1:], WINDOW)
        whole, gradients = gradients.shape[1:], gradients[:, rows, columns]
        every = np.sqrt(box_sums(np.square(gradients).sum(axis=0)[None], WINDOW)[0])
        sizes, windows = every.ravel(), _windows(gradients).reshape(every.size, -1)
        white = (windows @ self.basis) / np.maximum(sizes, self.floor)[:, None]
        lengths = np.linalg.norm(white, axis=1)
        white /= np.maximum(lengths, PLAIN * np.sqrt(white.shape[1]))[:, None]
        strength = np.where(sizes > self.floor, lengths * np.sqrt(sizes), 0.0)
        return _Described(white, strength, every.shape, (rows.start, columns.start), whole)

    def describe_all(self, numbers: np.ndarray, scene: Scene) -> dict[int, _Described]:
        """Those of some images, given by number, that can be read now."""
        views = ((number, scene.squashed_view(number)) for number in numbers.tolist())
        return {number: self.describe(view) for number, view in views if view is not None}

    def match(
        self, vectors: np.ndarray, view: np.ndarray, within: Box = WHOLE_FRAME, scale: float = 1.0
    ) -> list[Match]:
        """How like each window a picture is.

        Args:
            vectors: what the windows look like, of unit length, (window, component).
            view: from `Scene.squashed_view`.
            within: where the middle of a window may lie, as fractions of the picture.
            scale: of the picture, before it is compared.
        """
        found = self.describe(view, within, scale)
        like, at = _best(vectors, [found])
        begun = np.stack(np.divmod(at[:, 0], found.shape[1]), axis=1)
        middles = (begun + np.array(found.start) + WINDOW / 2) / found.whole
        places = ((x, y) for y, x in middles.tolist())
        return [*zip(like[:, 0].tolist(), places, strict=True)]


@dataclass(frozen=True, eq=False)
class _Described:
    """The windows of a picture, row by row.

    Attributes:
        white: vectors of unit length at most, (window, component).
        strength: of the edges of each, times how unusual they are, (window,); 0 for flat ones.
        shape: rows and columns that a window may begin at.
        start: the first of them.
        whole: rows and columns of the picture.
    """

    white: np.ndarray
    strength: np.ndarray
    shape: tuple[int, int]
    start: tuple[int, int]
    whole: tuple[int, int]

    @functools.cached_property
    def fine(self) -> np.ndarray:
        """The same by the smallest components alone, (window, component)."""
        return _unit(self.white[:, -FINE:], PLAIN)

    @property
    def sources(self) -> np.ndarray:
        """Vectors of the windows that others are searched for, (window, component)."""
        strength = self.strength.reshape(self.shape)
        lattice = np.zeros_like(strength, dtype=bool)
        lattice[::STEP, ::STEP] = strength[::STEP, ::STEP] > 0
        apart = np.flatnonzero(lattice)
        best = np.argsort(-self.strength[apart], kind="stable")[:STRONGEST]
        return self.white[apart[best]]


@dataclass(frozen=True, eq=False)
class Recurring:
    """Windows that recur in a class more than in the others.

    Attributes:
        label: index of the class.
        vectors: what they look like once white, of unit length, strongest first,
            (window, component).
    """

    label: int
    vectors: np.ndarray


def learn_whitening(views: Sequence[np.ndarray], rng: np.random.Generator) -> Whitening:
    """Principal components of the windows of some pictures.

    Args:
        views: from `Scene.squashed_view`; one at least.
        rng: chooses windows.
    """
    each, drawn = max(1, LEARNED // len(views)), []
    floor = floor_of(_gradients(views[0])[:, :WINDOW, :WINDOW], FAINT)
    for view in views:
        windows = _windows(_gradients(view))
        count = windows.shape[0] * windows.shape[1]
        chosen = rng.choice(count, min(each, count), replace=False)
        rows = windows[np.divmod(chosen, windows.shape[1])].reshape(len(chosen), -1)
        drawn.append(_unit(rows, floor))
    rows = np.concatenate(drawn)
    variance, components = np.linalg.eigh((rows.T @ rows / len(rows)).astype(np.float64))
    variance, components = variance[::-1].clip(0), components[:, ::-1]
    kept = min(COMPONENTS, len(variance))
    scale = np.sqrt(variance[:kept] + REGULAR * max(variance.mean(), 1e-9))
    return Whitening((components[:, :kept] / scale).astype(np.float32), floor)


def recurring_windows(
    scene: Scene, half: np.ndarray, seed: int
) -> tuple[Whitening | None, list[Recurring]]:
    """Windows of each class that recur in it, on one half alone.

    Args:
        scene: what the sweep kept, and the pictures behind it.
        half: that half, (image,) of bool.
        seed: for the images that take part.

    Returns:
        How to compare them, ``None`` where there is nothing to compare; and what recurs in each
        class.
    """
    rng, labels = np.random.default_rng([seed, 7]), scene.records.labels
    classes, found = np.unique(labels), rng.permutation(np.flatnonzero(half))
    # Enough that some are left without those of any one class.
    strangers = found[: int(OTHERS * len(classes) / max(len(classes) - 1, 1))]
    views = [view for view in map(scene.squashed_view, strangers.tolist()) if view is not None]
    if len(classes) < 2 or not views:
        return None, []
    whitening, recurring = learn_whitening(views, rng), list[Recurring]()
    known = whitening.describe_all(strangers, scene)
    most = int(np.clip(ALL // len(classes), FEWEST, OWN))
    for label in classes.tolist():
        mine = found[labels[found] == label][:most]
        further = whitening.describe_all(np.setdiff1d(mine, list(known)), scene)
        own = [one for n in mine.tolist() if (one := known.get(n) or further.get(n))]
        others = [one for n, one in known.items() if labels[n] != label]
        if min(len(own), len(others)) > BEGUN:
            recurring.append(Recurring(label, _recurring(own, others)))
    return whitening, recurring


def _recurring(own: Sequence[_Described], others: Sequence[_Described]) -> np.ndarray:
    """What recurs in images of a class, strongest first, (window, component).

    Args:
        own: images of the class, in random order.
        others: images of other classes, in random order.
    """
    vectors = _hopeful(own, others)
    return _grown(_averaged(vectors, own, others), own, others) if len(vectors) else vectors


def _hopeful(own: Sequence[_Described], others: Sequence[_Described]) -> np.ndarray:
    """Windows that other images of the class match best, (window, component)."""
    parts = [image.sources for image in own]
    source = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    vectors = np.concatenate(parts)
    for fine, strangers, kept in ((True, others[:COMPARED], HOPEFUL), (False, others, KEPT)):
        like, _ = _best(vectors, own, fine=fine)
        # Each is like itself.
        like[np.arange(len(vectors)), source] = -1.0
        against, _ = _best(vectors, strangers, fine=fine)
        strength = _top(like, TOP_OWN) - _top(against, TOP_OWN)
        hopeful = np.argsort(-strength, kind="stable")[:kept]
        vectors, source = vectors[hopeful], source[hopeful]
    return vectors


def _averaged(
    vectors: np.ndarray, own: Sequence[_Described], others: Sequence[_Described]
) -> np.ndarray:
    """The windows averaged over the few images that match them best; those that others match, too.

    Strongest first, and each thing once.
    """
    best = np.zeros((len(vectors), 0), dtype=np.int64)
    for _ in range(FIRST_ROUNDS):
        like, at = _best(vectors, own)
        best = np.argsort(-like, axis=1, kind="stable")[:, :BEGUN]
        vectors = np.stack([_mean(own, best[n], at[n]) for n in range(len(vectors))])
    like, _ = _best(vectors, own)
    order = np.argsort(-like, axis=1, kind="stable")[:, :BEST]
    # The images that it was averaged over are like it anyway.
    np.put_along_axis(like, best, -1.0, axis=1)
    against, _ = _best(vectors, others)
    strength = _top(like, TOP_OWN) - _top(against, TOP_OTHERS)
    chosen: list[int] = []
    for number in np.argsort(-strength, kind="stable").tolist():
        common = [len(np.intersect1d(order[number], order[other])) for other in chosen]
        if max(common, default=0) < COMMON:
            chosen.append(number)
        if len(chosen) == LAST:
            break
    return vectors[chosen]


def _grown(
    vectors: np.ndarray, own: Sequence[_Described], others: Sequence[_Described]
) -> np.ndarray:
    """The windows averaged over all images of the class that match them better than others do.

    Only those that recur exactly. What is rare is soon averaged with what only looks alike: it
    stays what it was before.
    """
    best, most = vectors, np.zeros(len(vectors))
    for _ in range(ROUNDS):
        like, at = _best(vectors, own)
        against, _ = _best(vectors, others)
        means, exact = [], np.zeros(len(vectors))
        for number, (row, strange) in enumerate(zip(like, against, strict=True)):
            members = np.argsort(-row, kind="stable")[:MOST]
            above = members[row[members] > np.quantile(strange, 1 - TOP_OTHERS)]
            exact[number] = _exactness(row[above], strange)
            members = above if len(above) >= BEGUN else members[:BEGUN]
            means.append(_mean(own, members, at[number]))
        better = exact >= np.minimum(most, RECURRING)
        best, most = np.where(better[:, None], vectors, best), np.where(better, exact, most)
        vectors = np.stack(means)
    return best[most >= RECURRING]


def _exactness(members: np.ndarray, others: np.ndarray) -> float:
    """`exactness`, by how like a window members and images of other classes are."""
    if not len(members):
        return 0.0
    return exactness(
        {
            "repeating": len(members),
            "likeness": float(np.median(members)),
            "likeness_elsewhere": float(np.quantile(others, 1 - TAIL)),
        }
    )


def _mean(images: Sequence[_Described], chosen: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Mean of one window of each chosen image, at unit length, (component,)."""
    mean = np.mean([images[n].white[at[n]] for n in chosen.tolist()], axis=0)
    return _unit(mean[None])[0]


def _best(
    vectors: np.ndarray, images: Sequence[_Described], *, fine: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """How like each vector each image is at best, and the window there, (vector, image)."""
    like = np.empty((len(vectors), len(images)), dtype=np.float32)
    at = np.empty(like.shape, dtype=np.int64)
    sought = _unit(vectors[:, -FINE:]) if fine else vectors
    for number, image in enumerate(images):
        windows = image.fine if fine else image.white
        for start in range(0, len(vectors), 1024):
            block = slice(start, start + 1024)
            answers = sought[block] @ windows.T
            at[block, number] = answers.argmax(axis=1)
            like[block, number] = answers[np.arange(len(answers)), at[block, number]]
    return like, at


def _top(like: np.ndarray, share: float) -> np.ndarray:
    """Mean of the highest of each row, (row,)."""
    count = min(max(BEGUN - 1, round(share * like.shape[1])), like.shape[1])
    return np.asarray(-np.sort(-like, axis=1)[:, :count].mean(axis=1))


def _unit(vectors: np.ndarray, least: float = 1e-6) -> np.ndarray:
    """The vectors at unit length; what is shorter than that counts as that long."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, least))


def _gradients(view: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Of the picture at the scale that windows are compared at, (2 x channel, row, column)."""
    small = scaled_down(Image.fromarray(view), SIDE * scale, Image.Resampling.BOX)
    return gradients_of(np.asarray(small)[None])[0]


def _windows(gradients: np.ndarray) -> np.ndarray:
    """Every window, (row, column, 2 x channel, row, column)."""
    windows = np.lib.stride_tricks.sliding_window_view(gradients, (WINDOW, WINDOW), axis=(1, 2))
    return windows.transpose(1, 2, 0, 3, 4)
