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
from shortcut_finder.sweep.records import Records
from shortcut_finder.sweep.shards import read_shards, unit_cells
from shortcut_finder.sweep.threads import side_by_side

# Image vectors are turned at random into so many numbers, which keeps their angles.
WIDTH = 64
# Images of the class that each is held against, those with the most like vectors, and the least
# cosine: 99 in 100 pairs of versions pass it, and half of the neighbours that are none.
NEIGHBOURS, LIKE = 4, 0.6
# Mean cosine of the cells of one image with the most like cells of the other from which they may
# be versions of a picture. Of cut and mirrored photographs, .75 to .95 as wide and as high as
# the original, 99 in 100 pass .53; of other photographs of a class 95 in 100 stay below .44. Where
# all look alike, it is this part of the way from what a quarter of random pairs passes to 1.
ALIKE, PART = 0.5, 0.25
# Correlation of edges from which they are: nine in ten versions pass .9, other photographs stay
# below .7. Where simple outlines fit each other anyway (drawn lungs in noise reach .92, a quarter
# of random pairs of them .73), it is this part of the way to 1.
SAME_EDGES, EDGES_PART = 0.9, 0.8
# A class of five pictures in many versions each has a fifth of its pairs of one picture.
RANDOM_PAIRS, PASSED = 100, 0.75
# Rows and columns of cells without which nothing says how one picture lies over the other; from
# which every second one of the first is enough; and that are looked at most.
COARSE, FINE, MOST = 3, 10, 14
# Side of the pictures that are laid over each other, in pixels. On 32 outlines count for more than
# what tells one picture from another like it.
SIDE = 64
# Pairs that are looked at together; a pair whose images are in one group by then is passed over.
BLOCK = 512
# Images of a class that are held against all others of it at a time.
ROWS = 1024
# Bytes of cells that are in memory at a time.
BYTES = 512 * 2**20

See = Callable[[int], np.ndarray | None]


def cropped_copies(folder: Path, records: Records, see: See, seed: int) -> np.ndarray:
    """Pairs of images of one class that are parts of one picture.

    Args:
        folder: the shards.
        records: what the sweep kept.
        see: what the model sees of an image, uint8 (row, column, channel); None if it is unreadable
            now. Asked only of images that agree in all else.
        seed: for the vectors and the random pairs.

    Returns:
        Numbers of images, the lower first, (pair, 2): each is paired with the most like ones only.
    """
    chance, near = _candidates(folder, records.labels, seed)
    if min(len(chance), len(near)) == 0 or min(records.cell_grid) < COARSE:
        return near[:0]
    alike, maps = _held_together(folder, chance, near, _places(*records.cell_grid))
    of_chance, maps, alike = maps[: len(chance)], maps[len(chance) :], alike[len(chance) :]
    may = np.flatnonzero(~torch.isnan(maps[:, 0, 0]).numpy())
    if not len(may):
        return near[:0]
    least = _least(_edges_of(chance, of_chance, see), SAME_EDGES, EDGES_PART)
    # The most alike first: they join most of what belongs together.
    order, found = may[np.argsort(-alike[may], kind="stable")], near[:0]
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        groups = joined(None, found, len(records.labels))
        if groups is not None:
            block = block[groups[near[block, 0]] != groups[near[block, 1]]]
        same = _edges_of(near[block], maps[block], see) >= least
        found = np.concatenate([found, near[block][same]])
    return np.unique(found, axis=0)


def _candidates(folder: Path, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of images of a class: some drawn by lot, and those with the most like vectors."""
    numbers = range(labels.shape[1]) if labels.ndim == 2 else np.unique(labels[labels >= 0])
    classes = [own for number in numbers if len(own := np.flatnonzero(having(labels, number)))]
    rng = np.random.default_rng([seed, 8])
    each = -(-RANDOM_PAIRS // max(len(classes), 1))
    chance = _pairs([rng.choice(own, (each, 2)) for own in classes])
    vectors = _vectors(folder, seed)
    # Class by class, so that few images are needed at a time.
    near = [_pairs([_neighbours(vectors, own)]) for own in classes]
    return chance, np.concatenate([chance[:0], *near])


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
    pairs = []
    for start in range(0, len(mine), ROWS):
        cosines, near = (mine[start : start + ROWS] @ mine.T).topk(most)
        # Each is most like itself; a pair of that is dropped with the other pairs of one image.
        one, place = torch.nonzero(cosines >= LIKE, as_tuple=True)
        pairs.append(torch.stack([one + start, near[one, place]], dim=1))
    return own[torch.cat(pairs).numpy()]


def _held_together(
    folder: Path, chance: np.ndarray, near: np.ndarray, places: Tensor
) -> tuple[np.ndarray, Tensor]:
    """How alike the cells of pairs are, wherever they lie, and how one image lies over the other.

    Args:
        folder: the shards.
        chance: pairs that were drawn by lot.
        near: pairs that may be versions of a picture.
        places: of the cells, (row, column, 2).

    Returns:
        Of those by chance and then of the others: mean cosines, (pair,), and rough maps,
        (pair, 2, 3), NaN for others that are not alike enough to be versions.
    """
    pairs = np.concatenate([chance, near])
    alike, maps = np.zeros(len(pairs)), torch.full((len(pairs), 2, 3), torch.nan)
    least, thin = -1.0, -(-min(places.shape[:2]) // MOST)
    places = places[::thin, ::thin]
    for some, numbers, cells in _cells_of(folder, pairs, len(chance), thin):
        step = 2 if min(cells.shape[1:3]) >= FINE else 1
        used, which = np.unique(pairs[some], return_inverse=True)
        units = torch.from_numpy(unit_cells(cells[np.searchsorted(numbers, used)]))
        first, second = torch.from_numpy(which.reshape(-1, 2)).unbind(1)
        asked = units[:, ::step, ::step].flatten(1, 2)[first]
        answers = units.flatten(1, 2)[second]
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
    folder: Path, pairs: np.ndarray, first: int, thin: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of pairs with their images in order, and the cells of these.

    The shards are read once for as many pairs as `BYTES` allow; pairs come by class.

    Args:
        folder: the shards.
        pairs: of images, (pair, 2).
        first: how many pairs are the first block, by itself.
        thin: one in so many rows and columns is taken.

    Returns:
        Numbers of the pairs, of all images at hand, and (image, row, column, channel).
    """
    one = next(iter(read_shards(folder, ["cells"]))).arrays["cells"][0, ::thin, ::thin]
    # Two images a pair at most.
    most = max(BLOCK, first, BYTES // (2 * one.nbytes))
    for start in range(0, len(pairs), most):
        stop = min(start + most, len(pairs))
        wanted, kept, seen = np.unique(pairs[start:stop]), [], 0
        for shard in read_shards(folder, ["cells"]):
            here = wanted[(wanted >= seen) & (wanted < seen + len(shard.table))] - seen
            kept.append(shard.arrays["cells"][here, ::thin, ::thin])
            seen += len(shard.table)
        cells = np.concatenate(kept)
        edges = [start, *range(first if start == 0 else start + BLOCK, stop, BLOCK), stop]
        for before, after in itertools.pairwise(edges):
            yield np.arange(before, after), wanted, cells


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
