"""How time and memory of the analysis grow with the number of images.

Writes the shards of a scan of made-up images, as efficientnet-lite0 would leave them: 7 x 7 maps,
14 x 14 cells of 112 channels, 1,280 features, ten classes, and a thing at random places in a fifth
of one class. Then does to them all that a scan does between the sweep and the experiments with the
model, and prints the seconds of it and the most memory the process held. Seconds of the processor
count what the process itself did, on all cores; on a busy machine they are the ones to compare.

Usage: python tests/benchmarks/scale.py [IMAGES ...] [--folder TEMPORARY_FOLDER] [--record]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from rows import add_row, recording

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.data.properties import PROPERTIES
from shortcut_finder.data.reading import ReadImage
from shortcut_finder.data.regions import frame_regions, region_shares
from shortcut_finder.detect.columns import metadata_columns
from shortcut_finder.detect.confusions import find_confusions
from shortcut_finder.detect.detection import channels_of, detect
from shortcut_finder.detect.finding import Finding
from shortcut_finder.detect.halves import discovery_half
from shortcut_finder.detect.proposals import Channel, Concluded, Proposals
from shortcut_finder.detect.view import View
from shortcut_finder.run.offenders import rank_offenders
from shortcut_finder.run.tables import detail_of, table_of_images
from shortcut_finder.stats.evidence import weigh_regions
from shortcut_finder.sweep.records import read_records
from shortcut_finder.sweep.scene import Scene
from shortcut_finder.sweep.shards import shard_path, write_shard
from shortcut_finder.sweep.whitening import stored_cells

SIZES = (5_000, 50_000)
CLASSES = tuple(f"class {number}" for number in range(10))
MAPS, CELLS, WIDTH, FEATURES = (7, 7), (14, 14), 112, 1280
SHARD = 1000
# Different cells there are; images are drawn from them.
KINDS = 200_000
SIDE = 224


def labels_of(images: int) -> np.ndarray:
    """Ten classes in random order."""
    return np.random.default_rng(0).integers(0, len(CLASSES), images)


def carriers_of(labels: np.ndarray) -> np.ndarray:
    """A fifth of the second class."""
    return (labels == 1) & (np.random.default_rng(1).random(len(labels)) < 0.2)


def write_shards(folder: Path, images: int) -> None:
    """What a sweep would leave."""
    rng = np.random.default_rng(2)
    kinds = rng.normal(size=(KINDS, WIDTH)).astype(np.float32)
    kinds /= np.linalg.norm(kinds, axis=1, keepdims=True)
    look, stored = kinds[0], stored_cells(torch.from_numpy(kinds)).numpy()
    labels = labels_of(images)
    carriers = carriers_of(labels)
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, images, SHARD)):
        part = np.arange(start, min(start + SHARD, images))
        cells = stored[rng.integers(1, KINDS, (len(part), *CELLS))]
        for row in np.flatnonzero(carriers[part]):
            near = look + 0.03 * rng.normal(size=WIDTH)
            place = tuple(rng.integers(0, CELLS))
            near = torch.from_numpy(near / np.linalg.norm(near))
            cells[row][place] = stored_cells(near).numpy()
        table = pd.DataFrame(rng.normal(size=(len(part), len(PROPERTIES))), columns=PROPERTIES)
        table = table.assign(width=SIDE, height=SIDE)
        table.insert(0, "index", part)
        table.insert(1, "image", [f"{index:07d}.jpg" for index in part])
        table.insert(2, "content", [f"{index:032x}" for index in part])
        arrays = {
            "maps": rng.normal(size=(len(part), 4, *MAPS)),
            "shown": np.stack([labels[part]] * 2 + [(labels[part] + n) % 10 for n in (1, 2)], 1),
            "logits": rng.normal(size=(len(part), 10)) + 5 * np.eye(10)[labels[part]],
            "features": np.zeros((len(part), FEATURES)),
            "cells": cells,
            "fine": np.zeros((len(part), 2 * cells.shape[1], 2 * cells.shape[2], 0)),
        }
        write_shard(shard_path(folder, number), table, arrays)


class Drawn:
    """Pictures of random blobs, each drawn when it is read."""

    def read(self, image: str) -> ReadImage:
        """Read one image by its name."""
        rng = np.random.default_rng(int(image[:7]))
        coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        picture = coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        return ReadImage(picture, "", SIDE, SIDE, "PNG", 0, "RGB")


def dataset_of(images: int) -> ImageDataset:
    """Names, labels and three columns of metadata."""
    rng = np.random.default_rng(3)
    metadata = pd.DataFrame(
        {
            "site": rng.choice([f"site {n}" for n in range(40)], images),
            "age": rng.normal(50, 15, images),
            "patient": [f"patient {n}" for n in range(images)],
        }
    )
    names = tuple(f"{number:07d}.jpg" for number in range(images))
    return ImageDataset("scale", None, names, labels_of(images), CLASSES, metadata, Drawn())


class Account:
    """Processor seconds by what they were spent on."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Count what is done within."""
        started = time.process_time()
        try:
            yield
        finally:
            self.spent[name] = self.spent.get(name, 0.0) + time.process_time() - started

    def channel(self, name: str, propose: Channel) -> Channel:
        """The channel, counted."""

        def proposing(view: View) -> Proposals:
            with self.of(name):
                made = propose(view)

            def conclude(q: np.ndarray, found: Sequence[Finding]) -> Concluded:
                with self.of(name):
                    return made.conclude(q, found)

            return Proposals(made.p, conclude)

        return proposing


def analyse(folder: Path, images: int) -> dict[str, Any]:
    """Seconds by the clock and of the processor, and the most memory in GB."""
    account = Account()
    dataset = dataset_of(images)
    classifier: Any = SimpleNamespace(classes=CLASSES, preprocessing=Preprocessing(SIDE, SIDE))
    started, worked = time.perf_counter(), time.process_time()
    with account.of("records"):
        records = read_records(folder, dataset.labels, CELLS)
    with account.of("regions"):
        regions = frame_regions(*records.maps.shape[1:])
        shares = region_shares(records.maps, regions)
        weigh_regions(shares, records.labels, CLASSES, regions)
    positions = records.table["index"].to_numpy()
    with account.of("columns"):
        metadata = metadata_columns(dataset.metadata.iloc[positions])
    scene = Scene(
        records, lambda n: dataset.read(int(positions[n])).picture, classifier.preprocessing
    )
    view = View(folder, scene, discovery_half(records.labels, 0), CLASSES, metadata)
    channels = {name: account.channel(name, one) for name, one in channels_of(()).items()}
    judged = detect(view, channels)
    columns = {name: shares[:, place] for place, name in enumerate(regions.names)}
    with account.of("tables"):
        table = table_of_images(records, dataset, classifier, columns, judged.findings)
        for finding in judged.findings:
            detail_of(finding, records, table, classifier)
        rank_offenders(judged.findings, table, classifier.preprocessing)
    with account.of("confusions"):
        find_confusions(records, CLASSES)
    seconds, processor = time.perf_counter() - started, time.process_time() - worked
    top = judged.findings[0]
    carriers = carriers_of(dataset.labels)
    return {
        "images": images,
        "seconds": seconds,
        "processor": processor,
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "found": bool(
            top.label == CLASSES[1] and (top.carriers.listed & carriers).sum() / carriers.sum()
        ),
        "stages": {name: round(seconds, 1) for name, seconds in account.spent.items()},
    }


def record(measured: Mapping[str, Any], slowest: str) -> None:
    """Write what the analysis of so many images took."""
    add_row(
        "analysis", n=measured["images"], seconds=measured["seconds"],
        processor=measured["processor"], gigabytes=measured["gigabytes"],
        found="yes" if measured["found"] else "no", slowest=slowest, seeds="0",
        setting=f"made-up shards, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        command="make bench-scale",
    )  # fmt: skip


def main() -> None:
    """Write, analyse in a process of its own, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=int, nargs="*", default=SIZES, help="sizes to try")
    parser.add_argument("--folder", type=Path, help="for the shards, 25 kB an image")
    parser.add_argument("--analyse", type=Path, help=argparse.SUPPRESS)
    recording(parser)
    options = parser.parse_args()
    if options.analyse:
        print(json.dumps(analyse(options.analyse, *options.images)))
        return
    print("| images | seconds | of processor | GB | found | slowest stages, s of processor |")
    print("|---:|---:|---:|---:|---|---|")
    for images in options.images:
        place = Path(tempfile.mkdtemp(dir=options.folder))
        try:
            write_shards(place / "shards", images)
            command = [sys.executable, __file__, str(images), "--analyse", str(place / "shards")]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        finally:
            shutil.rmtree(place)
        measured = json.loads(said)
        stages = sorted(measured["stages"].items(), key=lambda pair: -pair[1])
        slowest = ", ".join(f"{name} {seconds:g}" for name, seconds in stages[:6])
        print(
            f"| {images:,} | {measured['seconds']:.0f} | {measured['processor']:.0f} "
            f"| {measured['gigabytes']:.1f} | {'yes' if measured['found'] else 'no'} | {slowest} |",
            flush=True,
        )
        if options.record:
            record(measured, slowest)


if __name__ == "__main__":
    main()
