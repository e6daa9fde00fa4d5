"""Likeness: what looks like an artifact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shortcut_finder.detect.likeness import Likeness, shift_of

PLAIN = Likeness(evidence=0.3, shift=0.5, border=0.3, exact=0.3)


@pytest.mark.parametrize("name", ["evidence", "border", "exact"])
def test_more_of_anything_looks_more_like_an_artifact(name: str) -> None:
    levels = [replace(PLAIN, **{name: value}).artifact for value in np.linspace(0.01, 1, 8)]
    assert levels == sorted(levels)
    assert levels[-1] > levels[0] + 0.1
    assert all(0 < level < 1 for level in levels)


def test_without_evidence_nothing_is_an_artifact_unless_it_repeats_at_the_border() -> None:
    assert Likeness(0.0, 0.0, 0.0, 0.0).artifact < 0.01
    assert Likeness(0.1, 0.0, 0.0, 0.0).artifact < 0.15
    assert Likeness(1.0, 0.0, 0.0, 0.0).artifact > 0.5
    assert Likeness(0.1, 0.0, 1.0, 1.0).artifact > 0.5


def test_a_part_of_the_object_raises_the_whole_class() -> None:
    rng = np.random.default_rng(0)
    rest = rng.normal(0, 2, 4000)
    assert shift_of(rng.normal(3, 2, 4000), rest) == pytest.approx(1.5, abs=0.1)
    assert shift_of(rng.normal(-3, 2, 4000), rest) == 0
    assert shift_of(rest[:1], rest) == shift_of(rest, rest[:1]) == 0
