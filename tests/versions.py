"""Datasets on disk with runs written by hand: what cleaning and comparing read, without a model."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFilter

from shortcut_finder.data.dataset import load_dataset
from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.data.properties import measure
from shortcut_finder.run.folder import Run, save_run
from shortcut_finder.schema import (
    CONFUSION_COLUMNS,
    FINDING_COLUMNS,
    OFFENDER_COLUMNS,
    REGION_COLUMNS,
    UNREADABLE_COLUMNS,
)

CLASSES = ("cat", "cow", "dog")
SIZE = (96, 64)
TAG = (4, 4, 28, 16)
GRID = 8
# Properties of files that were measured, by the hash of their bytes: many runs are of the same.
_measured: dict[str, dict[str, Any]] = {}


def picture(seed: int, *, tag: bool = False) -> Image.Image:
    """Soft noise with a disc somewhere; with the tag in the upper left corner where wanted."""
    return _drawn(seed, tag).copy()


# Most tests write the same pictures into a folder of their own.
@functools.cache
def _drawn(seed: int, tag: bool) -> Image.Image:
    rng = np.random.default_rng(seed)
    noise = rng.normal(120, 60, (SIZE[1] // 2, SIZE[0] // 2, 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(noise).resize(SIZE).filter(ImageFilter.GaussianBlur(2))
    draw = ImageDraw.Draw(image)
    x, y = int(rng.integers(32, 80)), int(rng.integers(20, 50))
    draw.ellipse((x - 9, y - 9, x + 9, y + 9), fill=tuple(rng.integers(0, 255, 3).tolist()))
    if tag:
        draw.rectangle(TAG, fill="white", outline="black", width=2)
        for at in range(TAG[0] + 4, TAG[2] - 3, 4):
            draw.line((at, TAG[1] + 4, at, TAG[3] - 4), fill="black", width=2)
    return image


def write_images(
    root: Path, *, per_class: int = 12, tagged: int = 4, label: str = "cat", first: int = 0
) -> Path:
    """A folder of class folders; the first ``tagged`` images of one class carry the tag."""
    for number, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(first, first + per_class):
            tag = name == label and index - first < tagged
            image = picture(1000 * number + index, tag=tag)
            image.save(root / name / f"{index:03d}.jpg", quality=90)
    return root


def tagged_images(run_images: Sequence[str], tagged: int, label: str = "cat") -> list[str]:
    """Names of the images that `write_images` tagged."""
    return sorted(name for name in run_images if name.startswith(f"{label}/"))[:tagged]


def finding(key: str, label: str = "cat", **changes: Any) -> dict[str, Any]:
    """An entry of ``findings.json`` for a tag in the corner."""
    place = np.zeros((GRID, GRID))
    place[0, 0] = 1.0
    return {
        "finding": key,
        "label": label,
        "kind": "corner",
        "region": "top left corner",
        "images": 0,
        "share": 0.0,
        "elsewhere": 0.0,
        "reliance": np.nan,
        "reliance_low": np.nan,
        "reliance_high": np.nan,
        "q": 1e-9,
        "suspicion": 0.9,
        "verdict": "suspect",
        "severity": "high",
        "sentence": "the same mark at the top left corner",
        "advice": "Mask it.",
        "numbers": {"rigidity": 0.99},
        "suspicion_parts": {"rigidity": 1.0},
        "maps": {"members": place.tolist(), "others": np.zeros((GRID, GRID)).tolist()},
        "place": place.tolist(),
        "template": [],
        **changes,
    }


def write_run(
    folder: Path,
    data: Any,
    findings: Sequence[dict[str, Any]],
    carriers: Mapping[str, Sequence[str]],
    *,
    box: tuple[int, int, int, int] = TAG,
    model: str = "m1",
    testable: float = 0.1,
    likely: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Run:
    """Write the run of a dataset in which each finding lists these images.

    Args:
        folder: of the run.
        data: what `load_dataset` takes.
        findings: entries of ``findings.json``; shares and counts are filled in here.
        carriers: images by finding.
        box: of every offender.
        model: fingerprint of the model.
        testable: smallest share that could have been found in each class.
        likely: those of the carriers that are not sure, by finding.
    """
    dataset = load_dataset(data)
    how = Preprocessing(64, 64)
    rows = []
    for index, name in enumerate(dataset.images):
        image = dataset.read(index)
        label = dataset.classes[dataset.labels[index]]
        if image.content not in _measured:
            _measured[image.content] = measure(image, how.pixels(image.picture))
        rows.append(
            {
                "image": name,
                "content": image.content,
                "label": label,
                "predicted": label,
                "confidence": 0.9,
                "label_probability": 0.9,
                **_measured[image.content],
                "suspicion": 0.0,
            }
        )
    images = pd.DataFrame(rows).sample(frac=1.0, random_state=0)
    labels = dict(zip(images["image"], images["label"], strict=True))
    offenders, details = [], []
    for one in findings:
        listed = carriers[one["finding"]]
        own = [name for name in listed if labels[name] == one["label"]]
        share = len(own) / max(sum(label == one["label"] for label in labels.values()), 1)
        template = [{"image": name, "box": list(box)} for name in own[:12]]
        details.append({**one, "images": len(own), "share": share, "template": template})
        offenders += [
            (0, name, labels[name], labels[name], 0.9, 0.9, one["finding"], one["kind"],
             one["region"], *box, f"carries {one['finding']}",
             "likely" if name in likely.get(one["finding"], ()) else "sure")
            for name in listed
        ]  # fmt: skip
    regions = pd.DataFrame(
        [(name, "top left corner", 12, 0.1, 0.1, 1.0, 0.0, 0.5, 0.5) for name in dataset.classes],
        columns=list(REGION_COLUMNS),
    )
    run = Run(
        folder=folder,
        card=_card(dataset, images, how, model, testable, len(details), len(offenders)),
        images=images,
        regions=regions,
        findings=pd.DataFrame(details, columns=list(FINDING_COLUMNS)),
        details=details,
        offenders=pd.DataFrame(offenders, columns=list(OFFENDER_COLUMNS)),
        confusions=pd.DataFrame(columns=list(CONFUSION_COLUMNS)),
        unreadable=pd.DataFrame(columns=list(UNREADABLE_COLUMNS)),
    )
    save_run(run)
    return run


def _card(
    dataset: Any,
    images: pd.DataFrame,
    how: Preprocessing,
    model: str,
    testable: float,
    findings: int,
    offenders: int,
) -> dict[str, Any]:
    classes = list(dataset.classes)
    return {
        "schema_version": 1,
        "version": "0.1.0",
        "command": {"data": str(dataset.name), "model": "resnet18"},
        "settings": {"seed": 0, "method": "auto"},
        "dataset": {
            "name": dataset.name,
            "root": None if dataset.root is None else str(dataset.root),
            "classes": classes,
            "images": images["label"].value_counts().to_dict(),
            "fingerprint": dataset.fingerprint,
            "metadata": [],
        },
        "model": {
            "name": "resnet18",
            "classes": classes,
            "fingerprint": model,
            "preprocessing": how.as_dict(),
        },
        "maps": {
            "method": "cam",
            "tier": "linear",
            "layer": "layer4",
            "grid": [GRID, GRID],
            "cell_grid": [GRID, GRID],
            "notes": [],
        },
        "counts": {
            "images": len(images),
            "scanned": len(images),
            "unreadable": 0,
            "findings": findings,
            "offenders": offenders,
        },
        "accuracy": 1.0,
        "class_accuracy": dict.fromkeys(classes, 1.0),
        "visible": 1.0,
        "testable": dict.fromkeys(classes, testable),
        "timings": {},
        "versions": {},
        "warnings": [],
    }
