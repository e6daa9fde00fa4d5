"""Associations: a look of the whole image is found in its class, and nature is left alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from shortcut_finder.data.membership import comparable, two_classes
from shortcut_finder.data.properties import PROPERTIES
from shortcut_finder.detect.associations import (
    Association,
    look_alike,
    shifts_of,
    tried_associations,
)
from shortcut_finder.detect.channels.looks import clearest
from shortcut_finder.detect.families import FAMILIES
from shortcut_finder.detect.halves import discovery_half
from shortcut_finder.detect.natural import precedence_p, share_beyond
from shortcut_finder.stats.evidence import false_discovery_rate

TRAITS = tuple(trait for family in FAMILIES.values() for trait in family.traits)


def nature(classes: int, per_class: int, seed: int = 0, apart: float = 0.0) -> pd.DataFrame:
    """Normal traits; classes lie ``apart`` standard deviations on average."""
    rng = np.random.default_rng(seed)
    means = rng.normal(0, apart, (classes, len(TRAITS))).repeat(per_class, axis=0)
    return pd.DataFrame(means + rng.normal(size=means.shape), columns=list(TRAITS))


def found(
    table: pd.DataFrame, labels: np.ndarray, seed: int = 0, half: np.ndarray | None = None
) -> list[Association]:
    if not comparable(labels):
        return []
    half = discovery_half(labels, seed) if half is None else half
    tried = tried_associations(table, labels, half, np.ones(len(labels), dtype=bool))
    q = false_discovery_rate(np.array([one.p for one in tried]))
    told = [replace(one, q=float(rate)) for one, rate in zip(tried, q, strict=True)]
    return clearest(told, two=two_classes(labels))


def planted(
    share: float, trait: str = "low_blue", classes: int = 5, per_class: int = 100, seed: int = 0
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Class 1 has the same unusual value of a trait in some images: the table, labels, carriers."""
    table = nature(classes, per_class, seed)
    labels = np.repeat(np.arange(classes), per_class)
    rng = np.random.default_rng([seed, 1])
    carriers = rng.permutation(np.flatnonzero(labels == 1))[: round(share * per_class)]
    table.loc[carriers, trait] = 3.5 + rng.normal(0, 0.3, len(carriers))
    return table, labels, np.isin(np.arange(len(labels)), carriers)


def test_families_are_made_of_properties() -> None:
    assert set(TRAITS) <= set(PROPERTIES)
    assert len(TRAITS) == len(set(TRAITS))


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_a_shift_in_part_of_a_class_is_found_and_its_images_come_first(share: float) -> None:
    table, labels, carriers = planted(share)
    (one,) = found(table, labels)
    assert (one.label, one.family) == (1, "colour range")
    assert one.share == pytest.approx(share, abs=0.2)
    assert one.elsewhere <= 0.1
    assert one.q < 1e-6
    first = shifts_of(table, one, labels)[0]
    assert first.trait == "low_blue"
    assert first.members == pytest.approx(3.5, abs=0.3)
    assert abs(first.others) < 0.5
    own = labels == 1
    assert average_precision_score(carriers[own], one.margin[own]) > 0.9
    assert (one.carries == (one.margin > 0)).all()


def test_one_class_of_ten_is_enough() -> None:
    table, labels, _ = planted(0.5, "edge_sharpness", classes=10, per_class=60)
    (one,) = found(table, labels)
    assert (one.label, one.family) == (1, "sharpness")


def test_a_gap_tells_in_a_small_set_of_two_classes() -> None:
    """Counts alone leave it possible that as many of the other class lie beyond by nature."""
    labels = np.arange(240) % 2
    for seed in range(5):
        table = nature(2, 120, seed)
        carriers = np.random.default_rng(seed).permutation(np.flatnonzero(labels == 1))[:40]
        table.loc[carriers, "edge_sharpness"] -= 7
        (one,) = found(table, labels, seed)
        assert (one.label, one.family) == (1, "sharpness")
        assert shifts_of(table, one, labels)[0].trait == "edge_sharpness"
        assert np.mean(one.carries[carriers]) >= 0.75
        assert one.elsewhere < 0.05


def test_no_more_can_lie_beyond_a_limit_than_values_fall_off_to() -> None:
    values = np.random.default_rng(0).normal(size=200)
    limits = np.linspace(-1, 8, 50)
    shares, far = share_beyond(values, limits), limits > 3
    assert (shares >= (values > limits[:, None]).mean(axis=1)).all()
    assert (shares[far] >= stats.norm.sf(limits[far])).all()
    assert (np.diff(shares) <= 0).all()
    assert shares[-1] < 1e-4
    # What is seen beyond counts, however fast the rest falls off.
    strays = np.concatenate([values, [7.9, 7.95, 8.1]])
    assert share_beyond(strays, np.array([7.0])) >= 3 / 203
    # Where all are the same, nothing says how fast they would.
    assert share_beyond(np.zeros(200), np.array([1.0])) > 1e-3
    assert share_beyond(np.zeros(0), limits).tolist() == [1.0] * len(limits)


def test_a_value_that_repeats_to_the_bit_in_the_middle_of_the_range_is_found() -> None:
    """No single limit could: the others have as much below it as above."""
    table, labels, carriers = planted(0.5)
    table.loc[carriers, "low_blue"] = 0.1
    (one,) = found(table, labels)
    assert (one.label, one.family) == (1, "colour range")
    assert average_precision_score(carriers[labels == 1], one.margin[labels == 1]) > 0.9


def test_a_property_in_most_of_a_class_and_in_some_others_is_found() -> None:
    table, labels, _ = planted(0.8)
    rng = np.random.default_rng(3)
    others = rng.permutation(np.flatnonzero(labels != 1))[:20]
    table.loc[others, "low_blue"] = 3.5 + rng.normal(0, 0.3, len(others))
    (one,) = found(table, labels)
    assert one.label == 1
    assert one.share > 0.6
    assert 0.02 < one.elsewhere < 0.2


@pytest.mark.parametrize("trait", ["jpeg", "width"])
def test_facts_of_the_file_that_take_few_values_are_found(trait: str) -> None:
    table, labels, carriers = planted(0.5)
    table = nature(5, 100)
    for fact, value in (("jpeg", 1.0), ("grey", 0.0), ("width", 640.0), ("height", 480.0)):
        table[fact] = value
    table["aspect"] = 640 / 480
    table.loc[carriers, trait] = 0.0 if trait == "jpeg" else 512.0
    (one,) = found(table, labels)
    assert one.family == {"jpeg": "file type", "width": "image size"}[trait]
    assert (one.carries == carriers).all()


@pytest.mark.parametrize("seed", range(10))
def test_ninety_five_to_five_without_a_cue_finds_nothing(seed: int) -> None:
    labels = (np.random.default_rng(seed).random(600) < 0.05).astype(int)
    assert found(nature(1, 600, seed), labels, seed) == []


@pytest.mark.parametrize("seed", range(5))
def test_classes_that_overlap_as_natural_ones_do_are_left_alone(seed: int) -> None:
    labels = np.repeat(np.arange(5), 100)
    assert found(nature(5, 100, seed, apart=0.25), labels, seed) == []


@pytest.mark.parametrize(("shift", "families"), [(0.5, []), (1.4, ["compression"])])
def test_what_natural_classes_just_reach_is_told_as_that(shift: float, families: list[str]) -> None:
    labels = np.repeat(np.arange(5), 200)
    table = nature(5, 200)
    table.loc[labels == 1, "blockiness"] += shift
    near = found(table, labels)
    assert [one.family for one in near] == families
    assert all(one.excess <= 0 and one.share >= 0.5 for one in near)


def test_of_two_classes_one_is_reported() -> None:
    table, labels, _ = planted(1.0, classes=2)
    assert [one.family for one in found(table, labels)] == ["colour range"]


@pytest.mark.parametrize("counts", [(1, 1), (1, 5), (2, 0), (3, 3, 3)])
def test_few_images_are_no_evidence_and_no_error(counts: tuple[int, ...]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    assert found(nature(1, len(labels)), labels) == []


def test_constant_traits_say_nothing() -> None:
    table = nature(3, 20) * 0
    assert found(table, np.repeat([0, 1, 2], 20)) == []


def test_the_tested_half_teaches_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(60, 2))
    own, learned = np.arange(60) % 3 == 0, np.arange(60) < 30
    scores = look_alike(values, own, learned)
    swapped = np.where(learned, own, ~own)
    np.testing.assert_array_equal(look_alike(values, swapped, learned), scores)
    moved = values.copy()
    moved[~learned] = values[~learned][::-1]
    np.testing.assert_array_equal(look_alike(moved, own, learned)[learned], scores[learned])


def test_precedence_p_equals_counting_orders() -> None:
    for size, others in [(3, 4), (5, 2), (2, 6)]:
        orders = list(combinations(range(size + others), size))
        for place in range(1, others + 1):
            before = []
            for chosen in orders:
                rest = [n for n in range(size + others) if n not in chosen]
                before.append(sum(n < rest[place - 1] for n in chosen))
            for members in range(size + 1):
                expected = np.mean([count >= members for count in before])
                assert precedence_p(members, size, place, others) == pytest.approx(expected)


def test_order_of_images_is_irrelevant() -> None:
    table, labels, _ = planted(0.5)
    half = discovery_half(labels, 0)
    order = np.random.default_rng(5).permutation(len(labels))
    (one,) = found(table, labels, half=half)
    (two,) = found(table.iloc[order].reset_index(drop=True), labels[order], half=half[order])
    assert (one.share, one.elsewhere, one.q) == (two.share, two.elsewhere, two.q)
    np.testing.assert_array_equal(one.carries[order], two.carries)
