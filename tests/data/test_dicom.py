"""DICOM: read as a reference reader does; damaged files give a reason that quotes nothing."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shortcut_finder.data import reading
from shortcut_finder.data.reading import read_file
from shortcut_finder.errors import UnreadableImage

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")

from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array  # noqa: E402
from scans import (  # noqa: E402
    PLAIN,
    SECRETS,
    as_jpeg2000,
    bytes_of,
    damaged,
    ramp,
    scan_of,
    with_table,
    wrapped,
)


def read(folder: Path, data: bytes, name: str = "scan.dcm", **how: Any) -> reading.ReadImage:
    file, _, _ = name.partition("#")
    (folder / file).write_bytes(data)
    return read_file(folder / name, **how)


def grey(image: reading.ReadImage) -> np.ndarray:
    levels = np.asarray(image.picture)
    assert (levels == levels[:, :, :1]).all()
    return levels[:, :, 0].astype(int)


def reference(scan: Any, low: float, high: float, frame: int = 0) -> np.ndarray:
    """What pydicom's own functions make of it, on levels from 0 to 255."""
    again = pydicom.dcmread(io.BytesIO(bytes_of(scan)))
    seen = apply_voi_lut(apply_modality_lut(pixel_array(again, index=frame), again), again)
    levels = np.rint((seen.astype(float) - low) / (high - low) * 255).clip(0, 255)
    return 255 - levels if again.PhotometricInterpretation == "MONOCHROME1" else levels


def as_rle(scan: Any) -> Any:
    scan.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    return scan


def as_jpeg(scan: Any) -> Any:
    file = io.BytesIO()
    Image.fromarray(scan.pixel_array).save(file, "JPEG", quality=95)
    return wrapped(scan, file.getvalue(), pydicom.uid.JPEGBaseline8Bit)


CT = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400}
CASES = {
    "12 bit": (lambda: scan_of(ramp(12), **PLAIN), (0, 4095)),
    "12 bit, inverted": (
        lambda: scan_of(ramp(12), PhotometricInterpretation="MONOCHROME1", **PLAIN), (0, 4095),
    ),
    "8 bit": (lambda: scan_of(ramp(8), bits=8, WindowCenter=128, WindowWidth=256), (0, 255)),
    "Hounsfield units": (lambda: scan_of(ramp(12), **CT), (-1024, 3071)),
    "signed": (
        lambda: scan_of(ramp(16, signed=True), bits=16, WindowCenter=100, WindowWidth=900),
        (-32768, 32767),
    ),
    "two windows": (
        lambda: scan_of(ramp(12), WindowCenter=[1000, 90], WindowWidth=[500, 20]), (0, 4095),
    ),
    "sigmoid": (
        lambda: scan_of(ramp(12), VOILUTFunction="SIGMOID", WindowCenter=1500, WindowWidth=800),
        (0, 4095),
    ),
    "VOI LUT": (
        lambda: with_table(
            scan_of(ramp(12)), "VOILUTSequence", np.arange(4096)[::-1] // 16, 0, 8
        ),
        (0, 255),
    ),
    "modality LUT": (
        lambda: with_table(
            scan_of(ramp(12), WindowCenter=5000, WindowWidth=6000, ModalityLUTSequence=[]),
            "ModalityLUTSequence", np.arange(4096) * 3, 0, 16,
        ),
        (0, 65535),
    ),
    "JPEG 2000": (lambda: as_jpeg2000(scan_of(ramp(12), **PLAIN)), (0, 4095)),
    "JPEG 2000, inverted": (
        lambda: as_jpeg2000(
            scan_of(ramp(12), PhotometricInterpretation="MONOCHROME1", **PLAIN)
        ),
        (0, 4095),
    ),
    "RLE": (lambda: as_rle(scan_of(ramp(12), **PLAIN)), (0, 4095)),
    "JPEG": (
        lambda: as_jpeg(scan_of(ramp(8), bits=8, WindowCenter=100, WindowWidth=80)), (0, 255),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_file_is_read_as_a_reference_reader_does(tmp_path: Path, name: str) -> None:
    make, ends = CASES[name]
    image = read(tmp_path, bytes_of(make()))
    assert np.abs(grey(image) - reference(make(), *ends)).max() <= 1
    assert len(np.unique(grey(image))) > 8
    assert (image.format, image.width, image.height) == ("DICOM", 64, 64)


def test_monochrome1_is_monochrome2_turned_over(tmp_path: Path) -> None:
    one = read(tmp_path, bytes_of(scan_of(ramp(), PhotometricInterpretation="MONOCHROME1")))
    two = read(tmp_path, bytes_of(scan_of(ramp())))
    assert (grey(one) == 255 - grey(two)).all()
    assert (grey(two)[0, 0], grey(two)[-1, -1]) == (0, 255)


def test_a_stated_window_takes_the_place_of_the_file_s_own(tmp_path: Path) -> None:
    image = read(tmp_path, bytes_of(scan_of(ramp(12), **CT)), window=(-1000.0, 1000.0))
    hounsfield = ramp(12).astype(float) - 1024
    expected = np.rint((hounsfield + 1000) / 2000 * 255).clip(0, 255)
    assert (grey(image) == expected).all()


def test_without_a_window_all_that_is_no_padding_is_shown(tmp_path: Path) -> None:
    pixels = np.full((8, 8), 1000, dtype=np.uint16)
    pixels[0], pixels[1] = 0, 2000
    assert sorted(set(grey(read(tmp_path, bytes_of(scan_of(pixels)))).ravel())) == [0, 128, 255]
    padded = scan_of(pixels, PixelPaddingValue=0)
    padded["PixelPaddingValue"].VR = "US"
    assert sorted(set(grey(read(tmp_path, bytes_of(padded))).ravel())) == [0, 255]
    assert set(grey(read(tmp_path, bytes_of(scan_of(pixels * 0)))).ravel()) == {0}


def test_frames_have_numbers_from_one(tmp_path: Path) -> None:
    frames = np.stack([np.full((64, 64), 500 * n, dtype=np.uint16) for n in range(4)])
    for scan in (scan_of(frames, **PLAIN), as_jpeg2000(scan_of(frames, **PLAIN))):
        data = bytes_of(scan)
        first = read(tmp_path, data)
        assert first.picture.getpixel((0, 0)) == (0, 0, 0)
        named = [read(tmp_path, data, f"scan.dcm#{n}") for n in (1, 2, 3, 4)]
        for number, image in enumerate(named):
            assert (grey(image) == round(500 * number / 4095 * 255)).all()
            assert image.bytes == len(data) // 4
        assert len({image.content for image in (first, *named)}) == 5
        with pytest.raises(UnreadableImage, match="frame 5 of a DICOM file that has 4"):
            read(tmp_path, data, "scan.dcm#5")


def test_a_file_whose_own_name_looks_like_a_frame_is_that_file(tmp_path: Path) -> None:
    data = bytes_of(scan_of(ramp(), **PLAIN))
    (tmp_path / "scan.dcm#3").write_bytes(data)
    assert read_file(tmp_path / "scan.dcm#3").content == reading.content_hash(data)


def test_functional_groups_say_the_window_of_each_frame(tmp_path: Path) -> None:
    scan = scan_of(np.full((2, 8, 8), 1000, dtype=np.uint16))
    scan.PerFrameFunctionalGroupsSequence = []
    for centre in (1000, 1200):
        window, group = pydicom.Dataset(), pydicom.Dataset()
        window.WindowCenter, window.WindowWidth = centre, 800
        group.FrameVOILUTSequence = [window]
        scan.PerFrameFunctionalGroupsSequence.append(group)
    data = bytes_of(scan)
    levels = [grey(read(tmp_path, data, f"scan.dcm#{n}"))[0, 0] for n in (1, 2)]
    assert levels == [128, 64]


def test_colours_come_out_as_they_are(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = read(tmp_path, bytes_of(scan_of(colours, bits=8)))
    assert (np.asarray(image.picture) == colours).all()
    assert image.mode == "RGB"


def test_a_preamble_is_enough_and_so_is_the_ending(tmp_path: Path) -> None:
    data = bytes_of(scan_of(ramp(), **PLAIN))
    wanted = grey(read(tmp_path, data))
    assert (grey(read(tmp_path, data, "IM000001")) == wanted).all()
    assert (grey(read(tmp_path, data[132:], "old.DCM")) == wanted).all()
    with pytest.raises(UnreadableImage, match="not an image"):
        read(tmp_path, data[132:], "old.png")


@pytest.mark.parametrize("name", damaged())
def test_a_damaged_file_gives_a_reason_that_quotes_nothing(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data, reason = damaged()[name]
    with pytest.raises(UnreadableImage, match=reason) as caught:
        read(tmp_path, data)
    text = str(caught.value) + "".join(capfd.readouterr())
    assert "\n" not in str(caught.value)
    assert not [secret for secret in SECRETS if secret in text]


def test_any_byte_may_be_wrong(tmp_path: Path) -> None:
    whole = bytes_of(scan_of(ramp(side=6), **PLAIN))
    rng = np.random.default_rng(0)
    said = []
    for _ in range(150):
        broken = bytearray(whole)
        for place in rng.integers(128, len(whole), 4):
            broken[place] = rng.integers(256)
        try:
            read(tmp_path, bytes(broken))
        except UnreadableImage as error:
            said.append(str(error))
    assert said
    assert not [secret for secret in SECRETS if secret in " ".join(said)]
    assert not logging.getLogger("pydicom").disabled


def test_without_pydicom_the_reason_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes_of(scan_of(ramp()))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UnreadableImage, match=r"pip install 'shortcut-finder\[dicom\]'"):
        read(tmp_path, data)
