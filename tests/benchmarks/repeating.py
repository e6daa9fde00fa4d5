"""How far a scan differs over threads, decode processes and batch sizes, on one drawn set.

The set and the network are those of `kills.py`, of four times the images. Prints a row a way to
scan, each against the first: the largest difference of logits, of class maps and of stored cells,
and whether findings, verdicts, severities and listed images are the same.

    python tests/benchmarks/repeating.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import kills
import numpy as np
import torch

import shortcut_finder as sf
from shortcut_finder import scanning
from shortcut_finder.sweep.shards import read_shards

WAYS = (
    {"threads": 1, "workers": 0, "batch": 32},
    {"threads": 1, "workers": 1, "batch": 32},
    {"threads": 1, "workers": 2, "batch": 32},
    {"threads": 2, "workers": 0, "batch": 32},
    {"threads": 1, "workers": 0, "batch": 1},
    {"threads": 1, "workers": 0, "batch": 7},
    {"threads": 1, "workers": 0, "batch": 64},
    {"threads": 2, "workers": 2, "batch": 64},
)


def scanned(data: Path, out: Path, threads: int, workers: int, batch: int) -> sf.Run:
    torch.set_num_threads(threads)
    settings = sf.Settings(
        input_size=kills.SIDE, precision="fp32", workers=workers, batch_size=batch
    )
    return sf.scan(data, kills.Network(), out=out, settings=settings, progress=False)


def arrays(run: sf.Run) -> dict[str, np.ndarray]:
    names = ("logits", "maps", "cells")
    shards = list(read_shards(run.folder / "shards", names))
    return {
        name: np.concatenate([shard.arrays[name] for shard in shards]).astype(np.float64)
        for name in names
    }


def row(way: dict[str, int], run: sf.Run, first: sf.Run) -> list[Any]:
    one, two = arrays(first), arrays(run)
    apart = {name: float(np.abs(one[name] - two[name]).max()) for name in one}
    named = ["finding", "label", "kind", "region", "images", "verdict", "severity"]
    listed = ["image", "finding", "tier"]
    order = run.offenders[listed].sort_values(listed, ignore_index=True)
    same = order.equals(first.offenders[listed].sort_values(listed, ignore_index=True))
    reliance = (run.findings["reliance"] - first.findings["reliance"]).abs().max()
    return [
        *way.values(),
        f"{apart['logits']:.1e}",
        f"{apart['maps'] / np.abs(one['maps']).max():.1e}",
        f"{apart['cells']:.0f}",
        "same" if run.findings[named].equals(first.findings[named]) else "DIFFER",
        "same" if same else "DIFFER",
        f"{0 if np.isnan(reliance) else reliance:.1e}",
    ]


def main() -> None:
    kills.IMAGES *= 4
    scanning.reader = lambda: None
    print(
        "| threads | workers | batch | logits | maps, of the largest | cells, of 127 | findings, "
        "verdicts | listed images | reliance |"
    )
    print("|" + "---:|" * 6 + "---|---|---:|")
    with tempfile.TemporaryDirectory(prefix="repeating-") as place:
        kills.draw(Path(place) / "data")
        first = None
        for number, way in enumerate(WAYS):
            run = scanned(Path(place) / "data", Path(place) / str(number) / "run", **way)
            assert len(run.findings)
            first = first or run
            print("| " + " | ".join(map(str, row(way, run, first))) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
