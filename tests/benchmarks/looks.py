"""Looks of the whole image: what the property channel finds, and what it says of clean photos.

Changes half of the photos of one class in one way (a tint, a blur...) and looks for findings; each
class and each change in turn, the images drawn anew. Then the photos as they are: all classes, and
every pair of them. No model takes part.

Usage: python tests/benchmarks/looks.py FOLDER_OF_CLASS_FOLDERS [--images N] [--share S]
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter
from sklearn.metrics import average_precision_score
from views import view_of

from shortcut_finder.data.dataset import load_dataset
from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.data.properties import measure
from shortcut_finder.data.reading import ReadImage
from shortcut_finder.detect.channels.looks import propose
from shortcut_finder.detect.detection import detect
from shortcut_finder.detect.finding import Finding
from shortcut_finder.detect.halves import discovery_half

INPUT = Preprocessing(224, 224)


def scaled(picture: Image.Image, gain: object, offset: object = 0.0) -> Image.Image:
    """Channels times a gain plus an offset, in levels of 255."""
    levels = np.asarray(picture) * np.asarray(gain) + np.asarray(offset)
    return Image.fromarray(levels.clip(0, 255).round().astype(np.uint8))


def noisy(picture: Image.Image) -> Image.Image:
    """Noise of ten levels, the same for the same picture."""
    rng = np.random.default_rng(int(np.asarray(picture).sum()))
    return scaled(picture, 1.0, rng.normal(0, 10, (picture.height, picture.width, 3)))


def compressed(picture: Image.Image) -> Image.Image:
    """A JPEG of quality 25, decoded."""
    kept = io.BytesIO()
    picture.save(kept, "JPEG", quality=25)
    return Image.open(kept).convert("RGB")


def vignetted(picture: Image.Image) -> Image.Image:
    """Corners at under a third of their light."""
    down = np.linspace(-1, 1, picture.height)[:, None, None]
    across = np.linspace(-1, 1, picture.width)[None, :, None]
    return scaled(picture, 1 - 0.36 * (down**2 + across**2))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "tint": lambda picture: scaled(picture, (0.82, 1.0, 0.9), (0, 0, 30)),
    "warm light": lambda picture: scaled(picture, (1.1, 1.0, 0.85)),
    "darker by a quarter": lambda picture: scaled(picture, 0.75),
    "faded": lambda picture: scaled(picture, 0.75, 32),
    "gamma 0.7": lambda picture: picture.point(lambda level: 255 * (level / 255) ** 0.7),
    "blur, 1.5 pixels": lambda picture: picture.filter(ImageFilter.GaussianBlur(1.5)),
    "noise, 10 levels": noisy,
    "JPEG quality 25": compressed,
    "vignette": vignetted,
}


def properties(picture: Image.Image) -> dict[str, float]:
    """As the sweep measures them, but for the file, which is the same for all."""
    image = ReadImage(picture, "", picture.width, picture.height, "JPEG", 0, "RGB")
    return measure(image, INPUT.pixels(picture))


def findings(
    table: pd.DataFrame, labels: np.ndarray, classes: tuple[str, ...], seed: int
) -> list[Finding]:
    """The property findings, strongest first."""
    view = view_of(table, labels, classes, half=discovery_half(labels, seed))
    return list(detect(view, {"looks": propose}).findings)


def loud(found: list[Finding]) -> list[Finding]:
    """Those above low severity."""
    return [finding for finding in found if finding.decided.severity != "low"]


def main() -> None:
    """Measure, change, find, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="folder of class folders")
    parser.add_argument("--images", type=int, default=200, help="of each class, at most")
    parser.add_argument("--share", type=float, default=0.5, help="of the class that is changed")
    options = parser.parse_args()
    dataset = load_dataset(options.photos)
    rng = np.random.default_rng(0)
    drawn = [
        np.sort(rng.permutation(np.flatnonzero(dataset.labels == n))[: options.images])
        for n in range(len(dataset.classes))
    ]
    dataset = dataset.subset(np.concatenate(drawn))
    labels, classes = dataset.labels, dataset.classes
    pictures = [dataset.read(number).picture for number in range(len(dataset))]
    clean = pd.DataFrame([properties(picture) for picture in pictures])
    print("| change | found | above low | average precision | loud elsewhere |")
    print("|---|---:|---:|---:|---:|")
    for name, change in CHANGES.items():
        any_, above, elsewhere, precision = 0, 0, 0, []
        for label in range(len(classes)):
            home = np.flatnonzero(labels == label)
            chosen = rng.permutation(home)[: round(options.share * len(home))]
            table = clean.copy()
            table.iloc[chosen] = [list(properties(change(pictures[n])).values()) for n in chosen]
            found = findings(table, labels, classes, label)
            mine = [finding for finding in found if finding.label == classes[label]]
            any_ += bool(mine)
            above += bool(loud(mine))
            elsewhere += len(loud(found)) - len(loud(mine))
            score = np.max([f.carriers.score for f in mine] + [np.zeros(len(labels))], axis=0)
            precision.append(average_precision_score(np.isin(home, chosen), score[home]))
        print(
            f"| {name} | {any_} of {len(classes)} | {above} of {len(classes)} "
            f"| {np.median(precision):.2f} | {elsewhere} |",
            flush=True,
        )
    whole = [loud(findings(clean, labels, classes, seed)) for seed in range(10)]
    pairs = []
    for one, other in combinations(range(len(classes)), 2):
        part = np.flatnonzero((labels == one) | (labels == other))
        two = (labels[part] == other).astype(int)
        names = (classes[one], classes[other])
        pairs += [loud(findings(clean.iloc[part], two, names, seed)) for seed in range(3)]
    print(f"as they are, all classes: {sum(map(bool, whole))} of {len(whole)} above low")
    print(f"as they are, pairs of classes: {sum(map(bool, pairs))} of {len(pairs)} above low")


if __name__ == "__main__":
    main()
