"""Metadata: columns that tell the label or stand beside a finding are named, others are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from views import found_by, view_of

from shortcut_finder.data.dataset import load_dataset
from shortcut_finder.data.membership import two_classes
from shortcut_finder.detect.channels.columns import Telling, clearest, propose, tellings
from shortcut_finder.detect.columns import NEARLY_UNIQUE, Column, metadata_columns
from shortcut_finder.detect.companions import Companion, companions
from shortcut_finder.stats.evidence import false_discovery_rate

LABELS = np.repeat([0, 1, 2], 60)
CHEST = Path(__file__).resolve().parents[4] / "shared" / "data" / "cxr_two_sources"


def groups(values: list[object]) -> dict[str, list[str | None]]:
    """The name of each image's group, column by column."""
    return {
        column.name: [None if code < 0 else column.values[code] for code in column.codes]
        for column in metadata_columns(pd.DataFrame({"x": values}))
    }


def telling(table: pd.DataFrame, labels: np.ndarray = LABELS) -> list[Telling]:
    view = view_of(table, labels, columns=metadata_columns(table))
    tried = tellings(view)
    q = false_discovery_rate(np.array([one.p for one in tried]))
    told = [replace(one, q=float(rate)) for one, rate in zip(tried, q, strict=True)]
    return clearest(told, two=two_classes(labels))


def one_column(values: np.ndarray) -> list[Column]:
    return metadata_columns(pd.DataFrame({"source": values}))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", "b", None, "a", "b"], ["a", "b", None, "a", "b"]),
        ([1.0, 2.0, np.nan, 1.0], ["1", "2", None, "1"]),
        ([True, False, True, False], ["True", "False", "True", "False"]),
        (["2019-03-01", "2020-01-02T10:00", "2019-12-31"], ["2019", "2020", "2019"]),
        (list(pd.to_datetime(["2019-03-01", "2020-01-02"])), ["2019", "2020"]),
    ],
    ids=["text", "few numbers", "yes or no", "dates as text", "dates"],
)
def test_a_column_becomes_groups_of_images(
    values: list[object], expected: list[str | None]
) -> None:
    assert groups(values) == {"x": expected}


def test_many_numbers_become_quartiles() -> None:
    named = groups([value + 0.5 for value in range(40)])["x"]
    assert {name: named.count(name) for name in named} == {
        "below 10.25": 10, "10.25 to 20": 10, "20 to 29.75": 10, "29.75 or more": 10,
    }  # fmt: skip


def test_sample_weights_are_no_facts_about_the_pictures() -> None:
    # As `clean --action reweight` gives them: of the second class a third weighs nothing.
    weights = np.where(LABELS != 1, 1.0, np.tile([0.0, 1.5, 1.5], 60))
    assert metadata_columns(pd.DataFrame({"weight": weights})) == []
    (column,) = metadata_columns(pd.DataFrame({"weight": 60 * weights}))
    assert column.values == ("0", "60", "90")


@pytest.mark.parametrize(
    "values",
    [
        [f"patient {n}" for n in range(20)],
        list(range(5000, 5040)),
        ["same"] * 9,
        [None] * 9,
        [np.nan] * 9,
    ],
    ids=["names", "numbers that count", "one value", "nothing", "no number"],
)
def test_names_of_images_and_constants_are_no_groups(values: list[object]) -> None:
    assert groups(values) == {}


def test_a_long_or_odd_cell_is_shortened_and_cleaned() -> None:
    (column,) = metadata_columns(pd.DataFrame({"a\nb": ["x" * 500, "\x07"] * 3}))
    assert column.name == "a b"
    assert max(map(len, column.values)) <= 60
    assert "\x07" not in "".join(column.values)


def test_a_column_that_is_the_label_tells_it() -> None:
    (one,) = telling(pd.DataFrame({"source": np.where(LABELS == 1, "north", "south")}))
    assert (one.label, one.column, one.values) == (1, "source", ("north",))
    assert (one.share, one.elsewhere) == (1.0, 0.0)
    assert one.q < 1e-20
    assert (one.carries == (LABELS == 1)).all()


def test_values_that_only_together_tell_the_label_are_named_together() -> None:
    rng = np.random.default_rng(0)
    towns = np.where(LABELS == 1, rng.choice(list("abc"), 180), rng.choice(list("uvwxyz"), 180))
    (one,) = [one for one in telling(pd.DataFrame({"town": towns})) if one.label == 1]
    assert set(one.values) == set("abc")
    assert (one.share, one.elsewhere) == (1.0, 0.0)


def test_the_clearest_column_comes_first_and_names_the_others() -> None:
    exact = np.where(LABELS == 1, "north", "south")
    loose = exact.copy()
    loose[60:72], loose[:3] = "south", "north"
    (one,) = telling(pd.DataFrame({"loose": loose, "exact": exact}))
    assert (one.column, one.also) == ("exact", ("loose",))


def test_of_two_classes_one_is_named() -> None:
    labels = np.repeat([0, 1], 60)
    assert len(telling(pd.DataFrame({"source": np.where(labels, "n", "s")}), labels)) == 1


@pytest.mark.parametrize("seed", range(5))
def test_columns_that_have_nothing_to_do_with_the_label_tell_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "site": rng.choice(list("abcdef"), 180),
            "age": rng.normal(50, 10, 180),
            "year": rng.integers(2001, 2022, 180).astype(float),
        }
    )
    assert telling(table) == []
    carried = [(n % 3 == LABELS) & (rng.random(180) < 0.4) for n in range(6)]
    found = companions(carried, [n % 3 for n in range(6)], LABELS, metadata_columns(table))
    assert found == [()] * 6


def test_what_is_weakly_related_is_not_said_to_tell() -> None:
    rng = np.random.default_rng(0)
    sex = np.where(rng.random(180) < np.where(LABELS == 1, 0.65, 0.45), "f", "m")
    assert telling(pd.DataFrame({"sex": sex})) == []


def test_empty_cells_are_no_value() -> None:
    """That only one class has an age on file is not in its pictures."""
    assert telling(pd.DataFrame({"age": np.where(LABELS == 1, "old", None)})) == []
    half_known = pd.DataFrame({"age": np.where(LABELS == 1, "old", "young")}).astype(object)
    half_known.iloc[::2] = None
    (one,) = telling(half_known)
    assert (one.share, one.elsewhere) == (1.0, 0.0)


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_few_images_are_no_evidence_and_no_error(rows: int) -> None:
    labels = np.arange(rows) % 2
    assert telling(pd.DataFrame({"source": labels.astype(str)}), labels) == []
    assert telling(pd.DataFrame(index=range(rows)), labels) == []


def test_a_value_beside_a_finding_is_held_against_the_rest_of_its_class() -> None:
    carries = (LABELS == 1) & (np.arange(180) % 2 == 0)
    source = np.where(carries, "A", "B").astype(object)
    source[60], source[61], source[:5] = "B", "A", "A"
    ((one,),) = companions([carries], [1], LABELS, one_column(source))
    assert (one.column, one.value, one.rest) == ("source", "A", "the other images of the class")
    assert (one.share_members, one.share_rest) == pytest.approx((29 / 30, 1 / 30))
    assert one.sentence == (
        "97% of the images with this have source = A; 3.3% of the other images of the class do."
    )


def test_where_the_whole_class_is_alike_all_other_images_are_the_measure() -> None:
    carries = (LABELS == 1) & (np.arange(180) % 2 == 0)
    ((one,),) = companions([carries], [1], LABELS, one_column(np.where(LABELS == 1, "A", "B")))
    assert one.rest == "all other images"
    assert (one.share_members, one.share_rest) == (1.0, 30 / 150)


def test_the_whole_class_is_held_against_the_others() -> None:
    ((one,),) = companions([LABELS == 1], [1], LABELS, one_column(np.where(LABELS == 1, "A", "B")))
    assert (one.rest, one.share_members, one.share_rest) == ("all other images", 1.0, 0.0)


def test_p_is_the_hypergeometric_one_and_q_counts_everything_tried() -> None:
    carries = (LABELS == 1) & (np.arange(180) % 2 == 0)
    source = np.where(carries, "A", "B")
    ((one,),) = companions([carries], [1], LABELS, one_column(source))
    within = stats.hypergeom.sf(29, 60, 30, 30)
    overall = stats.hypergeom.sf(29, 180, 30, 30)
    assert one.q == pytest.approx(max(2 * overall, within))


def test_no_columns_and_no_findings_are_nothing() -> None:
    assert companions([], [], LABELS, one_column(np.where(LABELS == 1, "A", "B"))) == []
    assert companions([LABELS == 1], [1], LABELS, []) == [()]


def test_at_most_three_columns_are_named_the_clearest_first() -> None:
    carries = (LABELS == 1) & (np.arange(180) % 2 == 0)
    table = pd.DataFrame({name: np.where(carries, "A", "B").astype(object) for name in "pqrs"})
    table.loc[60:70, "p"] = "B"
    (found,) = companions([carries], [1], LABELS, metadata_columns(table))
    assert [one.column for one in found] == ["q", "r", "s"]
    assert all(isinstance(one, Companion) for one in found)


@pytest.mark.skipif(not CHEST.is_dir(), reason="the chest X-rays of two sources are not here")
def test_on_chest_x_rays_of_two_sources_the_source_is_named() -> None:
    dataset = load_dataset(CHEST / "train", metadata=CHEST / "metadata.csv")
    assert any("metadata for 262 of 262 images" in note for note in dataset.notes)
    columns = metadata_columns(dataset.metadata)
    names = {column.name for column in columns}
    assert not names & {"patient", "orig_file", "lung_left_xywh"}, NEARLY_UNIQUE
    (one,) = telling(dataset.metadata, dataset.labels)
    assert (one.column, one.share, one.elsewhere) == ("source", 1.0, 0.0)


def test_a_column_that_is_the_label_is_a_finding_that_names_it() -> None:
    table = pd.DataFrame({"source": np.where(LABELS == 2, "north", "south")})
    view = view_of(table, LABELS, ("bee", "cat", "house"), metadata_columns(table))
    (one,) = found_by(propose, view)
    assert (one.place.kind, one.place.region, one.label, one.decided.severity) == (
        "metadata", "source", "house", "high",
    )  # fmt: skip
    assert "The label can be read off column source: 100% of the house images" in one.sentence
    assert "source = north; 0% of the others" in one.sentence
    assert (one.carriers.listed == (LABELS == 2)).all()
