"""DICOM: the picture in such a file, as a viewer shows it; nothing else of the file comes out.

pydicom decodes, with whatever pixel handlers are installed. Modality LUT, then VOI LUT or window,
then MONOCHROME1 is inverted. Texts of errors are ours: those of a parser may quote the file, and a
file names patients.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from shortcut_finder.data.levels import Window, windowed
from shortcut_finder.errors import UnreadableImage

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = frozenset((".dcm", ".dicom", ".dic"))
# Bytes from which a file with a preamble is known.
KNOWN_FROM = 132
# A frame of a file: "scan.dcm#3", counted from 1 as the standard does.
FRAME = re.compile(r"(?P<file>.+)#(?P<frame>[1-9]\d{0,6})", re.S)
_MISSING = "a DICOM file; pip install 'shortcut-finder[dicom]' reads it"
# The size of a JPEG 2000 image: its marker, then width, height and where the picture begins.
_SIZE_OF_2000 = re.compile(rb"\xff\x4f\xff\x51.{4}(.{16})", re.S)
# A compressed file of this syntax may unfold into any number of bytes as soon as it is opened.
_DEFLATED = "1.2.840.10008.1.2.1.99"
_GREY = ("MONOCHROME1", "MONOCHROME2")


def is_dicom(data: bytes) -> bool:
    """Whether bytes begin with the preamble of a DICOM file."""
    return data[KNOWN_FROM - 4 : KNOWN_FROM] == b"DICM"


def has_preamble(path: Path) -> bool:
    """Whether there is a DICOM file of that name, by its first bytes."""
    # To open a pipe would be to wait for ever.
    if not is_file(path):
        return False
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(KNOWN_FROM))
    except OSError:
        return False


def framed(path: Path) -> tuple[Path, int]:
    """The file that a name stands for, and the number of the frame in it; 0 where it names none."""
    named = FRAME.fullmatch(path.name)
    if named is None or is_file(path):
        return path, 0
    return path.with_name(named["file"]), int(named["frame"])


def is_file(path: Path) -> bool:
    """Whether there is such a file."""
    try:
        return path.is_file()
    # Before Python 3.12 a name that no file can have raises.
    except (ValueError, OSError):
        return False


@dataclass(frozen=True, eq=False)
class DicomFile:
    """An opened file whose pixels are not decoded yet.

    Attributes:
        dataset: what pydicom read.
        width: of a frame, in pixels.
        height: of a frame, in pixels.
        frames: how many there are.
    """

    dataset: Dataset
    width: int
    height: int
    frames: int

    @property
    def mode(self) -> str:
        """Pillow's mode for pixels of that depth: ``RGB``, ``L`` or ``I;16``."""
        if self.dataset.PhotometricInterpretation not in _GREY:
            return "RGB"
        return "L" if self.dataset.BitsStored <= 8 else "I;16"


def open_dicom(data: bytes) -> DicomFile:
    """Open the bytes of a DICOM file.

    Args:
        data: with a preamble or, from old devices, without.

    Raises:
        UnreadableImage: with a reason in plain words, in which nothing of the file is quoted.
    """
    try:
        import pydicom
    except ImportError as error:
        raise UnreadableImage(_MISSING) from error
    with _told("cannot be read"):
        _refuse_deflated(io.BytesIO(data))
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
        if "PixelData" not in dataset:
            raise UnreadableImage("a DICOM file without a picture")
        frames = int(dataset.get("NumberOfFrames") or 1)
        return DicomFile(dataset, int(dataset.Columns), int(dataset.Rows), max(frames, 1))


def read_header(file: BinaryIO, keywords: Sequence[str]) -> dict[str, Any]:
    """Some elements of a file by keyword, without its pixels; those that it lacks are left out.

    Raises:
        UnreadableImage: it is damaged, or no DICOM file, or pydicom is not installed.
    """
    try:
        import pydicom
    except ImportError as error:
        raise UnreadableImage(_MISSING) from error
    with _told("cannot be read"):
        _refuse_deflated(file)
        file.seek(0)
        header = pydicom.dcmread(
            file, stop_before_pixels=True, force=True, specific_tags=list(keywords)
        )
    found = {}
    for keyword in keywords:
        # An element that is damaged is one that is not there.
        with suppress(UnreadableImage), _told("cannot be read"):
            if keyword in header:
                found[keyword] = header[keyword].value
    return found


def pixels_of(file: DicomFile, frame: int = 1, window: Window | None = None) -> np.ndarray:
    """A frame as a viewer shows it.

    Args:
        file: opened.
        frame: its number, from 1.
        window: instead of the one that the file states, in units after the modality LUT
            (Hounsfield units, where it is a CT).

    Returns:
        uint8, (row, column) of grey or (row, column, channel) of RGB.

    Raises:
        UnreadableImage: with a reason in plain words, in which nothing of the file is quoted.
    """
    if frame > file.frames:
        raise UnreadableImage(f"frame {frame} of a DICOM file that has {file.frames}")
    dataset = file.dataset
    with _told("damaged: its picture cannot be decoded"):
        _check_codec(dataset)
        _check_size(file, frame)
        from pydicom.pixels.processing import apply_color_lut
        from pydicom.pixels.utils import pixel_array

        values = pixel_array(dataset, index=frame - 1)
        if values.shape[:2] != (file.height, file.width):
            raise UnreadableImage(
                "a DICOM file, damaged: its picture has another size than it says"
            )
        flat = _flattened(dataset, frame)
        if dataset.PhotometricInterpretation in _GREY:
            grey = _grey(values, flat, window)
            return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey
        bits = int(dataset.BitsStored)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            values = apply_color_lut(values, dataset)
            bits = 8 * values.dtype.itemsize
        return windowed(values[:, :, :3], (0.0, 2.0**bits - 1))


def _grey(values: np.ndarray, dataset: Dataset, window: Window | None) -> np.ndarray:
    """Stored numbers of one frame as levels, before MONOCHROME1 is inverted."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    padding = _number(dataset, "PixelPaddingValue")
    inside = values != padding if padding is not None else np.ones(values.shape, dtype=bool)
    values = apply_modality_lut(values, dataset)
    if window is not None:
        return windowed(values, window)
    given = _given_range(dataset)
    if given is not None:
        return windowed(apply_voi_lut(values, dataset, index=0), given)
    # Nothing says what to show: all that there is.
    seen = values[inside] if inside.any() else values
    low, high = float(seen.min()), float(seen.max())
    return windowed(values, (low, high if high > low else low + 1))


def _given_range(dataset: Dataset) -> Window | None:
    """The ends of what a VOI LUT or window of the file makes; None where it has none that works."""
    tables = dataset.get("VOILUTSequence")
    if tables and "LUTDescriptor" in tables[0] and "LUTData" in tables[0]:
        return 0.0, 2.0 ** int(tables[0].LUTDescriptor[2]) - 1
    width = _number(dataset, "WindowWidth")
    exact = str(dataset.get("VOILUTFunction") or "LINEAR").upper() != "LINEAR"
    if width is None or _number(dataset, "WindowCenter") is None or width < (1e-6 if exact else 1):
        return None
    modality = dataset.get("ModalityLUTSequence")
    bits = int(modality[0].LUTDescriptor[2]) if modality else int(dataset.BitsStored)
    signed = bool(dataset.PixelRepresentation) and not modality
    low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    if slope is None or intercept is None:
        return low, high
    if slope <= 0:
        return None
    return low * slope + intercept, high * slope + intercept


def _number(dataset: Dataset, keyword: str) -> float | None:
    """The first value of an element; None where there is none."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return None
    return float(value if isinstance(value, (int, float, str)) else value[0])


def _flattened(dataset: Dataset, frame: int) -> Dataset:
    """The dataset with what its functional groups say of the frame (enhanced multi-frame files)."""
    from pydicom import Dataset as New

    groups = [
        sequence[place]
        for keyword, place in (
            ("PerFrameFunctionalGroupsSequence", frame - 1),
            ("SharedFunctionalGroupsSequence", 0),
        )
        if (sequence := dataset.get(keyword)) and len(sequence) > place
    ]
    flat = New()
    flat.update({element.tag: element for element in dataset if element.tag.group == 0x0028})
    for group in groups:
        for keyword in ("FrameVOILUTSequence", "PixelValueTransformationSequence"):
            for element in (group.get(keyword) or [()])[0]:
                if element.tag not in flat:
                    flat[element.tag] = element
    return flat


def _check_codec(dataset: Dataset) -> None:
    """Say so where no installed handler reads the compression."""
    from pydicom.pixels.decoders.base import get_decoder

    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        # Of the time before preambles: how the bytes were read is how the pixels lie.
        from pydicom.uid import ImplicitVRLittleEndian

        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        return
    known = syntax.is_transfer_syntax and not syntax.is_private
    if known and not syntax.is_compressed:
        return
    try:
        available = known and get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        name = syntax.name if known else "unknown means"
        raise UnreadableImage(
            f"a DICOM file compressed by {name}, which no installed pixel handler reads"
        )


def _check_size(file: DicomFile, frame: int) -> None:
    """Refuse a JPEG 2000 picture that unfolds into another size than the file says."""
    if "2000" not in file.dataset.file_meta.TransferSyntaxUID.name:
        return
    from pydicom.encaps import get_frame

    data = get_frame(file.dataset.PixelData, frame - 1, number_of_frames=file.frames)
    found = _SIZE_OF_2000.search(data)
    if found is None:
        raise UnreadableImage("a DICOM file, damaged: its JPEG 2000 picture has no size")
    width, height, left, top = struct.unpack(">4I", found.group(1))
    if (width - left, height - top) != (file.width, file.height):
        raise UnreadableImage("a DICOM file, damaged: its picture has another size than it says")


def _refuse_deflated(file: BinaryIO) -> None:
    """Refuse what would unfold into any number of bytes as soon as it is opened."""
    from pydicom.filereader import read_dataset

    start = file.read(KNOWN_FROM)
    file.seek(KNOWN_FROM if is_dicom(start) else 0)
    meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
    if meta.get("TransferSyntaxUID") == _DEFLATED:
        raise UnreadableImage("a deflated DICOM file; such ones are not read")


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Whatever a parser or decoder raises or says of hostile bytes, in words of our own."""
    log = logging.getLogger("pydicom")
    silent, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnreadableImage:
        raise
    except MemoryError as error:
        raise UnreadableImage("not enough memory to decode it") from error
    # Its text and that of its causes may name a patient.
    except Exception as error:
        raise UnreadableImage(f"a DICOM file, {what} ({type(error).__name__})") from error
    finally:
        log.disabled = silent
