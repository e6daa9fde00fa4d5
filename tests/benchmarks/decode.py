"""What one image costs a decode process before the network sees it, in milliseconds of a core.

Photographs are taken as they are, and once more enlarged to each of the sides named by --sides.

    read         the file's bytes
    decode       bytes to an upright RGB picture
    resize       picture to the network's input
    properties   what is measured of it without a model
    hash         of the bytes
    whole        one after the other, as a decode process does it

Usage: python tests/benchmarks/decode.py PHOTOS [--input N] [--images N] [--sides N,N]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.data.properties import measure
from shortcut_finder.data.reading import SUFFIXES, content_hash, decode, file_bytes, read_file
from shortcut_finder.maps.memory import settle_memory

# The fastest of so many looks at an image counts: what other programs took is not its cost.
LOOKS = 3
# Of the enlarged photographs; that of many cameras.
QUALITY = 92


def spent(work: Callable[[], object]) -> float:
    """Milliseconds of the processor."""
    times = []
    for _ in range(LOOKS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def costs(path: Path, how: Preprocessing) -> dict[str, float]:
    """Milliseconds of each step of one image."""
    data = file_bytes(path)
    picture = decode(data)[0]
    pixels = how.pixels(picture)
    image = read_file(path)

    def whole() -> None:
        taken = read_file(path)
        measure(taken, how.pixels(taken.picture))

    return {
        "read": spent(lambda: file_bytes(path)),
        "decode": spent(lambda: decode(data)),
        "resize": spent(lambda: how.pixels(picture)),
        "properties": spent(lambda: measure(image, pixels)),
        "hash": spent(lambda: content_hash(data)),
        "whole": spent(whole),
    }


def enlarged(paths: list[Path], side: int, folder: Path) -> list[Path]:
    """The same photographs as JPEG files whose longer side is so many pixels."""
    made = []
    for number, path in enumerate(paths):
        with Image.open(path) as image:
            scale = side / max(image.size)
            size = (round(image.width * scale), round(image.height * scale))
            made.append(folder / f"{number:05d}.jpg")
            image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(
                made[-1], quality=QUALITY
            )
    return made


def table(title: str, paths: list[Path], how: Preprocessing) -> None:
    """Medians over the photographs."""
    rows = [costs(path, how) for path in paths]
    with Image.open(paths[0]) as first:
        shape = f"the first {first.width} x {first.height}"
    print(f"\n### {title}: {len(paths)} files, {shape}, to {how.height} px\n")
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---:|" * len(rows[0]))
    medians = (statistics.median(row[name] for row in rows) for name in rows[0])
    print("| " + " | ".join(f"{value:.2f}" for value in medians) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--input", type=int, default=224)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--sides", default="1500")
    options = parser.parse_args()
    found = [p for p in sorted(options.photos.rglob("*")) if p.suffix.lower() in SUFFIXES]
    rng = np.random.default_rng(0)
    paths = [found[n] for n in rng.permutation(len(found))[: options.images]]
    if not paths:
        parser.error(f"{options.photos}: no images")
    settle_memory()
    torch.set_num_threads(1)
    how = Preprocessing(options.input, options.input)
    print(f"{platform.processor() or platform.machine()}, ms of a core, medians")
    table("as they are", paths, how)
    with tempfile.TemporaryDirectory() as folder:
        for side in map(int, filter(None, options.sides.split(","))):
            place = Path(folder) / str(side)
            place.mkdir()
            table(f"enlarged to {side} px", enlarged(paths, side, place), how)


if __name__ == "__main__":
    main()
