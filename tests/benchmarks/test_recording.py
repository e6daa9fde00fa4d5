"""Recording: what each script writes fills every column of its table."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import calibration
import detection
import detection_tables
import kills
import memory
import numpy as np
import opening
import pandas as pd
import pytest
import real
import rows
import scale
import several_labels
import whole
from handmade import handmade_run
from page import tables
from splits import DEVELOPMENT, pairs
from tables import ORIGIN, TABLES


@pytest.fixture(autouse=True)
def _results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "RESULTS", tmp_path / "results")


def written(table: str) -> list[dict[str, Any]]:
    """The rows of a table, none of which leaves a column or its origin open."""
    found = rows.read_rows(table)
    assert found
    for row in found:
        assert [name for name in ORIGIN if name not in row and name != "setting"] == []
        assert [one.title for one in TABLES[table].columns if one.cell(row) == "-"] == []
    assert tables(table, folder=rows.RESULTS)
    return found


def test_a_sweep_of_few_images_is_recorded_as_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["memory.py", "--one", "--images", "40", "--record"])
    # It is replaced there for good, to count what is open.
    monkeypatch.setattr(memory.batches, "write_shard", memory.batches.write_shard)
    memory.main()
    (row,) = written("memory")
    assert row["n"] == 40
    assert row["peak_mib"] > 10


def test_the_opening_of_a_page_is_recorded_with_its_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"classes": 50, "findings": 4, "images": 200, "carriers": 3}
    told = [word for name, count in sizes.items() for word in (f"--{name}", str(count))]
    monkeypatch.setattr(sys, "argv", ["opening.py", "--record", "--out", str(tmp_path), *told])
    opening.main()
    (row,) = rows.read_rows("scale")
    assert [name for name in ORIGIN if name not in row] == []
    assert (row["n"], "MB; " in row["result"]) == ("4 findings", True)
    assert (tmp_path / "page-360.png").exists()


def test_kills_are_recorded_by_the_command_that_differed() -> None:
    for name, count in (("scan", 14), ("clean", 3)):
        kills.record(name, count, ["scan: files", "scan: others"], 0)
    assert [row["differing"] for row in written("kills")] == [2, 0]


def test_permuted_p_are_recorded_with_those_that_are_small() -> None:
    options = argparse.Namespace(record=True, copies=10, rounds=5)
    calibration.told("regions", [0.01, None, 0.4, 0.6, 0.9], options, calibration.TOGETHER)
    (row,) = written("calibration")
    assert (row["n"], row["tested"], row["few"], row["share"]) == (5, 4, 1, 0.25)
    assert row["seeds"] == "0 to 4"


def test_draws_with_several_labels_are_summed() -> None:
    draw = {"planted": 1, "listed": 1, "found": 1, "in the label that brings it": 0}
    draws = [{**draw, "loud": 1, "right": 1, "commit": "a"}, {**draw, "loud": 3, "right": 1}]
    several_labels.record("one label", draws, 360)
    (row,) = written("labels")
    assert (row["n"], row["loud"], row["right"], row["draws_wrong"]) == (2, 4, 2, 1)
    # One of the two was drawn by another version.
    assert row["commit"] == ""


def test_a_whole_scan_fills_its_columns() -> None:
    stage = {"seconds": 3.0, "forward_passes": 110, "decoded_files": 100}
    scan = {"seconds": 10.0, "memory": 900, "stages": {"sweep": stage}, "findings": 2}
    figures = whole.figures(100, [5.0], [scan])
    rows.add_row("whole", network="a", n=100, classes=2, **figures, seeds="0", command="make")
    (row,) = written("whole")
    assert (row["over_bare"], row["passes"], row["sweep"]) == (2.0, 1.1, 3.0)


def test_the_analysis_of_made_up_images_is_recorded() -> None:
    made = {"images": 10, "classes": 3, "found": "1 of 1"}
    scale.record({**made, "seconds": 2.0, "processor": 1.5, "gigabytes": 0.1}, "cells 1.2")
    assert written("analysis")[0]["found"] == "1 of 1"


def test_a_real_set_keeps_what_it_is_called(tmp_path: Path) -> None:
    run = handmade_run(tmp_path / "run", thumbnails=False, maps=False)
    real.record("flowers", run, 160, 3)
    assert written("real")[0]["what"] == "flowers"
    (row,) = rows.read_rows("real")
    rows.add_row("real", **{**row, "what": "photographs of flowers", "note": "Looked at."})
    real.record("flowers", run, 160, 3)
    (again,) = rows.read_rows("real")
    assert again == {**row, "what": "photographs of flowers"}
    confirmed = run.findings[run.findings["verdict"] == "confirmed"]
    assert again["confirmed"].count(" images") == len(confirmed) > 0


def case(name: str, share: float, **others: Any) -> dict[str, Any]:
    """A row of a case, as a run would leave it."""
    levels = ("listed", "loud", "confirmed")
    kinds = ("found", "learned", "false", "fragments", "rank")
    return {
        "case": name, "share": share, "kind": "logo", "place": "random", "control": "", "seed": 7,
        "status": ["learned"], "ap": 0.9, "recall_k": 0.9, "recall_1.2k": 0.9, "ap_all": 0.9,
        "baselines": {"random": 0.3}, "commit": "abc1234", "wrong_loud": 0, "wrong_confirmed": 0,
        "top_suspicion": 0.5, "top_reliance": 0.5,
        **{f"{kind}_{level}": 1 for kind in kinds for level in levels}, **others,
    }  # fmt: skip


def test_cases_are_recorded_by_share_and_level_and_controls_by_kind() -> None:
    cases = [case("a", 0.3), case("b", 0.3, found_loud=0), case("c", 0.05, seed=9)]
    cases.append(case("d", 0.0, control="clean", wrong_loud=2, ap=np.nan))
    detection_tables.record("held-out", pd.DataFrame(cases), 54)
    found = {(row["carriers"], row["level"]): row for row in written("detection")}
    loud = found["a tenth of a class or more", "above low, or confirmed"]
    assert (loud["found"], loud["learned"], loud["wrong"]) == (1, 2, 2)
    assert (loud["n"], loud["seeds"], loud["commit"]) == ("4 of 54 cases", "7 to 9", "abc1234")
    assert len(found) == 4
    assert [row["n"] for row in written("ranking")] == [3, 3]
    (control,) = written("controls")
    assert (control["control"], control["n"], control["loud"]) == ("clean", 1, 1)


def test_the_cases_that_there_are_are_recorded_without_running_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    (out / "rows").mkdir(parents=True)
    plain = {"accuracy": 1.0, "spurious_score": [0.5], "findings": [], "seconds_built": 1}
    for name in (DEVELOPMENT[0].name, "of another split"):
        row = case(name, 0.3, seconds_scanned=1, **plain)
        (out / "rows" / f"{name}.json").write_text(json.dumps(row), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["detection.py", "--table", "--record", "--out", str(out)])
    detection.main()
    assert written("detection")[0]["n"] == f"1 of {len(DEVELOPMENT)} cases"


def test_cases_of_several_versions_are_of_none() -> None:
    table = pd.DataFrame([case("a", 0.3), case("b", 0.3, commit="def5678")])
    detection_tables.record("held-out", table, 54)
    assert {row["commit"] for row in rows.read_rows("detection")} == {""}


def test_pairs_of_networks_are_recorded_by_cue() -> None:
    relying, normal = pairs()[0]
    cases = [
        case(relying.name, 0.9, top_suspicion=0.9),
        case(normal.name, 0.9, control="ignored", status=["ignored"]),
    ]
    detection_tables.record("pairs", pd.DataFrame(cases), 18)
    areas = {row["by"]: row["area"] for row in written("pairs")}
    assert areas == {"top_suspicion": 1.0, "top_reliance": 0.5}
