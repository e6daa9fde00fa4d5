"""Scene: the pictures behind the records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.pixels.rigidity import (
    Rigidity,
    grey_image,
    measure_rigidity,
    patch_around,
    patch_size,
)
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

    @cached_property
    def sizes(self) -> np.ndarray:
        """Width and height of every picture, in pixels, (image, 2) of int."""
        return self.records.table[["width", "height"]].to_numpy(dtype=np.int64)

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

    def readable(self, images: np.ndarray, count: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """The first so many of some images that can be read, and what the model sees of them.

        Returns:
            Their numbers, and uint8 (row, column, channel) each.
        """
        found: list[int] = []
        pixels: list[np.ndarray] = []
        for image in images.tolist():
            if len(found) == count:
                break
            seen = self.pixels(image)
            if seen is not None:
                pixels.append(seen)
                found.append(image)
        return np.array(found, dtype=np.int64), pixels

    def rigidity(self, images: np.ndarray, centres: np.ndarray, short: int = 0) -> Rigidity:
        """Compare images at places given as fractions x, y of the model's input, (image, 2).

        Args:
            images: their numbers.
            centres: where each may have the thing.
            short: shorter side that all are scaled to, in pixels; 0 to leave them as they are.
        """
        pairs = self._seen(images, centres, short)
        return measure_rigidity([grey for grey, _ in pairs], np.array([at for _, at in pairs]))

    def patches(self, images: np.ndarray, centres: np.ndarray, short: int = 0) -> list[np.ndarray]:
        """Grey levels around places, twice as far as `rigidity` looks; arguments as there.

        Returns:
            (row, column) each; nothing of images that are unreadable now.
        """
        pairs = self._seen(images, centres, short)
        side = 2 * patch_size([grey for grey, _ in pairs]) if pairs else 0
        return [patch_around(grey, at, side) for grey, at in pairs]

    def _seen(
        self, images: np.ndarray, centres: np.ndarray, short: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Grey levels, and the places on the pictures, of what can be read."""
        seen = [self.grey(int(n), short) for n in images]
        return [
            (grey, self.on_picture(int(n), centre))
            for n, grey, centre in zip(images, seen, centres, strict=True)
            if grey is not None
        ]

    def grey(self, number: int, short: int = 0) -> np.ndarray | None:
        """Grey levels of an image, (row, column); ``None`` if it is unreadable now."""
        try:
            return grey_image(self.read(number), short)
        except UnreadableImage:
            return None

    def on_picture(self, number: int, place: np.ndarray) -> np.ndarray:
        """A place of the model's input on the picture, both as fractions x, y."""
        size, (x0, y0, x1, y1) = self._frame(number)
        at = np.array([x0 + place[0] * (x1 - x0), y0 + place[1] * (y1 - y0)]) / size
        return np.asarray(np.clip(at, 0, 1 - 1e-6))

    def in_frame(self, number: int, place: np.ndarray) -> np.ndarray:
        """A place of the picture in the model's input, both as fractions x, y."""
        size, (x0, y0, x1, y1) = self._frame(number)
        at = (place * size - (x0, y0)) / (x1 - x0, y1 - y0)
        return np.asarray(np.clip(at, 0, 1 - 1e-6))

    def _frame(self, number: int) -> tuple[np.ndarray, tuple[float, float, float, float]]:
        """Width and height of a picture, and the part of it that the model sees."""
        size = self.sizes[number]
        return size, self.preprocessing.input_box(*size.tolist())
