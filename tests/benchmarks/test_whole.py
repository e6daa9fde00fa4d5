"""Whole: the sets are as large as asked for, both processes see every image, the table adds up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import models
from whole import bare_loop, cells, cut, figures, make_set, timed


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize(("images", "classes"), [(7, 2), (30, 3), (21, 5)])
def test_a_set_has_as_many_images_and_classes_as_asked_for(
    photos: Path, tmp_path: Path, images: int, classes: int
) -> None:
    make_set([photos], tmp_path / "set", images, classes)
    counts = [len(list(folder.iterdir())) for folder in (tmp_path / "set").iterdir()]
    assert (len(counts), sum(counts)) == (classes, images)
    assert max(counts) - min(counts) <= 1
    files = [path.read_bytes() for path in (tmp_path / "set").rglob("*.jpg")]
    assert len(set(files)) == images


def test_a_cut_is_another_picture_of_nearly_the_size() -> None:
    picture = Image.new("RGB", (100, 60))
    part = cut(picture, np.random.default_rng(0))
    assert 75 <= part.width <= 95
    assert 45 <= part.height <= 57


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bare_loop_looks_at_every_image(photos: Path, workers: int) -> None:
    network = models.get_model("mobilenet_v3_small", weights=None, num_classes=2).eval()
    assert bare_loop(photos, network, 32, workers) == 12


def test_a_row_holds_medians_and_the_ratio_within_a_round() -> None:
    stages = {
        "sweep": {"seconds": 3.0, "forward_passes": 110, "decoded_files": 100},
        "page": {"seconds": 1.0, "forward_passes": 0, "decoded_files": 20},
    }
    scans = [
        {"seconds": seconds, "memory": 900, "stages": stages, "findings": 2}
        for seconds in (10.0, 60.0, 24.0)
    ]
    assert cells(figures(100, [5.0, 20.0, 8.0], scans)) == [
        "8.0", "24.0", "3.0", "0.0", "3.0", "0.0", "0.0", "1.0", "1.10", "1.20", "2", "900"
    ]  # fmt: skip


def test_a_process_that_fails_is_no_figure() -> None:
    seconds, memory = timed([sys.executable, "-c", "print(end='')"])
    assert 0 < seconds < 60
    assert memory > 1
    with pytest.raises(subprocess.CalledProcessError):
        timed([sys.executable, "-c", "raise SystemExit(3)"])


def test_nothing_is_loaded_that_a_bare_loop_does_without() -> None:
    code = "import sys, whole; print(*{'numpy', 'scipy', 'torch', 'jinja2'} & set(sys.modules))"
    folder = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "")
