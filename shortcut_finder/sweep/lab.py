"""Lab: the model and the images of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np

from shortcut_finder.stats.experiments import Answers, answers_for
from shortcut_finder.sweep.lately import Lately
from shortcut_finder.sweep.scene import Scene

# Images a forward pass.
BATCH = 32
# Bytes of model inputs that are kept between findings, which share most of their images.
INPUTS = 256 * 2**20

Predict = Callable[[np.ndarray], np.ndarray]


class Lab:
    """The model and the images, ready for interventions."""

    def __init__(self, scene: Scene, predict: Predict, batch: int) -> None:
        self.scene = scene
        self.records = scene.records
        self._predict = predict
        self._batch = batch
        self._seen = Lately(scene.pixels, lambda seen: 0 if seen is None else seen.nbytes, INPUTS)
        self._maps_of = lru_cache(maxsize=1)(scene.records.maps_of)

    def pixels(self, image: int) -> np.ndarray:
        """The model's input; of images that `readable` let through."""
        pixels = self._seen(image)
        assert pixels is not None
        return pixels

    def readable(self, images: Iterable[int], count: int) -> np.ndarray:
        """The first so many images that can still be read."""
        found: list[int] = []
        for image in map(int, images):
            if len(found) == count:
                break
            if self._seen(image) is not None:
                found.append(image)
        return np.array(found, dtype=np.int64)

    def now(self, images: np.ndarray, output: int) -> Answers:
        """What the model says of the images as they are."""
        return answers_for(self.records.logits[images], output, sigmoid=self.records.sigmoid)

    def answers(self, images: Iterable[np.ndarray], output: int) -> Answers:
        """What the model says of these pixels."""
        stack = np.stack(list(images))
        parts = [
            self._predict(stack[start : start + self._batch])
            for start in range(0, len(stack), self._batch)
        ]
        return answers_for(np.concatenate(parts), output, sigmoid=self.records.sigmoid)

    def hottest(self, image: int, number: int | None = None) -> tuple[float, float]:
        """The hottest place of a class map, as fractions x, y of the input.

        Args:
            image: its number.
            number: index of one of its labels; the first if ``None``.
        """
        heat = (self.records.maps if number is None else self._maps_of(number))[image]
        row, column = np.unravel_index(int(heat.argmax()), heat.shape)
        return (column + 0.5) / heat.shape[1], (row + 0.5) / heat.shape[0]
