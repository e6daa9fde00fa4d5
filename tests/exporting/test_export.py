"""Export: what tools import is what was found, to half a pixel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pandas as pd
import pytest
from handmade import HOSTILE, handmade_run
from typer.testing import CliRunner

import shortcut_finder as sf
from shortcut_finder.cli import app as cli
from shortcut_finder.errors import RunError, SettingsError
from shortcut_finder.exporting.export import export
from shortcut_finder.exporting.formats import BOXES, FORMATS, LOCAL_FILES, PICTURE, TAGS
from shortcut_finder.exporting.marks import WHOLE, marked_images, names_of
from shortcut_finder.run.folder import Run
from shortcut_finder.settings import EXPORTS

Found = dict[tuple[str, str], tuple[float, ...]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return handmade_run(tmp_path_factory.mktemp("export") / "run")


def wanted(run: Run, *, whole: bool) -> Found:
    """Boxes of the run by image and name of the finding; without corners those of whole images."""
    names = names_of(run)
    return {
        (row["image"], names[row["finding"]]): ()
        if whole
        else tuple(row[side] for side in ("x0", "y0", "x1", "y1"))
        for row in run.offenders.to_dict("records")
        if (row["kind"] in WHOLE) == whole
    }


def scores(run: Run) -> dict[tuple[str, str], float]:
    names = names_of(run)
    rows = run.offenders.to_dict("records")
    return {(row["image"], names[row["finding"]]): row["score"] for row in rows}


def same(found: Found, expected: Found) -> None:
    assert found.keys() == expected.keys()
    for key, box in found.items():
        assert box == pytest.approx(expected[key], abs=0.5), key


def test_the_run_has_boxes_and_tags_and_nasty_names(run: Run) -> None:
    assert len(wanted(run, whole=False)) > 10
    assert wanted(run, whole=True) or "property" not in set(run.findings["kind"])
    assert any(HOSTILE in name for name in names_of(run).values())
    assert set(FORMATS) == set(EXPORTS)


def test_pycocotools_reads_the_boxes(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    from pycocotools.coco import COCO

    (file,) = export(run, "coco", tmp_path / "coco.json")
    loaded = COCO(str(file))
    names = {one["id"]: one["name"] for one in loaded.loadCats(loaded.getCatIds())}
    pictures = {one["id"]: one for one in loaded.loadImgs(loaded.getImgIds())}
    found: Found = {}
    for one in loaded.loadAnns(loaded.getAnnIds(iscrowd=False)):
        x, y, width, height = one["bbox"]
        key = (pictures[one["image_id"]]["file_name"], names[one["category_id"]])
        found[key] = (x, y, x + width, y + height)
        assert one["score"] == pytest.approx(scores(run)[key], abs=1e-6)
        assert one["area"] == pytest.approx(width * height)
    same(found, wanted(run, whole=False))
    sizes = {one["file_name"]: (one["width"], one["height"]) for one in pictures.values()}
    assert sizes == {name: run.sizes[name] for name in sizes}
    tags = {(one["file_name"], tag["name"]): () for one in pictures.values() for tag in one["tags"]}
    assert tags == wanted(run, whole=True)
    # Results of detectors have these keys, too.
    results = [
        {key: one[key] for key in ("image_id", "category_id", "bbox", "score")}
        for one in loaded.dataset["annotations"]
    ]
    assert len(loaded.loadRes(results).getAnnIds()) == len(found)


def read_cvat(file: Path) -> tuple[Found, Found, dict[tuple[str, str], float], set[str]]:
    """What the documented schema of CVAT for images 1.1 says, checked as it is read."""
    root = ElementTree.parse(file).getroot()
    assert root.tag == "annotations"
    assert root.findtext("version") == "1.1"
    task = root.find("meta/task")
    assert task is not None
    assert task.findtext("mode") == "annotation"
    assert task.findtext("size") == str(len(root.findall("image")))
    labels = {str(one.findtext("name")) for one in task.findall("labels/label")}
    kinds = {one.findtext("input_type") for one in task.iter("attribute")}
    assert kinds <= {"number", "select", "checkbox", "radio", "text"}
    boxes, tags, said = {}, {}, {}
    for number, image in enumerate(root.findall("image")):
        name, width, height = image.attrib["name"], image.attrib["width"], image.attrib["height"]
        assert image.attrib["id"] == str(number)
        for shape in image:
            assert shape.attrib["label"] in labels
            key = (name, shape.attrib["label"])
            values = {one.attrib["name"]: str(one.text) for one in shape.findall("attribute")}
            assert values["tier"] in ("sure", "likely")
            said[key] = float(values["score"])
            if shape.tag == "tag":
                tags[key] = ()
                continue
            assert shape.tag == "box"
            assert {"occluded", "z_order", "source"} <= set(shape.attrib)
            corners = tuple(float(shape.attrib[side]) for side in ("xtl", "ytl", "xbr", "ybr"))
            assert 0 <= corners[0] < corners[2] <= int(width)
            assert 0 <= corners[1] < corners[3] <= int(height)
            boxes[key] = corners
    return boxes, tags, said, labels


def test_cvat_reads_the_boxes(run: Run, tmp_path: Path) -> None:
    (file,) = export(run, "cvat", tmp_path / "annotations.xml")
    boxes, tags, said, labels = read_cvat(file)
    same(boxes, wanted(run, whole=False))
    assert tags == wanted(run, whole=True)
    assert said == pytest.approx(scores(run), abs=1e-4)
    assert labels == set(names_of(run).values())


def test_label_studio_reads_the_boxes(run: Run, tmp_path: Path) -> None:
    tasks_file, interface = export(run, "label-studio", tmp_path / "tasks.json")
    view = ElementTree.parse(interface).getroot()
    picture = view.find("Image")
    assert picture is not None
    controls = {one.attrib["name"]: one for one in view if one.tag != "Image"}
    offered = {
        name: {entry.attrib["value"] for entry in control} for name, control in controls.items()
    }
    assert all(one.attrib["toName"] == picture.attrib["name"] for one in controls.values())
    tasks = json.loads(tasks_file.read_text(encoding="utf-8"))
    found: Found = {}
    tags: Found = {}
    for task in tasks:
        assert picture.attrib["value"] == f"${PICTURE}"
        address = task["data"][PICTURE]
        assert address.startswith(LOCAL_FILES)
        name = unquote(address.removeprefix(LOCAL_FILES), errors="surrogateescape")
        (prediction,) = task["predictions"]
        assert 0 <= prediction["score"] <= 1
        for result in prediction["result"]:
            assert result["to_name"] == PICTURE
            value: dict[str, Any] = result["value"]
            if result["type"] == "choices":
                assert result["from_name"] == TAGS
                assert set(value["choices"]) <= offered[TAGS]
                tags |= {(name, choice): () for choice in value["choices"]}
                continue
            assert (result["type"], result["from_name"]) == ("rectanglelabels", BOXES)
            (label,) = value["rectanglelabels"]
            assert label in offered[BOXES]
            across, down = result["original_width"] / 100, result["original_height"] / 100
            x, y = value["x"] * across, value["y"] * down
            found[name, label] = (
                x, y, x + value["width"] * across, y + value["height"] * down,
            )  # fmt: skip
            assert result["score"] == pytest.approx(scores(run)[name, label], abs=1e-6)
    same(found, wanted(run, whole=False))
    assert tags == wanted(run, whole=True)


def test_fiftyone_reads_the_boxes(run: Run, tmp_path: Path) -> None:
    """By the format that its importer of image detection datasets is documented to read."""
    files = export(run, "fiftyone", tmp_path / "dataset")
    assert sorted(path.name for path in files) == ["data.json", "labels.json"]
    data, labels = (
        json.loads((tmp_path / "dataset" / name).read_text(encoding="utf-8"))
        for name in ("data.json", "labels.json")
    )
    assert data.keys() == labels["labels"].keys()
    root = run.card["dataset"]["root"]
    found: Found = {}
    for key, detections in labels["labels"].items():
        name = data[key].removeprefix(f"{root}/")
        width, height = run.sizes[name]
        for one in detections:
            assert one["label"] in labels["classes"]
            x, y, wide, high = one["bounding_box"]
            assert 0 <= x <= x + wide <= 1 + 1e-9
            assert 0 <= y <= y + high <= 1 + 1e-9
            whole = one["attributes"]["whole_image"]
            corners = (x * width, y * height, (x + wide) * width, (y + high) * height)
            found[name, one["label"]] = () if whole else corners
            assert one["confidence"] == pytest.approx(scores(run)[name, one["label"]], abs=1e-6)
    same(found, wanted(run, whole=False) | wanted(run, whole=True))


def test_the_table_has_a_row_an_image_and_finding(run: Run, tmp_path: Path) -> None:
    (file,) = export(run, "csv", tmp_path / "table.csv")
    table = pd.read_csv(file, keep_default_na=False)
    assert table["rank"].tolist() == run.offenders["rank"].tolist()
    assert table["image"].tolist() == run.offenders["image"].tolist()
    for row in table.to_dict("records"):
        assert (row["width"], row["height"]) == run.sizes[row["image"]]
        assert row["path"].endswith(row["image"])
    assert set(table["verdict"]) <= {"confirmed", "suspect", "present"}


def test_marks_are_sorted_by_image_and_surest_first(run: Run) -> None:
    images = marked_images(run)
    assert [image.name for image in images] == sorted(set(run.offenders["image"]))
    for image in images:
        marks = [mark.score for mark in image.marks]
        assert marks == sorted(marks, reverse=True)


@pytest.mark.parametrize("to", EXPORTS)
def test_the_same_run_gives_the_same_bytes(run: Run, tmp_path: Path, to: str) -> None:
    first, second = (export(run, to, tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_what_is_there_stays(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("mine")
    with pytest.raises(RunError, match="is there already"):
        export(run, "coco", tmp_path / "mine.json")
    with pytest.raises(RunError, match="is there already"):
        export(run, "fiftyone", tmp_path)
    with pytest.raises(SettingsError, match="choose one of coco"):
        export(run, "voc", tmp_path / "voc")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]


def test_the_command_writes_and_says_where(run: Run, tmp_path: Path) -> None:
    words = ["export", str(run.folder), "--to", "cvat", "--out", str(tmp_path / "a.xml")]
    result = CliRunner().invoke(cli.app, words)
    assert (result.exit_code, result.output.strip()) == (0, str(tmp_path / "a.xml"))
    again = CliRunner().invoke(cli.app, words)
    assert again.exit_code == 1
    assert CliRunner().invoke(cli.app, [*words[:3], "word", *words[4:]]).exit_code == 2
    assert sf.export is export
