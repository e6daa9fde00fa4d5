"""Scans: DICOM files made for tests, with a patient in each whose name must never come out."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from pydicom import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)

# What an output file must not hold.
IDENTIFIERS = {
    "PatientName": "Zebediah^Quartermain",
    "PatientID": "MRN-5550123",
    "PatientBirthDate": "19370419",
    "PatientAddress": "17 Thistledown Lane",
    "AccessionNumber": "ACC778899",
    "ReferringPhysicianName": "Okonkwo^Ludmilla",
    "InstitutionName": "Bramblewick Infirmary",
    "StudyID": "STUDY-4711",
    "OtherPatientIDs": "ALT-90210",
    "PatientComments": "sister of Wilhelmina",
    "StudyDate": "20310217",
    "AcquisitionDateTime": "20310218101112",
    "StudyDescription": "after the fall at Hollowbrook",
    "OperatorsName": "Fitzgibbon^Ada",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.8675309",
    "DeviceSerialNumber": "SN-31415926",
}
SECRETS = (
    "Zebediah", "Quartermain", "MRN-5550123", "19370419", "Thistledown", "ACC778899", "Okonkwo",
    "Ludmilla", "Bramblewick", "STUDY-4711", "ALT-90210", "Wilhelmina", "20310217", "20310218",
    "Hollowbrook", "Fitzgibbon", "498.8675309", "SN-31415926",
)  # fmt: skip

PLAIN = {"WindowCenter": 2048, "WindowWidth": 4096}


def ramp(bits: int = 12, side: int = 64, signed: bool = False) -> np.ndarray:
    """Every level from the lowest to the highest, (row, column)."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    levels = np.linspace(low, high, side * side).round()
    kind = ("int" if signed else "uint") + ("8" if bits <= 8 else "16")
    return levels.reshape(side, side).astype(kind)


def scan_of(pixels: np.ndarray, *, bits: int = 12, **elements: object) -> FileDataset:
    """A file of these pixels, (row, column), (frame, row, column) or (row, column, 3)."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["scan"])
    scan = FileDataset("scan.dcm", {}, file_meta=meta, preamble=b"\0" * 128)
    colours = pixels.ndim == 3 and pixels.shape[2] == 3
    scan.SOPClassUID, scan.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID,
    )  # fmt: skip
    if pixels.ndim == 3 and not colours:
        scan.NumberOfFrames = len(pixels)
    scan.Rows, scan.Columns = pixels.shape[:2] if colours else pixels.shape[-2:]
    scan.SamplesPerPixel = 3 if colours else 1
    if colours:
        scan.PlanarConfiguration = 0
    scan.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    scan.BitsAllocated = 8 * pixels.dtype.itemsize
    scan.BitsStored, scan.HighBit = bits, bits - 1
    scan.PixelRepresentation = int(pixels.dtype.kind == "i")
    scan.PixelData = pixels.tobytes()
    for keyword, value in {**IDENTIFIERS, **elements}.items():
        setattr(scan, keyword, value)
    return scan


def with_table(scan: Dataset, sequence: str, table: np.ndarray, first: int, bits: int) -> Dataset:
    """The scan with a modality or VOI LUT."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(table), first, bits])
    item.add_new("LUTData", "US", table.astype(np.uint16).tolist())
    setattr(scan, sequence, [item])
    return scan


def as_jpeg2000(scan: FileDataset) -> FileDataset:
    """The scan with its pixels compressed without loss."""
    scan.compress(JPEG2000Lossless, generate_instance_uid=False)
    return scan


def wrapped(scan: FileDataset, frame: bytes, syntax: str) -> FileDataset:
    """The scan with a compressed frame of any kind in the place of its pixels."""
    scan.PixelData = encapsulate([frame])
    scan["PixelData"].VR = "OB"
    scan.file_meta.TransferSyntaxUID = UID(syntax)
    return scan


def bytes_of(scan: FileDataset) -> bytes:
    """The file's bytes."""
    file = io.BytesIO()
    scan.save_as(file, enforce_file_format=True)
    return file.getvalue()


def write_scan(path: Path, scan: FileDataset) -> Path:
    """Write the file; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes_of(scan))
    return path


def damaged() -> dict[str, tuple[bytes, str]]:
    """Files that cannot be read, with a pattern of what is said of them."""
    whole = bytes_of(scan_of(ramp(), **PLAIN))
    huge = scan_of(ramp())
    huge.Rows = huge.Columns = 60000
    lying = as_jpeg2000(scan_of(ramp()))
    lying.Rows = 8
    bare = scan_of(ramp())
    del bare.PixelData
    shapeless = scan_of(ramp())
    del shapeless.Rows
    colour = scan_of(ramp(), PhotometricInterpretation="MONOCHROME7")
    wild = bytearray(whole)
    wild[300:340] = b"\xff" * 40
    deflated = scan_of(ramp())
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return {
        "truncated": (whole[:-100], "a DICOM file, damaged"),
        "cut in the header": (whole[:400], "a DICOM file"),
        "the preamble alone": (whole[:132], "a DICOM file without a picture"),
        "no pixels": (bytes_of(bare), "a DICOM file without a picture"),
        "no rows": (bytes_of(shapeless), "a DICOM file, cannot be read"),
        "noise": (b"\0" * 128 + b"DICM" + bytes(range(256)) * 8, "a DICOM file"),
        "overwritten": (bytes(wild), "a DICOM file"),
        "no such colours": (bytes_of(colour), "a DICOM file, damaged"),
        "a bomb": (bytes_of(huge), "too large"),
        "another size inside": (bytes_of(lying), "another size"),
        "JPEG-LS": (
            bytes_of(wrapped(scan_of(ramp()), b"\xff\xd8" + b"x" * 40, "1.2.840.10008.1.2.4.80")),
            "compressed by JPEG-LS Lossless.* no installed",
        ),
        "a codec of its own": (
            bytes_of(wrapped(scan_of(ramp()), b"x" * 40, "1.2.3.4.5")), "compressed by unknown",
        ),
        "JPEG 2000 of noise": (
            bytes_of(wrapped(scan_of(ramp()), b"x" * 40, "1.2.840.10008.1.2.4.90")), "no size",
        ),
        "deflated": (bytes_of(deflated), "deflated"),
    }  # fmt: skip
