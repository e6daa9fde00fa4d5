"""Mending: what is damaged or made of other images is swept again, and nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import classifier_of
from PIL import Image
from torch import nn

from shortcut_finder.data.dataset import load_dataset
from shortcut_finder.errors import RunError
from shortcut_finder.settings import Settings
from shortcut_finder.sweep import batches, claim
from shortcut_finder.sweep.batches import Sweep, sweep

SETTINGS = Settings(precision="fp32", workers=0, batch_size=8)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SHARD", 16)


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(40):
        draw(tmp_path / "images" / "ab"[number % 2] / f"{number:02d}.png", number)
    (tmp_path / "images" / "a" / "broken.png").write_bytes(b"no image")
    # Longer ago than the coarsest clock of a file system can hide.
    for path in (tmp_path / "images").rglob("*.png"):
        os.utime(path, (1, 1))
    return tmp_path / "images"


def go(images: Path, folder: Path) -> Sweep:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip
    model = replace(classifier_of(network, 16), classes=("a", "b"))
    return sweep(load_dataset(str(images)), model, SETTINGS, folder, progress=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def shard_of(folder: Path, image: str) -> str:
    return next(
        path.name
        for path in sorted(folder.glob("shard-*"))
        if image in set(batches.pd.read_parquet(path)["image"])
    )


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda _: b"",
    "flipped": lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
    "zeroed": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    ("file", "again"),
    [
        ("shard-000000.parquet", 16),
        ("shard-000001.parquet", 16),
        ("shard-000002.parquet", 9),
        ("whitening.npz", 16),
        ("unreadable-000001.json", 16),
    ],
)
def test_a_damaged_file_is_made_again_to_the_same_bytes(
    images: Path, tmp_path: Path, file: str, again: int, damage: str
) -> None:
    go(images, tmp_path / "run")
    before = contents(tmp_path / "run")
    content = DAMAGES[damage](before[file] if len(before[file]) > 200 else b"x" * 300)
    assert content != before[file]
    (tmp_path / "run" / file).write_bytes(content)
    assert go(images, tmp_path / "run").swept == again
    assert contents(tmp_path / "run") == before
    assert go(images, tmp_path / "run").swept == 0


def test_a_file_that_is_missing_is_made_again(images: Path, tmp_path: Path) -> None:
    go(images, tmp_path / "run")
    before = contents(tmp_path / "run")
    for file in ("whitening.npz", "unreadable-000002.json"):
        (tmp_path / "run" / file).unlink()
        assert go(images, tmp_path / "run").swept
        assert contents(tmp_path / "run") == before


def test_a_changed_image_is_looked_at_again_and_an_untouched_one_is_not(
    images: Path, tmp_path: Path
) -> None:
    go(images, tmp_path / "run")
    first = next(name for name in ("a/00.png", "b/01.png", "a/02.png", "b/03.png", "a/04.png")
                 if shard_of(tmp_path / "run", name) == "shard-000000.parquet")  # fmt: skip
    later = next(name for name in ("a/06.png", "b/07.png", "a/08.png", "b/09.png", "a/10.png")
                 if shard_of(tmp_path / "run", name) != "shard-000000.parquet")  # fmt: skip
    # Touched, with the same content; and with an old date, as some tools give.
    (images / later).touch()
    assert go(images, tmp_path / "run").swept == 0
    draw(images / later, 1000)
    os.utime(images / later, (1, 1))
    assert 9 <= go(images, tmp_path / "run").swept <= 16
    # On the first shard it was learned how to whiten, which holds for all.
    draw(images / first, 1001)
    assert go(images, tmp_path / "run").swept == 41
    found = contents(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    go(images, tmp_path / "run")
    assert contents(tmp_path / "run") == found


def test_an_image_that_was_mended_or_is_gone_is_looked_at_again(
    images: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "all.csv"
    names = sorted(str(path.relative_to(tmp_path)) for path in images.rglob("*.png"))
    manifest.write_text("image,label\n" + "".join(f"{n},{n.split('/')[1]}\n" for n in names))
    assert go(manifest, tmp_path / "run").unreadable["image"].tolist() == ["images/a/broken.png"]
    draw(images / "a" / "broken.png", 5)
    assert go(manifest, tmp_path / "run").unreadable["image"].tolist() == []
    (images / "b" / "07.png").unlink()
    assert go(manifest, tmp_path / "run").unreadable["image"].tolist() == ["images/b/07.png"]


def test_images_that_were_added_or_removed_are_named(images: Path, tmp_path: Path) -> None:
    go(images, tmp_path / "run")
    draw(images / "a" / "new.png", 7)
    with pytest.raises(RunError, match=r"another dataset \(41 images then, 42 now\)"):
        go(images, tmp_path / "run")
    (images / "a" / "new.png").unlink()
    (images / "b" / "07.png").rename(images / "b" / "7.png")
    with pytest.raises(RunError, match=r"another dataset \('b/07\.png' is not there now\)"):
        go(images, tmp_path / "run")


def test_another_version_is_refused(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(images, tmp_path / "run")
    monkeypatch.setattr(claim, "version_of", lambda: "9.9")
    with pytest.raises(RunError, match=r"another version \(0\.1\.0, now 9\.9\)"):
        go(images, tmp_path / "run")
