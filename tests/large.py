"""Runs of many images, classes and findings, made without a scan, with pictures of photo size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from handmade import CLASSES, handmade_regions, handmade_run
from PIL import Image

from shortcut_finder.figures.pictures import SHOT_COLUMNS, thumbnail, write_thumbnails
from shortcut_finder.report.selection import report_images
from shortcut_finder.run.folder import Run, save_run
from shortcut_finder.schema import CONFUSION_COLUMNS
from shortcut_finder.sweep.shards import ARRAYS, shard_path, write_shard

# A thumbnail then takes 18 kB, as much as the largest tenth of photographs of flowers do.
FALL = 1.6
PHOTOS, SIDE, SMALL = 12, 640, 320
SHARD = 10_000


def photo(random: np.random.Generator, size: int) -> Image.Image:
    """Noise whose amplitude falls with frequency; as large a JPEG as most photographs make."""
    across, down = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size))
    fall = 1 / np.maximum(np.hypot(across, down), 1 / size)
    grey = np.fft.ifft2(np.fft.fft2(random.normal(size=(size, size))) * fall**FALL).real
    tint = np.fft.ifft2(np.fft.fft2(random.normal(size=(size, size))) * fall**1.8).real
    parts = [grey / grey.std() + weight * tint / tint.std() for weight in (0.5, 0.0, -0.5)]
    return Image.fromarray(np.clip(np.stack(parts, -1) * 45 + 120, 0, 255).astype(np.uint8))


def large_run(
    folder: Path,
    *,
    images: int,
    findings: int,
    carriers: int,
    classes: Sequence[str] = CLASSES,
) -> Run:
    """Write a run folder with pictures and experiments for every finding, and return the run.

    Args:
        folder: where; made when missing.
        images: how many, those of one class every ``len(classes)`` images.
        findings: how many, of one class after the other.
        carriers: images that carry each of them, of its class.
        classes: their names.
    """
    small = handmade_run(folder, findings=findings, thumbnails=False, maps=False)
    names = np.array([f"photographs/camera {n % 7}/IMG_{n:06d}.jpg" for n in range(images)])
    labels = np.arange(images) % len(classes)
    table = pd.concat([small.images] * (images // len(small.images) + 1), ignore_index=True)
    table = table.head(images).assign(image=names, width=SIDE, height=SIDE)
    shown = np.array(classes)[labels]
    table = table.assign(label=shown, predicted=shown)
    details, rows = _found(small, names, carriers, classes)
    run = replace(
        small,
        card=_card(small, classes, images, len(rows)),
        images=table,
        regions=handmade_regions(tuple(classes)),
        details=details,
        findings=small.findings.assign(label=[detail["label"] for detail in details]),
        offenders=rows,
        confusions=_confusions(classes),
    )
    save_run(run)
    _write_shards(folder / "shards", names, labels, len(classes))
    _write_pictures(run, names[:3])
    return run


def _found(
    small: Run, names: np.ndarray, carriers: int, classes: Sequence[str]
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """The findings, each with experiments, and the table of the images that carry them."""
    details: list[dict[str, Any]] = []
    rows = []
    row = small.offenders.iloc[0].to_dict()
    for number, detail in enumerate(small.details):
        place = number % len(classes)
        own = names[place :: len(classes)]
        # Findings of one class have carriers of their own as long as there are any.
        some = own[(carriers * (number // len(classes)) + np.arange(carriers)) % len(own)].tolist()
        said = {"label": classes[place], "predicted": classes[place], "finding": detail["finding"]}
        rows += [{**row, **said, "image": name} for name in dict.fromkeys(some)]
        details.append(
            {
                **detail,
                "template": [{"image": name, "box": [10, 10, 200, 150]} for name in some[-12:]],
                "verification": small.details[0]["verification"],
                "label": classes[place],
                "images": len(set(some)),
            }
        )
    return details, pd.DataFrame(rows).assign(rank=np.arange(1, len(rows) + 1))


def _card(small: Run, classes: Sequence[str], images: int, offenders: int) -> dict[str, Any]:
    card = {**small.card}
    count = {name: images // len(classes) for name in classes}
    card["dataset"] = {**card["dataset"], "classes": list(classes), "images": count}
    card["model"] = {**card["model"], "classes": list(classes)}
    more = {"images": images, "scanned": images, "offenders": offenders}
    card["counts"] = {**card["counts"], **more}
    card["class_accuracy"] = dict.fromkeys(classes, 0.9)
    card["testable"] = dict.fromkeys(classes, 0.18)
    return card


def _confusions(classes: Sequence[str]) -> pd.DataFrame:
    """Each class with the next, which is the second likeliest of its images."""
    rows = [
        (label, rival, len(classes) - n, 0.5, "centre")
        for n, (label, rival) in enumerate(itertools.pairwise(classes))
    ]
    return pd.DataFrame(rows, columns=list(CONFUSION_COLUMNS))


def _write_shards(folder: Path, names: np.ndarray, labels: np.ndarray, classes: int) -> None:
    random = np.random.default_rng(0)
    folder.mkdir()
    for number, start in enumerate(range(0, len(names), SHARD)):
        part = slice(start, start + SHARD)
        count = len(names[part])
        arrays = {name: np.zeros((count, 1)) for name in ARRAYS}
        arrays["maps"] = random.normal(1, 2, (count, 4, 7, 7))
        arrays["shown"] = (labels[part, None] + [0, 0, 1, 2]) % classes
        write_shard(shard_path(folder, number), pd.DataFrame({"image": names[part]}), arrays)


def _write_pictures(run: Run, shot: np.ndarray) -> None:
    """Thumbnails of the images that the page shows, and three experiments a finding."""
    random = np.random.default_rng(0)
    photos = [photo(random, SIDE) for _ in range(PHOTOS)]
    for picture in photos:
        picture.thumbnail((SMALL, SMALL), Image.Resampling.LANCZOS, reducing_gap=3.0)
    wanted = report_images(run)
    places = {name: number for number, name in enumerate(wanted)}
    write_thumbnails(
        run.folder / "thumbnails.parquet", lambda name: photos[places[name] % PHOTOS], wanted
    )
    shots = [thumbnail(picture, 224) for picture in photos]
    arms = ("before", "after", "flat colour")
    titles = ("paste same place", "paste random places", "mask same place")
    combinations = itertools.product(run.details, titles, shot, arms)
    rows = [
        (detail["finding"], title, name, arm, 0.5, shots[number % PHOTOS])
        for number, (detail, title, name, arm) in enumerate(combinations)
    ]
    table = pd.DataFrame(rows, columns=list(SHOT_COLUMNS))
    table.to_parquet(run.folder / "experiments.parquet", index=False)
