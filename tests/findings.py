"""Findings by hand: every part of one by its own name."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from shortcut_finder.detect.finding import Carriers, Decided, Finding, Measured
from shortcut_finder.detect.place import Place

PARTS = {"place": Place, "carriers": Carriers, "measured": Measured, "decided": Decided}
NAMES = {field.name: part for part, kind in PARTS.items() for field in fields(kind)}


def a_finding(listed: np.ndarray, **given: Any) -> Finding:
    """A mark in the top left corner of some images, (image,) of bool, of class ``a``.

    Args:
        listed: which images carry it.
        given: fields of the finding and of its parts, by name.
    """
    artifact = given.get("artifact", 0.9)
    plain = Finding(
        label="a",
        number=0,
        place=Place("corner", "top left corner", np.ones((4, 4)) / 16),
        carriers=Carriers(
            listed, artifact * listed, np.zeros(len(listed), dtype=bool), np.flatnonzero(listed)
        ),
        measured=Measured(share=0.4, elsewhere=0.0, q=0.001, artifact=artifact),
        decided=Decided("high"),
        said=(),
        advice="",
        key="F1",
    )
    return changed(plain, **given)


def changed(finding: Finding, **given: Any) -> Finding:
    """The finding with other fields, of its own or of its parts."""
    for name, value in given.items():
        part = NAMES.get(name)
        if part is None:
            finding = replace(finding, **{name: value})
        else:
            finding = replace(finding, **{part: replace(getattr(finding, part), **{name: value})})
    return finding
