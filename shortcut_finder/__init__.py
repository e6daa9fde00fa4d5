"""Find shortcut learning in image datasets.

    import shortcut_finder as sf

    run = sf.scan("photos/", model, out="run/")
    run.findings, run.offenders

Importing the package is cheap: torch is loaded by the first call that needs it.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shortcut_finder.cleaning.folder import clean
    from shortcut_finder.comparison.folder import compare
    from shortcut_finder.data.dataset import load_dataset
    from shortcut_finder.errors import (
        DatasetError,
        ModelError,
        RunError,
        SettingsError,
        ShortcutFinderError,
        UnreadableImage,
    )
    from shortcut_finder.explanation import explain
    from shortcut_finder.exporting.export import export
    from shortcut_finder.exporting.tracking import log_run
    from shortcut_finder.run.folder import Run, load_run
    from shortcut_finder.scanning import scan
    from shortcut_finder.settings import Settings

__version__ = "0.1.0"

# Large tensors in large pages, which torch asks Linux for before its first one: a forward pass on
# a CPU takes a third less (EfficientNet-Lite0, batches of 32 at 160 pixels), as the system has
# fewer pages to fill with zeros.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__all__ = [
    "DatasetError",
    "ModelError",
    "Run",
    "RunError",
    "Settings",
    "SettingsError",
    "ShortcutFinderError",
    "UnreadableImage",
    "__version__",
    "clean",
    "compare",
    "explain",
    "export",
    "load_dataset",
    "load_run",
    "log_run",
    "scan",
]

_HOMES = {
    "DatasetError": "errors",
    "ModelError": "errors",
    "Run": "run.folder",
    "RunError": "errors",
    "Settings": "settings",
    "SettingsError": "errors",
    "ShortcutFinderError": "errors",
    "UnreadableImage": "errors",
    "clean": "cleaning.folder",
    "compare": "comparison.folder",
    "explain": "explanation",
    "export": "exporting.export",
    "load_dataset": "data.dataset",
    "load_run": "run.folder",
    "log_run": "exporting.tracking",
    "scan": "scanning",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
