"""Spread: where the evidence of each image lies, as class activation maps say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from shortcut_finder.data.membership import having, occurring
from shortcut_finder.data.regions import (
    CORNERS,
    EDGES,
    OUTSIDE,
    even_shares,
    frame_regions,
    object_shares,
    region_shares,
)
from shortcut_finder.stats.evidence import LIFTED
from shortcut_finder.sweep.records import Records

# Parts of the frame where artifacts stand; those inside hold the object.
NAMED = (*CORNERS, *EDGES, "frame")
# Least part of an image's evidence that has to lie there: what the region's area makes of it, times
# `LIFTED`, or this much in large regions.
PLENTY = 1 / 3


@dataclass(frozen=True, eq=False)
class Spread:
    """Where the evidence of each image lies.

    Attributes:
        names: of the regions that are looked at.
        even: share of each region as if it were half of the frame, (image, region) in [0, 1]; NaN
            where unknown.
        least: the same of the least share that is worth a word, (image, region).
        masks: parts of the frame as part of each cell of the maps, (region, row, column).
        cover: part of each cell that the object covers, (image, row, column); ``None`` where no
            object is known.
        own: the same by label, where images have several: of the map of that label in images that
            have it.
    """

    names: tuple[str, ...]
    even: np.ndarray
    least: np.ndarray
    masks: np.ndarray
    cover: np.ndarray | None
    own: Mapping[int, Spread] = field(default_factory=dict)

    def of(self, label: int) -> Spread:
        """Where the evidence of each image lies, for one label against the others."""
        return self.own.get(label, self)

    def mask(self, region: str, images: np.ndarray) -> np.ndarray:
        """A region as part of each cell of some images, (image, row, column)."""
        if region == OUTSIDE:
            assert self.cover is not None
            return np.asarray(1 - self.cover[images])
        mask = self.masks[self.names.index(region)]
        return np.broadcast_to(mask, (len(images), *mask.shape))


def spread_of(records: Records, heat: np.ndarray, cover: np.ndarray | None) -> Spread:
    """Where evidence lies: as the maps say, or without what blank pictures show, if that is less.

    Args:
        records: what the sweep kept.
        heat: that blank pictures have, too, (class, row, column).
        cover: part of each cell that the object covers, (image, row, column), NaN where unknown.
    """
    spread = _spread(records.maps, without(records.maps, heat, records.firsts), cover)
    if records.labels.ndim == 1:
        return spread
    own = {}
    for label in occurring(records.labels):
        own[label] = _spread(records.maps_of(label), evidence_for(label, records, heat), cover)
    return replace(spread, own=own)


def evidence_for(label: int, records: Records, heat: np.ndarray) -> np.ndarray:
    """Evidence that a label is held against the others by, (image, row, column).

    Of the label in images that have it, and of their own label in the others, without what blank
    pictures show, too.
    """
    firsts = np.where(having(records.labels, label), label, records.firsts)
    return without(records.maps_of(label), heat, firsts)


def without(maps: np.ndarray, heat: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Class maps less the heat that blank pictures have, too.

    Args:
        maps: one an image, (image, row, column).
        heat: of each class, (class, row, column).
        labels: class that each map is of, (image,); -1 for another.
    """
    if (labels >= 0).all():
        return np.asarray(maps - heat[labels])
    return np.asarray(maps - np.concatenate([heat, np.zeros_like(heat[:1])])[labels])


def _spread(maps: np.ndarray, less: np.ndarray, cover: np.ndarray | None) -> Spread:
    """Where the evidence of class maps lies, and of the same without heat, whichever is less."""
    regions = frame_regions(*maps.shape[1:])
    chosen = [regions.names.index(name) for name in NAMED]
    masks = regions.masks[chosen]
    areas = np.broadcast_to(masks.mean(axis=(1, 2)), (len(maps), len(masks)))
    names: tuple[str, ...] = NAMED
    if cover is not None:
        names = (*NAMED, OUTSIDE)
        areas = np.column_stack([areas, 1 - cover.mean(axis=(1, 2))])
    shares = []
    for evidence in (maps, less):
        found = region_shares(evidence, regions)[:, chosen]
        if cover is not None:
            found = np.column_stack([found, object_shares(evidence, cover)[:, 1]])
        shares.append(found)
    return Spread(
        names,
        even_shares(np.minimum(*shares), areas),
        even_shares(np.minimum(LIFTED * areas, PLENTY), areas),
        masks,
        cover,
    )
