"""Formats: the files that annotation tools import.

COCO is what most read; CVAT has XML of its own ("CVAT for images 1.1"); Label Studio takes tasks
with predictions; FiftyOne a folder (``FiftyOneImageDetectionDataset``).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pandas as pd

from shortcut_finder.exporting.marks import Mark, MarkedImage, names_of
from shortcut_finder.run.folder import Run
from shortcut_finder.schema import OFFENDER_COLUMNS, to_csv

# Names of the controls in a labelling interface of Label Studio.
BOXES, TAGS, PICTURE = "thing", "look", "image"
# What Label Studio reads files of its own machine by.
LOCAL_FILES = "/data/local-files/?d="

# Control characters, lone surrogates and two more, which no XML may hold.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

TABLE_COLUMNS = (*OFFENDER_COLUMNS, "width", "height", "path", "verdict", "severity")

# Contents by name of the file; a format of one file has the name "".
Files = dict[str, bytes]


def coco(run: Run, images: Sequence[MarkedImage]) -> Files:
    """COCO: a category for each finding, an annotation for each box, tags beside the images."""
    names = names_of(run)
    number = {finding: place for place, finding in enumerate(names, start=1)}
    annotations: list[dict[str, Any]] = []
    for image in images:
        for mark, (x0, y0, x1, y1) in image.boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image.number + 1,
                    "category_id": number[mark.finding],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "segmentation": [],
                    "iscrowd": 0,
                    "score": mark.score,
                    "attributes": _attributes(mark),
                }
            )
    content = {
        "info": {"description": f"shortcut-finder: {run.card['dataset']['name']}"},
        "licenses": [],
        "images": [
            {
                "id": image.number + 1,
                "file_name": image.name,
                "width": image.width,
                "height": image.height,
                "label": image.label,
                "predicted": image.predicted,
                "tags": [{"name": mark.name, "score": mark.score} for mark in image.tags],
            }
            for image in images
        ],
        "categories": [
            {"id": number[finding], "name": name, "supercategory": "shortcut"}
            for finding, name in names.items()
        ],
        "annotations": annotations,
    }
    return {"": _json(content)}


def cvat(run: Run, images: Sequence[MarkedImage]) -> Files:
    """CVAT for images 1.1: a label for each finding, with score and tier as attributes."""
    root = ElementTree.Element("annotations")
    _child(root, "version", "1.1")
    task = _child(_child(root, "meta"), "task")
    _child(task, "name", _legal(f"shortcut-finder: {run.card['dataset']['name']}"))
    _child(task, "size", str(len(images)))
    _child(task, "mode", "annotation")
    labels = _child(task, "labels")
    for name in names_of(run).values():
        label = _child(labels, "label")
        _child(label, "name", _legal(name))
        attributes = _child(label, "attributes")
        for attribute, values in (("score", "0\n1\n0.0001"), ("tier", "sure\nlikely")):
            one = _child(attributes, "attribute")
            _child(one, "name", attribute)
            _child(one, "mutable", "False")
            _child(one, "input_type", "number" if attribute == "score" else "select")
            _child(one, "default_value", values.split("\n")[0])
            _child(one, "values", values)
    for image in images:
        _cvat_image(root, image)
    file = io.BytesIO()
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
    return {"": file.getvalue() + b"\n"}


def _cvat_image(root: ElementTree.Element, image: MarkedImage) -> None:
    size = {"width": str(image.width), "height": str(image.height)}
    place = _child(root, "image")
    place.attrib.update({"id": str(image.number), "name": _legal(image.name), **size})
    for mark in image.tags:
        tag = _child(place, "tag")
        tag.attrib.update({"label": _legal(mark.name), "source": "auto"})
        _cvat_attributes(tag, mark)
    for mark, corners in image.boxes:
        box = _child(place, "box")
        sides = zip(("xtl", "ytl", "xbr", "ybr"), (f"{c:.2f}" for c in corners), strict=True)
        box.attrib.update(
            {
                "label": _legal(mark.name), "source": "auto", "occluded": "0", **dict(sides),
                "z_order": "0",
            }
        )  # fmt: skip
        _cvat_attributes(box, mark)


def _cvat_attributes(shape: ElementTree.Element, mark: Mark) -> None:
    for name, value in (("score", f"{mark.score:.4f}"), ("tier", mark.tier)):
        _child(shape, "attribute", value).set("name", name)


def _child(parent: ElementTree.Element, name: str, text: str | None = None) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, name)
    child.text = text
    return child


def _legal(text: str) -> str:
    """Text with what XML cannot hold spelled out; names of files and classes may hold anything."""
    return _ILLEGAL.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def label_studio(run: Run, images: Sequence[MarkedImage]) -> Files:
    """Tasks with predictions; places are in percent, as Label Studio wants them."""
    tasks = []
    for image in images:
        results = [_region(image, mark, corners) for mark, corners in image.boxes]
        if image.tags:
            results.append(
                {
                    "id": f"{image.number}-tags",
                    "from_name": TAGS,
                    "to_name": PICTURE,
                    "type": "choices",
                    "value": {"choices": [mark.name for mark in image.tags]},
                }
            )
        tasks.append(
            {
                "data": {
                    PICTURE: LOCAL_FILES + quote(image.name, errors="surrogateescape"),
                    "label": image.label,
                    "predicted": image.predicted,
                    "scores": {mark.name: mark.score for mark in image.marks},
                },
                "predictions": [
                    {
                        "model_version": f"shortcut-finder {run.card['version']}",
                        "score": max(mark.score for mark in image.marks),
                        "result": results,
                    }
                ],
            }
        )
    return {"": _json(tasks)}


def _region(
    image: MarkedImage, mark: Mark, corners: tuple[float, float, float, float]
) -> dict[str, Any]:
    x0, y0, x1, y1 = corners
    across, down = 100 / image.width, 100 / image.height
    return {
        "id": f"{image.number}-{mark.finding}",
        "from_name": BOXES,
        "to_name": PICTURE,
        "type": "rectanglelabels",
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
        "score": mark.score,
        "value": {
            "x": x0 * across,
            "y": y0 * down,
            "width": (x1 - x0) * across,
            "height": (y1 - y0) * down,
            "rotation": 0,
            "rectanglelabels": [mark.name],
        },
    }


def interface_of(run: Run) -> bytes:
    """The labelling interface of Label Studio that its tasks are made for."""
    view = ElementTree.Element("View")
    _child(view, "Image").attrib.update({"name": PICTURE, "value": f"${PICTURE}"})
    controls = (("RectangleLabels", BOXES, "Label"), ("Choices", TAGS, "Choice"))
    for control, name, entry in controls:
        place = _child(view, control)
        place.attrib.update({"name": name, "toName": PICTURE})
        if control == "Choices":
            place.set("choice", "multiple")
        for value in names_of(run).values():
            _child(place, entry).set("value", _legal(value))
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="utf-8") + b"\n"


def fiftyone(run: Run, images: Sequence[MarkedImage]) -> Files:
    """The folder of a ``FiftyOneImageDetectionDataset``; tags are boxes of the whole frame."""
    labels: dict[str, list[dict[str, Any]]] = {}
    for image in images:
        size = (image.width, image.height, image.width, image.height)
        labels[_id(image)] = [
            {
                "label": mark.name,
                "bounding_box": _from_corner(mark.box, size),
                "confidence": mark.score,
                "attributes": {
                    **_attributes(mark),
                    "whole_image": mark.box is None,
                    "class": image.label,
                    "predicted": image.predicted,
                },
            }
            for mark in image.marks
        ]
    return {
        "data.json": _json({_id(image): image.path for image in images}),
        "labels.json": _json({"classes": list(names_of(run).values()), "labels": labels}),
    }


def _id(image: MarkedImage) -> str:
    return f"{image.number:08d}"


def _from_corner(
    box: tuple[float, float, float, float] | None, size: tuple[int, int, int, int]
) -> list[float]:
    """Left, top, width and height as parts of the frame."""
    if box is None:
        return [0.0, 0.0, 1.0, 1.0]
    x0, y0, x1, y1 = (corner / side for corner, side in zip(box, size, strict=True))
    return [x0, y0, x1 - x0, y1 - y0]


def table(run: Run, images: Sequence[MarkedImage]) -> Files:
    """CSV: a row an image and finding, with all that is needed to find file and thing."""
    facts = pd.DataFrame(
        [(image.name, image.width, image.height, image.path) for image in images],
        columns=["image", "width", "height", "path"],
    )
    verdicts = run.findings[["finding", "verdict", "severity"]]
    rows = run.offenders.merge(facts, on="image").merge(verdicts, on="finding")
    return {"": to_csv(rows.sort_values("rank")[list(TABLE_COLUMNS)])}


def _attributes(mark: Mark) -> dict[str, str]:
    return {"finding": mark.finding, "kind": mark.kind, "tier": mark.tier}


def _json(content: Any) -> bytes:
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "surrogateescape")


FORMATS: Mapping[str, Callable[[Run, Sequence[MarkedImage]], Files]] = {
    "coco": coco,
    "cvat": cvat,
    "label-studio": label_studio,
    "fiftyone": fiftyone,
    "csv": table,
}
