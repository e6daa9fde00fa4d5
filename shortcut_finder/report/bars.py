"""Bars: a number as a page shows it beside others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeGuard

from shortcut_finder.texts import percent


@dataclass(frozen=True)
class Bar:
    """A labelled value in [0, 1] as text and as a CSS width.

    Attributes:
        name: what it is the value of.
        value: the number as text.
        width: CSS declaration.
        tone: CSS class.
    """

    name: str
    value: str
    width: str
    tone: str = ""


def bar(name: str, value: float | None, text: str, tone: str) -> Bar:
    """A bar with a text of its own; what is unknown has no length.

    Example:
        >>> bar("share", 0.25, "25%", "class")
        Bar(name='share', value='25%', width='width:25%', tone='class')
    """
    part = min(max(float(value), 0.0), 1.0) if known(value) else 0.0
    return Bar(name, text, f"width:{100 * part:.4g}%", tone)


def percent_bar(name: str, value: float | None, tone: str) -> Bar:
    """A bar of a share or a probability."""
    return bar(name, value, percent(value), tone)


def known(value: float | None) -> TypeGuard[float]:
    """Whether there is a number."""
    return value is not None and math.isfinite(value)


def two_digits(value: float | None) -> str:
    """A number in [-1, 1] as text."""
    return f"{value:.2f}" if known(value) else "unknown"
