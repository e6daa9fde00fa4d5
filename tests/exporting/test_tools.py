"""Tools: exports imported again by the packages of the tools, boxes equal to half a pixel.

`make test-exports` installs these packages beside the others, as they want other versions of what
is installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from handmade import TAG, handmade_run

from shortcut_finder.exporting.export import export
from shortcut_finder.exporting.formats import LOCAL_FILES
from shortcut_finder.exporting.marks import WHOLE, marked_images, names_of
from shortcut_finder.run.folder import Run, load_run, save_run

SCRIPT = Path(__file__).with_name("read_by_tools.py")

# Corners by image and name of the finding, or none for a tag; and scores.
Found = tuple[dict[tuple[str, str], Any], dict[tuple[str, str], float]]


def several(run: Run, folder: Path) -> Run:
    """The run with several labels an image, two findings in some, and names that files can have."""
    new = {name: f"a b/{n:03d} é.jpg" for n, name in enumerate(sorted(run.images["image"]))}
    labels = [[label, TAG] if n % 3 else [label] for n, label in enumerate(run.images["label"])]
    labels = [sorted(set(some)) for some in labels]
    images = run.images.assign(
        image=run.images["image"].map(new),
        labels=labels,
        unknown=[[] for _ in labels],
        label=["|".join(some) for some in labels],
    )
    offenders = run.offenders.assign(image=run.offenders["image"].map(new))
    first, second = run.findings["finding"].iloc[:2]
    more = offenders[offenders["finding"] == second].copy()
    more[["finding", "label", "kind", "region"]] = (
        offenders.loc[offenders["finding"] == first, ["finding", "label", "kind", "region"]]
        .iloc[0]
        .tolist()
    )
    more[["x0", "y0", "x1", "y1"]] += 3.0
    offenders = pd.concat([offenders, more], ignore_index=True)
    offenders["rank"] = np.arange(1, len(offenders) + 1)
    made = replace(run, folder=folder, images=images, offenders=offenders)
    save_run(made)
    return load_run(folder)


@pytest.fixture(scope="module", params=["one label", "several labels"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("tools")
    made = handmade_run(home / "run")
    return made if request.param == "one label" else several(made, home / "several")


def wanted(run: Run) -> Found:
    names = names_of(run)
    corners, scores = {}, {}
    for row in run.offenders.to_dict("records"):
        key = (row["image"], names[row["finding"]])
        box = tuple(row[side] for side in ("x0", "y0", "x1", "y1"))
        corners[key] = None if row["kind"] in WHOLE else box
        scores[key] = row["score"]
    return corners, scores


def read(tool: str, path: Path) -> list[Any]:
    if find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed; make test-exports does it")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), tool, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def check(rows: list[Any], run: Run, *, scored: bool = True) -> None:
    corners, scores = wanted(run)
    found = {(image, name): box for image, name, box, _ in rows}
    assert len(rows) == len(found)
    assert found.keys() == corners.keys()
    for key, box in corners.items():
        assert (found[key] is None) == (box is None)
        if box is not None:
            assert found[key] == pytest.approx(box, abs=0.5), key
    said = {(image, name): score for image, name, _, score in rows if score is not None}
    assert not scored or said.keys() == scores.keys()
    assert said == pytest.approx({key: scores[key] for key in said}, abs=1e-4)


def test_an_image_has_all_of_its_labels_in_every_format(run: Run, tmp_path: Path) -> None:
    labels = dict(zip(run.images["image"], run.images["label"], strict=True))
    assert all(image.label == labels[image.name] for image in marked_images(run))
    if "labels" in run.images:
        assert any("|" in image.label for image in marked_images(run))
        assert max(len(image.marks) for image in marked_images(run)) == 2
    (file,) = export(run, "coco", tmp_path / "coco.json")
    pictures = json.loads(file.read_text(encoding="utf-8"))["images"]
    assert {one["file_name"]: one["label"] for one in pictures} == {
        one["file_name"]: labels[one["file_name"]] for one in pictures
    }


def test_pycocotools_reads_the_boxes(run: Run, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    loaded = coco.COCO(str(export(run, "coco", tmp_path / "coco.json")[0]))
    rows = []
    for one in loaded.loadAnns(loaded.getAnnIds()):
        x, y, width, height = one["bbox"]
        (image,), (name,) = loaded.loadImgs(one["image_id"]), loaded.loadCats(one["category_id"])
        box = [x, y, x + width, y + height]
        rows.append((image["file_name"], name["name"], box, one["score"]))
    for image in loaded.loadImgs(loaded.getImgIds()):
        rows += [(image["file_name"], one["name"], None, one["score"]) for one in image["tags"]]
    check(rows, run)


def test_datumaro_reads_the_boxes_of_cvat(run: Run, tmp_path: Path) -> None:
    if "labels" not in run.images:
        pytest.skip("datumaro looks for the files, and no file can have these names")
    for image in marked_images(run):
        (tmp_path / "images" / image.name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / image.name).touch()
    export(run, "cvat", tmp_path / "annotations.xml")
    check(read("datumaro", tmp_path), run)


def test_label_studio_takes_the_predictions_and_gives_the_boxes_back(
    run: Run, tmp_path: Path
) -> None:
    export(run, "label-studio", tmp_path / "tasks.json")
    rows = read("label_studio_sdk", tmp_path / "tasks.json")
    files = [unquote(row[0].removeprefix(LOCAL_FILES), errors="surrogateescape") for row in rows]
    check([(file, *row[1:]) for file, row in zip(files, rows, strict=True)], run, scored=False)


def test_fiftyone_reads_the_boxes(run: Run, tmp_path: Path) -> None:
    export(run, "fiftyone", tmp_path / "dataset")
    rows = []
    for path, name, box, score in read("fiftyone", tmp_path / "dataset"):
        image = path.removeprefix(f"{run.card['dataset']['root']}/")
        width, height = run.sizes[image]
        corners = box and [c * side for c, side in zip(box, (width, height) * 2, strict=True)]
        rows.append((image, name, corners, score))
    check(rows, run)
