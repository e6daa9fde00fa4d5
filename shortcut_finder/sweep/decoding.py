"""Decoding: batches of what the model sees, made by processes of which any may die or hang."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.data.properties import measure
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.maps.memory import settle_memory
from shortcut_finder.model.classifier import Classifier
from shortcut_finder.settings import Settings
from shortcut_finder.sweep import guard

# Images of a forward pass. What is too much for the memory of a GPU is halved until it fits; on a
# CPU it would be too late, so images larger than usual are fewer from the start.
BATCH, BATCH_ON_CUDA = 32, 128
USUAL_SIDE = 224
# Below this many images, one decode process is enough.
FEW = 64


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
            worker_init_fn=settle if workers else None,
            persistent_workers=False,
            timeout=guard.PATIENCE if workers else 0,
        )

    if workers == 0:
        return iter(load(chunks))
    return guard.surviving(load, chunks, pixels.__getitem__, _lost)


def _lost(index: int, error: str) -> Decoded:
    return Decoded(index, None, {"error": error})


def settle(_: int) -> None:
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
