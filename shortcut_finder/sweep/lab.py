"""Lab: the model and the images of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np

from shortcut_finder.stats.experiments import Answers, answers_for
from shortcut_finder.sweep.scene import Scene

# Images a forward pass.
BATCH = 32

Predict = Callable[[np.ndarray], np.ndarray]


class Lab:
    """The model and the images, ready for interventions."""

    def __init__(self, scene: Scene, predict: Predict, batch: int) -> None:
        self.scene = scene
        self.records = scene.records
        self._predict = predict
        self._batch = batch
        self._seen: dict[int, np.ndarray | None] = {}
        self._maps_of = lru_cache(maxsize=1)(scene.records.maps_of)

    def pixels(self, image: int) -> np.ndarray:
        """The model's input; of images that `readable` let through."""
        pixels = self._look_up(image)
        assert pixels is not None
        return pixels

    def _look_up(self, image: int) -> np.ndarray | None:
        if image not in self._seen:
            self._seen[image] = self.scene.pixels(image)
        return self._seen[image]

    def readable(self, images: Iterable[int], count: int) -> np.ndarray:
        """The first so many images that can still be read."""
        found: list[int] = []
        for image in map(int, images):
            if len(found) == count:
                break
            if self._look_up(image) is not None:
                found.append(image)
        return np.array(found, dtype=np.int64)

    def forget(self) -> None:
        """Let go of the pixels; they are read again where they are needed again."""
        self._seen.clear()

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
