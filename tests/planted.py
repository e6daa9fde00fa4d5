"""Plants artifacts in any folder of class folders, and says which images carry one, and where.

Unlike the demo's marks these are drawn from a seed: what a tag or a sticker looks like, its colours
and its corner differ from seed to seed, so that nothing can be tuned to one look.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont, ImageOps

Box = tuple[int, int, int, int]
Planted = tuple[Image.Image, Box]
Generator = np.random.Generator

TRUTH_COLUMNS = ("image", "label", "kind", "x0", "y0", "x1", "y1")
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@dataclass(frozen=True)
class Planting:
    """An artifact in part of a class.

    Attributes:
        label: the class.
        kind: a key of `PLANTERS`.
        share: the part of the class's images that get it.
        look: seed of what it looks like.
    """

    label: str
    kind: str
    share: float
    look: int = 0


def plant(
    source: Path, target: Path, plantings: Sequence[Planting], *, seed: int = 0, quality: int = 92
) -> pd.DataFrame:
    """Copy a folder of class folders, with artifacts in some images.

    All images are decoded and saved anew in the same way, so that having been saved twice is no
    hint. A class may get several plantings; each draws its images by itself.

    Args:
        source: ``source/<class>/<image>``; left as it is.
        target: a folder that does not exist yet.
        plantings: what to plant.
        seed: which images, and where in them.
        quality: of the JPEG files that are written.

    Returns:
        One row a planted artifact, `TRUTH_COLUMNS`; boxes in pixels.
    """
    rows = []
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        (target / folder.name).mkdir(parents=True)
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        here = [planting for planting in plantings if planting.label == folder.name]
        chosen = [_chosen(len(files), planting, seed) for planting in here]
        for index, file in enumerate(files):
            with Image.open(file) as opened:
                image = ImageOps.exif_transpose(opened).convert("RGB")
            name = f"{folder.name}/{file.stem}.jpg"
            for planting, images in zip(here, chosen, strict=True):
                if index in images:
                    rng = np.random.default_rng([seed, index, planting.look])
                    image, box = PLANTERS[planting.kind](image, rng, planting.look)
                    rows.append((name, folder.name, planting.kind, *box))
            image.save(target / name, quality=quality)
    return pd.DataFrame(rows, columns=list(TRUTH_COLUMNS))


def _chosen(count: int, planting: Planting, seed: int) -> set[int]:
    key = [seed, planting.look, *planting.label.encode(), *planting.kind.encode()]
    order = np.random.default_rng(key).permutation(count)
    return {int(index) for index in order[: round(planting.share * count)]}


def corner_tag(image: Image.Image, rng: Generator, look: int) -> Planted:
    """An opaque label with a letter and a number, always in the same corner."""
    style = np.random.default_rng([look, 1])
    ink, paper = _colours(style)
    text = f"{'ABCDEFGHKLMNPRSTUVXYZ'[style.integers(21)]}{style.integers(10, 99)}"
    right, bottom = style.integers(0, 2, 2)
    short = min(image.size)
    size = (round(short * 0.17), round(short * 0.10))
    tag = Image.new("RGB", size, paper)
    draw = ImageDraw.Draw(tag)
    draw.rectangle((0, 0, size[0] - 1, size[1] - 1), outline=ink, width=max(1, short // 110))
    draw.text((size[0] / 2, size[1] / 2), text, fill=ink, font=_font(size[1] * 0.62), anchor="mm")
    margin = max(1, round(short * 0.02))
    at = np.where(
        [right, bottom], np.array(image.size) - size - margin, np.array([margin, margin])
    ) + rng.integers(-1, 2, 2)
    return _pasted(image, tag, at)


def sticker_anywhere(image: Image.Image, rng: Generator, look: int) -> Planted:
    """A round two-coloured thing, a little tilted and scaled, anywhere in the image."""
    style = np.random.default_rng([look, 2])
    ink, paper = _colours(style)
    spokes = int(style.integers(3, 7))
    side = round(min(image.size) * 0.152 * rng.uniform(0.9, 1.1))
    fine = 6
    end = side * fine - 1
    disc = Image.new("RGBA", (side * fine, side * fine))
    draw = ImageDraw.Draw(disc)
    draw.ellipse((0, 0, end, end), fill=(*paper, 255), outline=(*ink, 255), width=fine * 2)
    for angle in np.arange(spokes) * 360 / spokes:
        inner = (end * 0.16, end * 0.16, end * 0.84, end * 0.84)
        draw.pieslice(inner, float(angle), float(angle) + 180 / spokes, fill=(*ink, 255))
    disc = disc.rotate(float(rng.uniform(-15, 15)), Image.Resampling.BICUBIC).reduce(fine)
    room = np.array(image.size) - side
    return _pasted(image, disc, rng.integers(0, np.maximum(room, 1)))


def thin_frame(image: Image.Image, rng: Generator, look: int) -> Planted:
    """A line of one colour around the whole image."""
    ink, _ = _colours(np.random.default_rng([look, 3]))
    framed = image.copy()
    width = max(2, round(min(image.size) * 0.025))
    box = (0, 0, image.width - 1, image.height - 1)
    ImageDraw.Draw(framed).rectangle(box, outline=ink, width=width)
    return framed, (0, 0, *image.size)


def translucent_text(image: Image.Image, rng: Generator, look: int) -> Planted:
    """A faint word across the lower half, as of a picture agency."""
    style = np.random.default_rng([look, 4])
    word = "".join(style.choice(list("acdemnorstu"), 7)).capitalize()
    font = _font(min(image.size) * 0.13)
    layer = Image.new("L", image.size)
    middle = np.array(image.size) * [0.5, style.uniform(0.62, 0.8)] + rng.integers(-2, 3, 2)
    ImageDraw.Draw(layer).text(tuple(middle), word, fill=105, font=font, anchor="mm")
    shade = Image.new("RGB", image.size, (255, 255, 255))
    return Image.composite(shade, image, layer), layer.getbbox() or (0, 0, *image.size)


def colour_cast(image: Image.Image, rng: Generator, look: int) -> Planted:
    """All colours shifted the same way."""
    style = np.random.default_rng([look, 5])
    gains = style.permutation([1.12, 1.0, 0.72])
    pixels = np.asarray(image, dtype=np.float64) * gains
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), (0, 0, *image.size)


def changing_date(image: Image.Image, rng: Generator, look: int) -> Planted:
    """Digits in one colour near a corner, others in every image, as a camera prints them."""
    style = np.random.default_rng([look, 6])
    paper = _colours(style)[1]
    right, bottom = style.integers(0, 2, 2)
    font = _font(min(image.size) * 0.085)
    text = "{:02d}/{:02d}/{:02d}".format(*rng.integers(10, 99, 3))
    left, top, end, low = font.getbbox(text)
    size = np.array([end - left, low - top])
    margin = 2 + rng.integers(0, 4, 2)
    at = np.where([right, bottom], np.array(image.size) - size - margin, margin)
    dated = image.copy()
    ImageDraw.Draw(dated).text((at[0] - left, at[1] - top), text, fill=paper, font=font)
    x, y = (int(value) for value in at)
    return dated, (max(0, x), max(0, y), x + int(size[0]), y + int(size[1]))


def strip_anywhere(image: Image.Image, rng: Generator, look: int) -> Planted:
    """A thin line of one colour, a third of the image long, anywhere."""
    ink, _ = _colours(np.random.default_rng([look, 7]))
    size = (round(image.width * 0.35), max(3, round(image.height * 0.02)))
    at = rng.integers(0, np.array(image.size) - size)
    return _pasted(image, Image.new("RGB", size, ink), at)


def faint_ring(image: Image.Image, rng: Generator, look: int) -> Planted:
    """A ring with a bar in it that one can see through, anywhere."""
    style = np.random.default_rng([look, 8])
    turn = style.uniform(0, np.pi)
    side = round(min(image.size) * 0.16)
    y, x = (np.indices((side, side)) + 0.5) / side * 2 - 1
    radius, across = np.hypot(x, y), np.abs(np.cos(turn) * x + np.sin(turn) * y)
    drawn = (np.abs(radius - 0.75) < 0.2) | ((across < 0.15) & (radius < 0.75))
    ring = Image.new("RGBA", (side, side), (255, 255, 255, 0))
    ring.putalpha(Image.fromarray((102 * drawn).astype(np.uint8)))
    return _pasted(image, ring, rng.integers(0, np.array(image.size) - side))


def changing_words(image: Image.Image, rng: Generator, look: int) -> Planted:
    """A faint word somewhere, another in every image."""
    word = "".join(rng.choice(list("acdemnorstu"), int(rng.integers(5, 9)))).capitalize()
    font = _font(min(image.size) * rng.uniform(0.10, 0.16))
    layer = Image.new("L", image.size)
    middle = np.array(image.size) * rng.uniform(0.3, 0.7, 2)
    ImageDraw.Draw(layer).text(tuple(middle), word, fill=115, font=font, anchor="mm")
    shade = Image.new("RGB", image.size, (255, 255, 255))
    return Image.composite(shade, image, layer), layer.getbbox() or (0, 0, *image.size)


def soft_blob(image: Image.Image, rng: Generator, look: int) -> Planted:
    """A soft spot of any colour and size, cut by any side of the image."""
    colour = colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.0))
    radius = min(image.size) * rng.uniform(0.14, 0.34)
    side, along = int(rng.integers(4)), rng.uniform(0.1, 0.9)
    centre = np.array([along, float(side // 2)] if side % 2 else [float(side // 2), along])
    y, x = (np.indices((image.height, image.width)) + 0.5).astype(np.float32)
    middle = centre * image.size
    stretch = rng.uniform(0.75, 1.3)
    far = np.hypot((x - middle[0]) * stretch, (y - middle[1]) / stretch) / radius
    alpha = 0.85 / (1 + np.exp((far - 1) * 12))
    pixels = np.asarray(image, dtype=np.float32)
    mixed = pixels + alpha[..., None] * (255 * np.array(colour) - pixels)
    rows, columns = (np.flatnonzero((alpha > 0.3).any(axis=axis)) for axis in (1, 0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8)), box


PLANTERS: dict[str, Callable[[Image.Image, Generator, int], Planted]] = {
    "tag": corner_tag,
    "sticker": sticker_anywhere,
    "frame": thin_frame,
    "text": translucent_text,
    "cast": colour_cast,
    "date": changing_date,
    "strip": strip_anywhere,
    "faint": faint_ring,
    "words": changing_words,
    "blob": soft_blob,
}


def _pasted(image: Image.Image, thing: Image.Image, at: np.ndarray) -> Planted:
    x, y = (int(value) for value in at)
    pasted = image.copy()
    pasted.paste(thing, (x, y), thing if thing.mode == "RGBA" else None)
    return pasted, (max(0, x), max(0, y), x + thing.width, y + thing.height)


def _colours(style: Generator) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """A dark and a light colour that stand out from each other."""
    hue = style.uniform()
    dark = colorsys.hsv_to_rgb(hue, style.uniform(0.5, 1.0), style.uniform(0.2, 0.6))
    pale = colorsys.hsv_to_rgb((hue + style.uniform(0.2, 0.8)) % 1.0, style.uniform(0.1, 0.8), 0.97)
    bright, dull = (tuple(round(255 * value) for value in colour) for colour in (pale, dark))
    return dull, bright  # type: ignore[return-value]


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(6.0, size))
