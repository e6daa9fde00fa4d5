"""Run: saving and loading is identity, files are whole, and a broken folder is one clear line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade import CLASSES, handmade_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shortcut_finder.errors import RunError
from shortcut_finder.figures.pictures import read_thumbnails
from shortcut_finder.run.folder import Run, load_run, save_run, to_json, write_whole

TABLES = ("images", "regions", "findings", "offenders", "confusions", "unreadable")
FILES = {
    "run.json", "images.parquet", "regions.csv", "findings.csv", "findings.json", "offenders.csv",
    "confusions.csv", "unreadable.csv",
}  # fmt: skip
COLUMNS = {
    "regions.csv": "label,region,images,share,elsewhere,lift,effect,p,q",
    "findings.csv": "finding,label,kind,region,images,share,elsewhere,reliance,reliance_low,"
    "reliance_high,q,suspicion,verdict,severity,sentence,artifact,share_low,share_high",
    "offenders.csv": "rank,image,label,predicted,confidence,score,finding,kind,region,"
    "x0,y0,x1,y1,reason,tier",
    "confusions.csv": "label,rival,images,overlap,region",
    "unreadable.csv": "image,error",
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Run:
    unreadable = {'b/<x> "y".png': "not an image, or cut off"}
    return handmade_run(tmp_path_factory.mktemp("made") / "run", unreadable=unreadable)


@pytest.fixture
def run(tmp_path: Path, template: Run) -> Run:
    shutil.copytree(template.folder, tmp_path / "run")
    return replace(template, folder=tmp_path / "run")


def test_columns_are_the_contracts(run: Run) -> None:
    for name, columns in COLUMNS.items():
        assert (run.folder / name).read_text(encoding="utf-8").splitlines()[0] == columns


def test_saving_and_loading_is_identity(run: Run) -> None:
    again = load_run(run.folder)
    for name in TABLES:
        one, two = getattr(run, name), getattr(again, name)
        pd.testing.assert_frame_equal(one, two, check_dtype=False, rtol=1e-5)
    assert again.card == json.loads(to_json(run.card))
    assert list(again.details) == json.loads(to_json(list(run.details)))
    assert set(again.images["label"]) == set(CLASSES)


def test_a_run_without_the_later_columns_is_read_as_if_all_were_sure(run: Run) -> None:
    before = load_run(run.folder)
    for name, later in (
        ("findings.csv", ["artifact", "share_low", "share_high"]),
        ("offenders.csv", ["tier"]),
    ):
        path = run.folder / name
        pd.read_csv(path, keep_default_na=False).drop(columns=later).to_csv(path, index=False)
    again = load_run(run.folder)
    pd.testing.assert_frame_equal(again.findings, before.findings, check_dtype=False)
    pd.testing.assert_frame_equal(again.offenders, before.offenders, check_dtype=False)
    assert set(again.offenders["tier"]) == {"sure"}
    assert again.findings[["artifact", "share_low", "share_high"]].isna().all(axis=None)


def test_a_run_without_an_older_column_is_refused(run: Run) -> None:
    path = run.folder / "offenders.csv"
    pd.read_csv(path, keep_default_na=False).drop(columns="reason").to_csv(path, index=False)
    with pytest.raises(RunError, match=r"offenders\.csv: column reason is missing; scan again"):
        load_run(run.folder)


def test_saving_what_was_loaded_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    save_run(replace(load_run(run.folder), folder=tmp_path / "again"))
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (run.folder / name).read_bytes()


def test_run_json_is_written_last_and_gone_while_writing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def note(path: Path, content: bytes) -> None:
        assert not (run.folder / "run.json").exists()
        written.append(path.name)
        write_whole(path, content)

    monkeypatch.setattr("shortcut_finder.run.folder.write_whole", note)
    save_run(run)
    assert written[-1] == "run.json"
    assert set(written) == FILES


def test_a_save_that_fails_leaves_no_finished_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        if path.name == "offenders.csv":
            raise OSError("no space left on device")
        write_whole(path, content)

    monkeypatch.setattr("shortcut_finder.run.folder.write_whole", full)
    with pytest.raises(OSError, match="no space"):
        save_run(run)
    with pytest.raises(RunError, match="no finished run here; run `shortcut-finder scan` first"):
        load_run(run.folder)


# Names are whatever a file system, a manifest or a model brings.
NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.lists(NAMES, min_size=1, max_size=4))
def test_any_name_comes_back_as_it_was(run: Run, names: list[str]) -> None:
    words = ["NA", "null", "nan", "1e5", "007", "True", "", " a ", "#", "-"]
    names = [*names, *words, "a\rb", "a\r\nb", 'q"uo"te', "comma, too", "line\nbreak"]
    unreadable = pd.DataFrame({"image": names, "error": names[::-1]})
    save_run(replace(run, unreadable=unreadable))
    again = load_run(run.folder).unreadable
    assert again["image"].tolist() == names
    assert again["error"].tolist() == names[::-1]


def test_odd_line_ends_leave_numbers_numbers(run: Run) -> None:
    findings = run.findings.assign(label="a\rb", reliance=np.nan)
    save_run(replace(run, findings=findings))
    again = load_run(run.folder).findings
    pd.testing.assert_frame_equal(again, findings, check_dtype=False, rtol=1e-5)


def test_a_folder_whose_name_is_no_utf8_comes_back(run: Run) -> None:
    card = {**run.card, "dataset": {**run.card["dataset"], "root": "/data/caf\udce9"}}
    save_run(replace(run, card=card))
    assert load_run(run.folder).card["dataset"]["root"] == "/data/caf\udce9"


def test_empty_tables_come_back_empty(run: Run) -> None:
    empty = {name: getattr(run, name).iloc[:0] for name in TABLES if name != "images"}
    save_run(replace(run, **empty, details=[]))
    again = load_run(run.folder)
    for name in empty:
        assert len(getattr(again, name)) == 0
        assert list(getattr(again, name).columns) == list(getattr(run, name).columns)


def test_reliance_that_was_not_measured_is_empty_not_a_word(run: Run) -> None:
    findings = run.findings.assign(reliance=np.nan, reliance_low=np.nan, reliance_high=np.nan)
    save_run(replace(run, findings=findings))
    assert ",,,," in (run.folder / "findings.csv").read_text(encoding="utf-8")
    assert load_run(run.folder).findings["reliance"].isna().all()


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("content", [None, b"", b'{"a": ', b"\xff\xfe\x00", b"a,b\n1,2\n", b"[]"])
def test_a_missing_or_damaged_file_is_one_clear_line(
    run: Run, name: str, content: bytes | None
) -> None:
    path = run.folder / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        RunError, match=r"run.*(scan again|`shortcut-finder scan` first)$"
    ) as caught:
        load_run(run.folder)
    assert "\n" not in str(caught.value)


def test_another_version_and_no_folder_are_one_clear_line(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nowhere: no finished run here"):
        load_run(tmp_path / "nowhere")
    (run.folder / "run.json").write_text(json.dumps({**run.card, "schema_version": 99}))
    with pytest.raises(RunError, match="written by another version of shortcut-finder; scan again"):
        load_run(run.folder)


def test_preprocessing_maps_and_thumbnails_come_with_the_run(run: Run) -> None:
    again = load_run(run.folder)
    assert again.preprocessing == run.preprocessing
    assert set(again.label_maps) == set(run.images["image"])
    assert all(picture.mode == "RGB" for picture in again.thumbnails.values())
    assert again.thumbnails


def test_json_is_stable_and_plain() -> None:
    value = {"b": np.float32(0.1), "a": [np.int64(3), np.nan, np.inf], "c": {2: np.bool_(True)}}
    assert json.loads(to_json(value)) == {"a": [3, None, None], "b": 0.1, "c": {"2": True}}
    assert to_json(value) == to_json(dict(reversed(value.items())))
    assert json.loads(to_json(1 / 3)) == 0.333333
    assert to_json(np.eye(2)) == to_json([[1.0, 0.0], [0.0, 1.0]])
    assert "日本".encode() in to_json({"name": "日本"})


def test_a_file_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shortcut_finder.schema.os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*file'"):
        write_whole(path, b"new content")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("regions.csv", lambda content: content + b"a,b,c,d,e,f,g,h,i,j,k,l\n"),
        ("confusions.csv", lambda content: content + b"daisy,rose,,0.5,frame\n"),
        ("offenders.csv", lambda content: content.replace(b"\n1,", b"\none,", 1)),
        ("images.parquet", lambda content: content[:4] + bytes(200) + content[204:]),
        ("images.parquet", lambda content: content[:-200] + b"\xff" * 190 + content[-10:]),
    ],
)
def test_the_reason_of_a_damaged_table_is_one_line(
    run: Run, file: str, damage: Callable[[bytes], bytes]
) -> None:
    path = run.folder / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match="the run folder is damaged") as caught:
        load_run(run.folder)
    assert "\n" not in str(caught.value)


def test_thumbnails_whose_names_are_no_text_are_left_out(run: Run) -> None:
    path = run.folder / "thumbnails.parquet"
    names = pa.array(["aaaa", "bbbb"])
    table = pa.table({"image": names, "jpeg": pa.array([b"x", b"y"])})
    pq.write_table(table, path, compression="none", use_dictionary=False)
    path.write_bytes(path.read_bytes().replace(b"aaaa", b"\xff\xff\xff\xff"))
    assert read_thumbnails(path) == {}
    with pytest.raises(RunError, match="the run folder is damaged"):
        _ = load_run(run.folder).thumbnails
