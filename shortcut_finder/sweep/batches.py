"""Sweep: every image once through the model, written as shards while it goes."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.membership import HAS
from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.data.properties import PROPERTIES, measure
from shortcut_finder.errors import RunError, UnreadableImage
from shortcut_finder.maps.engine import MapEngine
from shortcut_finder.maps.memory import settle_memory
from shortcut_finder.maps.plan import MapBatch, MapPlan
from shortcut_finder.model.classifier import Classifier
from shortcut_finder.schema import product_version, to_json, write_whole
from shortcut_finder.settings import Settings
from shortcut_finder.sweep import guard
from shortcut_finder.sweep.mending import begun, difference, mend, read_list
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
# Images of a forward pass. What is too much for the memory of a GPU is halved until it fits; on a
# CPU it would be too late, so images larger than usual are fewer from the start.
BATCH, BATCH_ON_CUDA = 32, 128
USUAL_SIDE = 224
# Below this many images, one decode process is enough.
FEW = 64


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


@dataclass(frozen=True)
class Decoded:
    """One image on its way from a decode process to the model.

    Attributes:
        index: its position in the dataset.
        pixels: the model's input before normalising, uint8 (row, column, channel); None where the
            image cannot be read.
        facts: its properties, or ``error``: why it cannot be read.
    """

    index: int
    pixels: np.ndarray | None
    facts: dict[str, Any]


class _Pixels(Dataset[Decoded]):
    """Decodes images in worker processes; what cannot be read comes back with its reason."""

    def __init__(self, dataset: ImageDataset, preprocessing: Preprocessing) -> None:
        self.dataset = dataset
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.dataset.images)

    def __getitem__(self, index: int) -> Decoded:
        try:
            image = self.dataset.read(index)
            pixels = self.preprocessing.pixels(image.picture)
        except UnreadableImage as error:
            return Decoded(index, None, {"error": str(error)})
        except MemoryError:
            return Decoded(index, None, {"error": "too large for the memory of this machine"})
        facts = {"content": image.content, "width": image.width, "height": image.height}
        return Decoded(index, pixels, {**measure(image, pixels), **facts})


def sweep(
    dataset: ImageDataset,
    classifier: Classifier,
    settings: Settings,
    folder: Path,
    *,
    progress: bool = True,
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

    Raises:
        RunError: the folder holds the shards of another scan.
    """
    order = sweep_order(dataset, settings)
    outputs = outputs_of(dataset, classifier)
    settings = _claim(folder, dataset, classifier, settings)
    mend(folder, dataset)
    since = time.time()
    parts = [order[start : start + SHARD] for start in range(0, len(order), SHARD)]
    missing = [n for n in range(len(parts)) if not shard_path(folder, n).exists()]
    started = time.perf_counter()
    todo = [parts[number] for number in missing]
    # Decode processes start before the engine, which keeps memory that they had better give back.
    batches = decoded_batches(dataset, classifier, todo, settings)
    with MapEngine(classifier, settings) as engine:
        _sweep_parts(
            batches,
            dict(zip(missing, todo, strict=True)),
            _Looker(engine, dataset, torch.from_numpy(outputs), folder, settings.seed, since),
            tqdm(
                total=len(order),
                initial=len(order) - sum(map(len, todo)),
                unit=" images",
                desc="sweep",
                disable=not progress,
            ),
        )
    plan = plan_of(folder) or {}
    return Sweep(
        folder=folder,
        plan=plan.get("maps", {}),
        unreadable=_unreadable(folder),
        seconds=time.perf_counter() - started,
        swept=sum(map(len, todo)),
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
    """Positions in the dataset in the order they are looked at; at most ``settings.limit``."""
    order = np.random.default_rng(settings.seed).permutation(len(dataset.images))
    return order[: settings.limit]


class _Looker:
    """Turns decoded batches into what a shard keeps."""

    def __init__(
        self,
        engine: MapEngine,
        dataset: ImageDataset,
        outputs: torch.Tensor,
        folder: Path,
        seed: int,
        since: float,
    ) -> None:
        self.since = since
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
        if now != plan:
            write_whole(self.folder / "plan.json", to_json(now))


def _sweep_parts(
    batches: Iterator[list[Decoded]],
    parts: Mapping[int, np.ndarray],
    looker: _Looker,
    bar: tqdm[Any],
) -> None:
    """Group batches into shards; a shard is written as soon as its last image was looked at."""
    with bar:
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
                bar.update(len(batch))
            write_whole(_unreadable_path(looker.folder, number), to_json(unreadable))
            if rows:
                looker.note_plan()
                stacked = {name: np.concatenate([a[name] for a in arrays]) for name in arrays[0]}
                looker.write(number, pd.concat(rows, ignore_index=True), stacked)


def batch_size(classifier: Classifier, settings: Settings) -> int:
    """Images of a forward pass: as set, or what the memory of a usual machine holds."""
    if settings.batch_size is not None:
        return settings.batch_size
    if classifier.device.type == "cuda":
        return BATCH_ON_CUDA
    pixels = classifier.preprocessing.height * classifier.preprocessing.width
    return min(BATCH, max(1, BATCH * USUAL_SIDE**2 // pixels))


def decoded_batches(
    dataset: ImageDataset,
    classifier: Classifier,
    parts: Sequence[np.ndarray],
    settings: Settings,
) -> Iterator[list[Decoded]]:
    """Decoded batches in order; no batch spans two parts.

    Args:
        dataset: the images.
        classifier: for its preprocessing and device.
        parts: positions in the dataset.
        settings: batch size and workers.
    """
    size = batch_size(classifier, settings)
    chunks = [
        part[start : start + size].tolist() for part in parts for start in range(0, len(part), size)
    ]
    workers = settings.workers
    if workers is None:
        few = sum(map(len, chunks)) < FEW
        # A GPU leaves the processors free to decode; otherwise the model needs most of them.
        spare, on_cuda = os.cpu_count() or 1, classifier.device.type == "cuda"
        workers = 1 if few else min(16, spare if on_cuda else max(1, spare // 2))
    pixels = _Pixels(dataset, classifier.preprocessing)

    def load(chunks: Sequence[list[int]]) -> DataLoader[Any]:
        return DataLoader(
            pixels,
            batch_sampler=chunks,
            num_workers=workers,
            collate_fn=list,
            multiprocessing_context=_start_method(workers),
            worker_init_fn=_settle if workers else None,
            persistent_workers=False,
            timeout=guard.PATIENCE if workers else 0,
        )

    if workers == 0:
        return iter(load(chunks))
    return guard.surviving(load, chunks, pixels.__getitem__, _lost)


def _lost(index: int, error: str) -> Decoded:
    return Decoded(index, None, {"error": error})


def _settle(_: int) -> None:
    """What a decode process does first."""
    settle_memory()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """End a decode process soon after its parent, which may be killed before it can say so."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _start_method(workers: int) -> str | None:
    """Forked decoders start at once; where there is no fork, the platform's own way."""
    if workers == 0 or "fork" not in multiprocessing.get_all_start_methods():
        return None
    return "fork"


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


def _claim(
    folder: Path, dataset: ImageDataset, classifier: Classifier, settings: Settings
) -> Settings:
    """Make the folder this scan's, or say that it belongs to another.

    Returns:
        The settings, with the precision that earlier shards were made in.
    """
    mine = {
        "dataset": dataset.fingerprint,
        "model": classifier.fingerprint,
        "preprocessing": classifier.preprocessing.as_dict(),
        "classes": list(classifier.classes),
        "method": settings.method,
        "layer": settings.layer,
        "precision": settings.precision,
        "limit": settings.limit,
        "seed": settings.seed,
        "window": settings.window,
        # Shards of an earlier version may lack some.
        "list of properties": list(PROPERTIES),
        "version": product_version(),
    }
    if classifier.outputs.positive is not None:
        mine["positive"] = classifier.outputs.positive
    kept = plan_of(folder)
    if kept is not None:
        plain = {key: kept.get(key) for key in mine}
        if to_json(plain) != to_json(mine):
            images = difference(folder, dataset, kept.get("images"))
            changed = [
                _changed(key, plain[key], mine[key], images)
                for key in mine
                if to_json(plain[key]) != to_json(mine[key])
            ]
            raise RunError(
                f"{folder.parent}: holds a scan with another {' and '.join(changed)}; "
                "choose another --out, or --fresh to replace it"
            )
        precision = kept.get("maps", {}).get("precision", settings.precision)
        return dataclasses.replace(settings, precision=precision)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "plan.json", to_json({**mine, "images": len(dataset)}))
    return settings


def _changed(key: str, before: Any, now: Any, images: str) -> str:
    """What differs, with its values where these say something to people."""
    if key == "dataset":
        return f"dataset ({images})"
    if isinstance(now, (int, str)) and key != "model":
        return f"{key} ({before}, now {now})"
    return key


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
