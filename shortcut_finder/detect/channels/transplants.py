"""Transplants: the hottest parts of images, pasted onto images of other classes.

What a model has learned to take for a class turns other images into it wherever it stands, and far
more of them than parts of objects do (Chou et al. 2020, SentiNet). So these parts show what a cue
looks like where neither features nor maps tell it from the object. Only images of one half take
part; what is found is tested on the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from shortcut_finder.data.regions import cell_centres
from shortcut_finder.detect.channels.parts import Parts
from shortcut_finder.pixels.motifs import cut_out
from shortcut_finder.pixels.peaks import peaks
from shortcut_finder.stats.evidence import usual_of_others
from shortcut_finder.stats.experiments import answers_for
from shortcut_finder.sweep.lab import BATCH, Lab, Predict
from shortcut_finder.sweep.scene import Scene

# Side of a part, as part of the frame's, and how many are taken from an image.
SIDE, PLACES = 0.25, 2
# Images that a part is pasted onto at first, and further ones for the most promising part of them.
FIRST, FURTHER, PROMISING = 2, 6, 1 / 4
# Images of other classes that parts are pasted onto, a class.
STRANGERS = 24
# Images of a class that parts are taken from: at least, at most, and in between as many as all
# passes of the model for one half allow: so many, or this part of the images of the dataset where
# that is more.
FEWEST, MOST = 12, 100
PASSES, BUDGET = 1500, 0.15
# Part of these that are the images the model is surest of: a rare cue that it relies on is in them.
SUREST = 0.5
# A part is potent when it turns so many images more than all but this share of the parts of the
# usual other class, and that many at least.
USUAL, BEYOND, LEAST = 0.95, 0.125, 0.3
# Parts whose pastes are in memory at a time.
AT_ONCE = 32


def transplant(
    scene: Scene,
    half: np.ndarray,
    predict: Predict,
    *,
    batch: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Parts:
    """Paste the hottest parts of images of every class onto images of the others.

    Args:
        scene: what the sweep kept, and the pictures behind it.
        half: images that parts are taken from and pasted onto, (image,) of bool.
        predict: logits, (image, output), of pixels, uint8 (image, row, column, channel).
        batch: images a forward pass.
        seed: for who takes part, and for the places.
        progress: show a bar on stderr.
    """
    records, lab = scene.records, Lab(scene, predict, batch or BATCH)
    classes = np.unique(records.labels)
    passes = PLACES * (FIRST + PROMISING * FURTHER)
    afforded = max(PASSES, BUDGET * len(records.labels)) / (max(len(classes), 1) * passes)
    count = int(np.clip(afforded, FEWEST, MOST))
    none = np.zeros(0, dtype=np.int64)
    made: list[tuple[np.ndarray, ...]] = [(none, none, none, np.zeros(0), np.zeros(0))]
    for label in tqdm(classes, desc="transplant", unit=" classes", disable=not progress):
        rng = np.random.default_rng([seed, 5, int(label)])
        own = rng.permutation(np.flatnonzero(half & (records.labels == label)))
        output = int(records.outputs[own[0]]) if len(own) else 0
        others = rng.permutation(np.flatnonzero(half & (records.labels != label)))
        chosen = records.logits[others].argmax(axis=1) == output
        strangers = lab.readable(others[~chosen], STRANGERS)
        if len(strangers):
            sure = answers_for(records.logits[own], output).log_odds
            donors = lab.readable(_surest_first(own, sure, int(SUREST * count)), count)
            if len(donors):
                made.append(_pasted(donors, strangers, output, lab, rng))
        lab.forget()
    images, labels, cells, turned, gain = map(np.concatenate, zip(*made, strict=True))
    return Parts(images, labels, cells, turned, gain, potent_parts(labels, turned))


def _surest_first(images: np.ndarray, sure: np.ndarray, count: int) -> np.ndarray:
    """So many images that the model is surest of, and after them the others as they come."""
    surest = np.argsort(-sure, kind="stable")[:count]
    return np.concatenate([images[surest], np.delete(images, surest)])


def potent_parts(labels: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """Which parts turn more images than the parts of the usual other class do, (part,) of bool.

    Args:
        labels: class of each part, (part,).
        turned: share of images that it turns, (part,).

    Example:
        >>> potent_parts(np.array([0, 0, 1, 1]), np.array([0.9, 0.1, 0.2, 0.0])).tolist()
        [True, False, False, False]
    """
    usual = {int(n): float(np.quantile(turned[labels == n], USUAL)) for n in np.unique(labels)}
    potent = np.zeros(len(labels), dtype=bool)
    for label in usual:
        limit = usual_of_others(usual, label, alone=0.0) + BEYOND
        own = labels == label
        potent[own] = turned[own] >= max(limit, LEAST)
    return potent


def _pasted(
    donors: np.ndarray, strangers: np.ndarray, output: int, lab: Lab, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """Images, labels, cells, shares of turned images and gains of the parts of some images."""
    records, columns = lab.records, lab.records.cell_grid[1]
    reach = tuple(int(SIDE * length / 2) for length in records.cell_grid)
    places = [
        (int(image), row * columns + column)
        for image, heat in zip(donors, records.cell_maps(donors), strict=True)
        for row, column in peaks(heat, PLACES, (reach[0], reach[1]))
    ]
    images, cells = (np.array(column, dtype=np.int64) for column in zip(*places, strict=True))
    turned, gain = _trials(places, FIRST, strangers, output, lab, rng)
    best = np.argsort(-gain.sum(axis=1), kind="stable")[: int(np.ceil(PROMISING * len(places)))]
    more = _trials([places[n] for n in best], FURTHER, strangers, output, lab, rng)
    share, rise = turned.mean(axis=1), gain.mean(axis=1)
    share[best] = np.hstack([turned[best], more[0]]).mean(axis=1)
    rise[best] = np.hstack([gain[best], more[1]]).mean(axis=1)
    return images, records.labels[images], cells, share, rise


def _trials(
    places: Sequence[tuple[int, int]],
    count: int,
    strangers: np.ndarray,
    output: int,
    lab: Lab,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each paste turns its image, and how far it raises the log-odds, (part, image)."""
    turned, gain = [], []
    for start in range(0, len(places), AT_ONCE):
        block = places[start : start + AT_ONCE]
        onto = rng.choice(strangers, (len(block), count))
        pixels = [
            _onto(lab.pixels(int(stranger)), _part(image, cell, lab), rng)
            for (image, cell), row in zip(block, onto, strict=True)
            for stranger in row
        ]
        after, before = lab.answers(pixels, output), lab.now(onto.ravel(), output)
        turned.append(after.chosen.reshape(onto.shape))
        gain.append((after.log_odds - before.log_odds).reshape(onto.shape))
    return np.concatenate(turned), np.concatenate(gain)


def _part(image: int, cell: int, lab: Lab) -> np.ndarray:
    """The pixels around a cell, as much of the square as can be within the image."""
    pixels = lab.pixels(image)
    rows, columns = (max(1, round(SIDE * length)) for length in pixels.shape[:2])
    centre = cell_centres(np.array([cell]), lab.records.cell_grid)[0]
    return cut_out(pixels, centre, (rows, columns))


def _onto(pixels: np.ndarray, part: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image with a part somewhere on it."""
    pasted = pixels.copy()
    top = int(rng.integers(0, pixels.shape[0] - part.shape[0] + 1))
    left = int(rng.integers(0, pixels.shape[1] - part.shape[1] + 1))
    pasted[top : top + part.shape[0], left : left + part.shape[1]] = part
    return pasted
