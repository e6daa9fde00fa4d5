"""Detection: channels propose, one false discovery rate holds over all, and each concludes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

import numpy as np

from shortcut_finder.data.imports import is_function_name, load_function
from shortcut_finder.detect.channels import CHANNELS
from shortcut_finder.detect.finding import Finding, Judged, ranked, with_companions
from shortcut_finder.detect.proposals import Channel
from shortcut_finder.detect.view import View
from shortcut_finder.errors import SettingsError
from shortcut_finder.stats.evidence import false_discovery_rate


def detect(view: View, channels: Mapping[str, Channel] | None = None) -> Judged:
    """What classes have and others have not: things, looks, columns, evidence and surroundings.

    Args:
        view: the images, and what is known of them.
        channels: by name, in the order in which they conclude; all of the package's if ``None``.
    """
    channels = channels_of(()) if channels is None else channels
    proposals = [propose(view) for propose in channels.values()]
    q = false_discovery_rate(np.concatenate([one.p for one in proposals]))
    found: list[Finding] = []
    notes: list[str] = []
    start = 0
    for one in proposals:
        concluded = one.conclude(q[start : start + len(one.p)], tuple(found))
        start += len(one.p)
        found += concluded.findings
        notes += concluded.notes
    told = with_companions(found, view.labels, view.columns, view.records.counted)
    return Judged(ranked(told), tuple(notes), len(q))


def channels_of(names: Sequence[str]) -> dict[str, Channel]:
    """Channels by name, in the order in which they conclude; all of the package's without names.

    Args:
        names: of the package's channels, or ``FILE.py:FUNCTION`` for one of the user's own.

    Raises:
        SettingsError: there is no such channel.
    """
    own = [name for name in names if name not in CHANNELS]
    for name in own:
        if not is_function_name(name):
            known = ", ".join(CHANNELS)
            raise SettingsError(f"--channels {name}: choose of {known}, or write FILE.py:FUNCTION")
    chosen = [name for name in CHANNELS if name in names or not names]
    found = {name: importlib.import_module(CHANNELS[name]).propose for name in chosen}
    return found | {name: load_function(name) for name in own}
