"""Class views: the classes of a run, and the pairs that fire on the same spot, as on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from shortcut_finder.data.membership import labelled
from shortcut_finder.data.regions import OUTSIDE
from shortcut_finder.figures.pictures import heat_scale
from shortcut_finder.report.album import Album, Picture
from shortcut_finder.report.bars import Bar, percent_bar
from shortcut_finder.report.finding import logits
from shortcut_finder.report.overview import FindingRow
from shortcut_finder.report.selection import (
    confused_images,
    confused_pairs,
    gallery_classes,
    typical_images,
)
from shortcut_finder.run.folder import Run
from shortcut_finder.texts import clipped, percent, shown

# Longer side of a picture in a gallery, in pixels.
GALLERY_SIDE = 160
MAX_NAME = 32


@dataclass(frozen=True)
class ClassRow:
    """One class in the table of classes.

    Attributes:
        label: the class.
        images: how many there are.
        accuracy: of the model on them.
        outside: share of the evidence that lies outside the objects; ``None`` where no objects are
            known in the whole dataset.
        testable: smallest share of the class that could have stood out.
        findings: anchor and name of each; an empty anchor where the page has a row of it alone.
    """

    label: str
    images: str
    accuracy: Bar | None
    outside: Bar | None
    testable: str
    findings: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Gallery:
    """What one class looks like to the model.

    Attributes:
        label: the class.
        maps: mean class map of its images, and of all other images for their own classes.
        scale: the value drawn hottest.
        typical: images whose evidence lies where that of the class usually lies.
        atypical: images whose evidence lies elsewhere.
    """

    label: str
    maps: tuple[Picture, ...]
    scale: str
    typical: tuple[Picture, ...]
    atypical: tuple[Picture, ...]


@dataclass(frozen=True)
class PairView:
    """A class and the rival whose map is hot on the same spot.

    Attributes:
        label: the class of the images.
        rival: the class that fires there too.
        images: in how many images.
        overlap: how much of their hot cells the two share, on average.
        region: where they overlap most.
        rows: some of the images, once with either map.
    """

    label: str
    rival: str
    images: str
    overlap: str
    region: str
    rows: tuple[tuple[Picture, ...], ...]


def class_row(run: Run, label: str, findings: Sequence[FindingRow]) -> ClassRow:
    """One class as a row, with links to its findings."""
    card = run.card
    accuracy = card["class_accuracy"].get(label)
    testable = card["testable"].get(label)
    outside = None
    if (column := f"share: {OUTSIDE}") in run.images:
        shares = run.images.loc[labelled(run.images, label), column]
        outside = percent_bar("", float(shares.mean()), "rest")
    return ClassRow(
        label=shown(label),
        images=f"{card['dataset']['images'].get(label, 0):,}",
        accuracy=None if accuracy is None else percent_bar("", accuracy, "rest"),
        outside=outside,
        testable="none" if testable is None else percent(testable),
        findings=tuple((row.anchor, row.finding) for row in findings),
    )


def galleries(run: Run, album: Album) -> tuple[Gallery, ...]:
    """The classes that get pictures; nothing where the maps are gone."""
    if not album.maps:
        return ()
    means = _mean_maps(run, album)
    return tuple(_gallery(run, album, label, *means[label]) for label in gallery_classes(run)
                 if label in means)  # fmt: skip


def pairs(run: Run, album: Album) -> tuple[PairView, ...]:
    """The pairs of classes that fire on the same spot, most images first."""
    shown_pairs = confused_pairs(run)
    names = confused_images(run) if album.maps else {pair: [] for pair in shown_pairs}
    rivals = album.rival_maps([(name, pair[1]) for pair, some in names.items() for name in some])
    views = []
    for row, pair in zip(run.confusions.to_dict("records"), shown_pairs, strict=False):
        views.append(
            PairView(
                label=shown(pair[0]),
                rival=shown(pair[1]),
                images=f"{int(row['images']):,}",
                overlap=percent(float(row["overlap"])),
                region=shown(row["region"]),
                rows=tuple(_pair_row(album, name, pair, rivals) for name in names[pair]),
            )
        )
    return tuple(views)


def _mean_maps(run: Run, album: Album) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean class map of each class, and of all images of the other classes."""
    if "labels" in run.images:
        return {
            label: _means(album.maps_of(label), run.images["image"], labelled(run.images, label))
            for label in gallery_classes(run)
            if labelled(run.images, label).any()
        }
    maps = album.maps
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for name, label in zip(run.images["image"], run.images["label"], strict=True):
        if name in maps:
            sums[label] = sums.get(label, 0.0) + maps[name].astype(np.float64)
            counts[label] = counts.get(label, 0) + 1
    whole, number = sum(sums.values()), sum(counts.values())
    return {
        label: (sums[label] / counts[label],
                (whole - sums[label]) / max(number - counts[label], 1))
        for label in sums
    }  # fmt: skip


def _means(
    maps: Mapping[str, np.ndarray], names: pd.Series, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean map of the images of a class, and of all others."""
    blank = np.zeros_like(next(iter(maps.values())), dtype=np.float64)

    def mean(chosen: pd.Series) -> np.ndarray:
        found = [maps[name] for name in chosen if name in maps]
        return np.asarray(np.mean(found, axis=0, dtype=np.float64)) if found else blank

    return mean(names[own]), mean(names[~own])


def _gallery(run: Run, album: Album, label: str, own: np.ndarray, rest: np.ndarray) -> Gallery:
    scale = max(float(np.nanmax(own)), float(np.nanmax(rest)))
    scale = scale if scale > 0 else 1.0
    maps = album.maps_of(label)
    typical, atypical = typical_images(run.images, maps, label)
    heat = heat_scale(maps[name] for name in [*typical, *atypical])
    views = [
        tuple(
            album.image(name, class_map=maps[name], scale=heat, side=GALLERY_SIDE) for name in names
        )
        for names in (typical, atypical)
    ]
    return Gallery(
        label=shown(label),
        maps=(
            album.average(own, scale, "", "this class"),
            album.average(rest, scale, "", "all other classes"),
        ),
        scale=logits(scale),
        typical=views[0],
        atypical=views[1],
    )


def _pair_row(
    album: Album, name: str, pair: tuple[str, str], rivals: Mapping[tuple[str, str], np.ndarray]
) -> tuple[Picture, ...]:
    """An image with the map of its class, and with that of the rival, on one scale."""
    label, rival = pair
    layers = {label: album.maps_of(label).get(name), rival: rivals.get((name, rival))}
    scale = heat_scale(layer for layer in layers.values() if layer is not None)
    return tuple(
        album.image(
            name,
            class_map=layer,
            scale=scale,
            side=GALLERY_SIDE,
            note=f"map of {clipped(shown(who), MAX_NAME)}",
        )
        for who, layer in layers.items()
    )
