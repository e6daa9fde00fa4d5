"""Shards: what was written is read, whole or not at all; damage is one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from shortcut_finder.errors import RunError
from shortcut_finder.sweep.shards import (
    ARRAYS,
    is_whole,
    plan_of,
    read_label_maps,
    read_shard,
    read_shards,
    shard_path,
    unit_cells,
    write_shard,
)
from shortcut_finder.sweep.whitening import stored_cells

NASTY = ['a/it\'s "x".png', "b/<script>.png", "b/日本 🌻.png"]


def arrays_of(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "maps": rng.normal(size=(count, 4, 3, 5)).astype(np.float16),
        "shown": rng.integers(0, 1000, (count, 4)).astype(np.int32),
        "logits": rng.normal(size=(count, 1)).astype(ARRAYS["logits"]),
        "features": rng.normal(size=(count, 7)).astype(np.float16),
        "cells": rng.integers(-127, 128, (count, 6, 10, 8)).astype(np.int8),
        "fine": np.zeros((count, 12, 20, 0), dtype=np.int8),
    }


def table_of(names: list[str]) -> pd.DataFrame:
    values = np.linspace(0, 1, len(names))
    return pd.DataFrame({"index": np.arange(len(names)), "image": names, "brightness": values})


def write(folder: Path, number: int, names: list[str]) -> dict[str, np.ndarray]:
    arrays = arrays_of(len(names), number)
    write_shard(shard_path(folder, number), table_of(names), arrays)
    return arrays


def test_writing_and_reading_is_identity(tmp_path: Path) -> None:
    arrays = write(tmp_path, 0, NASTY)
    shard = read_shard(shard_path(tmp_path, 0), list(ARRAYS))
    pd.testing.assert_frame_equal(shard.table, table_of(NASTY))
    assert set(shard.arrays) == set(ARRAYS)
    for name, values in arrays.items():
        np.testing.assert_array_equal(shard.arrays[name], values)
        assert shard.arrays[name].dtype == ARRAYS[name]


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    write(tmp_path, 0, NASTY)
    assert not read_shard(shard_path(tmp_path, 0)).arrays
    assert list(read_shard(shard_path(tmp_path, 0), ["shown"]).arrays) == ["shown"]


def test_shards_come_in_order_and_parts_of_files_are_left_out(tmp_path: Path) -> None:
    for number, name in ((2, "c"), (0, "a"), (10, "d"), (1, "b")):
        write(tmp_path, number, [name])
    (tmp_path / "shard-000011.parquet.part").write_bytes(b"half a file")
    assert [shard.table["image"][0] for shard in read_shards(tmp_path)] == ["a", "b", "c", "d"]


def test_same_input_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, 0, NASTY)
    one, two = (shard_path(tmp_path / folder, 0).read_bytes() for folder in ("one", "two"))
    assert one == two


def test_a_failed_write_leaves_the_old_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 0, NASTY)
    before = shard_path(tmp_path, 0).read_bytes()

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("shortcut_finder.schema.os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path, 0, ["other.png"])
    assert shard_path(tmp_path, 0).read_bytes() == before


def test_a_flipped_byte_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, 0, NASTY[:3])
    path = shard_path(tmp_path, 0)
    content, whole = path.read_bytes(), read_shard(path, list(ARRAYS))
    assert is_whole(path)
    noticed = 0
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 0x11
        path.write_bytes(bytes(damaged))
        if not is_whole(path):
            noticed += 1
            continue
        again = read_shard(path, list(ARRAYS))
        pd.testing.assert_frame_equal(again.table, whole.table)
        for name in ARRAYS:
            np.testing.assert_array_equal(again.arrays[name], whole.arrays[name])
    assert noticed > len(content) // 7 / 3


def test_label_maps_are_the_first_map_of_each_image(tmp_path: Path) -> None:
    first, second = write(tmp_path, 0, NASTY), write(tmp_path, 1, ["z.png"])
    maps = read_label_maps(tmp_path)
    assert list(maps) == [*NASTY, "z.png"]
    np.testing.assert_array_equal(maps[NASTY[1]], first["maps"][1, 0].astype(np.float32))
    np.testing.assert_array_equal(maps["z.png"], second["maps"][0, 0].astype(np.float32))


# Descriptors of narrow layers have large components, which one byte must hold as well.
@pytest.mark.parametrize("width", [2, 8, 64, 128])
def test_stored_cells_are_the_same_unit_vectors_again(width: int) -> None:
    units = np.random.default_rng(0).normal(size=(50, 4, 4, width))
    units /= np.linalg.norm(units, axis=-1, keepdims=True)
    again = unit_cells(stored_cells(torch.from_numpy(units)).numpy())
    assert again.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(again, axis=-1), 1, atol=1e-5)
    assert (again * units).sum(axis=-1).min() > 0.999
    assert not unit_cells(np.zeros((1, 2, 8), dtype=np.int8)).any()


def strip_shapes(path: Path, shapes: bytes | None) -> None:
    kept = {} if shapes is None else {b"shapes": shapes}
    pq.write_table(pq.read_table(path).replace_schema_metadata(kept), path)


def flip_a_byte(path: Path) -> None:
    """Damage in the middle of the data, which only reading it can show."""
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 400] = b"\xff" * 400
    path.write_bytes(bytes(content))


def drop_array(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["array:cells"]), path)


def shorten_array(path: Path) -> None:
    table = pq.read_table(path)
    place = table.schema.get_field_index("array:cells")
    short = pa.array([b"\x01"] * len(table), pa.binary())
    pq.write_table(table.set_column(place, "array:cells", short), path)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not parquet"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-50]),
    "byte": flip_a_byte,
    "no shapes": lambda path: strip_shapes(path, None),
    "odd shapes": lambda path: strip_shapes(path, b'["maps"]'),
    "shapes no json": lambda path: strip_shapes(path, b"{"),
    "array gone": drop_array,
    "array short": shorten_array,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_shard_is_one_clear_line(tmp_path: Path, damage: str) -> None:
    write(tmp_path, 0, [f"{number}.png" for number in range(40)])
    DAMAGE[damage](shard_path(tmp_path, 0))
    with pytest.raises(RunError, match=r"shard-000000\.parquet: damaged shard .*--fresh"):
        list(read_shards(tmp_path, list(ARRAYS)))


def test_no_plan_is_none_and_a_damaged_plan_is_one_clear_line(tmp_path: Path) -> None:
    assert plan_of(tmp_path) is None
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"seed": 3}))
    assert plan_of(tmp_path) == {"seed": 3}
    for content in (b"", b'{"seed"', b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"plan\.json: cannot be read .*--fresh"):
            plan_of(tmp_path)
    path.write_text("[1, 2]")
    with pytest.raises(RunError, match=r"plan\.json: not a plan; .*--fresh"):
        plan_of(tmp_path)
