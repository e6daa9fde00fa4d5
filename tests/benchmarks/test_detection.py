"""A quick slice of the planted benchmark: one small planted set and one small clean one, whole way.

The full tables are made by `make bench-detect`; the slow tests are a middle way.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cases import Case, Plant
from detection import must_be_silent, read_rows, run_case, run_cases, save_table
from splits import DEVELOPMENT

from shortcut_finder.stats.experiments import FEWEST_PAIRS

CLEAN = Case(classes=3, images=80, seed=1)
PLANTED = Case((Plant("logo", "corner", 0.4),), classes=4, images=150, seed=3)


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_case(PLANTED, tmp_path_factory.mktemp("planted"))


def test_a_learned_mark_is_the_first_loud_finding_and_the_only_one(row: dict[str, Any]) -> None:
    assert row["status"] == ["learned"]
    assert (row["found_loud"], row["learned_loud"], row["false_loud"]) == (1, 1, 0)
    assert row["rank_loud"] == 1


def test_its_images_are_listed_first(row: dict[str, Any]) -> None:
    assert row["ap"] >= 0.95
    assert row["recall_1.2k"] >= 0.95


def test_what_experiments_cost_is_counted(row: dict[str, Any]) -> None:
    passes = row["passes"]
    assert passes["findings"] >= 1
    assert passes["verify"] >= 2 * FEWEST_PAIRS


def test_every_baseline_gives_a_share(row: dict[str, Any]) -> None:
    assert len(row["baselines"]) == 12
    assert all(0 < value <= 1 for value in row["baselines"].values())
    assert row["baselines"]["random"] == pytest.approx(0.4)


def test_a_clean_set_is_quiet_and_a_finished_case_is_not_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:

    run_cases([CLEAN], tmp_path, minutes=10)
    (row,) = read_rows(tmp_path).to_dict("records")
    assert (row["wrong_loud"], row["wrong_confirmed"]) == (0, 0)
    assert "clean" in save_table(tmp_path, [CLEAN.name])
    assert len(pd.read_csv(tmp_path / "rows.csv")) == 1
    capsys.readouterr()
    run_cases([CLEAN], tmp_path, minutes=10)
    assert capsys.readouterr().out == ""


def test_controls_and_clean_sets_must_be_silent() -> None:
    assert must_be_silent(CLEAN)
    assert must_be_silent(replace(PLANTED, control="equal"))
    assert not must_be_silent(PLANTED)


def test_no_case_is_begun_when_the_time_is_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_cases([PLANTED], tmp_path, minutes=0)
    assert "the time is up" in capsys.readouterr().out
    assert read_rows(tmp_path).empty


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_first_cases_of_the_development_split(tmp_path: Path) -> None:
    run_cases(DEVELOPMENT[:8], tmp_path, minutes=30)
    rows = read_rows(tmp_path)
    assert rows["found_loud"].sum() >= 0.8 * rows["learned_loud"].sum() > 0
    assert rows["false_loud"].sum() <= 1
    assert rows["wrong_confirmed"].sum() <= 1
