"""Parts: the hottest places of some images, and what they do to images of other classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Parts:
    """One entry a part.

    Attributes:
        images: number of the image it is from, (part,).
        labels: class of that image, (part,).
        cells: the cell in its middle, (part,).
        turned: share of the images of other classes that are taken for the class once it is pasted
            onto them, (part,) in [0, 1].
        gain: mean rise of the class's log-odds there, (part,).
        potent: whether it turns more of them than the most potent parts of other classes turn into
            theirs, (part,) of bool.
    """

    images: np.ndarray
    labels: np.ndarray
    cells: np.ndarray
    turned: np.ndarray
    gain: np.ndarray
    potent: np.ndarray

    def potent_of(self, label: int) -> np.ndarray:
        """Numbers of the potent parts of a class."""
        return np.flatnonzero(self.potent & (self.labels == label))

    def strongest(self, label: int) -> np.ndarray:
        """Numbers of the parts of a class, one an image, the one that gains most first."""
        own = np.flatnonzero(self.labels == label)
        own = own[np.argsort(-self.gain[own], kind="stable")]
        return own[np.sort(np.unique(self.images[own], return_index=True)[1])]
