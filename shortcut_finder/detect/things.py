"""Things: what both halves have to say of what one of them found."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from shortcut_finder.data.membership import lacking
from shortcut_finder.detect.likeness import Likeness
from shortcut_finder.detect.mixture import SAME
from shortcut_finder.detect.spot import border_share
from shortcut_finder.detect.study import Candidate, Model, Study
from shortcut_finder.stats.evidence import phi

_Found = TypeVar("_Found")

# Share of its carriers that must carry another thing, too, for it to be a piece of that; and share
# of a class that this one may have at most.
PIECE, MOST = 0.8, 0.5
# Strength from which a thing is grown again from what both halves say.
WORTH = 0.1


@dataclass(frozen=True, eq=False)
class Thing:
    """Something that part of a class has.

    Attributes:
        label: index of the class.
        models: of the first half and of the second.
        witnesses: gain of what each half found by itself on the other, the half that found it
            first; 0 where the second did not.
        agreement: correlation of the carriers of both models over the class, in [-1, 1].
        test: numbers of the test on the half that did not find it.
        half: the first half, (image,) of bool.
        extent: cells of a thing at one place that nearly all of a class carries, (cell,) of bool;
            ``None`` for everything else.
        answers: of every image to the model of the other half, (image,).
        score: the same in terms of the model: 0 at its limit, 1 for a typical carrier, (image,).
        best: the cell that answers most, (image,).
        covers: cells that answer, of images of the class near the limit or beyond it, by number,
            (cell,) of bool.
        known: images whose score counts, (image,) of bool; all if None.
    """

    label: int
    models: tuple[Model, Model]
    witnesses: tuple[float, float]
    agreement: float
    test: dict[str, float]
    half: np.ndarray
    extent: np.ndarray | None = None
    answers: np.ndarray = field(default_factory=lambda: np.zeros(0))
    score: np.ndarray = field(default_factory=lambda: np.zeros(0))
    best: np.ndarray = field(default_factory=lambda: np.zeros(0))
    covers: Mapping[int, np.ndarray] = field(default_factory=dict)
    known: np.ndarray | None = None

    def strange(self, labels: np.ndarray) -> np.ndarray:
        """Images of other classes whose score counts, (image,) of bool."""
        others = lacking(labels, self.label)
        return others if self.known is None else others & self.known

    @property
    def gain(self) -> float:
        """Nats an image that it saves on images that it was not found on.

        A half that only learned what the other found is no witness of its own.
        """
        return sum(self.witnesses) / 2


@dataclass(frozen=True, eq=False)
class Pair:
    """A candidate, and what the other half found or learned of it.

    Attributes:
        found: the candidate.
        other: of the other half.
        witnesses: gain of what each half found by itself on the other, ``found`` first; 0 where the
            other did not.
    """

    found: Candidate
    other: Candidate
    witnesses: tuple[float, float]

    @property
    def agreement(self) -> float:
        """Correlation of the carriers of both, in [-1, 1]."""
        return _correlation(self.found, self.other)

    @property
    def carries(self) -> np.ndarray:
        """Which sampled images of the class both halves say carry it, (image,) of bool."""
        return self.found.carries & self.other.carries

    @property
    def strength(self) -> float:
        """Gain on images it was not found on, times the agreement of both halves."""
        return sum(self.witnesses) / 2 * max(self.agreement, 0.0)

    def artifact(self, grid: tuple[int, int]) -> float:
        """Likeness to an artifact by the cells alone, in [0, 1]; no picture is looked at.

        Args:
            grid: rows and columns of cells.
        """
        border = border_share(self.found.places[self.carries], grid)
        return Likeness(self.strength, self.found.test["shift"], border, 0.0).artifact


def paired(study: Study, holding: Sequence[Candidate], least: float) -> list[Pair]:
    """What both halves have to say of each thing that holds on the half that did not find it.

    Args:
        study: the halves.
        holding: candidates that hold.
        least: strength below which a thing is not worth a word.
    """
    pairs = []
    for mine in _by_class(holding, lambda one: one.label):
        partners = {one: _partner(one, mine) for one in mine}
        others = {one: other for one, other in partners.items() if other is not None}
        for half in (0, 1):
            alone = [
                one
                for one in mine
                if one.half == half and one not in others and one.model.gain / 2 >= least
            ]
            others |= study.grown(alone) if alone else {}
        for one in mine:
            partner, other = partners[one], others.get(one)
            if partner is not None and one.half == 1 and partners[partner] is one:
                # Each is the other's: it is made from the first half's side.
                continue
            if other is not None:
                gains = (one.model.gain, partner.model.gain if partner else 0.0)
                pairs.append(Pair(one, other, gains))
    return pairs


def likeliest(
    pairs: Sequence[Pair], most: int, least: float, same: float, grid: tuple[int, int]
) -> list[Pair]:
    """Of each class those that are likeliest artifacts, each thing once.

    A mark that is a pixel off in half of its images makes a heap for either half of them, and one
    for all: a thing is told by the one that most images carry.

    Args:
        pairs: of all classes.
        most: how many of a class.
        least: strength from which a thing counts.
        same: correlation of the carriers from which two are one.
        grid: rows and columns of cells.
    """
    kept: list[Pair] = []
    for mine in _by_class(pairs, lambda one: one.found.label):
        apart: list[Pair] = []
        enough = (one for one in mine if one.strength >= least)
        for pair in sorted(enough, key=lambda one: -one.strength * float(one.carries.sum()) ** 0.5):
            if not any(_is_piece(pair.carries, one.carries, same) for one in apart):
                apart.append(pair)
        # Those of a class together: the cells that they need are at hand then.
        kept += sorted(apart, key=lambda one: -one.artifact(grid))[:most]
    return kept


def _by_class(found: Iterable[_Found], label: Callable[[_Found], int]) -> Iterator[list[_Found]]:
    """What was found, class by class, in its order; nothing is held against another class's."""
    for _, mine in itertools.groupby(sorted(found, key=label), key=label):
        yield list(mine)


def _is_piece(piece: np.ndarray, whole: np.ndarray, same: float) -> bool:
    """Whether one thing is another, or part of it, by which images carry each, (image,) of bool."""
    if phi(piece.astype(float), whole.astype(float)) >= same:
        return True
    within = (piece & whole).sum() >= PIECE * max(int(piece.sum()), 1)
    # In most of a class everything lies within everything.
    return bool(within and whole.mean() <= MOST)


def thing_of(pair: Pair, study: Study) -> Thing:
    """A pair as a thing with a model of each half."""
    mine, others = pair.found, pair.other
    if pair.strength >= WORTH:
        mine, others = study.refined(mine, others)
    first, second = (mine, others) if pair.found.half == 0 else (others, mine)
    return Thing(
        label=pair.found.label,
        models=(first.model, second.model),
        witnesses=pair.witnesses,
        agreement=_correlation(first, second),
        test=dict(pair.found.test),
        half=study.half,
    )


def _partner(one: Candidate, mine: Sequence[Candidate]) -> Candidate | None:
    """What the other half found by itself in the same images; ``None`` where nothing."""
    others = [other for other in mine if other.half != one.half]
    best = max(others, key=lambda other: _correlation(one, other), default=None)
    return best if best is not None and _correlation(one, best) >= SAME else None


def _correlation(one: Candidate, other: Candidate) -> float:
    return phi(one.carries.astype(float), other.carries.astype(float))
