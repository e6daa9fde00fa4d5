"""Where: in which parts of the frame the maps say that evidence lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.membership import occurring
from shortcut_finder.data.objects import Outlines, cover_cells
from shortcut_finder.data.regions import OBJECT, OUTSIDE, Regions, frame_regions, region_shares
from shortcut_finder.detect.channels.regions import (
    Spread,
    evidence_for,
    readable_pixels,
    spread_of,
    without,
)
from shortcut_finder.maps.blanks import SCRAMBLED, Explain, blank_notes, blank_pixels, standing_heat
from shortcut_finder.stats.evidence import ObjectShares, divide, weigh_regions
from shortcut_finder.sweep.records import Records
from shortcut_finder.sweep.scene import Scene

if TYPE_CHECKING:
    from shortcut_finder.model.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Where:
    """Where the maps say that evidence lies.

    Attributes:
        shares: of each image's evidence in each region, by name of the region, (image,).
        table: the class x region table.
        spread: what region findings are made from.
        notes: sentences for the report.
    """

    shares: Mapping[str, np.ndarray]
    table: pd.DataFrame
    spread: Spread
    notes: tuple[str, ...]


def look_where(
    scene: Scene,
    images: ImageDataset,
    outlines: Outlines | None,
    classifier: Classifier,
    explain: Explain,
    seed: int,
) -> Where:
    """Weigh the regions, without what maps show on blank pictures, too."""
    records = scene.records
    heat = _standing_heat(scene, images, classifier, explain, seed)
    evidence = without(records.maps, heat, records.firsts)
    grid = (records.maps.shape[1], records.maps.shape[2])
    regions = frame_regions(*grid)
    shares = region_shares(evidence, regions)
    columns = {name: shares[:, place] for place, name in enumerate(regions.names)}
    notes = blank_notes(heat, records.maps, records.firsts, images.classes, regions)
    cover, objects = None, None
    if outlines is not None:
        found = cover_cells(outlines, records.table, scene.preprocessing, grid)
        known = np.isfinite(found.cover).all(axis=(1, 2))
        notes += (*found.notes, *_alone(occurring(records.labels[known]), images.classes))
        if known.any():
            cover, objects = found.cover, divide(evidence, found.cover)
            columns |= {OBJECT: objects.shares[:, 0], OUTSIDE: objects.shares[:, 1]}
    return Where(
        columns,
        weigh_regions(
            shares,
            records.labels,
            images.classes,
            regions,
            objects,
            counted=records.counted,
            own=_by_label(records, heat, regions, cover),
        ),
        spread_of(records, heat, cover),
        notes,
    )


def _by_label(
    records: Records, heat: np.ndarray, regions: Regions, cover: np.ndarray | None
) -> dict[int, tuple[np.ndarray, ObjectShares | None]]:
    """Shares of regions and objects for each label against the others, with several an image."""
    if records.labels.ndim == 1:
        return {}
    found = {}
    for number in occurring(records.labels):
        evidence = evidence_for(number, records, heat)
        objects = None if cover is None else divide(evidence, cover)
        found[number] = region_shares(evidence, regions), objects
    return found


def _alone(with_objects: Sequence[int], classes: tuple[str, ...]) -> tuple[str, ...]:
    """A line where only one class has objects, so that there is nothing to compare them with."""
    if len(with_objects) != 1 or len(classes) == 1:
        return ()
    return (
        f"Only {classes[with_objects[0]]} images have object boxes or masks, so their share "
        "outside the object cannot be compared with that of other classes.",
    )


def _standing_heat(
    scene: Scene, images: ImageDataset, classifier: Classifier, explain: Explain, seed: int
) -> np.ndarray:
    """What the maps of each class show on blank pictures, (class, row, column)."""
    rng = np.random.default_rng([seed, 4])
    order = rng.permutation(len(scene.records.labels))
    pictures = readable_pixels(order, scene, SCRAMBLED)[1]
    size = scene.preprocessing
    blank = blank_pixels(pictures, size.height, size.width, size.mean, rng)
    return standing_heat(explain(blank, classifier.class_index(images.classes)))
