"""Laboratory: the model and the images of an experiment, and who takes part in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from shortcut_finder.experiments import Answers, answers_for
from shortcut_finder.findings import Finding
from shortcut_finder.views import Scene

# Images treated in an experiment; many more would cost more than a quarter of the sweep.
PAIRS = 26
# A paste from fewer different members would be an anecdote about one of them. Of what looks like an
# artifact, as nothing does in clean sets, one fewer will do.
FEWEST_DONORS, FEWEST_OF_ARTIFACTS = 4, 3
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
        return answers_for(self.records.logits[images], output)

    def answers(self, images: Iterable[np.ndarray], output: int) -> Answers:
        """What the model says of these pixels."""
        stack = np.stack(list(images))
        parts = [
            self._predict(stack[start : start + self._batch])
            for start in range(0, len(stack), self._batch)
        ]
        return answers_for(np.concatenate(parts), output)

    def hottest(self, image: int) -> tuple[float, float]:
        """The hottest place of the label's class map, as fractions x, y of the input."""
        heat = self.records.maps[image]
        row, column = np.unravel_index(int(heat.argmax()), heat.shape)
        return (column + 0.5) / heat.shape[1], (row + 0.5) / heat.shape[0]


@dataclass(frozen=True, eq=False)
class Cast:
    """Who takes part in the experiments of a finding, by number of the image.

    Attributes:
        output: of the model, that stands for the finding's label.
        members: images of the class that carry the thing, surest first.
        plain: images without it, of the class where there are enough.
        others: all tested images of the class without it.
        strangers: images of other classes without it, not taken for the class where there are
            enough.
        hot: an image of another class for each stranger, of a third class where there is one.
        contrasted: whether `plain` are of the class.
    """

    output: int
    members: np.ndarray
    plain: np.ndarray
    others: np.ndarray
    strangers: np.ndarray
    hot: np.ndarray
    contrasted: bool


def cast_for(finding: Finding, lab: Lab, rng: np.random.Generator) -> Cast:
    """Who takes part, at random but for the surest members.

    Args:
        finding: what the experiments are about.
        lab: to see which images can be read.
        rng: decides the rest.
    """
    records, tested = lab.records, ~finding.half
    own = records.labels == finding.number
    output = int(records.outputs[own][0])
    members = np.flatnonzero(tested & own & finding.carries)
    members = members[np.argsort(-finding.score[members], kind="stable")]
    plain = np.flatnonzero(own & ~finding.carries)
    contrasted = len(plain) >= FEWEST_DONORS
    if not contrasted:
        plain = np.flatnonzero(~own & ~finding.carries)
    chosen = records.logits.argmax(axis=1) == output
    others = rng.permutation(np.flatnonzero(tested & ~own & ~finding.carries))
    others = others[np.argsort(chosen[others], kind="stable")]
    strangers = lab.readable(others, PAIRS)
    pool = lab.readable(others[~np.isin(others, strangers)], PAIRS)
    plain = lab.readable(rng.permutation(plain), PAIRS)
    return Cast(
        output=output,
        members=lab.readable(members, PAIRS),
        plain=plain,
        contrasted=contrasted and len(plain) > 0,
        others=np.flatnonzero(tested & own & ~finding.carries),
        strangers=strangers,
        hot=_of_third_classes(strangers, pool if len(pool) else strangers, records.labels),
    )


def _of_third_classes(images: np.ndarray, pool: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each image one of the pool, of another class than its own where the pool has one."""
    chosen = []
    for number, image in enumerate(images):
        turned = np.roll(pool, -number)
        other = turned[labels[turned] != labels[image]]
        chosen.append(int((other if len(other) else turned)[0]))
    return np.array(chosen, dtype=np.int64)
