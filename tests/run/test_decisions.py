"""Decisions: what the page saves is read back, and nothing else is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from handmade import TAG, handmade_run, image_name

from shortcut_finder.errors import RunError
from shortcut_finder.run.decisions import Decisions, read_decisions
from shortcut_finder.run.folder import Run, load_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return handmade_run(tmp_path_factory.mktemp("run"), thumbnails=False, maps=False)


def saved(path: Path, of: Run, **changes: Any) -> Path:
    content = Decisions(of.fingerprint, {"F1": "accept"}).as_dict() | changes
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_decisions_survive_the_file(run: Run, tmp_path: Path) -> None:
    images = {image_name(TAG, 3): {"F1": "dismiss", "F2": "unsure"}, "latin \udce9.jpg": {}}
    path = saved(tmp_path / "decisions.json", run, images=images)
    read = read_decisions(path, run)
    assert read == Decisions(run.fingerprint, {"F1": "accept"}, images)
    assert read.as_dict() == json.loads(path.read_text(encoding="utf-8"))


def test_a_run_has_the_same_fingerprint_in_memory_and_from_its_folder(run: Run) -> None:
    assert load_run(run.folder).fingerprint == run.fingerprint


@pytest.mark.parametrize("change", [{"label": "other"}, {"images": 8}, {"finding": "F9"}])
def test_a_run_in_which_a_name_means_something_else_has_another_fingerprint(
    run: Run, change: dict[str, Any]
) -> None:
    details = [{**run.details[0], **change}, *run.details[1:]]
    assert dataclasses.replace(run, details=details).fingerprint != run.fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "not a decisions file of this version"),
        ({"run": "0" * 32}, "made on the page of another run"),
        ({"findings": {"F77": "accept"}}, "the run has no finding 'F77'"),
        ({"findings": {"F1": "yes"}}, "F1 is 'yes'; expected accept, dismiss, unsure"),
        ({"findings": {"F1": ["accept"]}}, "expected accept, dismiss, unsure"),
        ({"findings": ["F1"]}, "damaged at"),
        ({"images": []}, "damaged at 'images'"),
        ({"images": {"a.jpg": {"F1": "no"}}}, "F1 is 'no'"),
    ],
)
def test_decisions_that_do_not_fit_the_run_are_refused(
    run: Run, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = saved(tmp_path / "decisions.json", run, **changes)
    with pytest.raises(RunError, match=message):
        read_decisions(path, run)


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff\xfe", b"[" * 100_000, b"{}"])
def test_a_file_that_is_no_decisions_is_refused(run: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "decisions.json"
    path.write_bytes(content)
    with pytest.raises(RunError, match="not a decisions file"):
        read_decisions(path, run)


def test_a_missing_file_is_said(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="file not found"):
        read_decisions(tmp_path / "none.json", run)
