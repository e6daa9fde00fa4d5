"""Sweep: every image once through the model, written as shards while it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.membership import HAS
from shortcut_finder.maps.engine import MapEngine
from shortcut_finder.maps.plan import MapBatch, MapPlan
from shortcut_finder.model.classifier import Classifier
from shortcut_finder.schema import to_json, write_whole
from shortcut_finder.settings import Settings
from shortcut_finder.sweep.claim import claim
from shortcut_finder.sweep.decoding import Decoded, decoded_batches
from shortcut_finder.sweep.mending import begun, mend, read_list
from shortcut_finder.sweep.shards import plan_of, shard_path, write_shard
from shortcut_finder.sweep.whitening import (
    FINE_WIDTH,
    Whitenings,
    fit_whitening,
    load_whitenings,
    save_whitenings,
    stored_cells,
)

# Images in a shard: what is lost at most when a scan is stopped, and what whitening is learned on.
SHARD = 256


@dataclass(frozen=True, eq=False)
class Sweep:
    """A finished sweep.

    Attributes:
        folder: the shards.
        plan: how maps were drawn.
        unreadable: ``image, error`` of what could not be read.
        seconds: of this sweep, without what an earlier one had done.
        swept: images that this sweep looked at.
    """

    folder: Path
    plan: Mapping[str, Any]
    unreadable: pd.DataFrame
    seconds: float
    swept: int


# Sweeps parts of a dataset elsewhere, by number of their shard, and says how many images are done.
Spread = Callable[
    [ImageDataset, Settings, Path, Mapping[int, np.ndarray], Callable[[int], Any]], None
]


def sweep(
    dataset: ImageDataset,
    classifier: Classifier,
    settings: Settings,
    folder: Path,
    *,
    progress: bool = True,
    spread: Spread | None = None,
) -> Sweep:
    """Look at every image once, or at those that an earlier sweep into this folder left.

    Images are taken in an order drawn with the seed, so that the first shard is a fair sample
    to learn the whitening on.

    Args:
        dataset: the images and their labels.
        classifier: the model; it is left as found.
        settings: of the scan.
        folder: for the shards; made if missing.
        progress: show a bar on stderr.
        spread: sweeps the parts in other processes, see `shortcut_finder.sweep.actors`.

    Raises:
        RunError: the folder holds the shards of another scan.
    """
    order = sweep_order(dataset, settings)
    outputs = outputs_of(dataset, classifier)
    settings = claim(folder, dataset, classifier, settings)
    mend(folder, dataset)
    parts = [order[start : start + SHARD] for start in range(0, len(order), SHARD)]
    missing = [n for n in range(len(parts)) if not shard_path(folder, n).exists()]
    started = time.perf_counter()
    todo = {number: parts[number] for number in missing}
    swept = sum(map(len, todo.values()))
    with tqdm(
        total=len(order),
        initial=len(order) - swept,
        unit=" images",
        desc="sweep",
        disable=not progress,
    ) as bar:
        if spread is not None:
            spread(dataset, settings, folder, todo, bar.update)
        else:
            # Decode processes start before the engine, which keeps memory that they had better
            # give back.
            batches = decoded_batches(dataset, classifier, list(todo.values()), settings)
            with MapEngine(classifier, settings) as engine:
                looker = Looker(engine, dataset, torch.from_numpy(outputs), folder, settings.seed)
                sweep_parts(batches, todo, looker, bar.update)
    plan = plan_of(folder) or {}
    return Sweep(
        folder=folder,
        plan=plan.get("maps", {}),
        unreadable=_unreadable(folder),
        seconds=time.perf_counter() - started,
        swept=swept,
    )


def outputs_of(dataset: ImageDataset, classifier: Classifier) -> np.ndarray:
    """Output of the model for each image's label, (image,), or (image, label) with -1 for none."""
    outputs = classifier.class_index(dataset.classes)
    if not dataset.several:
        return outputs[dataset.labels]
    has = dataset.labels == HAS
    # Those that an image has come first, in the order of the classes.
    order = np.argsort(~has, axis=1, kind="stable")[:, : int(has.sum(axis=1).max())]
    return np.where(np.take_along_axis(has, order, axis=1), outputs[order], -1)


def sweep_order(dataset: ImageDataset, settings: Settings) -> np.ndarray:
    """Positions in the dataset in the order they are looked at; at most ``settings.limit``.

    Where images are read by the block, those of one block follow each other, in the order of the
    blocks' first images; all but the first shard, which must be a fair sample.
    """
    order = np.random.default_rng(settings.seed).permutation(len(dataset.images))[: settings.limit]
    block = getattr(dataset.source, "block", None)
    if block is None or len(order) <= SHARD or block(dataset.images[order[0]]) is None:
        return order
    rest = pd.Series([block(dataset.images[position]) for position in order[SHARD:]])
    ranks = pd.factorize(rest)[0]
    return np.concatenate([order[:SHARD], order[SHARD:][np.argsort(ranks, kind="stable")]])


class Looker:
    """Turns decoded batches into what a shard keeps."""

    def __init__(
        self,
        engine: MapEngine,
        dataset: ImageDataset,
        outputs: torch.Tensor,
        folder: Path,
        seed: int,
    ) -> None:
        # What is touched from now on may not be what was looked at.
        self.since = time.time()
        self.engine = engine
        self.dataset = dataset
        self.outputs = outputs
        self.folder = folder
        self.seed = seed
        self.whitening: Whitenings | None = None
        if (folder / "whitening.npz").exists():
            self._whiten_by(load_whitenings(folder / "whitening.npz"))

    def look(self, batch: Sequence[Decoded]) -> tuple[pd.DataFrame, dict[str, np.ndarray]] | None:
        """Rows and arrays of the readable images of a batch; ``None`` when there is none.

        Images that the model has no numbers for get an ``error``.
        """
        readable = [item for item in batch if item.pixels is not None]
        if not readable:
            return None
        pixels = torch.from_numpy(np.stack([i.pixels for i in batch if i.pixels is not None]))
        indices = [item.index for item in readable]
        kept = _kept(self.engine.run(pixels, self.outputs[indices], self.stored))
        rows = pd.DataFrame([item.facts for item in readable])
        rows.insert(0, "index", np.asarray(indices, dtype=np.int64))
        rows.insert(1, "image", [self.dataset.images[index] for index in indices])
        numbers = ~(np.isnan(kept["logits"]).any(axis=1) | np.isnan(kept["maps"]).any((1, 2, 3)))
        if numbers.all():
            return rows, kept
        for item, number in zip(readable, numbers, strict=True):
            if not number:
                item.facts["error"] = "what the model says of it is not a number (NaN)"
        if not numbers.any():
            return None
        return rows[numbers], {name: values[numbers] for name, values in kept.items()}

    def stored(self, cells: torch.Tensor, fine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cells and fine cells as a shard keeps them; raw until there is a whitening."""
        if self.whitening is None:
            return cells, fine
        white = self.whitening
        return stored_cells(white.cells(cells)), stored_cells(white.fine(fine))

    def write(self, number: int, rows: pd.DataFrame, arrays: dict[str, np.ndarray]) -> None:
        """Write one shard, learning the whitening first where there is none yet."""
        if self.whitening is None:
            whitening = Whitenings(
                fit_whitening(arrays["cells"], self.seed),
                fit_whitening(arrays["fine"], self.seed, FINE_WIDTH),
            )
            save_whitenings(self.folder / "whitening.npz", whitening)
            for name, white in (("cells", whitening.cells), ("fine", whitening.fine)):
                arrays[name] = stored_cells(white(torch.from_numpy(arrays[name]))).numpy()
            self._whiten_by(whitening)
        path = shard_path(self.folder, number)
        write_shard(path, rows, arrays)
        begun(path, self.since)

    def _whiten_by(self, whitening: Whitenings) -> None:
        self.whitening = whitening.to(self.engine.classifier.device)

    def note_plan(self) -> None:
        """Keep how maps are drawn beside the shards."""
        plan = plan_of(self.folder) or {}
        # The engine may leave a tier in mid-sweep; the plan says how it ended.
        now = {**plan, "maps": _plan_card(self.engine.plan)}
        if now == plan:
            return
        try:
            write_whole(self.folder / "plan.json", to_json(now))
        except FileNotFoundError:
            # Actors that begin together note the same; another one has just renamed the file.
            if not (self.folder / "plan.json").exists():
                raise


def sweep_parts(
    batches: Iterator[list[Decoded]],
    parts: Mapping[int, np.ndarray],
    looker: Looker,
    advance: Callable[[int], Any],
) -> None:
    """Group batches into shards; a shard is written as soon as its last image was looked at.

    Args:
        batches: of all parts in order, see `decoded_batches`.
        parts: positions in the dataset, by number of their shard.
        looker: knows the model, and where shards go.
        advance: hears how many images are done with each batch.
    """
    for number, part in parts.items():
        rows, arrays, unreadable, seen = [], [], [], 0
        while seen < len(part):
            batch = next(batches)
            seen += len(batch)
            looked = looker.look(batch)
            if looked is not None:
                rows.append(looked[0])
                arrays.append(looked[1])
            unreadable += [
                {"image": looker.dataset.images[item.index], "error": item.facts["error"]}
                for item in batch
                if "error" in item.facts
            ]
            advance(len(batch))
        write_whole(_unreadable_path(looker.folder, number), to_json(unreadable))
        if rows:
            looker.note_plan()
            stacked = {name: np.concatenate([a[name] for a in arrays]) for name in arrays[0]}
            looker.write(number, pd.concat(rows, ignore_index=True), stacked)


def _kept(looked: MapBatch) -> dict[str, np.ndarray]:
    """What a shard keeps of a batch."""
    return {
        "maps": _halves(looked.maps),
        "shown": looked.shown.numpy().astype(np.int32),
        "logits": _halves(looked.logits),
        "features": _halves(looked.features),
        "cells": looked.cells.numpy(),
        "fine": looked.fine.numpy(),
    }


def _halves(values: torch.Tensor) -> np.ndarray:
    """Half precision; what passes its range becomes its largest number, not infinity."""
    largest = float(np.finfo(np.float16).max)
    return values.clamp(-largest, largest).numpy().astype(np.float16)


def _unreadable_path(folder: Path, number: int) -> Path:
    return folder / f"unreadable-{number:06d}.json"


def _unreadable(folder: Path) -> pd.DataFrame:
    """``image, error`` of every image that could not be read, sorted by name."""
    rows = [row for path in sorted(folder.glob("unreadable-*.json")) for row in read_list(path)]
    table = pd.DataFrame(rows, columns=["image", "error"])
    return table.sort_values("image", ignore_index=True)


def _plan_card(plan: MapPlan) -> dict[str, Any]:
    return {
        "method": plan.method,
        "tier": plan.tier,
        "layer": plan.layer,
        "grid": list(plan.grid),
        "precision": plan.precision,
        "cell_layer": plan.cell_layer,
        "cell_grid": list(plan.cell_grid),
        "cell_channels": plan.cell_channels,
        "fine_layer": plan.fine_layer,
        "fine_channels": plan.fine_channels,
        "notes": list(plan.notes),
    }
