"""Shares: how a share is written, with its exact 95% interval."""

from __future__ import annotations

import re

from scipy.stats import binomtest


def exact_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson 1934: an interval for a share that covers it at least so often.

    Example:
        >>> [round(end, 3) for end in exact_interval(0, 100)]
        [0.0, 0.036]
    """
    interval = binomtest(successes, trials).proportion_ci(level, method="exact")
    return float(interval.low), float(interval.high)


def decimals(value: float, digits: int) -> str:
    """A number as the tables have it: thousands parted, and no zero before the point.

    Example:
        >>> decimals(0.25, 2), decimals(-0.04, 2), decimals(1234.5, 1), decimals(7, 2)
        ('.25', '-.04', '1,234.5', '7')
    """
    if isinstance(value, int):
        return f"{value:,}"
    return re.sub(r"^(-?)0(?=\.)", r"\1", f"{value:,.{digits}f}")


def share_of(successes: float, trials: float) -> str:
    """A share with its exact interval and what it is made of, as text.

    Example:
        >>> share_of(17, 20), share_of(0, 1200), share_of(0, 0)
        ('.85 (.62 to .97), 17 of 20', '0 (0 to .003), 0 of 1,200', '-')
    """
    if not trials:
        return "-"
    part, whole = int(successes), int(trials)
    low, high = exact_interval(part, whole)
    # A third digit where two would make a narrow interval at an end of the scale look like none.
    digits = 3 if high < 0.1 or low > 0.9 else 2
    share, low_end, high_end = (
        decimals(int(end) if end in (0, 1) else end, digits) for end in (part / whole, low, high)
    )
    return f"{share} ({low_end} to {high_end}), {part:,} of {whole:,}"
