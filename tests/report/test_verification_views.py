"""Verification views: what was tried is told in words, numbers and pictures."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from handmade import PASTE_CONTROLS, TAG, handmade_run, image_name

from shortcut_finder.figures.pictures import read_shots
from shortcut_finder.report.album import Album
from shortcut_finder.report.experiments import VerificationView, verification_view
from shortcut_finder.run.folder import Run

FILE = "experiments.parquet"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return handmade_run(tmp_path_factory.mktemp("run"), maps=False)


def told(run: Run, position: int, **changes: Any) -> VerificationView:
    detail = {**copy.deepcopy(run.details[position]), **changes}
    return verification_view(detail, read_shots(run.folder / FILE), Album(run))


def test_a_confirmed_finding_says_by_how_much_the_model_relies_on_it(run: Run) -> None:
    view = told(run, 0)
    assert view.sentence == (
        "Yes. In an image that could go either way it is worth 61 points (95% interval 52 to 70) "
        "of the class's probability, beyond the strongest control."
    )
    paste = view.experiments[0]
    assert paste.title == "Pasted onto images of other classes, same place"
    assert paste.sentence == (
        "Pasted onto 48 images of other classes, it takes the mean probability of daisy from 3.0% "
        "to 71%; the strongest control (same place of a non-member) only to 10%. 66% of them "
        "become daisy."
    )
    assert [(bar.name, bar.value) for bar in paste.bars] == [
        ("as they are", "3.0%"),
        ("with it", "71%"),
        ("control: same place of a non-member", "10%"),
    ]


def test_experiments_that_hold_come_first(run: Run) -> None:
    assert [view.holds for view in told(run, 0).experiments] == [True, True, False]


def test_a_weak_experiment_is_not_praised(run: Run) -> None:
    hidden = told(run, 0).experiments[-1]
    assert hidden.sentence.startswith("Hidden in 48 images that carry it, the mean probability of ")
    assert "goes from 97% to 91%; the strongest control (another part hidden, by blur) to 93%." in (
        hidden.sentence
    )
    assert "no longer seen as daisy" in hidden.sentence


def test_each_image_is_shown_as_it_is_treated_and_with_the_strongest_control(run: Run) -> None:
    rows = told(run, 0).experiments[0].rows
    assert [[(p.caption, p.note) for p in row] for row in rows] == [
        [
            ("as they are", "3.0%"),
            ("with it", "71%"),
            ("control: same place of a non-member", "10%"),
        ]
    ] * 2
    assert all(picture.src.startswith("data:image/jpeg;base64,") for row in rows for picture in row)
    assert len(told(run, 0).experiments[2].rows[0]) == 2


def test_pictures_stand_with_their_own_experiment(run: Run) -> None:
    views = told(run, 0).experiments
    assert [(view.title, len(view.rows)) for view in views] == [
        ("Pasted onto images of other classes, same place", 2),
        ("Pasted onto images of other classes, random places", 0),
        ("Hidden in images that carry it", 2),
    ]


def test_a_property_is_given_and_not_pasted(run: Run) -> None:
    experiment = {**run.details[0]["verification"]["experiments"][1], "place": ""}
    (view,) = told(run, 0, verification={"experiments": [experiment]}).experiments
    assert view.title == "Given to images of other classes"


def test_a_natural_thing_that_the_model_uses_is_not_called_settled_nor_a_shortcut(
    run: Run,
) -> None:
    assert told(run, 0, verdict="suspect").sentence.startswith(
        "Yes, but it may be a true part of the class. In an image"
    )
    weak = {"experiments": run.details[0]["verification"]["experiments"][:1]}
    assert told(run, 0, verdict="suspect", verification=weak).sentence.startswith("Not settled.")


def test_a_finding_that_could_not_be_tested_says_why(run: Run) -> None:
    view = told(run, 1)
    assert view.sentence == "Not tested: no power: 6 pairs, at least 24 are needed."
    assert view.experiments == ()


@pytest.mark.parametrize("entry", [None, {}, {"note": "", "experiments": None}])
def test_a_finding_without_experiments_says_so(run: Run, entry: Any) -> None:
    view = told(run, 1, verification=entry)
    assert view.sentence == "Not tested: the scan made no experiment."
    assert view.experiments == ()


def test_a_finding_of_an_older_run_says_so(run: Run) -> None:
    detail = {k: v for k, v in run.details[1].items() if k != "verification"}
    view = verification_view(detail, read_shots(run.folder / FILE), Album(run))
    assert view.sentence.startswith("Not tested")


def test_an_artifact_that_is_hardly_used_is_called_that(run: Run) -> None:
    view = told(run, 2)
    assert view.sentence.startswith(
        "Hardly. In an image that could go either way it is worth 1 point "
    )
    assert "\N{MINUS SIGN}2 to 4" in view.sentence


def test_the_chart_names_every_control_and_escapes_them(run: Run) -> None:
    entry = copy.deepcopy(run.details[0]["verification"])
    entry["experiments"][1]["arms"][1]["name"] = '<b>"flat" & $x_1$ {0}'
    chart = told(run, 0, verification=entry).experiments[0].chart
    assert "beyond the strongest control" in chart
    assert PASTE_CONTROLS[0] in chart
    assert "&lt;b&gt;" in chart
    assert "<b>" not in chart
    assert "+61 points" in chart


def test_a_damaged_picture_of_an_experiment_is_left_out(run: Run) -> None:
    shots = read_shots(run.folder / FILE)
    shots["jpeg"] = [jpeg[: len(jpeg) // 2] for jpeg in shots["jpeg"]]
    view = verification_view(run.details[0], shots, Album(run))
    assert [experiment.rows for experiment in view.experiments] == [(), (), ()]


def test_the_chart_sets_the_class_itself_apart_from_the_controls(run: Run) -> None:
    entry = copy.deepcopy(run.details[0]["verification"])
    arm = {**entry["experiments"][1]["arms"][0], "name": "hottest part of the class itself"}
    assert "class itself" not in told(run, 0, verification=entry).experiments[0].chart
    entry["experiments"][1]["own"] = arm
    paste = told(run, 0, verification=entry).experiments[0]
    assert "(no control) hottest part of the class itself" in paste.chart
    assert "class itself" not in paste.sentence


def test_an_experiment_of_an_unknown_name_and_without_numbers_is_still_told(run: Run) -> None:
    entry = {"experiments": [{"name": "{shake} <b>"}]}
    (view,) = told(run, 0, verification=entry).experiments
    assert view.title == "{shake} <b>"
    assert view.sentence.startswith("0 images: the mean probability of daisy goes from unknown")
    assert (view.chart, view.rows) == ("", ())


def test_pictures_that_are_none_are_left_out(run: Run, tmp_path: Path) -> None:
    table = pd.read_parquet(run.folder / FILE)
    table.loc[table["arm"] == "after", "jpeg"] = b"\xff\xd8 no picture"
    view = verification_view(run.details[0], table, Album(run))
    assert [len(row) for row in view.experiments[0].rows] == [2, 2]


@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet", None])
def test_missing_or_damaged_pictures_are_no_pictures(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    assert len(read_shots(tmp_path / FILE)) == 0


def test_the_pictures_belong_to_their_image(run: Run) -> None:
    names = [picture.alt for picture in told(run, 0).experiments[2].rows[0]]
    assert names == [f"{image_name(TAG, 0)}, with it", f"{image_name(TAG, 0)}, hidden"]
