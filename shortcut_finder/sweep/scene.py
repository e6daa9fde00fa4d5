"""Scene: the pictures behind the records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.pixels.rigidity import Rigidity, grey_image, measure_rigidity
from shortcut_finder.sweep.records import Records


@dataclass(frozen=True, eq=False)
class Scene:
    """The pictures behind the records.

    Attributes:
        records: what the sweep kept.
        read: the picture of an image by its number in ``records``.
        preprocessing: to find places of the model's input on the picture.
    """

    records: Records
    read: Callable[[int], Image.Image]
    preprocessing: Preprocessing

    def pixels(self, number: int, *, squashed: bool = True) -> np.ndarray | None:
        """What the model sees of an image, or the same in the image's own shape.

        Returns:
            uint8, (row, column, channel); ``None`` if it is unreadable now.
        """
        try:
            picture = self.read(number)
        except UnreadableImage:
            return None
        how = self.preprocessing
        return (how if squashed else how.undistorted(*picture.size)).pixels(picture)

    def rigidity(self, images: np.ndarray, centres: np.ndarray) -> Rigidity:
        """Compare images at places given as fractions x, y of the model's input, (image, 2)."""
        seen = [self._see(int(n), centre) for n, centre in zip(images, centres, strict=True)]
        pairs = [pair for pair in seen if pair is not None]
        return measure_rigidity([grey for grey, _ in pairs], np.array([at for _, at in pairs]))

    def _see(self, number: int, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Grey levels, and the place as fractions of the original; ``None`` if unreadable now."""
        try:
            picture = self.read(number)
        except UnreadableImage:
            return None
        x0, y0, x1, y1 = self.preprocessing.input_box(picture.width, picture.height)
        x = (x0 + centre[0] * (x1 - x0)) / picture.width
        y = (y0 + centre[1] * (y1 - y0)) / picture.height
        return grey_image(picture), np.clip((x, y), 0, 1 - 1e-6)
