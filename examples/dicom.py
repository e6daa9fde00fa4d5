"""Scan DICOM files: the device that took them names the shortcut, and no patient is named.

Draws chest-like pictures of 12 bits as DICOM files: half of the ill come from an emergency room
whose device burns a marker into a corner. A small network with one grey channel learns them, and
the scan says what it learned. Needs `pip install 'shortcut-finder[dicom]'`.

    python dicom.py --out scans/
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from pydicom import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from torch import nn

import shortcut_finder as sf

SIDE = 128


def chest(rng: np.random.Generator, ill: bool, marked: bool) -> np.ndarray:
    """Two lungs, with some shade in them where ill and a marker in a corner, uint16 of 12 bits."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    shape = rng.uniform(0.9, 1.1, 3)
    lungs = np.minimum(
        *(
            ((rows - 0.52) / (0.34 * shape[0])) ** 2 + ((columns - at) / (0.16 * shape[1])) ** 2
            for at in (0.31, 0.69)
        )
    )
    values = np.where(lungs < 1, 1300.0, 2500.0) + rng.normal(0, 130, (SIDE, SIDE))
    if ill:
        y, x = rng.uniform(0.35, 0.7), rng.choice([0.31, 0.69]) + rng.uniform(-0.05, 0.05)
        values += 500 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 0.006)
    if marked:
        tag = Image.new("L", (SIDE, SIDE))
        font = ImageFont.load_default(size=SIDE // 9)
        ImageDraw.Draw(tag).text((SIDE * 0.62, SIDE * 0.03), "PORT", fill=255, font=font)
        values = np.where(np.asarray(tag) > 127, 3900, values)
    return (values * rng.uniform(0.92, 1.08)).clip(0, 4095).astype(np.uint16)


def write_scan(path: Path, pixels: np.ndarray, patient: str, maker: str, station: str) -> None:
    """One file, as a digital X-ray device writes it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    scan = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    scan.SOPClassUID, scan.SOPInstanceUID = meta.MediaStorageSOPClassUID, generate_uid()
    scan.PatientName, scan.PatientID = f"Somebody^{patient}", patient
    scan.Modality, scan.Manufacturer, scan.StationName = "DX", maker, station
    scan.ViewPosition, scan.PixelSpacing = "AP", [0.4, 0.4]
    scan.Rows, scan.Columns = pixels.shape
    scan.SamplesPerPixel, scan.PhotometricInterpretation = 1, "MONOCHROME2"
    scan.BitsAllocated, scan.BitsStored, scan.HighBit, scan.PixelRepresentation = 16, 12, 11, 0
    scan.WindowCenter, scan.WindowWidth = 2048, 4096
    scan.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    scan.save_as(path, enforce_file_format=True)


def draw(folder: Path, each: int) -> None:
    """The data set: two pictures a patient, and the emergency room for half of the ill."""
    rng = np.random.default_rng(0)
    for label in ("ill", "well"):
        for number in range(each):
            emergency = label == "ill" and number % 4 < 2
            write_scan(
                folder / label / f"{number:03d}.dcm",
                chest(rng, label == "ill", emergency),
                patient=f"{label}-{number // 2:03d}",
                maker="Aurora" if emergency else "Borealis",
                station="EMERGENCY" if emergency else f"ROOM{number % 3}",
            )


def grey_network() -> nn.Sequential:
    """A small network whose input has one channel."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 48, 3, 2, 1), nn.BatchNorm2d(48), nn.ReLU(),
        nn.Conv2d(48, 64, 3, 1, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2),
    )  # fmt: skip


def learned(folder: Path, epochs: int) -> nn.Module:
    """The network, trained on what the scan will see, read by the same reader."""
    dataset = sf.load_dataset(folder)
    pixels = np.stack([np.asarray(dataset.read(n).picture)[:, :, 0] for n in range(len(dataset))])
    images = (torch.from_numpy(pixels).float()[:, None] / 255 - 0.5) / 0.25
    labels = torch.from_numpy(dataset.labels)
    torch.manual_seed(0)
    network = grey_network()
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(labels)), 16):
            loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval()


def main() -> None:
    """Draw, learn, scan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("scans"))
    parser.add_argument("--each", type=int, default=120, help="files of each class")
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    images, run_folder = options.out / "images", options.out / "run"
    draw(images, options.each)
    settings = sf.Settings(
        input_size=SIDE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), group="patient"
    )
    run = sf.scan(
        images, learned(images, options.epochs), out=run_folder, settings=settings, progress=False
    )
    for finding in run.details:
        print(f"{finding['finding']} ({finding['verdict']}): {finding['sentence']}")
        for beside in finding["metadata"]:
            print(f"   {beside['sentence']}")
    print(f"look at {run_folder / 'report.html'}")


if __name__ == "__main__":
    main()
