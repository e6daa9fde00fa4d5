"""Headers: how DICOM files were made becomes columns; whom they show never does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shortcut_finder.data.dataset import load_dataset
from shortcut_finder.data.loading import open_dataset
from shortcut_finder.errors import DatasetError

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")

from scans import SECRETS, bytes_of, ramp, scan_of, write_scan  # noqa: E402


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for label, maker in (("ill", "Aurora"), ("well", "Borealis")):
        for number in range(3):
            scan = scan_of(
                ramp(side=8),
                Manufacturer=maker,
                StationName=f"ROOM{number}",
                PixelSpacing=[0.139, 0.139],
                BurnedInAnnotation="NO",
                PatientID=f"MRN-{number}-{label}"[:-1],
            )
            write_scan(tmp_path / "scans" / label / f"{number}.dcm", scan)
    return tmp_path / "scans"


def test_class_folders_hold_scans_by_ending_and_by_preamble(scans: Path) -> None:
    write_scan(scans / "ill" / "IM000001", scan_of(ramp(side=8)))
    write_scan(scans / "well" / "1.2.840.113619.2", scan_of(ramp(side=8)))
    (scans / "well" / "README").write_text("not a scan")
    dataset = load_dataset(scans)
    assert dataset.images == (
        "ill/0.dcm", "ill/1.dcm", "ill/2.dcm", "ill/IM000001",
        "well/0.dcm", "well/1.2.840.113619.2", "well/1.dcm", "well/2.dcm",
    )  # fmt: skip
    assert dataset.read(3).format == "DICOM"


def test_elements_of_the_device_become_columns_and_no_others_do(scans: Path) -> None:
    table = open_dataset(scans).metadata
    assert table["Manufacturer"].tolist() == ["Aurora"] * 3 + ["Borealis"] * 3
    assert table["StationName"].tolist() == ["ROOM0", "ROOM1", "ROOM2"] * 2
    assert table["PixelSpacing"].tolist() == [0.139] * 6
    assert table["BitsStored"].tolist() == [12.0] * 6
    assert not [name for name in table.columns if "Patient" in name or "Institution" in name]
    text = table.to_csv()
    assert not [secret for secret in SECRETS if secret in text]


def test_a_cell_that_repeats_who_it_is_about_is_left_empty(scans: Path) -> None:
    scan = scan_of(ramp(side=8), Manufacturer="Aurora", StationName="QUARTERMAIN BED")
    write_scan(scans / "ill" / "0.dcm", scan)
    assert open_dataset(scans).metadata["StationName"].isna().tolist() == [True] + [False] * 5


def test_the_users_own_columns_stay_and_broken_files_have_none(scans: Path) -> None:
    (scans / "ill" / "0.dcm").write_bytes(bytes_of(scan_of(ramp(side=8)))[:140])
    images = [f"{label}/{number}.dcm" for label in ("ill", "well") for number in range(3)]
    facts = pd.DataFrame({"image": images, "Manufacturer": list("pqrstu")})
    facts.to_csv(scans.parent / "facts.csv", index=False)
    table = open_dataset(scans, metadata=scans.parent / "facts.csv").metadata
    assert table["Manufacturer"].tolist() == list("pqrstu")
    assert table["StationName"].isna().tolist() == [True] + [False] * 5


def test_all_frames_are_images_that_stay_together(scans: Path) -> None:
    frames = np.arange(3 * 64, dtype=np.uint16).reshape(3, 8, 8)
    write_scan(scans / "ill" / "film.dcm", scan_of(frames, Manufacturer="Film"))
    assert "ill/film.dcm" in open_dataset(scans).images
    assert open_dataset(scans).groups is None
    dataset = open_dataset(scans, frames="all")
    film = [image for image in dataset.images if "film" in image]
    assert film == ["ill/film.dcm#1", "ill/film.dcm#2", "ill/film.dcm#3"]
    assert dataset.groups is not None
    here = np.array(["film" in image for image in dataset.images])
    assert len(set(dataset.groups[here])) == 1
    assert len(set(dataset.groups)) == 7
    first = dataset.images.index(film[0])
    assert dataset.read(first).content != dataset.read(first + 1).content
    assert set(dataset.metadata["Manufacturer"][here]) == {"Film"}


def test_a_manifest_may_name_frames(scans: Path) -> None:
    frames = np.stack([np.full((8, 8), 100 * n, dtype=np.uint16) for n in range(3)])
    write_scan(scans / "film.dcm", scan_of(frames, WindowCenter=128, WindowWidth=257))
    rows = [("film.dcm#3", "ill"), ("film.dcm#1", "well")]
    pd.DataFrame(rows, columns=["image", "label"]).to_csv(scans / "list.csv", index=False)
    dataset = open_dataset(scans / "list.csv", frames="all")
    assert dataset.images == ("film.dcm#1", "film.dcm#3")
    assert dataset.groups is not None
    assert dataset.groups[0] == dataset.groups[1]
    levels = [np.asarray(dataset.read(n).picture).max() for n in (0, 1)]
    assert levels[0] < levels[1]


@pytest.mark.parametrize("name", ["patient", "PatientID"])
def test_images_of_one_patient_are_a_group_and_the_patient_is_no_column(
    scans: Path, name: str
) -> None:
    write_scan(scans / "well" / "9.dcm", scan_of(ramp(side=8), PatientID="MRN-1-wel"))
    dataset = open_dataset(scans, group=name)
    assert dataset.groups is not None
    assert dataset.groups.dtype == np.int64
    assert len(set(dataset.groups)) == 6
    assert (
        dataset.groups[dataset.images.index("well/9.dcm")]
        == dataset.groups[dataset.images.index("well/1.dcm")]
    )
    assert "MRN" not in dataset.metadata.to_csv()


def test_a_column_of_groups_is_taken_out_of_the_metadata(scans: Path) -> None:
    dataset = open_dataset(scans, group="StationName")
    assert "StationName" not in dataset.metadata
    assert dataset.groups is not None
    assert dataset.groups.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_group_that_nothing_says_is_one_line(scans: Path) -> None:
    with pytest.raises(DatasetError, match=r"no column 'video'.*Manufacturer.*--metadata"):
        open_dataset(scans, group="video")
    with pytest.raises(DatasetError, match="no file has the element SeriesInstanceUID"):
        open_dataset(scans, group="series")


def test_the_window_reaches_files_and_items(tmp_path: Path) -> None:
    from PIL import Image

    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        values = np.array([[0, 1000], [2000, 4000]], dtype=np.uint16)
        for name in ("deep.png", "deep.tiff"):
            Image.fromarray(values).save(tmp_path / label / name)
        Image.fromarray((values // 16).astype(np.uint8)).save(tmp_path / label / "usual.png")
    dataset = open_dataset(tmp_path, window=(1000.0, 2000.0))
    for number in (0, 1):
        seen = np.asarray(dataset.read(number).picture)[:, :, 0]
        assert seen.tolist() == [[0, 0], [255, 255]]
    # Of 8 bits there is nothing to choose from.
    assert np.asarray(dataset.read(2).picture)[:, :, 0].tolist() == (values // 16).tolist()

    items = [(values, 0), (values, 1)]
    dataset = open_dataset(items, window=(0.0, 4000.0))
    assert np.asarray(dataset.read(1).picture)[:, :, 0].tolist() == [[0, 64], [128, 255]]
