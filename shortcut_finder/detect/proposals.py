"""Proposals: what channels try, and what becomes of it under one false discovery rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np

from shortcut_finder.detect.finding import Finding
from shortcut_finder.detect.view import View


@dataclass(frozen=True, eq=False)
class Concluded:
    """What a channel found.

    Attributes:
        findings: in any order.
        notes: sentences for the report, on what was set aside.
    """

    findings: Sequence[Finding] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Proposals:
    """What a channel tried.

    Attributes:
        p: of every test, on images that what it tests was not found on, (test,) in [0, 1].
        conclude: says what was found, given q of every test, (test,), and what the channels before
            this one found. q is the false discovery rate over the tests of all channels.
    """

    p: np.ndarray = field(default_factory=lambda: np.empty(0))
    conclude: Callable[[np.ndarray, Sequence[Finding]], Concluded] = lambda _q, _found: Concluded()


class Tested(Protocol):
    """What was tested: a frozen dataclass with the numbers of its test."""

    @property
    def test(self) -> Mapping[str, float]:
        """Numbers of the test."""


Some = TypeVar("Some", bound=Tested)


def rated(tested: Some, q: float) -> Some:
    """The same with the false discovery rate of its test among the numbers."""
    return replace(tested, test={**tested.test, "q": float(q)})  # type: ignore[type-var]


# A way to find: it looks at a view and says what it tried.
Channel = Callable[[View], Proposals]
