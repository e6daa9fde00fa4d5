"""Tiers: as much of a list is wrong as it says, whatever share of the class carries the thing."""

from __future__ import annotations

import numpy as np
import pytest

from shortcut_finder.detect.tiers import LIKELY, SURE, Tiers, false_shares, tiers_of

DRAWS, IMAGES = 30, 120


def drawn(share: float, seed: int, apart: float = 4.5) -> tuple[Tiers, np.ndarray]:
    """Lists of a class, and which of its images carry the thing: the first."""
    rng = np.random.default_rng(seed)
    carriers = np.arange(IMAGES) < round(share * IMAGES)
    own = rng.normal(np.where(carriers, apart, 0.2))
    wrong = false_shares(own, rng.normal(size=400))
    return tiers_of(wrong, np.zeros(IMAGES, dtype=int)), carriers


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.4, 0.5, 0.7, 0.9])
def test_a_tenth_of_the_sure_ones_is_wrong_at_most(share: float) -> None:
    found = [drawn(share, seed) for seed in range(DRAWS)]
    some = [(tiers, carriers) for tiers, carriers in found if tiers.sure.any()]
    assert len(some) >= 0.9 * DRAWS
    false = [float((~carriers)[tiers.sure].mean()) for tiers, carriers in some]
    assert np.mean(false) <= SURE + 2 * np.std(false) / np.sqrt(len(false))
    # It says so itself, and misses few.
    assert np.mean([tiers.wrong[0] for tiers, _ in some]) == pytest.approx(np.mean(false), abs=0.06)
    assert np.mean([tiers.sure[carriers].mean() for tiers, carriers in found]) > 0.75


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.4, 0.5, 0.7, 0.9])
def test_the_share_of_carriers_is_within_its_interval(share: float) -> None:
    found = [drawn(share, seed)[0] for seed in range(DRAWS)]
    assert np.mean([tiers.share for tiers in found]) == pytest.approx(share, abs=0.04)
    within = [tiers.share_range[0] <= share <= tiers.share_range[1] for tiers in found]
    assert np.mean(within) >= 0.8


def test_where_nothing_carries_it_hardly_anything_is_sure() -> None:
    assert sum(int(drawn(0.0, seed)[0].sure.sum()) for seed in range(DRAWS)) <= 1


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_heaps_close_together_have_shorter_sure_lists_and_likely_ones_that_are_right_enough(
    share: float,
) -> None:
    found = [drawn(share, seed, apart=2.5) for seed in range(DRAWS)]
    false = [(~c)[t.likely].mean() for t, c in found if t.likely.any()]
    assert np.mean(false) <= LIKELY + 0.08
    for tiers, _ in found:
        assert not (tiers.sure & ~tiers.likely).any()


def test_lists_end_where_more_of_what_comes_in_would_be_wrong() -> None:
    own = np.concatenate([np.linspace(-1, 1, 60), np.linspace(8, 9, 60)])
    wrong = false_shares(own, np.linspace(-1, 1, 200))
    # A third of strangers would be let in otherwise.
    assert (wrong[:60] == 1).all()
    assert (wrong[60:] <= SURE).all()


def test_a_longer_list_is_never_better_than_a_shorter_one() -> None:
    rng = np.random.default_rng(0)
    own = rng.normal(size=80)
    wrong = false_shares(own, rng.normal(size=80))
    assert (np.diff(wrong[np.argsort(-own)]) >= 0).all()
    # Ties are listed together.
    tied = false_shares(np.round(own), rng.normal(size=80))
    for level in np.unique(np.round(own)):
        assert len(np.unique(tied[np.round(own) == level])) == 1


def test_folds_add_up() -> None:
    wrong, folds = np.array([0.02, 0.06, 0.3, 0.05, 0.2, 1.0]), np.array([0, 0, 0, 1, 1, 1])
    tiers = tiers_of(wrong, folds)
    assert tiers.sure.tolist() == [True, True, False, True, False, False]
    assert tiers.likely.tolist() == [True, True, True, True, True, False]
    assert tiers.wrong == pytest.approx(((0.06 * 2 + 0.05) / 3, (0.3 * 3 + 0.2 * 2) / 5))
    assert tiers.share == pytest.approx((5 - 1.3) / 6)


def test_nobody_listed() -> None:
    tiers = tiers_of(np.ones(10), np.zeros(10, dtype=int))
    assert not tiers.likely.any()
    assert np.isnan(tiers.wrong).all()
    assert tiers.share == 0
    assert tiers.share_range[0] == pytest.approx(0)
