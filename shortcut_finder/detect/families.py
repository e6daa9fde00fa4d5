"""Families: traits of whole images that one cause moves together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

# Natural classes differ by less than this many standard deviations in how an image was made, and
# in what it shows: of five kinds of flower, and of all pairs of them, none stands out.
NATURAL_MADE, NATURAL_SHOWN = 1.3, 1.8
# And by this much more where there is but one other class, as others do not even each other out.
NATURAL_PAIR = 0.3


@dataclass(frozen=True)
class Family:
    """Traits that one cause moves together.

    Attributes:
        traits: names of properties.
        made: whether the making of a picture decides them, more than what it shows.
    """

    traits: tuple[str, ...]
    made: bool = True


_LOW, _HIGH = ("low_red", "low_green", "low_blue"), ("high_red", "high_green", "high_blue")
FAMILIES = {
    "colour range": Family((*_LOW, *_HIGH, "low_chroma", "high_chroma")),
    "sharpness": Family(("edge_sharpness", "sharpest_part", "quiet_noise")),
    "compression": Family(("blockiness",)),
    "corner light": Family(("corner_light", "corner_ratio", "vignette")),
    "image size": Family(("width", "height", "aspect")),
    "file type": Family(("jpeg", "grey")),
    "border": Family(("border_uniformity", "border_step")),
    "brightness": Family(("brightness", "contrast"), made=False),
    "colour": Family(("red", "green", "blue", "saturation"), made=False),
    "texture": Family(("sharpness", "noise"), made=False),
}  # fmt: skip


def traits_of(table: pd.DataFrame, family: Family) -> np.ndarray:
    """The traits as columns, and with the ends of the colours how far each is from neutral."""
    columns = [table[list(family.traits)].to_numpy(dtype=float)]
    for ends in (_LOW, _HIGH):
        if set(ends) <= set(family.traits):
            levels = table[list(ends)].to_numpy(dtype=float)
            columns.append(levels - levels.mean(axis=1, keepdims=True))
    return np.concatenate(columns, axis=1)


def natural_distance(family: str, *, alone: bool) -> float:
    """By how many standard deviations natural classes may differ in a family of traits.

    More where there is but one class, or label, to hold another against.
    """
    natural = NATURAL_MADE if FAMILIES[family].made else NATURAL_SHOWN
    return natural + NATURAL_PAIR * alone
