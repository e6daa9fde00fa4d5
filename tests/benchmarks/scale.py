"""How time and memory of the analysis grow with the number of images and of classes.

Writes the shards of a scan of made-up images, as efficientnet-lite0 would leave them: 7 x 7 maps,
14 x 14 cells of 112 channels, 1,280 features, and in every 50th class a thing at random places in a
fifth of its images. Then does to them all that a scan does between the sweep and the experiments
with the model, and prints the seconds of it and the most memory the process held. Seconds of the
processor count what the process itself did, on all cores; on a busy machine they are the ones to
compare.

Usage: python tests/benchmarks/scale.py [IMAGES ...] [--classes 10] [--share 0.2]
    [--folder TEMPORARY_FOLDER] [--record]
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
from dataclasses import dataclass, replace
from functools import cached_property
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
from shortcut_finder.sweep.together import kept_together
from shortcut_finder.sweep.whitening import stored_cells

SIZES = (5_000, 50_000)
CLASSES, SHARE = 10, 0.2
# Every such class has a thing, from the second on.
EVERY = 50
MAPS, CELLS, WIDTH, FEATURES = (7, 7), (14, 14), 112, 1280
SHARD = 1000
# Different cells there are; images are drawn from them.
KINDS = 200_000
SIDE = 224


@dataclass(frozen=True)
class MadeUp:
    """A data set that nobody has.

    Attributes:
        images: how many.
        classes: how many.
        share: of each class that has a thing, its images that carry it.
    """

    images: int
    classes: int = CLASSES
    share: float = SHARE

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes."""
        return tuple(f"class {number}" for number in range(self.classes))

    @property
    def marked(self) -> range:
        """The classes that have a thing, by number."""
        return range(1, self.classes, EVERY)

    @cached_property
    def labels(self) -> np.ndarray:
        """Classes in random order."""
        return np.random.default_rng(0).integers(0, self.classes, self.images)

    @cached_property
    def carriers(self) -> np.ndarray:
        """Images that carry the thing of their class, (image,) of bool."""
        drawn = np.random.default_rng(1).random(self.images) < self.share
        return np.isin(self.labels, self.marked) & drawn


def write_shards(folder: Path, made: MadeUp) -> None:
    """What a sweep would leave."""
    rng = np.random.default_rng(2)
    kinds = rng.normal(size=(KINDS, WIDTH)).astype(np.float32)
    kinds /= np.linalg.norm(kinds, axis=1, keepdims=True)
    stored = stored_cells(torch.from_numpy(kinds)).numpy()
    looks = {label: kinds[place] for place, label in enumerate(made.marked)}
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, made.images, SHARD)):
        part = np.arange(start, min(start + SHARD, made.images))
        cells = stored[rng.integers(len(looks), KINDS, (len(part), *CELLS))]
        for row in np.flatnonzero(made.carriers[part]):
            near = looks[made.labels[part[row]]] + 0.03 * rng.normal(size=WIDTH)
            place = tuple(rng.integers(0, CELLS))
            near = torch.from_numpy(near / np.linalg.norm(near))
            cells[row][place] = stored_cells(near).numpy()
        table = pd.DataFrame(rng.normal(size=(len(part), len(PROPERTIES))), columns=PROPERTIES)
        table = table.assign(width=SIDE, height=SIDE)
        table.insert(0, "index", part)
        table.insert(1, "image", [f"{index:07d}.jpg" for index in part])
        table.insert(2, "content", [f"{index:032x}" for index in part])
        own = made.labels[part]
        arrays = {
            "maps": rng.normal(size=(len(part), 4, *MAPS)),
            "shown": np.stack([own] * 2 + [(own + n) % made.classes for n in (1, 2)], 1),
            "logits": rng.normal(size=(len(part), made.classes)) + 5 * np.eye(made.classes)[own],
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


def dataset_of(made: MadeUp) -> ImageDataset:
    """Names, labels and three columns of metadata."""
    images = made.images
    rng = np.random.default_rng(3)
    metadata = pd.DataFrame(
        {
            "site": rng.choice([f"site {n}" for n in range(40)], images),
            "age": rng.normal(50, 15, images),
            "patient": [f"patient {n}" for n in range(images)],
        }
    )
    names = tuple(f"{number:07d}.jpg" for number in range(images))
    return ImageDataset("scale", None, names, made.labels, made.names, metadata, Drawn())


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


def analyse(folder: Path, made: MadeUp) -> dict[str, Any]:
    """Seconds by the clock and of the processor, and the most memory in GB."""
    account = Account()
    dataset = dataset_of(made)
    classifier: Any = SimpleNamespace(classes=made.names, preprocessing=Preprocessing(SIDE, SIDE))
    started, worked = time.perf_counter(), time.process_time()
    with account.of("records"):
        records = read_records(folder, dataset.labels, CELLS)
    with account.of("regions"):
        regions = frame_regions(*records.maps.shape[1:])
        shares = region_shares(records.maps, regions)
        weigh_regions(shares, records.labels, made.names, regions)
    positions = records.table["index"].to_numpy()
    with account.of("columns"):
        metadata = metadata_columns(dataset.metadata.iloc[positions])
    scene = Scene(
        records, lambda n: dataset.read(int(positions[n])).picture, classifier.preprocessing
    )
    with account.of("near-duplicates"):
        records = kept_together(scene, None, None, folder, 0).records
    scene = replace(scene, records=records)
    view = View(folder, scene, discovery_half(records.labels, 0), made.names, metadata)
    channels = {name: account.channel(name, one) for name, one in channels_of(()).items()}
    judged = detect(view, channels)
    columns = {name: shares[:, place] for place, name in enumerate(regions.names)}
    with account.of("tables"):
        table = table_of_images(records, dataset, classifier, columns, judged.findings)
        for finding in judged.findings:
            detail_of(finding, records, table, classifier)
        rank_offenders(judged.findings, table, classifier.preprocessing)
    with account.of("confusions"):
        find_confusions(records, made.names)
    seconds, processor = time.perf_counter() - started, time.process_time() - worked
    return {
        "images": made.images,
        "classes": made.classes,
        "seconds": seconds,
        "processor": processor,
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "found": f"{found_of(judged.findings, made)} of {len(made.marked)}",
        "stages": {name: round(seconds, 1) for name, seconds in account.spent.items()},
    }


def found_of(findings: Sequence[Finding], made: MadeUp) -> int:
    """How many classes with a thing have a finding that lists most of its carriers."""
    listed = {
        finding.number
        for finding in findings
        for carriers in [made.carriers & (made.labels == finding.number)]
        if (finding.carriers.listed & carriers).sum() > carriers.sum() / 2 > 0
    }
    return len(listed.intersection(made.marked))


def record(measured: Mapping[str, Any], slowest: str) -> None:
    """Write what the analysis of so many images took."""
    add_row(
        "analysis", n=measured["images"], classes=measured["classes"], seconds=measured["seconds"],
        processor=measured["processor"], gigabytes=measured["gigabytes"],
        found=measured["found"], slowest=slowest, seeds="0",
        setting=f"made-up shards, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        command="make bench-scale",
    )  # fmt: skip


def main() -> None:
    """Write, analyse in a process of its own, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=int, nargs="*", default=SIZES, help="sizes to try")
    parser.add_argument("--classes", type=int, default=CLASSES)
    parser.add_argument("--share", type=float, default=SHARE, help="of a class with a thing")
    parser.add_argument("--folder", type=Path, help="for the shards, 25 kB an image")
    parser.add_argument("--analyse", type=Path, help=argparse.SUPPRESS)
    recording(parser)
    options = parser.parse_args()
    if options.analyse:
        made = MadeUp(*options.images, options.classes, options.share)
        print(json.dumps(analyse(options.analyse, made)))
        return
    print("| images | classes | seconds | of processor | GB | found | slowest stages, s of it |")
    print("|---:|---:|---:|---:|---:|---|---|")
    for images in options.images:
        place = Path(tempfile.mkdtemp(dir=options.folder))
        try:
            write_shards(place / "shards", MadeUp(images, options.classes, options.share))
            command = [sys.executable, __file__, str(images), "--analyse", str(place / "shards")]
            command += ["--classes", str(options.classes), "--share", str(options.share)]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        finally:
            shutil.rmtree(place)
        measured = json.loads(said)
        stages = sorted(measured["stages"].items(), key=lambda pair: -pair[1])
        slowest = ", ".join(f"{name} {seconds:g}" for name, seconds in stages[:6])
        print(
            f"| {images:,} | {options.classes:,} | {measured['seconds']:.0f} "
            f"| {measured['processor']:.0f} | {measured['gigabytes']:.1f} | {measured['found']} "
            f"| {slowest} |",
            flush=True,
        )
        if options.record:
            record(measured, slowest)


if __name__ == "__main__":
    main()
