"""A full disk: one line, nothing lost, and the same command goes on when there is room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from forked import Python
from PIL import Image
from synthetic import paste, stamp, texture
from unbroken import whole

from shortcut_finder.run.decisions import Decisions
from shortcut_finder.run.folder import load_run
from shortcut_finder.schema import to_json

# The command line with a small network, and shards of few images; the first stage that is named
# finds the disk filled when it begins.
COMMAND = """
import sys
from pathlib import Path
import torch
from torch import nn
from shortcut_finder.cli.app import main
from shortcut_finder.sweep import batches
from shortcut_finder.run.stages import Stages

batches.SHARD = 24
filler, stage = Path(sys.argv[1]), sys.argv[2]
begin = Stages.begin

def filling(self, name):
    begin(self, name)
    if name == stage and not filler.exists():
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

Stages.begin = filling
sys.argv[1:3] = []
main()
"""
NETWORK = """
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 24, 5, 4, 2), nn.ReLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.ReLU(),
        )
        self.head = nn.Linear(32, 2)

    def forward(self, images):
        return self.head(self.features(images).mean((2, 3)))

def network():
    return Network()
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def draw(home: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (home / "data" / name).mkdir(parents=True)
        for number in range(40):
            grey = texture(rng, 64)
            if name == "bee" and number % 2:
                grey = paste(grey, stamp(0, 16), 2, 2)
            picture = np.stack([grey, grey * 0.9, grey * 0.8], axis=2).clip(0, 255)
            Image.fromarray(picture.astype(np.uint8)).save(
                home / "data" / name / f"{number:03d}.png"
            )
    (home / "net.py").write_text(NETWORK)
    return home


def errors(result: subprocess.CompletedProcess[str]) -> list[str]:
    """What was said of an error; torch may tell things of its own."""
    assert "Traceback" not in result.stderr, result.stderr
    return [line for line in result.stderr.splitlines() if line.startswith("error: ")]


def test_scan_and_clean_go_on_when_there_is_room(
    python: Python, tmp_path: Path, small_disk: Path
) -> None:
    home, filler, run = draw(tmp_path), small_disk / "filler", small_disk / "run"
    scan = (
        "scan", home / "data", "--model", f"{home / 'net.py'}:network", "--input-size", 64,
        "--workers", 0, "--precision", "fp32", "--batch-size", 8, "--out", run,
    )  # fmt: skip
    for stage in ("sweep", "analysis", "page"):
        result = python("-c", COMMAND, filler, stage, *scan, "--quiet")
        assert result.returncode == 1, result.stderr
        (line,) = errors(result)
        assert "No space left on device; make room, then give the same command again" in line
        assert str(small_disk) in line
        assert not (run / "run.json").exists()
        assert list(run.rglob("*.part")) == []
        filler.unlink()
    result = python("-c", COMMAND, filler, "", *scan, "--json")
    assert result.returncode == 0, result.stderr
    log = (run / "run.log").read_text()
    # What had been swept and found was not made again.
    assert "analysis: taken from the scan that was stopped" in log
    assert "experiments: taken from the scan that was stopped" in log

    found = load_run(run)
    accepted = Decisions(found.fingerprint, dict.fromkeys(found.findings["finding"], "accept"))
    (home / "decisions.json").write_bytes(to_json(accepted.as_dict()))
    before = whole(home / "data")
    filler.write_bytes(b"")
    with filler.open("ab", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                break
    clean = ("clean", run, "--action", "drop", "--files", "copy", "--out", small_disk / "cleaned",
             "--decisions", home / "decisions.json")  # fmt: skip
    result = python("-c", COMMAND, filler, "", *clean)
    assert result.returncode == 1, result.stderr
    (line,) = errors(result)
    assert "No space left on device; make room" in line
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler", "run"]
    filler.unlink()
    result = python("-c", COMMAND, filler, "", *clean)
    assert result.returncode == 0, result.stderr
    assert (small_disk / "cleaned" / "manifest.csv").exists()
    assert whole(home / "data") == before
