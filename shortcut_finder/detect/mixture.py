"""Mixture: directions in which the images of a class fall into two heaps.

A cue in part of a class makes two heaps of its images: those that carry it and those that do not.
What belongs to the class makes one, however far it lies from the other classes. So a direction is
worth what the best split of the class saves in describing it, in nats an image.

Directions begin at single cells. Cells are white, so that the product with a cell is the linear
discriminant of that one example (Fisher 1936); the best are averaged over the images that answer to
them, a few times over, and fewer are kept each time (successive halving, Jamieson and Talwalkar
2016). An image never takes part in the direction that it is judged by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Least images of a heap, of a class and of the rest that is held against it.
FEWEST = 3
# Largest share of the other classes above a split, as part of the share of the class, at which the
# split is worth nothing.
SHARED = 1 / 3
# Cells of a class that are tried as seeds, at most.
SEEDS = 3000
# Directions that go into each round of growing, as parts of the seeds; two dozen at least.
ROUNDS, LEAST = (1 / 5, 1 / 20, 1 / 50, 1 / 100), 24
# Images of other classes that all seeds are held against; what goes on is held against all.
SCREENED = 120
# Cells of a member that a direction is averaged over, and cells of an image that answer to it: a
# small thing covers one, others some. What is of more gain is kept.
COVERS = ((1, 1), (3, 2))
# Images that a seed is averaged with first, the closest.
BEGUN = 5
# Correlation of the carriers of two directions of a class from which one of them is kept, and from
# which both show the same thing.
TWINS, SAME = 0.8, 0.35
# Share of the mean eigenvalue of the covariance that is added to each.
RIDGE = 1e-2
# Images in a block of responses, directions that are grown at once, and cells of a member that are
# looked at without itself.
BLOCK, CHUNK, NEAR = 256, 150, 8


@dataclass(frozen=True, eq=False)
class Frame:
    """Makes cells white over the images of one half: uncorrelated, of unit length.

    Attributes:
        mean: (width,).
        matrix: (width, width).
    """

    mean: Tensor
    matrix: Tensor

    def __call__(self, cells: Tensor) -> Tensor:
        """White cells of unit length, (image, cell, width)."""
        white = (cells - self.mean) @ self.matrix
        return white / white.norm(dim=-1, keepdim=True).clamp(min=1e-6)


def fit_frame(rows: Tensor) -> Frame:
    """Learn the whitening of some cells, (cell, width)."""
    values, vectors = torch.linalg.eigh(torch.cov(rows.double().T).reshape(rows.shape[1], -1))
    scale = (values.clamp(min=0) + RIDGE * values.mean()).sqrt()
    return Frame(rows.mean(0), ((vectors / scale) @ vectors.T).float())


@dataclass(frozen=True, eq=False)
class Splits:
    """The best cut of a class in two heaps, for each of some directions.

    Attributes:
        gain: nats an image that two heaps save over one, less what other classes share,
            (direction,); at most 0 where the class is one heap.
        limit: response from which an image is in the upper heap, (direction,).
        share: of the class in the upper heap, (direction,).
        elsewhere: of the other classes above the limit, (direction,).
    """

    gain: Tensor
    limit: Tensor
    share: Tensor
    elsewhere: Tensor

    def of(self, chosen: Tensor) -> Splits:
        """Those of some directions."""
        return Splits(*(getattr(self, n)[chosen] for n in ("gain", "limit", "share", "elsewhere")))


def best_splits(own: Tensor, rest: Tensor) -> Splits:
    """Cut a class in two heaps where that saves most.

    Two normal heaps of the same variance, each image in one of them, take
    1/2 ln(variance / variance within heaps) - H(share) nats an image less than one. That is times
    1 - 3 elsewhere / share, since what other classes have as well is no cue.

    Args:
        own: responses of the class's images, (direction, image).
        rest: responses of images of other classes, (direction, image).

    Example:
        >>> own = torch.tensor([[0.0, 1.0, 0.5, 0.2, 9.0, 9.5, 9.2, 0.4]])
        >>> splits = best_splits(own, torch.zeros(1, 8))
        >>> [round(float(part), 2) for part in (splits.gain, splits.share, splits.elsewhere)]
        [2.01, 0.38, 0.0]
    """
    images = own.shape[1]
    if images < 2 * FEWEST:
        nothing = own.new_full((len(own),), torch.inf)
        return Splits(-nothing, nothing, torch.zeros_like(nothing), torch.zeros_like(nothing))
    ordered = own.sort(dim=1).values.double()
    first, second = ordered.cumsum(1), ordered.square().cumsum(1)
    # Splits that leave enough on either side.
    below = torch.arange(FEWEST, images - FEWEST + 1, device=own.device)
    above = images - below
    low, low_square = first[:, below - 1], second[:, below - 1]
    high, high_square = first[:, -1:] - low, second[:, -1:] - low_square
    within = (low_square - low.square() / below + high_square - high.square() / above) / images
    whole = second[:, -1:] / images - (first[:, -1:] / images).square()
    share = above / images
    entropy = -(share * share.log() + (1 - share) * (1 - share).log())
    saved = 0.5 * (whole.clamp(min=1e-12) / within.clamp(min=1e-12)).log() - entropy
    limits = ((ordered[:, below - 1] + ordered[:, below]) / 2).float()
    beyond = torch.searchsorted(rest.sort(dim=1).values.contiguous(), limits.contiguous())
    elsewhere = 1 - beyond / max(rest.shape[1], 1)
    alone = (1 - elsewhere / (SHARED * share)).clamp(min=0)
    gain = torch.where(saved > 0, saved * alone, saved)
    best = gain.argmax(1, keepdim=True)
    return Splits(
        gain.gather(1, best)[:, 0].float(),
        limits.gather(1, best)[:, 0],
        share.float()[best[:, 0]],
        elsewhere.gather(1, best)[:, 0].float(),
    )


def responses(cells: Tensor, directions: Tensor, closest: int) -> Tensor:
    """How images answer to directions: the mean of their closest cells, (direction, image).

    Args:
        cells: white, (image, cell, width).
        directions: (direction, width).
        closest: how many cells.
    """
    found = []
    for block in torch.split(cells, BLOCK):
        answers = (block.flatten(0, 1) @ directions.T).reshape(*block.shape[:2], -1)
        if closest == 1:
            found.append(answers.amax(1).T)
        else:
            found.append(answers.topk(min(closest, answers.shape[1]), 1).values.mean(1).T)
    return torch.cat(found, dim=1) if found else directions.new_zeros(len(directions), 0)


@dataclass(frozen=True, eq=False)
class Directions:
    """What was learned of one class on one half.

    Attributes:
        vectors: (direction, width), in the half's frame.
        closest: how many of an image's cells answer to each, (direction,).
        splits: of the class's images.
        answers: of the class's images, each to a direction that it took no part in,
            (direction, image).
    """

    vectors: Tensor
    closest: Tensor
    splits: Splits
    answers: Tensor

    def of(self, chosen: Tensor) -> Directions:
        """Some of them."""
        return Directions(
            self.vectors[chosen],
            self.closest[chosen],
            self.splits.of(chosen),
            self.answers[chosen],
        )

    def joined(self, other: Directions) -> Directions:
        """These and others."""
        parts = (
            torch.cat([getattr(one.splits, name) for one in (self, other)])
            for name in ("gain", "limit", "share", "elsewhere")
        )
        return Directions(
            torch.cat([self.vectors, other.vectors]),
            torch.cat([self.closest, other.closest]),
            Splits(*parts),
            torch.cat([self.answers, other.answers]),
        )

    def different(self, most: int) -> Directions:
        """Those of most gain with different carriers, best first; some of them.

        Half of them are the best; variants of a few clear heaps would leave no room for fainter
        ones, so the others show a thing each that none before them shows.
        """
        order = self.splits.gain.argsort(descending=True, stable=True)[: 4 * most]
        order = order[self.splits.gain[order] > 0]
        carriers = self.answers[order] >= self.splits.limit[order][:, None]
        alike = correlated(carriers)
        best = _apart(alike >= TWINS, (most + 1) // 2)
        things = [place for place in _apart(alike >= SAME, most) if place not in best]
        chosen = sorted([*best, *things[: most - len(best)]])
        return self.of(order[torch.tensor(chosen, dtype=torch.long, device=order.device)])


def _apart(alike: Tensor, most: int) -> list[int]:
    """The first so many of which none is like one before it.

    Args:
        alike: (place, place) of bool.
        most: how many.
    """
    chosen: list[int] = []
    alive = torch.ones(len(alike), dtype=torch.bool, device=alike.device)
    for place in range(len(alike)):
        if len(chosen) == most:
            break
        if alive[place]:
            chosen.append(place)
            alive &= ~alike[place]
    return chosen


def learn(own: Tensor, rest: Tensor, seeds: int, rng: np.random.Generator) -> Directions:
    """Directions in which a class falls into two heaps, from one half alone, best first.

    Args:
        own: white cells of the class's images, (image, cell, width).
        rest: white cells of images of other classes.
        seeds: cells that are tried.
        rng: chooses the seeds.
    """
    images, cells, _ = own.shape
    picked = torch.from_numpy(
        np.sort(rng.choice(images * cells, min(seeds, images * cells), replace=False))
    ).to(own.device)
    vectors, source = own.flatten(0, 1)[picked], picked // cells
    answers = responses(own, vectors, 1)
    # A seed says nothing of the image it is from, but that image is the first to be averaged.
    each = torch.arange(len(vectors), device=own.device)
    answers[each, source] = answers.median(1).values
    # Which fifth of the seeds goes on is seen on some of the others.
    few = rest[:: max(len(rest) // SCREENED, 1)]
    splits = best_splits(answers, responses(few, vectors, 1))
    answers[each, source] = torch.inf
    found = Directions(vectors, torch.ones_like(source), splits, answers)
    for number, part in enumerate(ROUNDS):
        found = found.different(max(LEAST, round(part * len(picked))))
        if not len(found.vectors):
            break
        members = nearest(found.answers) if number == 0 else _members(found)
        grown = [
            grow(own, rest, found.vectors, members, *covers)
            for covers in COVERS[: 1 if number == 0 else None]
        ]
        # Seeds stand aside; later on, what was there competes with what it grew into.
        for one in grown:
            found = one if number == 0 else found.joined(one)
    return found.different(max(LEAST, round(ROUNDS[-1] * len(picked))))


def correlated(carriers: Tensor) -> Tensor:
    """Phi between rows of bool, (row, row)."""
    values = carriers.float()
    values = values - values.mean(1, keepdim=True)
    values = values / values.norm(dim=1, keepdim=True).clamp(min=1e-6)
    return values @ values.T


def nearest(answers: Tensor) -> Tensor:
    """The few images that answer most, (direction, image) of bool."""
    chosen = torch.zeros_like(answers, dtype=torch.bool)
    top = answers.topk(min(BEGUN, answers.shape[1]), 1).indices
    return chosen.scatter_(1, top, value=True)


def _members(found: Directions) -> Tensor:
    """Images that directions are averaged over, (direction, image) of bool."""
    members = found.answers >= found.splits.limit[:, None]
    enough = members.sum(1, keepdim=True) >= BEGUN - 1
    return torch.where(enough, members, nearest(found.answers))


def grow(
    own: Tensor, rest: Tensor, vectors: Tensor, members: Tensor, averaged: int, closest: int
) -> Directions:
    """Directions averaged over what their members show.

    Args:
        own: white cells of the class's images, (image, cell, width).
        rest: white cells of images of other classes.
        vectors: directions as they are, (direction, width).
        members: (direction, image) of bool, at least one each; of one direction at least.
        averaged: cells of a member that count, the closest.
        closest: cells of an image that answer.
    """
    parts = [
        _grown(own, vectors[some], members[some], averaged, closest)
        for some in torch.split(torch.arange(len(vectors), device=own.device), CHUNK)
    ]
    means, answers = (torch.cat(part) for part in zip(*parts, strict=True))
    splits = best_splits(answers, responses(rest, means, closest))
    return Directions(means, torch.full_like(members[:, 0].long(), closest), splits, answers)


def _grown(
    own: Tensor, vectors: Tensor, members: Tensor, averaged: int, closest: int
) -> tuple[Tensor, Tensor]:
    """Means of what members show, and how each image answers to the mean but for itself."""
    direction, image = members.nonzero(as_tuple=True)
    count = members.sum(1)
    every = (own.flatten(0, 1) @ vectors.T).reshape(*own.shape[:2], -1)
    best = every[image, :, direction].topk(averaged, 1).indices
    shown = own[image[:, None], best].mean(1)
    total = torch.zeros_like(vectors).index_add_(0, direction, shown)
    means = total / count[:, None]
    every = (own.flatten(0, 1) @ means.T).reshape(*own.shape[:2], -1)
    answers = every.topk(closest, 1).values.mean(1).T.contiguous()
    # An image without itself answers most in one of the cells that answer most with it.
    near = every[image, :, direction].topk(min(NEAR, own.shape[1]), 1)
    itself = torch.einsum("mcw,mw->mc", own[image[:, None], near.indices], shown)
    others = (count[direction] - 1).clamp(min=1)[:, None]
    without = (count[direction][:, None] * near.values - itself) / others
    answers[direction, image] = without.topk(closest, 1).values.mean(1)
    return means, answers
