"""Kept: values as bytes and back, and stages that are not made twice."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortcut_finder.detect.finding import Judged
from shortcut_finder.run.encoding import DamagedError, decode, encode
from shortcut_finder.run.kept import Kept

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple)
    | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    one: Any
    other: Any


@dataclass(frozen=True)
class Stranger:
    command: str


@given(PLAIN)
@settings(max_examples=100, deadline=None)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    again = decode(encode(value), ())
    assert again == value
    assert type(again) is type(value)


def test_arrays_tables_and_own_values_come_back_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    value = Pair(
        {3: rng.random((4, 5)), "flags": rng.random(7) > 0.5, "none": np.empty((0, 3), np.int8)},
        (np.float32(0.1), np.int64(7), float("nan"), -float("inf"), np.bool_(True), "cé\udce9\n"),
    )
    again = decode(encode(value), [Pair])
    for key, array in value.one.items():
        assert again.one[key].dtype == array.dtype
        np.testing.assert_array_equal(again.one[key], array)
    assert [type(item) for item in again.other] == [type(item) for item in value.other]
    assert again.other[0] == np.float32(0.1)
    assert np.isnan(again.other[2])
    assert again.other[5] == value.other[5]
    table = pd.DataFrame({"label": ["a", "b"], "images": [1, 2], "p": [0.5, np.nan]})
    pd.testing.assert_frame_equal(decode(encode(table), ()), table)


def test_every_flipped_byte_is_noticed() -> None:
    data = encode({"shares": np.arange(4.0), "notes": ("one",)})
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        with pytest.raises(DamagedError):
            decode(bytes(damaged), ())
    for end in (0, 10, 32, len(data) - 1):
        with pytest.raises(DamagedError):
            decode(data[:end], ())


def test_nothing_but_the_kinds_allowed_is_made() -> None:
    with pytest.raises(DamagedError, match="Stranger"):
        decode(encode(Stranger("rm")), [Pair])
    with pytest.raises(TypeError, match="Path cannot be kept"):
        encode(Path("x"))
    with pytest.raises(DamagedError):
        decode(pickle.dumps(Pair(1, 2)), [Pair])


def test_a_stage_is_made_once_and_made_again_of_other_input(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> Judged:
        made.append(1)
        return Judged((), ("a note",), len(made))

    for _ in range(2):
        assert Kept(tmp_path, {"seed": 0}).result("analysis", make).tested == 1
    assert Kept(tmp_path, {"seed": 1}).result("analysis", make).tested == 2
    file = tmp_path / "stage-analysis.bin"
    file.write_bytes(file.read_bytes()[:-1])
    assert Kept(tmp_path, {"seed": 1}).result("analysis", make).tested == 3
    Kept(tmp_path, {}).forget()
    assert list(tmp_path.iterdir()) == []
