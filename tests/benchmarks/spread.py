"""What it costs to spread a sweep, and whether the bytes stay the same.

Draws pictures of two classes, of which one carries a stamp in 40%, and scans them by the local
engine, by two processes on the CPU, by two actors on a Ray of its own, and by two actors of which
one is killed with SIGKILL in the middle. Says whether shards, findings.csv and offenders.csv are
the same bytes, and the images a second of each sweep over that of the local engine. All runs have
one thread a process, so the two-process runs have twice the threads of the local one; the local
engine is timed with one decode process beside it, which makes two, too.

Usage: python tests/benchmarks/spread.py [--images 2000] [--side 112] [--model resnet18]
       [--runs local "ray, killed"]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from synthetic import paste, stamp, texture
from torchvision import models

SAME = ("findings.csv", "offenders.csv", "regions.csv", "unreadable.csv")
RUNS = {
    "local": ["--workers", "1"],
    "devices": ["--device", "cpu,cpu"],
    "ray": ["--engine", "ray", "--actors", "2"],
    "ray, killed": ["--engine", "ray", "--actors", "2"],
}


def draw(folder: Path, images: int, side: int) -> None:
    """Textures as JPEG files."""
    rng = np.random.default_rng(0)
    for number in range(images):
        name = ("ant", "bee")[number % 2]
        grey = texture(rng, side)
        if name == "bee" and number % 5 < 2:
            grey = paste(grey, stamp(0, side // 4), side // 16, side // 16)
        colours = np.stack([grey, grey * 0.9, grey * 0.8], axis=2).clip(0, 255).astype(np.uint8)
        path = folder / name / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours).save(path, quality=92)


def kill_one(process: subprocess.Popen[bytes], shards: Path, wanted: int) -> bool:
    """SIGKILL to one actor below a process, once a few shards are there."""
    while process.poll() is None:
        if len(list(shards.glob("shard-*.parquet"))) >= wanted:
            actors = [pid for pid in below(process.pid) if named(pid).startswith("ray::Actor")]
            if actors:
                os.kill(actors[0], signal.SIGKILL)
                return True
        time.sleep(0.05)
    return False


def below(parent: int) -> list[int]:
    """Processes that one has started, and theirs."""
    found = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            own = [int(pid) for pid in task.read_text().split()]
        except OSError:
            continue
        found += own + [pid for one in own for pid in below(one)]
    return found


def named(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=112)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--runs", nargs="*", choices=list(RUNS), default=list(RUNS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        place = Path(temporary)
        draw(place / "photos", options.images, options.side)
        torch.manual_seed(0)
        network = models.get_model(options.model, weights=None, num_classes=2)
        torch.save(network.state_dict(), place / "weights.pt")
        print(json.dumps(measure(place, options), indent=1))


def measure(place: Path, asked: argparse.Namespace) -> dict[str, object]:
    """Bytes and images a second of each run."""
    rows: dict[str, object] = {}
    reference: dict[str, bytes] = {}
    speed = 0.0
    for name in asked.runs:
        options = RUNS[name]
        out = place / name.replace(", ", "-")
        command = [
            sys.executable, "-m", "shortcut_finder", "scan", str(place / "photos"),
            "--model", asked.model, "--weights", str(place / "weights.pt"), "--out", str(out),
            "--input-size", str(asked.side), "--no-verify", "--quiet", "--device", "cpu", *options,
        ]  # fmt: skip
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        killed = [kill_one(process, out / "shards", 2)] if "killed" in name else []
        if process.wait():
            raise SystemExit(f"{name}: exit code {process.returncode}")
        files = {file: (out / file).read_bytes() for file in SAME}
        files |= {path.name: path.read_bytes() for path in sorted((out / "shards").iterdir())}
        reference = reference or files
        card = json.loads((out / "run.json").read_text(encoding="utf-8"))
        stage = card["stages"]["sweep"]
        rate = stage["decoded_files"] / stage["seconds"]
        speed = speed or rate
        different = sorted(f for f in {*files, *reference} if files.get(f) != reference.get(f))
        rows[name] = {
            "images_a_second": round(rate, 1),
            "of_local": round(rate / speed, 2),
            "findings": files["findings.csv"].count(b"\n") - 1,
            "offenders": files["offenders.csv"].count(b"\n") - 1,
            "files": len(files),
            "different_files": different,
            **({"an_actor_was_killed": killed[0]} if killed else {}),
        }
    return rows


if __name__ == "__main__":
    main()
