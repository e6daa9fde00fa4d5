"""Evidence: every column of the table equals a hand-written loop, and chance looks like chance."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shortcut_finder.data.regions import frame_regions
from shortcut_finder.stats.evidence import (
    LIFTED,
    association_p,
    divide,
    false_discovery_rate,
    rank_test,
    standardised_difference,
    weigh_regions,
)

REGIONS = frame_regions(7, 7)
CLASSES = ("a", "b", "c")
REGION_COLUMNS = ("label", "region", "images", "share", "elsewhere", "lift", "effect", "p", "q")


def slow_rank_p(inside: list[float], outside: list[float]) -> float:
    """Mann-Whitney by counting pairs, normal approximation with ties and continuity correction."""
    wins = sum((x > y) + 0.5 * (x == y) for x in inside for y in outside)
    n, m = len(inside), len(outside)
    values = inside + outside
    ties = sum(values.count(v) ** 3 - values.count(v) for v in set(values))
    total = n + m
    spread = np.sqrt(n * m / 12 * (total + 1 - ties / (total * (total - 1))))
    far = max(wins, n * m - wins) - n * m / 2 - 0.5
    return min(1.0, 2 * stats.norm.sf(far / spread))


def slow_benjamini_hochberg(p: list[float]) -> list[float]:
    adjusted = []
    for value in p:
        at_least = [other for other in p if other >= value]
        levels = [other * len(p) / sum(one <= other for one in p) for other in at_least]
        adjusted.append(min(1.0, *levels) if len(levels) > 1 else min(1.0, levels[0]))
    return adjusted


def random_shares(seed: int, labels: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shares = rng.beta(1, 5, (len(labels), len(REGIONS.names))).round(2)
    shares[labels == 1, 3] += 0.3
    return shares


def test_every_column_equals_a_plain_loop() -> None:
    labels = np.array([0] * 7 + [1] * 11 + [2] * 5)
    shares = random_shares(0, labels)
    table = weigh_regions(shares, labels, CLASSES, REGIONS)
    assert tuple(table.columns) == REGION_COLUMNS
    rows = table.to_dict("records")
    pairs = [(name, region) for name in CLASSES for region in REGIONS.names]
    assert [(row["label"], row["region"]) for row in rows] == pairs
    q = slow_benjamini_hochberg([row["p"] for row in rows])
    for row, adjusted in zip(rows, q, strict=True):
        place = REGIONS.names.index(row["region"])
        own = CLASSES.index(row["label"])
        inside = [
            float(s) for s, label in zip(shares[:, place], labels, strict=True) if label == own
        ]
        outside = [
            float(s) for s, label in zip(shares[:, place], labels, strict=True) if label != own
        ]
        area = float(REGIONS.masks[place].mean())
        mean, other = sum(inside) / len(inside), sum(outside) / len(outside)
        squares = sum((x - mean) ** 2 for x in inside) + sum((x - other) ** 2 for x in outside)
        deviation = (squares / (len(labels) - 2)) ** 0.5
        assert row["images"] == sum(value >= LIFTED * area for value in inside)
        assert row["share"] == pytest.approx(mean)
        assert row["elsewhere"] == pytest.approx(other)
        assert row["lift"] == pytest.approx(mean / other)
        assert row["effect"] == pytest.approx((mean - other) / deviation)
        assert row["p"] == pytest.approx(slow_rank_p(inside, outside))
        assert row["q"] == pytest.approx(adjusted)


def test_the_region_that_a_class_favours_stands_out() -> None:
    labels = np.repeat([0, 1, 2], 30)
    table = weigh_regions(random_shares(1, labels), labels, CLASSES, REGIONS)
    best = table.loc[table["p"].idxmin()]
    assert (best["label"], best["region"]) == ("b", REGIONS.names[3])
    assert best["effect"] > 1
    assert best["q"] < 1e-3
    assert (table["q"] >= table["p"] - 1e-12).all()


def test_order_of_images_is_irrelevant() -> None:
    labels = np.repeat([0, 1, 2], 12)
    shares = random_shares(2, labels)
    order = np.random.default_rng(3).permutation(len(labels))
    one = weigh_regions(shares, labels, CLASSES, REGIONS)
    two = weigh_regions(shares[order], labels[order], CLASSES, REGIONS)
    for column in REGION_COLUMNS[3:]:
        np.testing.assert_allclose(one[column], two[column])


def test_permuted_labels_give_p_values_that_are_even() -> None:
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1, 2], 20)
    shares = random_shares(5, labels)
    tables = [weigh_regions(shares, rng.permutation(labels), CLASSES, REGIONS) for _ in range(20)]
    p = np.concatenate([table["p"] for table in tables])
    assert 0.02 < (p < 0.05).mean() < 0.08
    assert 0.4 < p.mean() < 0.6
    assert sum((table["q"] < 0.05).any() for table in tables) <= 4


def test_classes_without_images_and_one_class_alone_have_no_rows() -> None:
    labels = np.array([0, 0, 2, 2])
    shares = random_shares(6, labels)
    assert set(weigh_regions(shares, labels, CLASSES, REGIONS)["label"]) == {"a", "c"}
    alone = weigh_regions(shares, np.zeros(4, dtype=int), ("a",), REGIONS)
    assert len(alone) == 0
    assert tuple(alone.columns) == REGION_COLUMNS


def test_one_image_and_equal_values_are_no_evidence() -> None:
    labels = np.array([0, 1, 1, 1])
    table = weigh_regions(random_shares(7, labels), labels, ("a", "b"), REGIONS)
    assert (table["effect"] == 0).all()
    assert np.isfinite(table[list(REGION_COLUMNS[3:])].to_numpy(float)).all()
    same = weigh_regions(np.full((4, len(REGIONS.names)), 0.2), labels, ("a", "b"), REGIONS)
    assert (same["p"] == 1).all()
    assert (same["q"] == 1).all()
    assert rank_test(np.array([]), np.array([1.0])) == 1.0
    assert standardised_difference(np.ones(5), np.ones(5)) == 0.0


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_adjusted_p_equals_the_slow_definition(p: list[float]) -> None:
    expected = slow_benjamini_hochberg(p) if p else []
    np.testing.assert_allclose(false_discovery_rate(np.array(p, dtype=float)), expected, atol=1e-12)


def test_association_p_equals_counting_draws() -> None:
    for members, size, elsewhere, others in [
        (3, 5, 1, 9),
        (0, 4, 3, 6),
        (4, 4, 0, 6),
        (2, 7, 2, 2),
    ]:
        found, total = members + elsewhere, size + others
        ways = sum(
            comb(size, k) * comb(others, found - k)
            for k in range(members, min(size, found) + 1)
            if found - k <= others
        )
        expected = ways / comb(total, found)
        assert association_p(members, size, elsewhere, others) == pytest.approx(expected)


def test_nothing_tested_is_no_evidence() -> None:
    assert association_p(0, 0, 0, 0) == 1.0
    assert association_p(0, 0, 2, 5) == 1.0
    assert association_p(2, 5, 0, 0) == 1.0


def test_association_p_of_a_random_candidate_is_rarely_small() -> None:
    rng = np.random.default_rng(8)
    labels = np.repeat([0, 1], [40, 120])
    p = []
    for _ in range(2000):
        carries = rng.random(160) < 0.2
        own, rest = carries[labels == 0], carries[labels == 1]
        p.append(association_p(int(own.sum()), 40, int(rest.sum()), 120))
    for level in (0.01, 0.05, 0.2):
        assert np.mean(np.array(p) <= level) <= level * 1.25 + 0.002


def test_objects_are_compared_by_area_and_only_where_they_are_known() -> None:
    """Class a has small objects, class b large ones; both spread their evidence evenly."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 30)
    cover = np.zeros((90, 7, 7))
    for number, label in enumerate(labels):
        side = (2, 5, 4)[label]
        row, column = rng.integers(0, 8 - side, 2)
        cover[number, row : row + side, column : column + side] = 1
    maps = rng.uniform(0.5, 1.5, (90, 7, 7))
    maps[labels == 2] *= 1 + 3 * (1 - cover[labels == 2])
    cover[:5] = np.nan
    objects = divide(maps, cover)
    table = weigh_regions(random_shares(0, labels), labels, CLASSES, REGIONS, objects)
    rows = table.set_index(["label", "region"])
    assert len(table) == 3 * (len(REGIONS.names) + 2)
    # Raw shares differ with size, evidence per area does not.
    outside = rows.xs("outside object", level="region")
    assert outside.loc["a", "share"] > outside.loc["b", "share"] + 0.3
    assert rows.loc[("b", "object"), "lift"] == pytest.approx(
        objects.even[labels == 1, 0].mean() / np.nanmean(objects.even[labels != 1, 0])
    )
    assert outside.loc["c", "effect"] > 3
    assert outside.loc["c", "images"] == 30
    assert outside.loc[["a", "b"], "images"].tolist() == [0, 0]
    alike = divide(maps[labels != 2], cover[labels != 2])
    pair = labels[labels != 2]
    small = weigh_regions(random_shares(0, pair), pair, ("a", "b"), REGIONS, alike)
    small = small.set_index(["label", "region"]).loc[("a", "object")]
    assert abs(small["effect"]) < 0.6
    assert small["p"] > 0.01


def test_a_class_that_alone_has_objects_is_compared_with_nothing() -> None:
    labels = np.repeat([0, 1], 10)
    cover = np.full((20, 7, 7), np.nan)
    cover[:10] = 0.5
    table = weigh_regions(
        random_shares(0, labels), labels, ("a", "b"), REGIONS, divide(np.ones((20, 7, 7)), cover)
    )
    assert set(table["region"]) == set(REGIONS.names)
