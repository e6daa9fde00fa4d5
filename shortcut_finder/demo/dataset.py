"""Dataset: the demo's pictures as image files, with marks in some of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from shortcut_finder.demo.marks import MARKS, PLANTS
from shortcut_finder.demo.pictures import BACKGROUNDS, draw_scene
from shortcut_finder.demo.shapes import SHAPES

IMAGES_PER_CLASS = 160
TRUTH_COLUMNS = ("image", "label", "planted", "x0", "y0", "x1", "y1")


def make_dataset(
    folder: Path, *, per_class: int = IMAGES_PER_CLASS, seed: int = 0, progress: bool = True
) -> pd.DataFrame:
    """Draw the demo's images into ``folder/images`` and the truth into ``folder/planted.csv``.

    Every class gets every background equally often, and the marked images of a class are drawn at
    random from it.

    Args:
        folder: where to write; it must exist.
        per_class: images of each class.
        seed: decides every picture.
        progress: whether to show a bar on stderr.

    Returns:
        One row a marked image, `TRUTH_COLUMNS`; boxes in pixels.
    """
    plants = {plant.label: plant for plant in PLANTS}
    rows = []
    bar = tqdm(total=per_class * len(SHAPES), desc="drawing", unit="image", disable=not progress)
    with bar:
        for number, label in enumerate(SHAPES):
            (folder / "images" / label).mkdir(parents=True)
            plant = plants.get(label)
            order = np.random.default_rng([seed, number]).permutation(per_class)
            marked = set(order[: round(plant.share * per_class)].tolist()) if plant else set()
            for index in range(per_class):
                rng = np.random.default_rng([seed, number, index])
                image = draw_scene(label, list(BACKGROUNDS)[index % len(BACKGROUNDS)], rng)
                name = f"{label}/{label}_{index:03d}.jpg"
                if plant and index in marked:
                    image, box = MARKS[plant.mark](image, rng)
                    rows.append((name, label, plant.mark, *box))
                image.save(folder / "images" / name, quality=92)
                bar.update()
    truth = pd.DataFrame(rows, columns=list(TRUTH_COLUMNS))
    truth.to_csv(folder / "planted.csv", index=False, lineterminator="\n")
    return truth
