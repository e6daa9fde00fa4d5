"""Mutations: small sound files with something wrong in them, drawn from a seed."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

KINDS = {
    "jpg": ("JPEG", {"quality": 80}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {}),
    "lossless.webp": ("WEBP", {"lossless": True}),
    "tif": ("TIFF", {}),
    "lzw.tif": ("TIFF", {"compression": "tiff_lzw"}),
    "gif": ("GIF", {}),
    "jp2": ("JPEG2000", {}),
    "bmp": ("BMP", {}),
    "ppm": ("PPM", {}),
}


def sound(seed: int = 0, side: int = 40) -> dict[str, bytes]:
    """A small picture in every format, by the end of its name."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((side, side))
    files = {}
    for name, (kind, options) in KINDS.items():
        content = io.BytesIO()
        picture.save(content, kind, **options)
        files[name] = content.getvalue()
    return files


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """The content with one to four things wrong."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        way, place = int(rng.integers(7)), int(rng.integers(max(len(data), 1)))
        length = int(rng.integers(1, 33))
        if way == 0:
            data[place : place + 1] = bytes([int(rng.integers(256))])
        elif way == 1:
            del data[place:]
        elif way == 2:
            del data[place : place + length]
        elif way == 3:
            data[place:place] = rng.bytes(length)
        elif way == 4:
            data[place : place + 4] = b"\xff\xff\xff\xff"
        elif way == 5:
            # Sizes stand at the beginning.
            data[min(place, 64) : min(place, 64) + 4] = int(rng.integers(2**31)).to_bytes(4, "big")
        else:
            other = int(rng.integers(max(len(data), 1)))
            data[place : place + length] = data[other : other + length]
    return bytes(data)


def mutations(files: dict[str, bytes], count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """So many mutated files, each with the end of its name; no two runs differ."""
    rng = np.random.default_rng(seed)
    names = sorted(files)
    for number in range(count):
        name = names[number % len(names)]
        yield name, mutated(files[name], rng)
