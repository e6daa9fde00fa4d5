"""Copies: near-duplicates among the images, which would be found by one half and tested on another.

Two files of one picture, saved anew or scaled, agree in their colours and tones, and cell by cell
in what they look like; and their edges lie at the same places, which tells them from pictures that
a network of few channels cannot tell apart. Different pictures may agree in one, hardly in all.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.spatial import cKDTree

from shortcut_finder.sweep.shards import read_shards, unit_cells

# Tones and colours that hardly change when a picture is saved anew or scaled, and by how much they
# do at most, in levels.
TONES = ("brightness", "contrast", "red", "green", "blue", "border_brightness", "vignette")
APART = 0.015
# Images that each is held against, those with the most like tones.
NEIGHBOURS = 8
# Mean cosine of the cells of two images from which they are one picture: saved at a quality of 60,
# or at half the size, pictures reach .84 and more; different chest X-rays with like tones .53 at
# most. Where all pictures look alike, such as in drawn sets, it is this part of the way from what a
# tenth of random pairs passes to 1.
SAME_CELLS, PART = 0.7, 0.6
RANDOM_PAIRS, PASSED = 500, 0.9
# Side of the copies whose edges are compared, in pixels, and their least correlation.
SMALL, SAME_EDGES = 32, 0.9

See = Callable[[int], np.ndarray | None]


def near_duplicates(folder: Path, table: pd.DataFrame, see: See, seed: int) -> np.ndarray:
    """Pairs of images that show one picture.

    Args:
        folder: the shards.
        table: of the records: content and properties, one row an image.
        see: what the model sees of an image, uint8 (row, column, channel); None if it is unreadable
            now. Asked only of images that agree in all else.
        seed: for the random pairs.

    Returns:
        Numbers of images, the lower first, (pair, 2): each is paired with the most like ones only.
    """
    files = pd.factorize(table["content"])[0]
    order = np.argsort(files, kind="stable")
    same = files[order][1:] == files[order][:-1]
    equal = np.stack([order[:-1][same], order[1:][same]], axis=1)
    pairs = _alike_in_tones(table)
    pairs = pairs[files[pairs[:, 0]] != files[pairs[:, 1]]]
    if len(pairs):
        by_chance = np.random.default_rng([seed, 7]).integers(0, len(table), (RANDOM_PAIRS, 2))
        by_chance = by_chance[files[by_chance[:, 0]] != files[by_chance[:, 1]]]
        cosines = _cosines(folder, np.concatenate([pairs, by_chance]))
        usual = np.quantile(cosines[len(pairs) :], PASSED) if len(by_chance) else 0.0
        least = max(SAME_CELLS, usual + PART * (1 - usual))
        pairs = _same_edges(pairs[cosines[: len(pairs)] >= least], see)
    return np.unique(np.concatenate([equal, pairs]), axis=0)


def _same_edges(pairs: np.ndarray, see: See) -> np.ndarray:
    """Those pairs of images whose edges lie at the same places, (pair, 2)."""
    seen = {number: _edges(see(number)) for number in np.unique(pairs).tolist()}
    same = [float(seen[one] @ seen[other]) >= SAME_EDGES for one, other in pairs.tolist()]
    return pairs[np.array(same, dtype=bool)]


def _edges(pixels: np.ndarray | None) -> np.ndarray:
    """Steps of a small grey copy across and down, of length one; zeros where there are none."""
    if pixels is None:
        return np.zeros(2 * SMALL * (SMALL - 1))
    small = Image.fromarray(pixels).convert("L").resize((SMALL, SMALL), Image.Resampling.BOX)
    grey = np.asarray(small).astype(float)
    steps = np.concatenate([np.diff(grey, axis=0).ravel(), np.diff(grey, axis=1).ravel()])
    return np.asarray(steps / max(float(np.linalg.norm(steps)), 1e-9))


def _alike_in_tones(table: pd.DataFrame) -> np.ndarray:
    """Pairs of images whose tones agree, the lower number first, (pair, 2)."""
    tones = table[list(TONES)].to_numpy(dtype=float)
    # Where all are the same, such as black ones, a search would end nowhere.
    tones = tones + np.random.default_rng(0).uniform(0, APART / 100, tones.shape)
    most = min(NEIGHBOURS + 1, len(tones))
    # By the largest difference of any tone; what is too far has the number of no image.
    _, found = cKDTree(tones).query(
        tones, k=[*range(1, most + 1)], p=np.inf, distance_upper_bound=APART
    )
    one = np.repeat(np.arange(len(tones)), found.shape[1])
    other = found.ravel()
    near = (other < len(tones)) & (one != other)
    return np.unique(np.sort(np.stack([one[near], other[near]], axis=1), axis=1), axis=0)


def _cosines(folder: Path, pairs: np.ndarray) -> np.ndarray:
    """Mean cosine of the cells of pairs of images, (pair,)."""
    wanted = np.unique(pairs)
    kept: dict[int, np.ndarray] = {}
    start = 0
    for shard in read_shards(folder, ["cells"]):
        for number in wanted[(wanted >= start) & (wanted < start + len(shard.table))]:
            # Every fourth cell says enough.
            kept[int(number)] = shard.arrays["cells"][number - start, ::2, ::2]
        start += len(shard.table)
    return np.array(
        [
            float((unit_cells(kept[one]) * unit_cells(kept[other])).sum(axis=-1).mean())
            for one, other in pairs.tolist()
        ]
    )
