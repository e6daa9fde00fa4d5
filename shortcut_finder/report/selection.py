"""Selection: which images the page of a run shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from shortcut_finder.data.membership import label_lists, labelled
from shortcut_finder.detect.confusions import hot_cells
from shortcut_finder.run.folder import Run
from shortcut_finder.settings import LIKELY
from shortcut_finder.sweep.records import TOP
from shortcut_finder.sweep.shards import read_shards

# A page of 20 findings stays under 15 MB; whatever follows gets a glimpse, and beyond 60 no
# more than a row in the table of findings.
SHEET_IMAGES = 12
SHEET_FINDINGS = 20
GLIMPSE_IMAGES = 3
PICTURED_FINDINGS = 60
# Rows of the table of classes.
MAX_CLASSES = 1000
# Classes that get pictures, and how many of either sort.
GALLERY_CLASSES = 24
TYPICAL_IMAGES = 3
CONFUSED_PAIRS = 12
CONFUSED_IMAGES = 2
# Rows at the top of the table of offenders that get a picture.
LISTED_IMAGES = 150
# Rows beyond this would make the page slow, and names beyond so many letters large; all rows are in
# offenders.csv.
MAX_OFFENDERS = 20_000
MAX_LETTERS = 4_000_000


def report_images(run: Run) -> list[str]:
    """Names of all images that the page shows, each once.

    Args:
        run: its tables and, where there are any, its shards.
    """
    names: dict[str, None] = {}
    for position, detail in enumerate(run.details[:PICTURED_FINDINGS]):
        names |= dict.fromkeys(str(crop["image"]) for crop in template_crops(detail, position))
        names |= dict.fromkeys(sheet_images(str(detail["finding"]), position, run.offenders))
    for label in gallery_classes(run):
        typical, atypical = typical_images(run.images, run.maps_of(label), label)
        names |= dict.fromkeys([*typical, *atypical])
    for some in confused_images(run).values():
        names |= dict.fromkeys(some)
    names |= dict.fromkeys(listed_images(run.offenders))
    return list(names)


def sheet_images(finding: str, position: int, offenders: pd.DataFrame) -> list[str]:
    """The images shown for one finding, worst first, the sure ones before a few likely ones.

    Args:
        finding: its name in ``offenders``.
        position: its place in the list of findings, from 0.
        offenders: the table of ``offenders.csv``.
    """
    rows = offenders[offenders["finding"] == finding].sort_values("rank", kind="stable")
    rows = rows.drop_duplicates("image")
    count = SHEET_IMAGES if position < SHEET_FINDINGS else GLIMPSE_IMAGES
    likely = rows["image"][rows["tier"] == LIKELY]
    sure = rows["image"][rows["tier"] != LIKELY].head(count - min(len(likely), count // 3))
    return [str(name) for name in [*sure, *likely.head(count - len(sure))]]


def template_crops(detail: Mapping[str, Any], position: int) -> list[Mapping[str, Any]]:
    """The template members shown for one finding: ``{"image", "box"}``, best first."""
    count = SHEET_IMAGES if position < SHEET_FINDINGS else GLIMPSE_IMAGES
    return list(detail.get("template") or [])[:count]


def gallery_classes(run: Run) -> list[str]:
    """The classes that get pictures: those with findings first, strongest first."""
    classes = [str(name) for name in run.card["dataset"]["classes"]]
    found = [str(detail["label"]) for detail in run.details]
    return list(dict.fromkeys([name for name in found if name in classes] + classes))[
        :GALLERY_CLASSES
    ]


def listed_classes(run: Run) -> list[str]:
    """The classes that get a row, in order; of very many, those with findings before others."""
    classes = [str(name) for name in run.card["dataset"]["classes"]]
    found = {str(detail["label"]) for detail in run.details}
    # False comes before true, and the sort is stable.
    kept = set(sorted(classes, key=lambda name: name not in found)[:MAX_CLASSES])
    return [name for name in classes if name in kept]


def typical_images(
    images: pd.DataFrame, maps: Mapping[str, np.ndarray], label: str
) -> tuple[list[str], list[str]]:
    """The most typical and the most atypical images of a class, the extreme ones first.

    Typical is an image whose evidence for the class lies where that of the class lies on average:
    the cosine between the positive parts of its class map and of the class's mean map. An image
    without any evidence for its class is as atypical as can be.

    Args:
        images: the table of ``images.parquet``.
        maps: class map of the label by image.
        label: the class.

    Returns:
        Names of images, as many of either sort; nothing where the maps are gone.
    """
    names = [str(name) for name in images["image"][labelled(images, label)]]
    names = sorted(name for name in names if name in maps)
    if not names:
        return [], []
    heat = np.stack([np.clip(maps[name], 0, None).ravel() for name in names])
    heat = heat.astype(np.float64)
    mean = heat.mean(axis=0)
    lengths = np.linalg.norm(heat, axis=1) * np.linalg.norm(mean)
    likeness = heat @ mean / np.where(lengths > 0, lengths, 1.0)
    # Rounded, so that images which differ by nothing but noise keep the order of their names.
    ordered = [names[n] for n in np.argsort(-likeness.round(6), kind="stable")]
    count = min(TYPICAL_IMAGES, len(ordered) // 2)
    return ordered[:count], ordered[::-1][:count]


def confused_pairs(run: Run) -> list[tuple[str, str]]:
    """The pairs of classes that get pictures: label and rival, most images first."""
    pairs = run.confusions.head(CONFUSED_PAIRS)
    return list(zip(pairs["label"].astype(str), pairs["rival"].astype(str), strict=True))


def confused_images(run: Run) -> dict[tuple[str, str], list[str]]:
    """For each pair, the images of the class in which both maps agree most on the spot.

    Agreement is the intersection over union of the hot cells of the label and of the likeliest
    other class, which must be the rival of the pair.
    """
    pairs = confused_pairs(run)
    outputs = [str(name) for name in run.card["model"]["classes"]]
    labels = dict(zip(run.images["image"], label_lists(run.images), strict=True))
    found: dict[tuple[str, str], list[tuple[float, str]]] = {pair: [] for pair in pairs}
    for shard in read_shards(run.folder / "shards", ["maps", "shown"]) if pairs else ():
        shown = shard.arrays["shown"]
        hot = hot_cells(shard.arrays["maps"].astype(np.float32))
        number, top = np.arange(len(shown)), shown[:, -TOP:]
        held = np.array(
            [
                [outputs[n] in labels.get(name, []) for n in row]
                for name, row in zip(shard.table["image"], shown[:, :-TOP], strict=True)
            ]
        )
        # Another label of the same image is no rival.
        other = (top[:, :, None] != np.where(held, shown[:, :-TOP], -1)[:, None]).all(axis=2)
        place = shown.shape[1] - TOP + other.argmax(axis=1)
        for column in range(shown.shape[1] - TOP):
            own, theirs = hot[:, column], hot[number, place]
            union = (own | theirs).sum(axis=(1, 2))
            overlap = (own & theirs).sum(axis=(1, 2)) / np.maximum(union, 1)
            for name, label, rival, value in zip(
                shard.table["image"], shown[:, column], shown[number, place], overlap, strict=True
            ):
                pair = (outputs[label], outputs[rival])
                if pair in found and pair[0] in labels.get(name, []) and value > 0:
                    found[pair].append((-float(value), str(name)))
    return {
        pair: [name for _, name in sorted(some)[:CONFUSED_IMAGES]] for pair, some in found.items()
    }


def listed_offenders(offenders: pd.DataFrame) -> pd.DataFrame:
    """The rows of the table of offenders that the page has, the first ones."""
    rows = offenders.head(MAX_OFFENDERS)
    return rows[rows["image"].str.len().cumsum() <= MAX_LETTERS]


def listed_images(offenders: pd.DataFrame) -> list[str]:
    """The worst offenders, which the table shows with a picture."""
    rows = offenders.sort_values("rank", kind="stable")
    return [str(name) for name in rows["image"].drop_duplicates().head(LISTED_IMAGES)]
