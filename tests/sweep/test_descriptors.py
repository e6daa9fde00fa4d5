"""Descriptors: fine cells beside the cell they lie in, unit parts, and the right image each."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shortcut_finder.sweep.descriptors import descriptor_blocks, read_descriptors
from shortcut_finder.sweep.shards import ARRAYS, shard_path, write_shard

ROWS, COLUMNS, WIDE, NARROW = 3, 5, 6, 4


def arrays_of(images: int, seed: int, narrow: int = NARROW) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = {name: np.zeros((images, 1)) for name in ARRAYS}
    arrays["cells"] = rng.integers(-127, 128, (images, ROWS, COLUMNS, WIDE))
    arrays["fine"] = rng.integers(-127, 128, (images, 2 * ROWS, 2 * COLUMNS, narrow))
    return arrays


def write(folder: Path, narrow: int = NARROW) -> dict[str, np.ndarray]:
    """Two shards of 4 and 3 images; both together."""
    parts = [arrays_of(count, seed, narrow) for seed, count in enumerate((4, 3))]
    for number, arrays in enumerate(parts):
        names = [f"{number}-{n}.png" for n in range(len(arrays["cells"]))]
        write_shard(shard_path(folder, number), pd.DataFrame({"image": names}), arrays)
    return {name: np.concatenate([part[name] for part in parts]) for name in ("cells", "fine")}


def test_each_cell_has_the_four_fine_cells_it_covers(tmp_path: Path) -> None:
    kept = write(tmp_path)
    blocks = list(descriptor_blocks(tmp_path))
    assert [block.index.tolist() for block in blocks] == [[0, 1, 2, 3], [4, 5, 6]]
    for block in blocks:
        for place, image in enumerate(block.index):
            for cell in range(ROWS * COLUMNS):
                row, column = divmod(cell, COLUMNS)
                np.testing.assert_array_equal(
                    block.cells[place, cell], kept["cells"][image, row, column]
                )
                for part, (down, across) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
                    np.testing.assert_array_equal(
                        block.fine[place, cell, part],
                        kept["fine"][image, 2 * row + down, 2 * column + across],
                    )


def test_descriptors_are_a_unit_vector_beside_four(tmp_path: Path) -> None:
    kept = write(tmp_path)
    found = read_descriptors(tmp_path, np.array([1, 3, 5]))
    asked = np.array([5, 1, 5])
    values = found.of(asked).numpy()
    assert values.shape == (3, ROWS * COLUMNS, WIDE + 4 * NARROW)
    assert values.dtype == np.float32
    ends = np.cumsum([0, WIDE, *[NARROW] * 4])
    for start, end in itertools.pairwise(ends):
        np.testing.assert_allclose(np.linalg.norm(values[..., start:end], axis=-1), 1, atol=1e-5)
    # The cell at row 1, column 2, and its lower left fine cell.
    for image, row in zip(asked, values[:, COLUMNS + 2], strict=True):
        for part, raw in (
            (row[:WIDE], kept["cells"][image, 1, 2]),
            (row[WIDE + 2 * NARROW : WIDE + 3 * NARROW], kept["fine"][image, 3, 4]),
        ):
            np.testing.assert_allclose(part, raw / np.linalg.norm(raw), atol=1e-5)


def test_a_cell_that_is_nothing_stays_nothing(tmp_path: Path) -> None:
    arrays = arrays_of(2, 0)
    arrays["cells"][0, 0, 0] = arrays["fine"][0, 0, 0] = 0
    write_shard(shard_path(tmp_path, 0), pd.DataFrame({"image": ["a", "b"]}), arrays)
    values = read_descriptors(tmp_path, np.arange(2)).of(np.array([0]))[0, 0].numpy()
    assert np.isfinite(values).all()
    assert not values[: WIDE + NARROW].any()


@pytest.mark.parametrize("images", [[0, 6], [2]])
def test_without_fine_cells_there_are_cells_alone(tmp_path: Path, images: list[int]) -> None:
    kept = write(tmp_path, narrow=0)
    found = read_descriptors(tmp_path, np.array(images))
    assert found.fine.shape == (len(images), ROWS * COLUMNS, 4, 0)
    values = found.of(np.array(images)).numpy()
    raw = kept["cells"][images].reshape(len(images), -1, WIDE)
    np.testing.assert_allclose(values, raw / np.linalg.norm(raw, axis=-1, keepdims=True), atol=1e-5)
