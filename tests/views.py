"""Views for channels that need no pictures, and what a channel finds by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.detect.columns import Column
from shortcut_finder.detect.finding import Finding
from shortcut_finder.detect.halves import discovery_half
from shortcut_finder.detect.proposals import Channel
from shortcut_finder.detect.view import View
from shortcut_finder.errors import UnreadableImage
from shortcut_finder.stats.evidence import false_discovery_rate
from shortcut_finder.sweep.records import Records
from shortcut_finder.sweep.scene import Scene


def no_picture(_number: int) -> Image.Image:
    raise UnreadableImage("there are no pictures")


def view_of(
    table: pd.DataFrame,
    labels: np.ndarray,
    classes: tuple[str, ...] = (),
    columns: Sequence[Column] = (),
    half: np.ndarray | None = None,
) -> View:
    """A view of a table of properties and of columns, without cells and pictures."""
    count = labels.shape[1] if labels.ndim == 2 else int(labels.max(initial=-1)) + 1
    nothing = np.zeros((len(labels), 1, 1))
    records = Records(table, labels, labels, nothing, nothing, nothing, nothing, (7, 7))
    return View(
        Path("nowhere"),
        Scene(records, no_picture, Preprocessing(8, 8)),
        discovery_half(labels, 0) if half is None else half,
        classes or tuple(f"class {n}" for n in range(count)),
        columns,
    )


def found_by(channel: Channel, view: View, before: Sequence[Finding] = ()) -> list[Finding]:
    """What a channel finds alone, as if only its tests had been made."""
    proposals = channel(view)
    return list(proposals.conclude(false_discovery_rate(proposals.p), before).findings)
