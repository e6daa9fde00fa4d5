"""View: what channels may look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shortcut_finder.data.membership import comparable, having, lacking, occurring
from shortcut_finder.detect.columns import Column
from shortcut_finder.detect.spread import Spread
from shortcut_finder.maps.blanks import Explain
from shortcut_finder.stats.evidence import exclusivity_test
from shortcut_finder.sweep.records import Records
from shortcut_finder.sweep.scene import Scene

if TYPE_CHECKING:
    import torch

    from shortcut_finder.detect.study import Study


@dataclass(frozen=True, eq=False)
class View:
    """What channels may look at.

    Attributes:
        folder: the shards, with the cells.
        scene: what the sweep kept of each image, and the pictures behind it.
        half: the first half, (image,) of bool; what one half finds is tested on the other.
        classes: class names.
        columns: of the user's metadata.
        spread: where the evidence of each image lies; ``None`` without maps.
        explain: draws class activation maps of pixels; ``None`` without a model.
        seed: of all random numbers, with what they are for.
        device: to compute on; the CPU if ``None``.
        progress: show a bar on stderr.
    """

    folder: Path
    scene: Scene
    half: np.ndarray
    classes: tuple[str, ...]
    columns: Sequence[Column] = ()
    spread: Spread | None = None
    explain: Explain | None = None
    seed: int = 0
    device: torch.device | None = field(default=None, repr=False)
    progress: bool = False

    @property
    def records(self) -> Records:
        """What the sweep kept of each image."""
        return self.scene.records

    @property
    def labels(self) -> np.ndarray:
        """Class of each image, (image,), or membership, (image, class)."""
        return self.scene.records.labels

    @property
    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """Both halves, each (image,) of bool."""
        return self.half, ~self.half

    @cached_property
    def numbers(self) -> list[int]:
        """Classes that can be held against others, by number; none where there is but one."""
        divided = comparable(self.labels) and (~self.half).sum() >= 2
        return occurring(self.labels) if divided else []

    def tested(self, label: int, carries: np.ndarray, found_on: np.ndarray) -> dict[str, float]:
        """How often a class has something and the others have not, where it was not found.

        Args:
            label: index of the class.
            carries: which images carry it, (image,) of bool.
            found_on: images that it was learned from, (image,) of bool.

        Returns:
            Numbers of `exclusivity_test`, of one image of each group that stays together.
        """
        kept = ~found_on & self.records.counted
        own, rest = (side(self.labels, label) & kept for side in (having, lacking))
        counts = [int(images.sum()) for images in (own & carries, own, rest & carries, rest)]
        return exclusivity_test(*counts)

    @cached_property
    def study(self) -> Study:
        """White cells of some images of each half, in memory; made once, when first asked for."""
        import torch

        from shortcut_finder.detect.study import Study

        return Study(
            self.folder,
            self.labels,
            self.half,
            self.seed,
            self.device or torch.device("cpu"),
            self.records.counted,
        )
