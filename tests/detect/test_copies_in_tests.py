"""Ten copies of a picture are one picture to a test of the cells."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import unit

from shortcut_finder.data.groups import one_of_each
from shortcut_finder.data.properties import PROPERTIES
from shortcut_finder.detect import study
from shortcut_finder.detect.halves import discovery_half
from shortcut_finder.detect.study import Study
from shortcut_finder.sweep.shards import shard_path, write_shard
from shortcut_finder.sweep.whitening import stored_cells

PICTURES, COPIES, ROUNDS = 120, 10, 14
GRID, WIDTH = (4, 4), 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of pictures that show nothing, ten copies of each, hardly different."""
    place = tmp_path_factory.mktemp("copies")
    rng = np.random.default_rng(0)
    pictures = unit(rng.normal(size=(PICTURES, *GRID, WIDTH)))
    copies = np.repeat(pictures, COPIES, axis=0)
    copies = unit(copies + 0.02 * rng.normal(size=copies.shape))
    count = len(copies)
    table = pd.DataFrame({"index": np.arange(count), "image": [f"{n}.png" for n in range(count)]})
    arrays = {
        "maps": np.zeros((count, 4, *GRID)),
        "shown": np.zeros((count, 4)),
        "logits": np.zeros((count, 2)),
        "features": np.zeros((count, 1)),
        "cells": stored_cells(torch.from_numpy(copies)).numpy(),
        "fine": np.zeros((count, 2 * GRID[0], 2 * GRID[1], 0)),
    }
    write_shard(shard_path(place, 0), table.assign(**dict.fromkeys(PROPERTIES, 0.0)), arrays)
    return place


def values_of(folder: Path, seed: int, *, apart: bool) -> list[float]:
    """p of all candidates of both halves where labels of the pictures are drawn by lot."""
    drawn = np.random.default_rng([seed, 9]).permutation(PICTURES) % 2
    labels, groups = np.repeat(drawn, COPIES), np.repeat(np.arange(PICTURES), COPIES)
    half = discovery_half(labels, seed, groups if apart else None)
    counted = one_of_each(groups, labels, seed) if apart else None
    study = Study(folder, labels, half, seed, torch.device("cpu"), counted)
    if apart:
        assert len(set(groups[study.sample])) == len(study.sample) == PICTURES
    return [
        one.test["p"]
        for number in (0, 1)
        for label in study.classes
        for one in study.candidates(label, number)
    ]


def test_p_of_candidates_stays_uniform_where_copies_are_kept_together(folder: Path) -> None:
    with patch.object(study, "SEEDS", 64):
        together = [p for seed in range(ROUNDS) for p in values_of(folder, seed, apart=True)]
        scattered = [p for seed in range(2) for p in values_of(folder, seed, apart=False)]
    assert len(together) > 60
    assert np.mean(np.array(together) <= 0.05) <= 0.07
    assert np.mean(np.array(together) <= 0.5) <= 0.6
    assert np.mean(np.array(together) <= 0.3) <= 0.4
    # Each picture is a thing of its own that the other half has, too.
    assert np.mean(np.array(scattered) <= 0.3) > 0.9
