"""Asking: maps and logits of further pixels, the way the sweep made them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from shortcut_finder.maps.blanks import Explain
from shortcut_finder.maps.engine import MapEngine
from shortcut_finder.model.classifier import Classifier
from shortcut_finder.settings import Settings
from shortcut_finder.sweep.lab import Predict


@contextmanager
def asking(classifier: Classifier, settings: Settings) -> Iterator[tuple[Explain, Predict]]:
    """Functions that draw maps and say logits; the model is left as found.

    Args:
        classifier: the model.
        settings: of the scan, with the precision of the sweep.
    """
    with MapEngine(classifier, settings) as engine:

        def explain(pixels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
            size = settings.batch_size or len(pixels)
            parts = torch.split(torch.from_numpy(pixels), size)
            return np.concatenate([engine.maps(p, torch.from_numpy(outputs)) for p in parts])

        yield explain, lambda pixels: engine.predict(torch.from_numpy(pixels)).numpy()
