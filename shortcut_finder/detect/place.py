"""Place: where what was found stands, and what kind of thing that makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shortcut_finder.data.preprocessing import WHOLE_FRAME, Box
from shortcut_finder.data.regions import SURROUNDINGS

# Kinds that stand nowhere in particular.
LOOK, COLUMN = WHOLE = ("property", "metadata")


def everywhere(_image: int) -> Box:
    """The whole frame, in every image."""
    return WHOLE_FRAME


@dataclass(frozen=True, eq=False)
class Place:
    """Where what was found stands.

    Attributes:
        kind: of thing, as files call it.
        region: name of the part of the frame, of the look or of the column, as files call it.
        counts: share of the carriers whose matching cell lies there, (row, column).
        boxes: where, as fractions of the model's input, one an image.
        extent: cells that a thing at a fixed place covers, (row, column) of bool; ``None`` for
            everything else.
        strip: cells along the one edge that a thing at changing places keeps to, likewise.
        exact: whether the boxes are drawn to the pixel, so that they say more than the cells.
    """

    kind: str
    region: str
    counts: np.ndarray
    boxes: Callable[[int], Box] = everywhere
    extent: np.ndarray | None = None
    strip: np.ndarray | None = None
    exact: bool = False

    @property
    def look(self) -> bool:
        """Whether it is a property of the whole image."""
        return self.kind == LOOK

    @property
    def column(self) -> bool:
        """Whether it is a column of the user's metadata, which no picture shows."""
        return self.kind == COLUMN

    @property
    def whole(self) -> bool:
        """Whether it stands nowhere in particular."""
        return self.look or self.column

    @property
    def around(self) -> bool:
        """Whether it is what surrounds the middle of the frame, no two alike."""
        return self.kind == "background" and self.region == SURROUNDINGS

    @property
    def covers(self) -> np.ndarray | None:
        """The cells of a thing, or of all that it moves in; ``None`` for one anywhere."""
        return self.strip if self.extent is None else self.extent
