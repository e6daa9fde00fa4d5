"""Spreading: which processes a sweep is spread over, by the settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

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
        return partial(sweep_on_ray, load, fingerprint)
    if len(devices_of(settings.device)) > 1:
        return partial(sweep_on_devices, load, fingerprint)
    return None
