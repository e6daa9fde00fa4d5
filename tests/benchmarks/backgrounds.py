"""Natural backgrounds: whether a class that is told by its background is found out.

Cuts a soft disc out of the middle of each photo and puts it before a drawn background: meadow,
water and so on, never twice the same. In part of a class (`--share`) it is the class's own one, in
the rest one of the other classes'. Trains efficientnet-lite0 on four fifths of the photos; scans
them; and prints how often the network is right about the other photos before their own and before
other backgrounds, and for each class what was found of it: whether its background was confirmed,
the precision and recall of the listed images, and all else above low severity.

    python tests/benchmarks/backgrounds.py FOLDER --out NEW_FOLDER --classes roses tulips
    python tests/benchmarks/backgrounds.py FOLDER --out NEW_FOLDER --share 0.5 --classes a b

With two classes and a share of .5, or C classes and 1/C, backgrounds say nothing about the class.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from fine_tuning import LITE0, accuracy, fine_tuned, preprocessing
from PIL import Image, ImageFilter

import shortcut_finder as sf
from shortcut_finder.data.regions import SURROUNDINGS
from shortcut_finder.demo.pictures import BACKGROUNDS, SIDE, Light

# In the order of the classes: land and water first, as in published sets of this kind.
NAMES = ("meadow", "water", "brick", "foliage", "planks", "sky")
# Passes over the photos, and the side at which the network sees them.
EPOCHS, INPUT = 3, 160


def composed(photo: Image.Image, background: str, rng: np.random.Generator) -> Image.Image:
    """A disc of the photo's middle before a background."""
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    square = photo.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
    light = Light(float(rng.uniform(-1, 1)), float(rng.uniform(-1, -0.3)), (1.0, 1.0, 1.0), 1.0)
    behind = BACKGROUNDS[background](light, rng) + rng.normal(0, 0.02, (SIDE, SIDE, 3))
    middle, radius = rng.uniform(0.4, 0.6, 2) * SIDE, rng.uniform(0.22, 0.33) * SIDE
    x, y = (np.arange(SIDE) + 0.5 - at for at in middle)
    disc = Image.fromarray(np.uint8(255 * (np.hypot(x[None], y[:, None]) < radius)))
    moved = np.roll(np.asarray(square), np.rint(middle[::-1] - SIDE / 2).astype(int), axis=(0, 1))
    result = Image.fromarray(np.uint8(255 * behind.clip(0, 1)))
    result.paste(Image.fromarray(moved), mask=disc.filter(ImageFilter.GaussianBlur(2)))
    return result


def make(photos: Path, out: Path, classes: list[str], share: float, seed: int) -> pd.DataFrame:
    """Write ``train/``, ``own/`` and ``other/``; the backgrounds of ``train/``, by image."""
    rows = []
    for number, label in enumerate(classes):
        rng = np.random.default_rng([seed, number])
        files = sorted(path for path in (photos / label).iterdir() if path.is_file())
        others = [name for name in NAMES[: len(classes)] if name != NAMES[number]]
        for place, file in enumerate(files):
            photo = Image.open(file).convert("RGB")
            other = str(rng.choice(others))
            kinds = {"own": NAMES[number], "other": other}
            if place % 5:
                kinds = {"train": NAMES[number] if rng.random() < share else other}
            for split, background in kinds.items():
                path = out / split / label / f"{label}-{place:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                composed(photo, background, rng).save(path)
                rows.append((split, f"{label}/{path.name}", label, background))
    table = pd.DataFrame(rows, columns=["split", "image", "label", "background"])
    return table[table["split"] == "train"].set_index("image")


def main() -> None:
    """Compose, train, scan, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="folder of class folders")
    parser.add_argument("--out", type=Path, required=True, help="new folder for data and run")
    parser.add_argument("--classes", nargs="+", default=[], help="some of the classes, six at most")
    parser.add_argument("--share", type=float, default=0.95, help="of a class before its own")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    known = sorted(path.name for path in options.photos.iterdir() if path.is_dir())
    classes = sorted(options.classes) or known[: len(NAMES)]
    truth = make(options.photos, options.out, classes, options.share, options.seed)
    images, how = sf.load_dataset(options.out / "train"), preprocessing(LITE0, INPUT)
    network = fine_tuned(images, how, epochs=EPOCHS, seed=options.seed)
    for split in ("own", "other"):
        tests = sf.load_dataset(options.out / split)
        right = [
            f"{label} {accuracy(network, tests.subset(np.flatnonzero(tests.labels == n)), how):.3f}"
            for n, label in enumerate(classes)
        ]
        print(f"accuracy before their {split} backgrounds: {', '.join(right)}")
    settings = sf.Settings(
        input_size=INPUT, resize=how.resize, mean=how.mean, std=how.std, seed=options.seed
    )
    run = sf.scan(options.out / "train", network, out=options.out / "run", settings=settings)
    for number, label in enumerate(classes):
        print(describe(run, truth, label, NAMES[number]))


def describe(run: sf.Run, truth: pd.DataFrame, label: str, background: str) -> str:
    """What was found of a class, in a line."""
    own = run.findings[run.findings["label"] == label]
    around = own[(own["region"] == SURROUNDINGS) & (own["verdict"] == "confirmed")]
    loud = own[(own["severity"] != "low") & ~own.index.isin(around.index)]
    carriers = set(truth.index[(truth["label"] == label) & (truth["background"] == background)])
    said = f"{label}: {background} in {len(carriers)} of {(truth['label'] == label).sum()}; "
    if len(around):
        listed = run.offenders[run.offenders["finding"] == around.iloc[0]["finding"]]["image"]
        right = len(carriers & set(listed))
        said += f"confirmed, {len(listed)} listed, {right} of them right"
    else:
        said += "not found"
    others = [f"{one.kind} {one.region} {one.severity}/{one.verdict}" for one in loud.itertuples()]
    return f"{said}; else above low: {', '.join(others) or 'nothing'}"


if __name__ == "__main__":
    main()
