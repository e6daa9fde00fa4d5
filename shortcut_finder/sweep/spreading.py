"""Spreading: which processes a sweep is spread over, by the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.settings import Settings, devices_of
from shortcut_finder.sweep.cluster import sweep_on_ray
from shortcut_finder.sweep.devices import sweep_on_devices

if TYPE_CHECKING:
    from shortcut_finder.sweep.batches import Spread


def spread_by(settings: Settings, load: Callable[..., Any], fingerprint: str) -> Spread | None:
    """What sweeps in other processes; None where this one does it alone.

    Args:
        settings: of the scan.
        load: makes the classifier from ``settings``, in any process.
        fingerprint: of the classifier.
    """
    if settings.engine == "ray":
        elsewhere = sweep_on_ray
    elif len(devices_of(settings.device)) > 1:
        elsewhere = sweep_on_devices
    else:
        return None

    def spread(
        dataset: ImageDataset,
        settled: Settings,
        folder: Path,
        parts: Mapping[int, np.ndarray],
        advance: Callable[[int], Any],
    ) -> None:
        from shortcut_finder.sweep.actors import Job

        job = Job(dataset, load, fingerprint, settled, folder.absolute())
        elsewhere(job, parts, advance)

    return spread
