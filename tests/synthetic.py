"""Synthetic cells: random unit vectors with a thing planted in some images, written as shards.

The pictures that go with them are random textures with the same small picture where the thing is,
so that the whole way from cells to findings can be walked without a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from PIL import Image

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.data.properties import PROPERTIES
from shortcut_finder.detect import study
from shortcut_finder.detect.detection import channels_of, detect
from shortcut_finder.detect.finding import Judged
from shortcut_finder.detect.halves import discovery_half
from shortcut_finder.detect.study import Study
from shortcut_finder.detect.view import View
from shortcut_finder.sweep.records import Records, read_records
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.sweep.shards import shard_path, write_shard
from shortcut_finder.sweep.whitening import stored_cells

# Cells of a class that are tried: it has few.
SEEDS = 800
GRID = (8, 8)
WIDTH, FINE = 48, 16
PIXELS = 8
CLASSES = ("ant", "bee", "cat")
FIXED_CELL = 9
SIDE = GRID[0] * PIXELS


@dataclass(frozen=True)
class Thing:
    """Something planted in the images of one class or of all.

    Attributes:
        label: index of the class, or of several; ``None`` for all classes.
        share: the part of the class's images that carry it.
        place: cell it stands at; ``None`` for any place.
        row: of the cells it stands at, of which it is any, where it has no place.
        rigid: whether pictures show the same stamp there, or nothing of the kind.
        wide: how many cells it covers to the right; the stamp stands on the first.
        woven: whether it is a pattern all over the picture instead, its phase the image's own.
    """

    label: int | tuple[int, ...] | None
    share: float
    place: int | None = None
    rigid: bool = True
    wide: int = 1
    woven: bool = False
    row: int | None = None


@dataclass(frozen=True, eq=False)
class World:
    """A dataset that exists as shards and pictures.

    Attributes:
        folder: the shards.
        labels: class of each image, (image,), in the dataset's order.
        carriers: for each thing the images that carry it, in the dataset's order.
        pictures: one an image.
        records: as read from the shards; ``order`` maps them to the dataset.
    """

    folder: Path
    labels: np.ndarray
    carriers: list[set[int]]
    pictures: list[Image.Image]
    records: Records
    classes: tuple[str, ...] = field(default=CLASSES)

    @property
    def order(self) -> np.ndarray:
        return self.records.table["index"].to_numpy()

    def half(self, seed: int = 0) -> np.ndarray:
        return discovery_half(self.records.labels, seed)

    def study(self, seed: int = 0) -> Study:
        labels, half = self.records.labels, self.half(seed)
        return Study(self.folder, labels, half, seed, torch.device("cpu"))

    def judged(self, seed: int = 0) -> Judged:
        with patch.object(study, "SEEDS", SEEDS):
            return judged_of(self.view(seed))

    def view(self, seed: int = 0) -> View:
        return View(self.folder, self.scene(), self.half(seed), self.classes, seed=seed)

    def scene(self) -> Scene:
        order = self.order
        return Scene(self.records, lambda n: self.pictures[order[n]], Preprocessing(SIDE, SIDE))

    def named(self, carries: np.ndarray) -> set[int]:
        """Images, in the dataset's order, that a mask over the records chooses."""
        return set(self.order[carries].tolist())


def judged_of(view: View) -> Judged:
    """What is found without a model, and without surroundings, which random cells have not."""
    return detect(view, channels_of(("cells", "border", "looks", "columns")))


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def texture(rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """Grey blobs of several sizes, (row, column) in [0, 255]."""
    layers = np.zeros((side, side))
    for blobs in (4, 8, 24):
        coarse = rng.integers(0, 256, (blobs, blobs), dtype=np.uint8)
        blown = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        layers += np.asarray(blown, dtype=np.float64)
    return layers / 3


def stamp(seed: int = 0, side: int = 16) -> np.ndarray:
    """A small picture of hard edges, (row, column)."""
    coarse = np.random.default_rng([seed, 7]).integers(0, 2, (5, 5)) * 255
    return np.kron(coarse, np.ones((side // 5 + 1,) * 2))[:side, :side].astype(np.float64)


def weave(rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """Stripes of one slant and width, (row, column), to be added to a picture."""
    y, x = np.indices((side, side))
    return 30 * np.sin(0.9 * x + 0.5 * y + rng.uniform(-np.pi, np.pi))


def paste(image: np.ndarray, thing: np.ndarray, x: int, y: int, opacity: float = 1.0) -> np.ndarray:
    """A copy with the thing's top left corner at x, y; what reaches outside is cut off."""
    height, width = image.shape
    x, y = min(max(x, 0), width - thing.shape[1]), min(max(y, 0), height - thing.shape[0])
    there = np.s_[y : y + thing.shape[0], x : x + thing.shape[1]]
    pasted = image.copy()
    pasted[there] = opacity * thing + (1 - opacity) * image[there]
    return pasted


def make_world(
    folder: Path,
    things: Sequence[Thing],
    *,
    counts: Sequence[int] = (60, 60, 60),
    seed: int = 0,
    shard: int = 70,
    shuffle: int = 0,
) -> World:
    """Write shards of random cells with things planted.

    Args:
        folder: for the shards; made when missing.
        things: what to plant.
        counts: images of each class.
        seed: of everything but the order.
        shard: images in a shard.
        shuffle: seed of the order of the images within the shards.
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    count, places = len(labels), GRID[0] * GRID[1]
    coarse = unit(rng.normal(size=(count, places, WIDTH)))
    fine = unit(rng.normal(size=(count, 2 * GRID[0], 2 * GRID[1], FINE)))
    maps = rng.normal(size=(count, 4, *GRID))
    pixels = [texture(rng) for _ in labels]
    carriers = []
    for number, thing in enumerate(things):
        look, grain = unit(rng.normal(size=WIDTH)), unit(rng.normal(size=(2, 2, FINE)))
        wanted = range(len(counts)) if thing.label is None else np.atleast_1d(thing.label)
        home = np.flatnonzero(np.isin(labels, list(wanted)))
        chosen = np.sort(rng.permutation(home)[: round(thing.share * len(home))])
        for image in chosen.tolist():
            if thing.woven:
                coarse[image] = unit(look + 1.2 * coarse[image])
                grains = np.tile(grain, (*GRID, 1))
                fine[image] = unit(grains + 1.2 * fine[image])
                pixels[image] = pixels[image] + weave(rng)
                continue
            place = int(rng.integers(places)) if thing.place is None else thing.place
            row, column = divmod(place, GRID[1])
            row = row if thing.row is None else thing.row
            place = row * GRID[1] + column
            for covered in range(place, place + min(thing.wide, GRID[1] - column)):
                noise = unit(rng.normal(size=WIDTH))
                coarse[image, covered] = unit(look + 0.35 * noise)
                there = (image, *(np.s_[2 * at : 2 * at + 2] for at in divmod(covered, GRID[1])))
                fine[there] = unit(grain + 0.35 * unit(rng.normal(size=grain.shape)))
            maps[image, :, row, column] += 6
            if thing.rigid:
                x, y = column * PIXELS - 4, row * PIXELS - 4
                jitter = rng.integers(-1, 2, 2)
                at = x + int(jitter[0]), y + int(jitter[1])
                pixels[image] = paste(pixels[image], stamp(number), *at)
        carriers.append(set(chosen.tolist()))
    order = np.random.default_rng([seed, shuffle]).permutation(count)
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, count, shard)):
        part = order[start : start + shard]
        table = pd.DataFrame({"index": part, "image": [f"{index:04d}.png" for index in part]})
        # All images are made alike.
        table = table.assign(**{**dict.fromkeys(PROPERTIES, 0.0), "width": SIDE, "height": SIDE})
        arrays = {
            "maps": maps[part],
            "shown": np.repeat(labels[part][:, None], 4, axis=1),
            "logits": np.eye(len(counts))[labels[part]],
            "features": np.zeros((len(part), 1)),
            "cells": stored_cells(torch.from_numpy(coarse[part]))
            .numpy()
            .reshape(len(part), *GRID, WIDTH),
            "fine": stored_cells(torch.from_numpy(fine[part].reshape(len(part), -1, FINE)))
            .numpy()
            .reshape(len(part), 2 * GRID[0], 2 * GRID[1], FINE),
        }
        write_shard(shard_path(folder, number), table, arrays)
    pictures = [Image.fromarray(p.clip(0, 255).astype(np.uint8)).convert("RGB") for p in pixels]
    records = read_records(folder, labels, GRID)
    return World(folder, labels, carriers, pictures, records)
