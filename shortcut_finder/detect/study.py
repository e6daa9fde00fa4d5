"""Study: what each half learns of a class, tested on the other half.

White cells of some images of each half stay in memory. What one half finds is tested on the other
as it is; what that one then learns of it is grown from the images that answer there, so that every
image is judged by a model that has not seen it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shortcut_finder.data.membership import LACKS, having, lacking, occurring
from shortcut_finder.detect.likeness import shift_of
from shortcut_finder.detect.mixture import (
    BLOCK,
    COVERS,
    FEWEST,
    SEEDS,
    Directions,
    best_splits,
    fit_frame,
    grow,
    learn,
    responses,
)
from shortcut_finder.stats.evidence import exclusivity_test
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
TESTED = 32
# Cells that the whitening of a half is learned from.
SAMPLED = 60_000
# Rounds in which a half learns what the other found.
ROUNDS = 2


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
        self._lately: dict[tuple[int, bytes], Tensor] = {}
        halves = (self.sample[mine[self.sample]] for mine in (half, ~half))
        self.frames = [fit_frame(_some_cells(descriptors, one, seed).to(device)) for one in halves]
        shape = (len(self.sample), descriptors.cells.shape[1], len(self.frames[0].mean))
        # Half the bytes; a cell of unit length is off by .0005 then.
        self.white = [torch.empty(shape, dtype=torch.float16, device=device) for _ in self.frames]
        for start in range(0, len(self.sample), BLOCK):
            cells = descriptors.of(self.sample[start : start + BLOCK]).to(device)
            for frame, white in zip(self.frames, self.white, strict=True):
                white[start : start + BLOCK] = frame(cells)

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

    def grown(self, found: Sequence[Candidate]) -> dict[Candidate, Candidate]:
        """What the half that did not find some things learns of each.

        Args:
            found: of one class and half, at least one.

        Returns:
            By what was found; without those that too few images of the other half carry.
        """
        half, label = 1 - found[0].half, found[0].label
        own, theirs = (self.images(side, label, own=True) for side in (half, 1 - half))
        here = np.searchsorted(np.sort(np.concatenate([own, theirs])), own)
        enough = [one for one in found if one.carries[here].sum() >= FEWEST]
        learned: dict[Candidate, Candidate] = {}
        for averaged, closest in COVERS:
            some = [one for one in enough if one.model.closest == closest]
            if some:
                members = np.stack([one.carries[here] for one in some])
                places = np.stack([one.places[here] for one in some])
                made = self._grown(members, places, half, label, averaged, closest)
                for one, again in zip(some, self._held_out(made, label, half), strict=True):
                    learned[one] = replace(again, test=one.test)
        return learned

    def _grown(
        self,
        carries: np.ndarray,
        places: np.ndarray,
        half: int,
        label: int,
        averaged: int,
        closest: int,
    ) -> Directions:
        """Directions that begin with some cells of a half's images, (direction, image) each."""
        cells, rest = (self.cells(half, self.images(half, label, own=own)) for own in (True, False))
        members = torch.from_numpy(carries).to(self.device)
        each = torch.arange(len(cells), device=self.device)
        vectors = torch.stack(
            [
                cells[each, at][carry].mean(0)
                for carry, at in zip(members, torch.from_numpy(places), strict=True)
            ]
        )
        made: Directions | None = None
        for _ in range(ROUNDS):
            made = grow(cells, rest, vectors, members, averaged, closest)
            vectors, again = made.vectors, made.answers >= made.splits.limit[:, None]
            members = torch.where(again.sum(1, keepdim=True) >= FEWEST, again, members)
        assert made is not None
        return made

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
        shifts = [
            shift_of(mine[mine < limit], others)
            for mine, others, limit in zip(
                inside.cpu().numpy(), outside.cpu().numpy(), limits.cpu().numpy(), strict=True
            )
        ]
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
                | {"gain_found": float(found.splits.gain[n]), "gain": gains[n], "shift": shifts[n]},
                carries[n, order],
                at[n, order],
            )
            for n in range(len(found.vectors))
        ]

    def refined(self, one: Candidate, other: Candidate) -> tuple[Candidate, Candidate]:
        """Both halves' candidates, each grown from what the other says as long as that gains."""
        for _ in range(ROUNDS):
            before = one.model.gain + other.model.gain
            again = self.grown([one]).get(one)
            if again is not None and again.model.gain > other.model.gain:
                other = again
            again = self.grown([other]).get(other)
            if again is not None and again.model.gain > one.model.gain:
                one = again
            if one.model.gain + other.model.gain <= before:
                break
        return one, other


def _some_cells(descriptors: Descriptors, images: np.ndarray, seed: int) -> Tensor:
    """Cells of some images, (cell, width): all of them, or so many drawn by lot."""
    each = descriptors.cells.shape[1]
    chosen = np.arange(len(images) * each)
    if len(chosen) > SAMPLED:
        chosen = np.random.default_rng(seed).choice(len(chosen), SAMPLED, replace=False)
        chosen.sort()
    found = []
    for start in range(0, len(images), BLOCK):
        cells = descriptors.of(images[start : start + BLOCK]).flatten(0, 1)
        first, last = np.searchsorted(chosen, [start * each, (start + BLOCK) * each])
        found.append(cells[torch.from_numpy(chosen[first:last] - start * each)])
    return torch.cat(found)


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
