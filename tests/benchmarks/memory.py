"""Peak memory of the sweep at two numbers of made-up images, and what else it leaves open.

Each number is swept in a process of its own, by a tiny network at 32 pixels; images are made when
they are asked for. Prints one line of JSON.

    python tests/benchmarks/memory.py --images 5000 50000 [--record]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rows import add_row, recording
from torch import nn

import shortcut_finder as sf
from shortcut_finder.model.classifier import load_classifier
from shortcut_finder.sweep import batches

SIDE = 32


class Drawn:
    """Images of noise, drawn from their number."""

    classes = ("ant", "bee")

    def __init__(self, count: int) -> None:
        self.targets = [number % 2 for number in range(count)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, number: int) -> tuple[Any, int]:
        rng = np.random.default_rng(number)
        return rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8), self.targets[number]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the folder is not one of ours


def swept(count: int, out: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    )
    settings = sf.Settings(input_size=SIDE, precision="fp32", workers=1, batch_size=64)
    dataset = sf.load_dataset(Drawn(count))
    classifier = load_classifier(
        network, weights=None, classes=None, labels=dataset.classes, settings=settings
    )
    # The most that is open while a shard is written.
    most, write = 0, batches.write_shard

    def counting(*arguments: Any) -> None:
        nonlocal most
        most = max(most, open_files())
        write(*arguments)

    batches.write_shard = counting
    batches.sweep(dataset, classifier, settings, out, progress=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"images": count, "peak_mib": round(peak, 1), "most_open_files": most}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--images", type=int, nargs="+", default=[5000, 50000])
    options.add_argument("--one", action="store_true", help="in this process")
    recording(options)
    asked = options.parse_args()
    rows = []
    for count in asked.images:
        if asked.one:
            with tempfile.TemporaryDirectory(prefix="memory-") as place:
                rows.append(swept(count, Path(place) / "shards"))
            continue
        command = [sys.executable, __file__, "--one", "--images", str(count)]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        rows += json.loads(result.stdout)
    print(json.dumps(rows))
    if asked.record:
        for row in rows:
            record(row)


def record(row: dict[str, Any]) -> None:
    """Write what a sweep of so many images took."""
    add_row(
        "memory", n=row["images"], peak_mib=row["peak_mib"],
        most_open_files=row["most_open_files"], seeds="0",
        setting=f"made-up images of {SIDE} pixels", command="make bench-memory",
    )  # fmt: skip


if __name__ == "__main__":
    main()
