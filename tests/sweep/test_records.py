"""Records: maps on another grid equal torch's bilinear interpolation; what was written is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from shortcut_finder.errors import RunError
from shortcut_finder.run import tables
from shortcut_finder.stats.experiments import answers_for
from shortcut_finder.sweep.records import Records, read_records, resample
from shortcut_finder.sweep.shards import shard_path, write_shard


def bilinear(maps: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    values = torch.from_numpy(maps)[:, None]
    return F.interpolate(values, grid, mode="bilinear", align_corners=False)[:, 0].numpy()


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.integers(0, 99),
)
def test_finer_maps_equal_bilinear_interpolation(
    grid: tuple[int, int], more: tuple[int, int], seed: int
) -> None:
    finer = grid[0] + more[0], grid[1] + more[1]
    maps = np.random.default_rng(seed).normal(size=(3, *grid))
    np.testing.assert_allclose(resample(maps, finer), bilinear(maps, finer), atol=1e-9)


def test_the_same_grid_changes_nothing_and_even_maps_stay_even() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 5, 6))
    np.testing.assert_allclose(resample(maps, (5, 6)), maps)
    np.testing.assert_allclose(resample(np.full((1, 4, 4), 3.0), (9, 11)), 3.0)


def test_flipped_maps_give_flipped_maps() -> None:
    maps = np.random.default_rng(1).normal(size=(2, 5, 6))
    flipped = resample(maps[:, ::-1, ::-1], (14, 13))
    np.testing.assert_allclose(flipped, resample(maps, (14, 13))[:, ::-1, ::-1], atol=1e-12)


def write(
    folder: Path, number: int, index: list[int], rng: np.random.Generator
) -> dict[str, object]:
    arrays = {
        "maps": rng.normal(size=(len(index), 4, 3, 3)),
        "shown": np.tile([2, 1, 2, 0], (len(index), 1)),
        "logits": rng.normal(size=(len(index), 3)) * 5,
        "features": rng.normal(size=(len(index), 6)),
        "cells": rng.integers(-127, 128, (len(index), 6, 6, 5)),
        "fine": rng.integers(-127, 128, (len(index), 12, 12, 4)),
    }
    table = pd.DataFrame({"index": index, "image": [f"{n}.png" for n in index]})
    write_shard(shard_path(folder, number), table, arrays)
    return arrays


def test_records_hold_every_image_with_its_own_label(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    parts = [write(tmp_path, 0, [4, 0, 2], rng), write(tmp_path, 1, [1, 3], rng)]
    labels = np.array([0, 1, 2, 1, 0])
    records = read_records(tmp_path, labels, (6, 6))
    assert records.table["image"].tolist() == ["4.png", "0.png", "2.png", "1.png", "3.png"]
    assert records.labels.tolist() == [0, 0, 2, 1, 1]
    assert records.outputs.tolist() == [2] * 5
    maps = np.concatenate([part["maps"] for part in parts])  # type: ignore[misc]
    np.testing.assert_allclose(records.maps, maps[:, 0], atol=5e-3)
    np.testing.assert_allclose(records.rivals, maps[:, 1:], atol=5e-3)
    fine = resample(records.maps[[3, 0]], records.cell_grid)
    np.testing.assert_allclose(fine, bilinear(records.maps[[3, 0]], (6, 6)), atol=1e-5)


def test_probabilities_are_the_softmax_of_the_logits(tmp_path: Path) -> None:
    parts = write(tmp_path, 0, [0, 1, 2], np.random.default_rng(3))
    records = read_records(tmp_path, np.zeros(3, dtype=int), (6, 6))
    expected = torch.from_numpy(np.asarray(parts["logits"])).softmax(1).numpy()
    np.testing.assert_allclose(records.probabilities(slice(None)), expected, atol=2e-3)
    np.testing.assert_allclose(records.probabilities(slice(None)).sum(axis=1), 1)


def test_large_logits_do_not_overflow(tmp_path: Path) -> None:
    write(tmp_path, 0, [0], np.random.default_rng(4))
    records = read_records(tmp_path, np.zeros(1, dtype=int), (6, 6))
    records.logits[:] = [[3e4, -3e4, 2.9e4]]
    assert records.probabilities(slice(None)).tolist() == [[1.0, 0.0, 0.0]]


def test_no_image_at_all_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not one image could be read; see unreadable\.csv"):
        read_records(tmp_path / "shards", np.zeros(0, dtype=int), (6, 6))


def test_probabilities_of_some_images_are_those_among_all_to_the_bit() -> None:
    """Tables are made some images at a time; where they are cut must not show."""
    rng = np.random.default_rng(0)
    logits = (4 * rng.normal(size=(300, 11))).astype(np.float16)
    for sigmoid in (False, True):
        records = Records(
            pd.DataFrame(index=range(300)), np.zeros(300, dtype=int), np.zeros(300, dtype=int),
            np.zeros((300, 4)), np.zeros((300, 2, 2)), np.zeros((300, 3, 2, 2)), logits, (2, 2),
            sigmoid=sigmoid,
        )  # fmt: skip
        everything = records.probabilities(slice(None))
        for size in (1, 7, 128):
            parts = [records.probabilities(slice(n, n + size)) for n in range(0, 300, size)]
            assert np.array_equal(np.concatenate(parts), everything)
        for output in (0, 5):
            plain = answers_for(logits.astype(np.float32), output, sigmoid=sigmoid).chosen
            assert np.array_equal(records.chosen(output), plain)


def test_tables_are_the_same_wherever_they_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(50, 6)).astype(np.float16)
    # Ties go to the first output, also among equal probabilities.
    logits[::5] = 0
    labels = rng.integers(0, 6, 50)
    records = Records(
        pd.DataFrame(index=range(50)), labels, labels, np.zeros((50, 4)), np.zeros((50, 2, 2)),
        np.zeros((50, 3, 2, 2)), logits, (2, 2),
    )  # fmt: skip
    whole = tables._told(records)
    found = records.probabilities(slice(None))
    order = np.argsort(-found, axis=1, kind="stable")[:, :3]
    assert np.array_equal(whole["order"], order)
    assert np.array_equal(whole["own"], found[np.arange(50), labels])
    monkeypatch.setattr(tables, "AT_ONCE", 7)
    for name, values in tables._told(records).items():
        assert np.array_equal(values, whole[name]), name
