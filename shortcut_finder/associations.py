"""Associations: properties of the whole image that tell the label where no map can show why.

A cut-off is learned on the discovery half and tested on the other, one class against the rest.
Size, file type and border say nothing about what is in the picture, so a class that they give
away is suspicious; colour and sharpness may belong to the class, so they are only mentioned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from shortcut_finder.evidence import association_p, false_discovery_rate, share_above

# What the making of a file decides, not what the picture shows.
EXTRINSIC = ("width", "height", "aspect", "jpeg", "grey", "border_uniformity", "border_step")
# What the class itself may look like.
INTRINSIC = (
    "brightness", "contrast", "saturation", "red", "green", "blue", "sharpness", "noise",
    "vignette", "border_brightness",
)  # fmt: skip
# Excess share from which a property is worth a line.
LEAST = {**dict.fromkeys(EXTRINSIC, 0.3), **dict.fromkeys(INTRINSIC, 0.4)}
Q_LIMIT = 0.01
LIFT = 3.0


@dataclass(frozen=True, eq=False)
class Association:
    """A property that most images on one side of a cut-off share with one class.

    Attributes:
        label: index of the class.
        trait: name of the property.
        above: members are above the cut-off, not below it.
        limit: the cut-off, in the property's unit.
        share: of the class beyond the cut-off, on the tested half.
        elsewhere: the same for all other classes.
        p: exact, one-sided.
        q: false discovery rate over all classes, properties and sides.
        carries: which images of the whole dataset lie beyond the cut-off, (image,) of bool.
    """

    label: int
    trait: str
    above: bool
    limit: float
    share: float
    elsewhere: float
    p: float
    q: float
    carries: np.ndarray

    @property
    def extrinsic(self) -> bool:
        """Whether the making of the file decides it."""
        return self.trait in EXTRINSIC


def find_associations(
    table: pd.DataFrame, labels: np.ndarray, half: np.ndarray
) -> list[Association]:
    """The strongest extrinsic and intrinsic property of every class that has one.

    Args:
        table: the properties, one row an image.
        labels: class of each image, (image,).
        half: images that cut-offs are learned on, (image,) of bool.

    Returns:
        Those with q of at most 0.01, three times as common in the class as elsewhere, and an
        excess share large enough; strongest first. Of two classes only one is reported.
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        return []
    tried = [
        _cut(table[name].to_numpy(dtype=float), labels, half, int(label), name, above=above)
        for label in classes
        for name in LEAST
        for above in (True, False)
    ]
    q = false_discovery_rate(np.array([association.p for association in tried]))
    kept: dict[tuple[object, bool], Association] = {}
    for one, value in zip(tried, q, strict=True):
        excess = one.share - one.elsewhere
        if value > Q_LIMIT or excess < LEAST[one.trait] or one.share < LIFT * one.elsewhere:
            continue
        # With two classes, "covid is wide" and "the others are narrow" are one statement.
        key = (one.label if len(classes) > 2 else "both", one.extrinsic)
        best = kept.get(key)
        if best is None or excess > best.share - best.elsewhere:
            kept[key] = Association(**{**vars(one), "q": float(value)})
    return sorted(kept.values(), key=lambda one: one.elsewhere - one.share)


def _cut(
    values: np.ndarray, labels: np.ndarray, half: np.ndarray, label: int, name: str, *, above: bool
) -> Association:
    """Learn the best cut-off on the discovery half and count on the other."""
    sign = 1.0 if above else -1.0
    own = labels == label
    inside, outside = sign * values[half & own], sign * values[half & ~own]
    # Candidates lie midway between neighbours, so that equal values stay on one side.
    levels = np.unique(np.concatenate([inside, outside]))
    cuts = (levels[:-1] + levels[1:]) / 2 if len(levels) > 1 else levels
    beyond = share_above(inside, cuts) - share_above(outside, cuts)
    limit = float(cuts[int(np.argmax(beyond))])
    carries = sign * values >= limit
    tested_own, tested_rest = ~half & own, ~half & ~own
    members, elsewhere = int(carries[tested_own].sum()), int(carries[tested_rest].sum())
    size, rest = int(tested_own.sum()), int(tested_rest.sum())
    return Association(
        label=label,
        trait=name,
        above=above,
        limit=sign * limit,
        share=members / max(size, 1),
        elsewhere=elsewhere / max(rest, 1),
        p=association_p(members, size, elsewhere, rest) if len(levels) > 1 else 1.0,
        q=1.0,
        carries=carries,
    )
