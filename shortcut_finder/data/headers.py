"""Headers: what DICOM files say of how a picture was made, as columns of metadata.

Only elements of the equipment and the acquisition become columns, by a list of what is taken; what
names a person, a place or an event is read for nothing but to keep images of it together, as
numbers, and to leave out cells that repeat it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shortcut_finder.data import dicom
from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.groups import numbered
from shortcut_finder.data.reading import SUFFIXES
from shortcut_finder.data.sources import Files
from shortcut_finder.errors import DatasetError, UnreadableImage

# Elements that become columns: of the device, and of how it took the picture.
COLUMNS = (
    "Modality", "Manufacturer", "ManufacturerModelName", "StationName", "SoftwareVersions",
    "DetectorType", "BodyPartExamined", "ViewPosition", "Laterality", "ImageLaterality",
    "PatientPosition", "BurnedInAnnotation", "PhotometricInterpretation", "PresentationLUTShape",
    "LossyImageCompression", "BitsStored", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness",
    "KVP", "Grid", "ContrastBolusAgent",
)  # fmt: skip
# Elements that images can be kept together by, and short names for them; never written.
GROUPS = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
}
# What names a person or an event: a cell that repeats some of it is left empty.
_PRIVATE = (
    "PatientName", "PatientID", "PatientBirthDate", "OtherPatientIDs", "OtherPatientNames",
    "AccessionNumber", "StudyID", "ReferringPhysicianName", "PerformingPhysicianName",
    "OperatorsName", "InstitutionName", "InstitutionAddress", "PatientAddress",
)  # fmt: skip
# Letters from which a part of a name is long enough to be looked for in other cells.
_TELLING = 4
_LONGEST = 64


@dataclass(frozen=True)
class Header:
    """What is taken from one file.

    Attributes:
        columns: value by keyword, a number or a text.
        frames: how many it has.
        group: value of the element that images are kept together by; never written.
    """

    columns: Mapping[str, float | str]
    frames: int
    group: str


def with_headers(dataset: ImageDataset, frames: str, group: str | None) -> ImageDataset:
    """The dataset with what DICOM headers say as columns, with all frames where wanted.

    Args:
        dataset: of files; any other is given back as it is.
        frames: ``first``, or ``all``: ``scan.dcm`` becomes ``scan.dcm#1``, ``scan.dcm#2``...
        group: element that images are kept together by where no column has the name; ``patient``,
            ``study``, ``series``, or the keyword of one of them. Frames of one file are in any
            case.

    Raises:
        DatasetError: there is no such element in any file.
    """
    source = dataset.source
    if not isinstance(source, Files):
        return dataset
    keyword = None if group is None or group in dataset.metadata else GROUPS.get(group, group)
    if keyword not in GROUPS.values():
        keyword = None
    headers: dict[str, Header] = {}
    for image in dataset.images:
        header = _header(source.path(image), keyword)
        if header is not None:
            headers[image] = header
    if not headers:
        return dataset
    dataset = _with_columns(dataset, headers, keyword)
    return _with_frames(dataset, source, headers) if frames == "all" else _framed(dataset)


def _header(path: Path, group: str | None) -> Header | None:
    """What a file says; None where it is no DICOM file or cannot be read."""
    path, _ = dicom.framed(path)
    suffix = path.suffix.lower()
    if suffix in SUFFIXES and suffix not in dicom.SUFFIXES:
        return None
    wanted = (*COLUMNS, *_PRIVATE, *GROUPS.values(), "NumberOfFrames")
    try:
        with path.open("rb") as file:
            found = dicom.read_header(file, wanted)
    # The sweep says why.
    except (UnreadableImage, OSError, ValueError):
        return None
    secrets = {
        part.lower()
        for keyword in _PRIVATE
        for part in str(found.get(keyword, "")).replace("^", " ").split()
        if len(part) >= _TELLING
    }
    columns = {}
    for keyword in COLUMNS:
        value = _plain(found.get(keyword))
        if value is not None and not any(one in str(value).lower() for one in secrets):
            columns[keyword] = value
    frames = _plain(found.get("NumberOfFrames"))
    return Header(
        columns,
        int(frames) if isinstance(frames, float) and frames >= 1 else 1,
        str(found.get(group, "") if group else "").strip(),
    )


def _plain(value: Any) -> float | str | None:
    """A value as a cell: the first number of several, or a text; None where it is empty."""
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        parts = [_plain(one) for one in value]
        if parts and isinstance(parts[0], float):
            # The spacing of rows and columns.
            return parts[0]
        return "\\".join(str(part) for part in parts if part is not None)[:_LONGEST] or None
    if isinstance(value, (int, float)):
        return float(value)
    text = "" if value is None or isinstance(value, bytes) else " ".join(str(value).split())
    return text[:_LONGEST] or None


def _with_columns(
    dataset: ImageDataset, headers: Mapping[str, Header], group: str | None
) -> ImageDataset:
    """The dataset with a column for each element that some file has; the user's own stay."""
    table, columns = dataset.metadata, {}
    found = [headers.get(image) for image in dataset.images]
    for keyword in COLUMNS:
        cells = [None if one is None else one.columns.get(keyword) for one in found]
        if keyword in table or all(cell is None for cell in cells):
            continue
        numbers = all(cell is None or isinstance(cell, float) for cell in cells)
        columns[keyword] = pd.Series(
            cells if numbers else [None if cell is None else str(cell) for cell in cells],
            dtype=np.float64 if numbers else object,
        )
    dataset = dataclasses.replace(
        dataset, metadata=pd.concat([table, pd.DataFrame(columns, index=table.index)], axis=1)
    )
    if group is None:
        return dataset
    names = ["" if one is None else one.group for one in found]
    if not any(names):
        raise DatasetError(f"{dataset.name}: no file has the element {group}; leave --group out")
    return dataclasses.replace(dataset, groups=numbered(names))


def _with_frames(
    dataset: ImageDataset, source: Files, headers: Mapping[str, Header]
) -> ImageDataset:
    """Every frame as an image of its own."""
    names: list[str] = []
    rows: list[int] = []
    renamed = dict(source.renamed)
    for row, image in enumerate(dataset.images):
        header = headers.get(image)
        if header is None or header.frames == 1 or dicom.FRAME.fullmatch(image):
            names.append(image)
            rows.append(row)
            continue
        for number in range(1, header.frames + 1):
            names.append(f"{image}#{number}")
            rows.append(row)
            if image in source.renamed:
                renamed[names[-1]] = f"{source.renamed[image]}#{number}"
    return _framed(
        dataclasses.replace(
            dataset,
            images=tuple(names),
            labels=dataset.labels[rows],
            metadata=dataset.metadata.iloc[rows].reset_index(drop=True),
            groups=None if dataset.groups is None else dataset.groups[rows],
            source=dataclasses.replace(source, renamed=renamed),
        )
    )


def _framed(dataset: ImageDataset) -> ImageDataset:
    """The dataset with the frames of each file in a group, where nothing says otherwise."""
    if dataset.groups is not None:
        return dataset
    named = [dicom.FRAME.fullmatch(image) for image in dataset.images]
    if not any(named):
        return dataset
    files = ["" if one is None else one["file"] for one in named]
    return dataclasses.replace(dataset, groups=numbered(files))
