"""Likeness: whether findings of two runs look like one thing, by place and by pixels."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from shortcut_finder.data.regions import ANYWHERE
from shortcut_finder.figures.pictures import read_thumbnails
from shortcut_finder.pixels.rigidity import grey_image, likeness_to, measure_rigidity
from shortcut_finder.run.folder import Run
from shortcut_finder.sweep.records import resample

# Cosine of two maps of where members carry it, from which it is the same place.
SAME_PLACE = 0.7
# Correlation of one finding's typical patch with the other's members from which they look alike,
# and below which they do not. In between, place and kind decide.
SAME_LOOK, OTHER_LOOK = 0.6, 0.35
FEWEST = 3


def alike(a: Run, b: Run, one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """How alike two findings of a class are, in [0, 1]; 0 where they are two things.

    Args:
        a: the run of ``one``.
        b: the run of ``other``.
        one: an entry of ``findings.json``.
        other: the same of the other run.
    """
    look = _look(a, b, one, other)
    if look is not None and look < OTHER_LOOK:
        return 0.0
    if look is not None and look >= SAME_LOOK:
        return look
    fixed = ANYWHERE not in (one["region"], other["region"])
    same_kind = one["kind"] == other["kind"] and one["region"] == other["region"]
    return 0.5 * _place(one, other) if fixed and same_kind else 0.0


def _place(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Cosine of where the members carry it; 0 below `SAME_PLACE`."""
    maps = [np.asarray(finding["place"], dtype=float) for finding in (one, other)]
    if any(each.ndim != 2 or not each.any() for each in maps):
        return 0.0
    maps[1] = resample(maps[1][None], maps[0].shape)[0]
    norms = np.linalg.norm(maps[0]) * np.linalg.norm(maps[1])
    cosine = float((maps[0] * maps[1]).sum() / max(norms, 1e-9))
    return cosine if cosine >= SAME_PLACE else 0.0


def _look(a: Run, b: Run, one: Mapping[str, Any], other: Mapping[str, Any]) -> float | None:
    """Correlation of the typical patch of one with members of the other; None where unknown."""
    patches = _patches(a, one), _patches(b, other)
    if any(len(greys) < FEWEST for greys, _ in patches):
        return None
    (greys, centres), (others, other_centres) = patches
    medoid = measure_rigidity(greys, np.array(centres)).medoid
    return float(np.median(likeness_to(medoid, others, np.array(other_centres))))


def _patches(
    run: Run, finding: Mapping[str, Any]
) -> tuple[list[np.ndarray], list[tuple[float, float]]]:
    """Grey levels of the typical members that the run has pictures of, and where to look."""
    wanted = [entry["image"] for entry in finding["template"]]
    thumbnails = read_thumbnails(run.folder / "thumbnails.parquet", wanted)
    sizes = run.images.set_index("image")[["width", "height"]]
    greys, centres = [], []
    for entry in finding["template"]:
        jpeg, box = thumbnails.get(entry["image"]), entry["box"]
        if jpeg is None or len(box) != 4 or entry["image"] not in sizes.index:
            continue
        width, height = (float(side) for side in sizes.loc[entry["image"]])
        greys.append(grey_image(Image.open(io.BytesIO(jpeg)).convert("RGB")))
        middle = (box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height
        centres.append((min(middle[0], 1 - 1e-6), min(middle[1], 1 - 1e-6)))
    return greys, centres
