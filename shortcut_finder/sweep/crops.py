"""Crops: images of a class that are parts of one picture, cut, scaled, turned or mirrored.

Many sets hold several versions of each picture, made to have more of them. Found by one half and
tested on the other, whatever such a picture shows would pass for something that a class repeats.
The image vector of a network says which images may be versions of each other, their cells say how
one may lie over the other, and the edges of their pixels whether it does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from shortcut_finder.data.groups import joined
from shortcut_finder.data.membership import having
from shortcut_finder.pixels.registration import edge_likeness, rough_maps
from shortcut_finder.sweep.shards import read_shards, unit_cells
from shortcut_finder.sweep.threads import side_by_side

# Image vectors are turned at random into so many numbers, which keeps their angles.
WIDTH = 64
# Images of the class that each is held against, those with the most like vectors.
NEIGHBOURS = 4
# Mean cosine of the cells of one image with the most like cells of the other from which they may
# be versions of a picture. Of cut and mirrored photographs, two thirds to nine tenths as wide as
# the original, 98 in 100 pass .53; of other photographs of a class 95 in 100 stay below .44. Where
# all look alike, it is this part of the way from what a quarter of random pairs passes to 1.
ALIKE, PART = 0.5, 0.25
# Correlation of edges from which they are: nine in ten versions pass .9, other photographs stay
# below .7. Where simple outlines fit each other anyway, it is this part of the way to 1.
SAME_EDGES, EDGES_PART = 0.9, 0.6
# A class of five pictures in many versions each has a fifth of its pairs of one picture.
RANDOM_PAIRS, PASSED = 100, 0.75
# Rows and columns of cells without which nothing says how one picture lies over the other, and from
# which there are more than enough.
COARSE, FINE = 3, 6
# Side of the pictures that are laid over each other, in pixels.
SIDE = 32
# Pairs that are looked at together; a pair whose images are in one group by then is passed over.
BLOCK = 512
# Images of a class that are held against all others of it at a time.
ROWS = 1024
# Bytes of cells that are in memory at a time.
BYTES = 512 * 2**20

See = Callable[[int], np.ndarray | None]


def cropped_copies(folder: Path, labels: np.ndarray, see: See, seed: int) -> np.ndarray:
    """Pairs of images of one class that are parts of one picture.

    Args:
        folder: the shards.
        labels: class of each image, (image,), or membership.
        see: what the model sees of an image, uint8 (row, column, channel); None if it is unreadable
            now. Asked only of images that agree in all else.
        seed: for the vectors and the random pairs.

    Returns:
        Numbers of images, the lower first, (pair, 2): each is paired with the most like ones only.
    """
    numbers = range(labels.shape[1]) if labels.ndim == 2 else np.unique(labels[labels >= 0])
    classes = [np.flatnonzero(having(labels, number)) for number in numbers]
    vectors = _vectors(folder, seed)
    # Class by class, so that few images are needed at a time.
    near = np.concatenate([_pairs([_neighbours(vectors, own)]) for own in classes])
    rng = np.random.default_rng([seed, 8])
    each = -(-RANDOM_PAIRS // max(len(classes), 1))
    chance = _pairs([rng.choice(own, (each, 2)) for own in classes if len(own)])
    if not len(near) or not len(chance):
        return near[:0]
    if min(next(iter(read_shards(folder, ["cells"]))).arrays["cells"].shape[1:3]) < COARSE:
        return near[:0]
    alike, maps = _held_together(folder, chance, near)
    may = np.flatnonzero(~torch.isnan(maps[len(chance) :, 0, 0]).numpy())
    if not len(may):
        return near[:0]
    usual = _edges_of(chance, maps[: len(chance)], see)
    least = _least(usual, SAME_EDGES, EDGES_PART)
    order = may[np.argsort(-alike[len(chance) :][may], kind="stable")]
    maps, found = maps[len(chance) :], near[:0]
    for start in range(0, len(order), BLOCK):
        some = order[start : start + BLOCK]
        groups = joined(None, found, len(labels))
        if groups is not None:
            some = some[groups[near[some, 0]] != groups[near[some, 1]]]
        same = _edges_of(near[some], maps[some], see) >= least
        found = np.concatenate([found, near[some][same]])
    return np.unique(found, axis=0)


def _least(by_chance: np.ndarray, least: float, part: float) -> float:
    """What two versions of a picture must reach, given what pairs drawn by lot do."""
    usual = float(np.quantile(by_chance, PASSED))
    return max(least, usual + part * (1 - usual))


def _pairs(found: list[np.ndarray]) -> np.ndarray:
    """Different pairs of different images, the lower number first, (pair, 2)."""
    pairs = np.concatenate([np.zeros((0, 2), dtype=np.int64), *found])
    return np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)


def _vectors(folder: Path, seed: int) -> np.ndarray:
    """Image vectors less their mean, turned into few numbers, of length one, (image, number)."""
    blocks = [shard.arrays["features"] for shard in read_shards(folder, ["features"])]
    channels = blocks[0].shape[1]
    turned = np.random.default_rng([seed, 9]).standard_normal((channels, WIDTH)).astype(np.float32)
    found = np.concatenate([block.astype(np.float32) @ turned for block in blocks])
    found -= found.mean(axis=0)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)


def _neighbours(vectors: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Each image of a class with those of the most like vectors, (pair, 2)."""
    mine = torch.from_numpy(vectors[own])
    most = min(NEIGHBOURS + 1, len(own))
    # Each is most like itself; a pair of that is dropped with the other pairs of one image.
    rows = (mine[start : start + ROWS] for start in range(0, len(mine), ROWS))
    near = [(some @ mine.T).topk(most).indices for some in rows]
    others = torch.cat(near).numpy() if near else np.zeros((0, most), dtype=np.int64)
    return np.stack([np.repeat(own, most), own[others.ravel()]], axis=1)


def _held_together(folder: Path, chance: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, Tensor]:
    """How alike the cells of pairs are, wherever they lie, and how one image lies over the other.

    Args:
        folder: the shards.
        chance: pairs that were drawn by lot.
        near: pairs that may be versions of a picture.

    Returns:
        Of those by chance and then of the others: mean cosines, (pair,), and rough maps,
        (pair, 2, 3), NaN for others that are not alike enough to be versions.
    """
    pairs = np.concatenate([chance, near])
    alike, maps = np.zeros(len(pairs)), torch.full((len(pairs), 2, 3), torch.nan)
    least = -1.0
    for some, numbers, cells in _cells_of(folder, pairs, len(chance)):
        places = _places(*cells.shape[1:3])
        # Of a fine grid every fourth cell of the first says enough, wherever it is in the second.
        step = 2 if min(cells.shape[1:3]) >= FINE else 1
        first, second = (cells[np.searchsorted(numbers, pairs[some, side])] for side in (0, 1))
        asked = torch.from_numpy(unit_cells(first[:, ::step, ::step])).flatten(1, 2)
        answers = torch.from_numpy(unit_cells(second)).flatten(1, 2)
        weights, best = (asked @ answers.transpose(1, 2)).max(dim=2)
        alike[some] = weights.mean(dim=1).numpy()
        may = torch.from_numpy(alike[some] >= least)
        here = places[::step, ::step].reshape(-1, 2)
        maps[some[may.numpy()]] = rough_maps(here, places.reshape(-1, 2)[best[may]], weights[may])
        if some[-1] + 1 == len(chance):
            least = _least(alike[: len(chance)], ALIKE, PART)
    return alike, maps


def _places(rows: int, columns: int) -> Tensor:
    """Middles of cells, x and y from -1 to 1, (row, column, 2)."""
    down, across = ((torch.arange(count) + 0.5) / count * 2 - 1 for count in (rows, columns))
    return torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)


def _cells_of(
    folder: Path, pairs: np.ndarray, first: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of pairs with their images in order, and the cells of these.

    The shards are read once for as many pairs as `BYTES` allow; pairs come by class.

    Args:
        folder: the shards.
        pairs: of images, (pair, 2).
        first: how many pairs are the first block, by itself.

    Returns:
        Numbers of the pairs, of all images at hand, and (image, row, column, channel).
    """
    shape = next(iter(read_shards(folder, ["cells"]))).arrays["cells"][0]
    # Two images a pair at most.
    most = max(BLOCK, BYTES // (2 * shape.nbytes))
    for start in range(0, len(pairs), most):
        stop = min(start + most, len(pairs))
        wanted, kept, seen = np.unique(pairs[start:stop]), [], 0
        for shard in read_shards(folder, ["cells"]):
            here = wanted[(wanted >= seen) & (wanted < seen + len(shard.table))] - seen
            kept.append(shard.arrays["cells"][here])
            seen += len(shard.table)
        cells = np.concatenate(kept)
        edges = [start, *range(first if start == 0 else start + BLOCK, stop, BLOCK), stop]
        for one, after in itertools.pairwise(edges):
            yield np.arange(one, after), wanted, cells


def _edges_of(pairs: np.ndarray, maps: Tensor, see: See) -> np.ndarray:
    """How alike the edges of pairs are where they overlap, (pair,)."""
    numbers = np.unique(pairs).tolist()
    copies = side_by_side(lambda number: _small(see(number)), numbers)
    small = dict(zip(numbers, copies, strict=True))
    sides = ([small[number] for number in pairs[:, side].tolist()] for side in (0, 1))
    ones, others = (torch.from_numpy(np.reshape(side, (-1, SIDE, SIDE))) for side in sides)
    return edge_likeness(ones, others, maps).numpy()


def _small(pixels: np.ndarray | None) -> np.ndarray:
    """A small grey copy, (row, column) float32; zeros where there is no picture."""
    if pixels is None:
        return np.zeros((SIDE, SIDE), dtype=np.float32)
    small = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)
