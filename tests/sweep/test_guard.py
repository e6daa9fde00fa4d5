"""Guard: a decoder that crashes or hangs costs its image, whatever the other processes do."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import classifier_of
from PIL import Image
from torch import nn

from shortcut_finder.data.dataset import ImageDataset, load_dataset
from shortcut_finder.settings import Settings
from shortcut_finder.sweep import batches, decoding, guard
from shortcut_finder.sweep.batches import Sweep, sweep

SETTINGS = Settings(input_size=16, batch_size=4, workers=2, precision="fp32")


class Planted:
    """A source some of whose decoders crash, hang, or die once."""

    def __init__(self, dataset: ImageDataset, faults: dict[str, str], once: Path) -> None:
        self.inner, self.faults, self.once = dataset.source, faults, once

    def read(self, image: str) -> Any:
        fault = self.faults.get(image)
        if fault == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault == "hangs":
            time.sleep(600)
        if fault == "is killed once" and not self.once.exists():
            self.once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "has a mistake":
            raise RuntimeError("a mistake in the program")
        return self.inner.read(image)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PATIENCE", 3.0)
    monkeypatch.setattr(batches, "SHARD", 24)


@pytest.fixture
def dataset(tmp_path: Path) -> ImageDataset:
    rng = np.random.default_rng(0)
    for name in ("class 0", "class 1"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(24):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number:02d}.png")
    return load_dataset(tmp_path / "data")


def swept(dataset: ImageDataset, out: Path, faults: dict[str, str] | None = None) -> Sweep:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip
    source: Any = Planted(dataset, faults or {}, out.with_suffix(".once"))
    return sweep(
        replace(dataset, source=source), classifier_of(network, 16), SETTINGS, out, progress=False
    )


def test_a_decoder_that_crashes_and_one_that_hangs_cost_one_image_each(
    dataset: ImageDataset, tmp_path: Path
) -> None:
    faults = {"class 0/03.png": "crashes", "class 1/20.png": "hangs"}
    found = swept(dataset, tmp_path / "run", faults)
    assert found.unreadable["image"].tolist() == sorted(faults)
    crash, hang = found.unreadable["error"]
    assert crash == "its decoder crashes (SIGSEGV)"
    assert hang == "decoding it takes longer than 3 seconds"
    tables = [batches.plan_of(tmp_path / "run"), *(tmp_path / "run").glob("shard-*.parquet")]
    assert len(tables) == 3
    assert multiprocessing.active_children() == []


def test_a_decode_process_that_was_killed_costs_nothing(
    dataset: ImageDataset, tmp_path: Path
) -> None:
    swept(dataset, tmp_path / "calm")
    found = swept(dataset, tmp_path / "run", {"class 0/10.png": "is killed once"})
    assert (tmp_path / "run.once").exists()
    assert len(found.unreadable) == 0
    for path in sorted((tmp_path / "calm").iterdir()):
        assert path.read_bytes() == (tmp_path / "run" / path.name).read_bytes()


def test_a_mistake_in_the_program_is_not_taken_for_a_crash(
    dataset: ImageDataset, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="a mistake in the program"):
        swept(dataset, tmp_path / "run", {"class 0/10.png": "has a mistake"})


def test_what_can_kill_a_process_meets_one_even_where_there_are_few_images(
    dataset: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("test_guard.SETTINGS", replace(SETTINGS, workers=None))
    faults = {"class 0/03.png": "crashes"}
    few = dataset.subset([index for index, name in enumerate(dataset.images) if "/0" in name])
    assert swept(few, tmp_path / "run", faults).unreadable["image"].tolist() == list(faults)


def killed_parent(done: Any) -> None:
    """Starts a decode process, says its number, and dies."""
    child = multiprocessing.get_context("fork").Process(target=stubborn)
    child.start()
    done.send(child.pid)
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def stubborn() -> None:
    decoding.settle(0)
    time.sleep(600)


def test_decode_processes_do_not_outlive_a_killed_scan() -> None:
    ours, theirs = multiprocessing.Pipe()
    parent = multiprocessing.get_context("fork").Process(target=killed_parent, args=(theirs,))
    parent.start()
    pid = ours.recv()
    parent.join()
    until = time.monotonic() + 20
    while time.monotonic() < until and _alive(pid):
        time.sleep(0.1)
    assert not _alive(pid)
    ours.close()
    theirs.close()


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
