"""Cells: things that part of a class has, found on each half of the images and tested on the other.

What one half finds is tested on the other as it is. Then the other half learns it, too: a thing
that both found by themselves has two models, and what one of them found is grown on the other from
the images that answer there. So every image is scored by a model that has not seen it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shortcut_finder.data.membership import LACKS, having, lacking, occurring
from shortcut_finder.detect.mixture import (
    BLOCK,
    COVERS,
    FEWEST,
    SEEDS,
    Directions,
    Frame,
    best_splits,
    fit_frame,
    grow,
    learn,
    responses,
)
from shortcut_finder.stats.evidence import exclusivity_test, phi
from shortcut_finder.sweep.descriptors import Descriptors, descriptor_blocks, read_descriptors

# Images of a class, and of all others together, that take part in a half.
OWN, OTHERS = 600, 250
# White cells in memory at once, in numbers of two bytes: half a gigabyte.
MEMORY = 250_000_000
# Selections of cells that are kept: those of a class and of what it is held against, in two frames.
LATELY = 8
# Seeds over all classes together, and the fewest of one.
ALL_SEEDS, FEWEST_SEEDS = 20_000, 64
# Directions of a class that are tested, from each half.
TESTED = 16
# Correlation of the carriers, over a class, from which the halves found the same thing.
SAME = 0.35
# Rounds in which a half learns what the other found.
ROUNDS = 2
# Share of its carriers that must carry another thing, too, for it to be a piece of that; and share
# of a class that this one may have at most.
PIECE, MOST = 0.8, 0.5
# Strength from which a thing is grown again from what both halves say.
WORTH = 0.1


@dataclass(frozen=True, eq=False)
class Model:
    """What one half learned of a thing.

    Attributes:
        vector: in the half's frame, (width,).
        closest: how many of an image's cells answer.
        limit: response from which an image carries it.
        gain: nats an image that it saves on the other half.
        field: of a thing at one place that nearly all of a class carries, how the class differs at
            each cell, (cell, width), zero elsewhere; ``None`` for one at any place.
    """

    vector: Tensor
    closest: int
    limit: float
    gain: float
    field: Tensor | None = None


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
class Candidate:
    """A direction of one half, as it does on the other.

    Attributes:
        label: index of the class.
        half: that found it, 0 or 1.
        model: of that half.
        test: numbers of the test on the other half.
        carries: which sampled images of the class carry it, (image,) of bool: of those it was found
            on, each judged without itself.
        places: of the sampled images of the class, the cell that answers most, (image,).
    """

    label: int
    half: int
    model: Model
    test: dict[str, float]
    carries: np.ndarray
    places: np.ndarray


class Study:
    """What is learned from some images of each half; they stay in memory."""

    def __init__(
        self,
        folder: Path,
        labels: np.ndarray,
        half: np.ndarray,
        seed: int,
        device: torch.device,
        counted: np.ndarray | None = None,
    ) -> None:
        self.labels, self.half, self.seed, self.device = labels, half, seed, device
        self.classes = occurring(labels)
        self.sample = _sampled(folder, labels, half, seed, counted)
        descriptors = read_descriptors(folder, self.sample)
        cells = descriptors.of(self.sample).to(device)
        self.frames, self.white = [], []
        self._lately: dict[tuple[int, bytes], Tensor] = {}
        for mine in (half, ~half):
            frame = fit_frame(cells[torch.from_numpy(mine[self.sample]).to(device)], seed)
            self.frames.append(frame)
            # Half the bytes; a cell of unit length is off by .0005 then.
            self.white.append(torch.cat([frame(c).half() for c in torch.split(cells, BLOCK)]))

    def images(self, half: int, label: int, *, own: bool) -> np.ndarray:
        """Places in the sample of a half's images of a class, or of the others."""
        mine = self.half[self.sample] == (half == 0)
        found = np.flatnonzero(mine & (having if own else lacking)(self.labels[self.sample], label))
        if own or len(found) <= OTHERS:
            return found
        rng = np.random.default_rng([self.seed, 2, half, label])
        return np.sort(rng.choice(found, OTHERS, replace=False))

    def cells(self, frame: int, images: np.ndarray) -> Tensor:
        """White cells of images, by place in the sample, in a half's frame."""
        key = (frame, images.tobytes())
        if key not in self._lately:
            if len(self._lately) >= LATELY:
                self._lately.clear()
            chosen = self.white[frame][torch.from_numpy(images).to(self.device)]
            self._lately[key] = chosen.float()
        return self._lately[key]

    def excess(self, carriers: np.ndarray, others: np.ndarray) -> np.ndarray:
        """How much more alike some images are than others at each place, (cell,), as a cosine."""
        inside, outside = (
            self.cells(0, np.flatnonzero(np.isin(self.sample, images)))
            for images in (carriers, others)
        )
        if min(len(inside), len(outside)) < 2:
            return np.zeros(self.white[0].shape[1])
        return alike(inside) - alike(outside)

    def candidates(self, label: int, half: int) -> list[Candidate]:
        """What one half finds in a class, tested on the other."""
        own, rest = (self.images(half, label, own=own) for own in (True, False))
        if min(len(own), len(rest)) < 2 * FEWEST:
            return []
        seeds = int(np.clip(ALL_SEEDS // len(self.classes), FEWEST_SEEDS, SEEDS))
        rng = np.random.default_rng([self.seed, 3, half, label])
        found = learn(self.cells(half, own), self.cells(half, rest), seeds, rng)
        found = found.of(torch.arange(min(TESTED, len(found.vectors))))
        return self._held_out(found, label, half)

    def grown(self, found: Candidate) -> Candidate | None:
        """What the half that did not find it learns of a thing; ``None`` from too few images."""
        half, label = 1 - found.half, found.label
        own, rest = (self.images(half, label, own=own) for own in (True, False))
        everyone = np.sort(np.concatenate([own, self.images(found.half, label, own=True)]))
        here = np.searchsorted(everyone, own)
        members = torch.from_numpy(found.carries[here]).to(self.device)[None]
        if int(members.sum()) < FEWEST:
            return None
        cells, places = self.cells(half, own), torch.from_numpy(found.places[here]).to(self.device)
        vectors = cells[torch.arange(len(own)), places][members[0]].mean(0)[None]
        averaged = {closest: averaged for averaged, closest in COVERS}[found.model.closest]
        made: Directions | None = None
        for _ in range(ROUNDS):
            made = grow(
                cells, self.cells(half, rest), vectors, members, averaged, found.model.closest
            )
            vectors, again = made.vectors, made.answers >= made.splits.limit[:, None]
            members = again if int(again.sum()) >= FEWEST else members
        assert made is not None
        (one,) = self._held_out(made, label, half)
        return replace(one, test=found.test)

    def _held_out(self, found: Directions, label: int, half: int) -> list[Candidate]:
        """Directions that a half learned of a class, as they do on the other half."""
        own = self.images(half, label, own=True)
        tested, strange = (self.images(1 - half, label, own=own) for own in (True, False))
        inside, places = _answers(self.cells(half, tested), found)
        outside, _ = _answers(self.cells(half, strange), found)
        _, own_places = _answers(self.cells(half, own), found)
        order = np.argsort(np.concatenate([own, tested]), kind="stable")
        limits = found.splits.limit[:, None]
        # Of the images it was learned on, each is judged without itself.
        carries = torch.cat([found.answers >= limits, inside >= limits], dim=1).cpu().numpy()
        at = torch.cat([own_places, places], dim=1).cpu().numpy()
        members, strays = ((answers >= limits).sum(1).tolist() for answers in (inside, outside))
        gains = best_splits(inside, outside).gain.tolist()
        return [
            Candidate(
                label,
                half,
                Model(
                    found.vectors[n],
                    int(found.closest[n]),
                    float(found.splits.limit[n]),
                    gains[n],
                ),
                exclusivity_test(members[n], len(tested), strays[n], len(strange))
                | {"gain_found": float(found.splits.gain[n]), "gain": gains[n]},
                carries[n, order],
                at[n, order],
            )
            for n in range(len(found.vectors))
        ]

    def refined(self, one: Candidate, other: Candidate) -> tuple[Candidate, Candidate]:
        """Both halves' candidates, each grown from what the other says as long as that gains."""
        for _ in range(ROUNDS):
            before = one.model.gain + other.model.gain
            again = self.grown(one)
            if again is not None and again.model.gain > other.model.gain:
                other = again
            again = self.grown(other)
            if again is not None and again.model.gain > one.model.gain:
                one = again
            if one.model.gain + other.model.gain <= before:
                break
        return one, other


def alike(cells: Tensor) -> np.ndarray:
    """Mean cosine of all pairs of images at each place of the frame, (cell,).

    Args:
        cells: unit vectors, (image, cell, width).
    """
    images = len(cells)
    together = cells.sum(0).square().sum(1).cpu().numpy()
    return np.asarray((together - images) / (images * (images - 1)))


def _sampled(
    folder: Path, labels: np.ndarray, half: np.ndarray, seed: int, counted: np.ndarray | None
) -> np.ndarray:
    """Numbers of the images that are learned from and tested on, ascending: one of each group."""
    counted = np.ones(len(labels), dtype=bool) if counted is None else counted
    block = next(iter(descriptor_blocks(folder)))
    numbers = block.cells.shape[1] * (block.cells.shape[2] + 4 * block.fine.shape[3])
    most = MEMORY // (2 * numbers)
    classes = [having(labels, label) for label in occurring(labels)]
    if labels.ndim == 2:
        # What has no label is held against every class.
        classes.append(~np.any(classes, axis=0) & (labels == LACKS).any(axis=1))
    each = int(np.clip(most // (2 * len(classes)), 2 * FEWEST, OWN))
    rng, found = np.random.default_rng([seed, 2]), []
    for of_class in classes:
        for mine in (half, ~half):
            own = np.flatnonzero(mine & counted & of_class)
            found.append(own if len(own) <= each else rng.choice(own, each, replace=False))
    return np.unique(np.concatenate(found))


def _answers(cells: Tensor, directions: Directions) -> tuple[Tensor, Tensor]:
    """How images answer, and the cell that does most, each (direction, image)."""
    answers = cells.new_zeros(len(directions.vectors), len(cells))
    for closest in sorted({int(one) for one in directions.closest}):
        some = directions.closest == closest
        answers[some] = responses(cells, directions.vectors[some], closest)
    places = torch.cat(
        [
            (block.flatten(0, 1) @ directions.vectors.T).reshape(*block.shape[:2], -1).argmax(1)
            for block in torch.split(cells, BLOCK)
        ]
    )
    return answers, places.T


def paired(study: Study, holding: Sequence[Candidate], least: float) -> list[Pair]:
    """What both halves have to say of each thing that holds on the half that did not find it.

    Args:
        study: the halves.
        holding: candidates that hold.
        least: strength below which a thing is not worth a word.
    """
    pairs = []
    for one in holding:
        partner = _partner(one, holding)
        if partner is not None and one.half == 1 and _partner(partner, holding) is one:
            # Each is the other's: it is made from the first half's side.
            continue
        alone = one.model.gain / 2 if partner is None else np.inf
        other = partner or (study.grown(one) if alone >= least else None)
        if other is not None:
            gains = (one.model.gain, partner.model.gain if partner else 0.0)
            pairs.append(Pair(one, other, gains))
    return pairs


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


def strongest(pairs: Sequence[Pair], most: int, least: float, same: float) -> list[Pair]:
    """The strongest of each class, each thing once, by the one that most images carry.

    A mark that is a pixel off in half of its images makes a heap for either half of them, and one
    for all.
    """
    kept: list[Pair] = []
    for pair in sorted(pairs, key=lambda one: -one.strength * float(one.carries.sum()) ** 0.5):
        mine = [one for one in kept if one.found.label == pair.found.label]
        piece = any(_is_piece(pair.carries, one.carries, same) for one in mine)
        if len(mine) < most and pair.strength >= least and not piece:
            kept.append(pair)
    # Those of a class together: the cells that they need are at hand then.
    return sorted(kept, key=lambda one: one.found.label)


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


def _partner(one: Candidate, holding: Sequence[Candidate]) -> Candidate | None:
    """What the other half found by itself in the same images; ``None`` where nothing."""
    others = [o for o in holding if o.label == one.label and o.half != one.half]
    best = max(others, key=lambda other: _correlation(one, other), default=None)
    return best if best is not None and _correlation(one, best) >= SAME else None


def _correlation(one: Candidate, other: Candidate) -> float:
    return phi(one.carries.astype(float), other.carries.astype(float))


def scored(study: Study, things: Sequence[Thing], folder: Path) -> list[Thing]:
    """The things with how every image answers to them, each to the model that has not seen it."""
    images = len(study.labels)
    answers = np.zeros((len(things), images), dtype=np.float32)
    best = np.zeros((len(things), images), dtype=np.int32)
    covers: list[dict[int, np.ndarray]] = [{} for _ in things]
    for block in descriptor_blocks(folder):
        for number, frame in enumerate(study.frames):
            # The second half's images are scored by the first half's models.
            here = block.index[study.half[block.index] == (number == 1)]
            if len(here) and things:
                _score(study, things, number, frame, block, here, answers, best, covers)
    return [
        replace(
            thing,
            answers=answers[n],
            score=_in_terms_of_models(thing, answers[n], study.labels),
            best=best[n],
            covers=covers[n],
        )
        for n, thing in enumerate(things)
    ]


def _score(
    study: Study,
    things: Sequence[Thing],
    number: int,
    frame: Frame,
    block: Descriptors,
    here: np.ndarray,
    answers: np.ndarray,
    best: np.ndarray,
    covers: list[dict[int, np.ndarray]],
) -> None:
    """Score some images of a block by one half's models."""
    cells = frame(block.of(here).to(study.device))
    models = [thing.models[number] for thing in things]
    vectors = torch.stack([model.vector for model in models])
    every = (cells.flatten(0, 1) @ vectors.T).reshape(*cells.shape[:2], -1).permute(2, 0, 1)
    top = every.topk(min(max(model.closest for model in models), every.shape[2]), dim=2)
    for n, (thing, model) in enumerate(zip(things, models, strict=True)):
        mine = np.flatnonzero(having(study.labels[here], thing.label))
        if model.field is not None and thing.extent is not None:
            answers[n, here] = (cells.flatten(1) @ model.field.flatten()).cpu().numpy()
            best[n, here] = int(model.field.square().sum(1).argmax())
            covers[n] |= dict.fromkeys(here[mine].tolist(), thing.extent)
            continue
        answers[n, here] = top.values[n, :, : model.closest].mean(1).cpu().numpy()
        best[n, here] = top.indices[n, :, 0].cpu().numpy()
        # What answers half as much as a carrier's cells is at its rim.
        mine = mine[answers[n, here[mine]] >= model.limit / 2]
        on = (every[n, torch.from_numpy(mine)] >= model.limit / 2).cpu().numpy()
        covers[n] |= dict(zip(here[mine].tolist(), on, strict=True))


def _in_terms_of_models(thing: Thing, answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    score = np.zeros(len(answers))
    for number, mine in enumerate((~thing.half, thing.half)):
        own = answers[mine & having(labels, thing.label)]
        score[mine] = in_terms_of(thing.models[number].limit, answers[mine], own)
    return score


def in_terms_of(limit: float, answers: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Answers as scores: 0 at the limit, 1 for a typical carrier of the class.

    Args:
        limit: answer from which an image carries the thing.
        answers: of any images, (image,).
        own: of the class's images among them.
    """
    beyond = own[own >= limit]
    typical = float(np.median(beyond)) if len(beyond) else limit
    return np.asarray((answers - limit) / max(typical - limit, 1e-3))
