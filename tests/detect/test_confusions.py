"""Confusions: pairs whose maps fire on the same spot, counted as a plain loop counts them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from shortcut_finder.detect.confusions import find_confusions
from shortcut_finder.sweep.records import Records

OUTPUTS = ("ant", "bee", "cat")
COLUMNS = ("label", "rival", "images", "overlap", "region")


def records_of(maps: np.ndarray, shown: np.ndarray) -> Records:
    """Records of maps, (image, 4, row, column), and the outputs they belong to, (image, 4)."""
    count = len(maps)
    return Records(
        table=pd.DataFrame({"index": range(count)}),
        labels=shown[:, 0],
        outputs=shown[:, 0],
        shown=shown,
        maps=maps[:, 0],
        rivals=maps[:, 1:],
        logits=np.zeros((count, len(OUTPUTS))),
        cell_grid=(7, 7),
    )


def spot(row: int, column: int) -> np.ndarray:
    heat = np.full((7, 7), -1.0)
    heat[row : row + 2, column : column + 2] = 4.0
    return heat


def test_a_pair_on_the_same_spot_is_named_with_its_place() -> None:
    here, there = spot(0, 0), spot(5, 5)
    same = [[here, here, here, there]] * 8 + [[here, here, there, here]] * 2
    records = records_of(np.array(same), np.array([[0, 0, 1, 2]] * 10))
    (row,) = find_confusions(records, OUTPUTS).to_dict("records")
    assert row == {
        "label": "ant", "rival": "bee", "images": 8, "overlap": 0.8, "region": "top left corner"
    }  # fmt: skip


def test_maps_on_different_spots_are_no_confusion() -> None:
    maps = np.array([[spot(0, 0), spot(0, 0), spot(5, 5), spot(3, 3)]] * 10)
    table = find_confusions(records_of(maps, np.array([[0, 0, 1, 2]] * 10)), OUTPUTS)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 0


def test_a_misclassified_image_has_its_prediction_as_rival() -> None:
    maps = np.array([[spot(1, 1), spot(1, 1), spot(1, 1), spot(5, 5)]] * 6)
    table = find_confusions(records_of(maps, np.array([[2, 1, 2, 0]] * 6)), OUTPUTS)
    assert table[["label", "rival", "images"]].to_numpy().tolist() == [["cat", "bee", 6]]


def test_a_few_shared_images_are_chance() -> None:
    maps = np.array([[spot(1, 1)] * 4] * 4)
    assert len(find_confusions(records_of(maps, np.array([[0, 0, 1, 2]] * 4)), OUTPUTS)) == 0


def test_a_model_of_one_class_has_no_rivals() -> None:
    maps = np.array([[spot(1, 1)] * 4] * 9)
    assert len(find_confusions(records_of(maps, np.zeros((9, 4), dtype=int)), ("ant",))) == 0


def test_maps_without_a_positive_cell_share_nothing() -> None:
    maps = np.full((9, 4, 7, 7), -1.0)
    assert len(find_confusions(records_of(maps, np.array([[0, 0, 1, 2]] * 9)), OUTPUTS)) == 0


def test_counts_and_overlaps_equal_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    count = 120
    shown = np.array([[rng.integers(3), *rng.permutation(3)] for _ in range(count)])
    base = rng.normal(size=(count, 1, 7, 7))
    maps = base + rng.normal(size=(count, 4, 7, 7)) * rng.uniform(0, 1, (count, 1, 1, 1))
    sums: dict[tuple[str, str], list[float]] = {}
    for image in range(count):
        rival = next(n for n in (1, 2, 3) if shown[image, n] != shown[image, 0])
        both = either = 0
        for row in range(7):
            for column in range(7):
                one = maps[image, 0, row, column] >= 0.5 * maps[image, 0].max()
                two = maps[image, rival, row, column] >= 0.5 * maps[image, rival].max()
                both, either = both + (one and two), either + (one or two)
        pair = OUTPUTS[shown[image, 0]], OUTPUTS[shown[image, rival]]
        sums.setdefault(pair, []).append(both / either)
    expected = {
        pair: (sum(value >= 0.5 for value in values), np.mean(values))
        for pair, values in sums.items()
        if sum(value >= 0.5 for value in values) >= 5
    }
    table = find_confusions(records_of(maps, shown), OUTPUTS)
    assert len(expected) >= 3
    assert set(zip(table["label"], table["rival"], strict=True)) == set(expected)
    for row in table.itertuples():
        images, overlap = expected[row.label, row.rival]
        assert row.images == images
        assert row.overlap == pytest.approx(overlap)
    assert table["images"].is_monotonic_decreasing
