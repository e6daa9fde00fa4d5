"""Groups: what stays together stays on one half, and counts once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from shortcut_finder.data.groups import first_of_each, joined, numbered, one_of_each
from shortcut_finder.detect.halves import discovery_half
from shortcut_finder.stats.evidence import exclusivity_test

COPIES = 10


def drawn(seed: int, groups: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, groups and a feature of ten copies of each of some pictures; labels say nothing."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(groups), COPIES)
    labels = np.repeat(rng.permutation(groups) % 2, COPIES)
    return labels, number, np.repeat(rng.normal(size=groups), COPIES)


def p_of(seed: int, *, apart: bool) -> float:
    """The p of a limit that one half sees a difference at, on the other half."""
    labels, groups, values = drawn(seed)
    half = discovery_half(labels, seed, groups if apart else None)
    counted = one_of_each(groups, labels, seed) if apart else np.ones(len(labels), dtype=bool)
    learned = half & counted
    limits = np.quantile(values[learned], np.arange(1, 10) / 10)
    # The limit and the side that tell the class best where it is learned.
    gaps = [
        (sign * ((sign * values >= sign * limit)[learned & (labels == 1)].mean()
         - (sign * values >= sign * limit)[learned & (labels == 0)].mean()) * sign, limit, sign)
        for limit in limits for sign in (1, -1)
    ]  # fmt: skip
    _, limit, sign = max(gaps)
    carries, own = sign * values >= sign * limit, labels == 1
    inside, outside = carries[~half & counted & own], carries[~half & counted & ~own]
    return exclusivity_test(int(inside.sum()), len(inside), int(outside.sum()), len(outside))["p"]


def test_with_ten_copies_of_each_picture_p_stays_uniform_under_permuted_labels_of_groups() -> None:
    p = np.array([p_of(seed, apart=True) for seed in range(400)])
    for level in (0.01, 0.05, 0.1, 0.25):
        # No more often than it says, within three standard errors.
        assert (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / len(p))
    # Exact tests are a little shy of uniform; they must not be far from it.
    assert stats.kstest(p, "uniform", alternative="less").statistic < 0.35
    assert 0.4 < p.mean() < 0.75


def test_counted_one_by_one_copies_make_labels_that_say_nothing_look_certain() -> None:
    p = np.array([p_of(seed, apart=False) for seed in range(100)])
    assert (p <= 0.01).mean() > 0.5


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_divided_and_classes_are_halved(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 12, 80)
    groups = np.repeat(rng.permutation(80), sizes)
    # One group in ten has images of two classes.
    labels = (groups % 3 + (rng.random(len(groups)) < 0.5) * (groups % 10 == 0)) % 3
    half = discovery_half(labels, seed, groups)
    assert all(len(set(half[groups == group])) == 1 for group in range(80))
    for label in range(3):
        own = labels == label
        assert abs(half[own].sum() - (~half)[own].sum()) <= 12


def test_halves_of_lone_images_are_what_they_were() -> None:
    labels = np.arange(100) % 3
    assert (discovery_half(labels, 7) == discovery_half(labels, 7, None)).all()


def test_one_of_each_group_counts_whatever_its_size() -> None:
    labels, groups, _ = drawn(0)
    counted = one_of_each(groups, labels, 0)
    assert counted.sum() == 60
    assert len(set(groups[counted])) == 60
    places = np.flatnonzero(counted) % COPIES
    assert len(set(places)) > 3
    mixed = one_of_each(np.zeros(6, dtype=int), np.array([0, 0, 0, 1, 1, 1]), 0)
    assert mixed.sum() == 2


def test_pairs_join_groups_and_groups_join_pairs() -> None:
    groups = numbered(["ann", "ann", "bob", "", "bob", ""])
    found = joined(groups, np.array([[1, 2], [3, 5]]), 6)
    assert found is not None
    assert found.tolist() == [0, 0, 0, 1, 0, 1]
    assert joined(numbered(["", "", ""]), np.empty((0, 2)), 3) is None


def test_the_best_of_each_group_comes_first() -> None:
    groups = np.array([0, 0, 1, 2, 2])
    assert first_of_each(np.array([4, 1, 0, 3, 2]), groups).tolist() == [4, 1, 2]
    assert first_of_each(np.array([4, 1, 0]), None).tolist() == [4, 1, 0]
