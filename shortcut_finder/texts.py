"""Texts: names and numbers as a page shows them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any


def shown(value: Any) -> str:
    r"""A text fit for a page: bytes that are no text and control characters replaced.

    Example:
        >>> shown("caf\udce9\x07")
        'caf��'
    """
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(letter) in ("Cc", "Cs") else letter
        for letter in str(value).replace("\n", " ").replace("\t", " ")
    )


def percent(share: float | None) -> str:
    """A share as a percentage with as many digits as it deserves.

    Example:
        >>> [percent(share) for share in (0, 0.0001, 0.0042, 0.637, 0.9996, 1, None)]
        ['0%', '<0.1%', '0.4%', '64%', '>99.9%', '100%', 'unknown']
    """
    if share is None or not math.isfinite(share):
        return "unknown"
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    few = 0 < share < 0.0995 or 0.99 < share < 1
    return f"{share:.1%}" if few else f"{share:.0%}"


def whole_percent(share: float) -> str:
    """A share as a percentage without decimals, but for the smallest.

    Example:
        >>> [whole_percent(share) for share in (0.0042, 0.09, 0.637, 1)]
        ['0.4%', '9%', '64%', '100%']
    """
    return percent(share) if share < 0.0095 else f"{share:.0%}"


def number(value: Any) -> str:
    """Any plain value as a short text; nothing and NaN as a dash.

    Example:
        >>> [number(value) for value in (3.14159, 4.1e-13, 12000, None, True, "squash", [7, 7])]
        ['3.142', '4.1e-13', '12,000', '–', 'yes', 'squash', '7, 7']
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(number(item) for item in value)
    return shown(value)


def named_numbers(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Names and values by name, as texts.

    Example:
        >>> named_numbers({"share_p": 0.25, "effect": None})
        (('effect', '–'), ('share p', '0.25'))
    """
    return tuple((shown(name).replace("_", " "), number(values[name])) for name in sorted(values))


def count(amount: int, one: str, many: str) -> str:
    """A number with its noun.

    Example:
        >>> count(1, "class", "classes"), count(1200, "class", "classes")
        ('1 class', '1,200 classes')
    """
    return f"{amount:,} {one if amount == 1 else many}"


def listed(items: list[str]) -> str:
    """Items as a phrase.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    return " and ".join([*([", ".join(items[:-1])] if items[1:] else []), *items[-1:]])


def clipped(text: str, letters: int) -> str:
    """A text of at most so many letters, with an ellipsis where it was cut.

    Example:
        >>> clipped("a long name", 6)
        'a lon…'
    """
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"
