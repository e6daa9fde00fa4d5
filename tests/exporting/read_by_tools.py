"""What the own package of an annotation tool reads from an export, as JSON.

In a process of its own: these packages start threads, change settings and warn when imported.

Usage: python read_by_tools.py TOOL PATH
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Image, name of the finding, corners in pixels (parts of the frame for FiftyOne; none for a tag),
# and score where the tool keeps one.
Row = tuple[str, str, list[float] | None, float | None]


def datumaro(path: Path) -> Iterator[Row]:
    """The library that CVAT reads and writes its formats with."""
    from datumaro import AnnotationType, Dataset

    found = Dataset.import_from(str(path), "cvat")
    names = [one.name for one in found.categories()[AnnotationType.label]]
    for item in found:
        image = str(Path(item.media.path).relative_to(path / "images"))
        for one in item.annotations:
            corners = None
            if one.type == AnnotationType.bbox:
                corners = [float(corner) for corner in one.points]
            yield image, names[one.label], corners, float(one.attributes["score"])


def label_studio(path: Path) -> Iterator[Row]:
    """Predictions are held against the interface, and boxes are what the tool exports again."""
    from label_studio_sdk.converter import Converter
    from label_studio_sdk.label_interface import LabelInterface

    interface = path.with_name(path.name + ".interface.xml").read_text(encoding="utf-8")
    checked = LabelInterface(interface)
    checked.validate()
    tasks = json.loads(path.read_text(encoding="utf-8"))
    for number, task in enumerate(tasks):
        (prediction,) = task.pop("predictions")
        errors = checked.validate_prediction(prediction, return_errors=True)
        if errors:
            raise SystemExit(f"task {number}: {errors}")
        # What "create annotations from predictions" does.
        task |= {"id": number, "annotations": [{"id": number, **prediction}]}
        for one in prediction["result"]:
            if one["type"] == "choices":
                for name in one["value"]["choices"]:
                    yield task["data"]["image"], name, None, task["data"]["scores"][name]
    accepted, again = path.with_name("accepted.json"), path.with_name("again")
    accepted.write_text(json.dumps(tasks), encoding="utf-8")
    converter = Converter(interface, str(path.parent), download_resources=False)
    converter.convert_to_coco(str(accepted), str(again), is_dir=False)
    exported = json.loads((again / "result.json").read_text(encoding="utf-8"))
    names = {one["id"]: one["name"] for one in exported["categories"]}
    images = {one["id"]: one["file_name"] for one in exported["images"]}
    for one in exported["annotations"]:
        x, y, width, height = one["bbox"]
        corners = [x, y, x + width, y + height]
        yield images[one["image_id"]], names[one["category_id"]], corners, None


def fiftyone(path: Path) -> Iterator[Row]:
    """Its importer of such folders; what it makes would go into its database next."""
    os.environ |= {
        "FIFTYONE_DO_NOT_TRACK": "1",
        # There is none, and none is needed to read.
        "FIFTYONE_DATABASE_URI": "mongodb://localhost:1",
    }
    from fiftyone.utils.data.importers import FiftyOneImageDetectionDatasetImporter

    reader = FiftyOneImageDetectionDatasetImporter(dataset_dir=str(path), data_path="data.json")
    with reader:
        classes = reader.get_dataset_info()["classes"]
        for image, _, detections in reader:
            for one in detections.detections:
                if one.label not in classes:
                    raise SystemExit(f"{one.label} is none of the classes")
                x, y, width, height = one.bounding_box
                corners = None if one["whole_image"] else [x, y, x + width, y + height]
                yield image, one.label, corners, one.confidence


TOOLS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "datumaro": datumaro,
    "label_studio_sdk": label_studio,
    "fiftyone": fiftyone,
}


def main() -> None:
    """Print what a tool reads."""
    rows: list[Any] = list(TOOLS[sys.argv[1]](Path(sys.argv[2]).resolve()))
    # Tools print, too; this is the last line.
    sys.stdout.write("\n" + json.dumps(rows) + "\n")


if __name__ == "__main__":
    main()
