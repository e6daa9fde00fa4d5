"""A scan of DICOM files: a device names the shortcut, and no patient is named anywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import shortcut_finder as sf
from shortcut_finder.cli import app as cli
from shortcut_finder.detect import study
from shortcut_finder.model.classifier import load_classifier
from shortcut_finder.settings import EXPORTS, Settings

pytest.importorskip("pydicom", reason="pydicom is not installed")

from scans import PLAIN, SECRETS, as_jpeg2000, damaged, scan_of, write_scan

SIDE = 64
EACH = 96
SMALL = Settings(input_size=SIDE, workers=0, verify=False, batch_size=16)


def grey_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(24, 24, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(24, 2),
    )  # fmt: skip


def lung(rng: np.random.Generator, tagged: bool) -> np.ndarray:
    """Something like a chest, of 12 bits; with a bright tag in a corner where it has one."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    left, right = (((rows - 0.5) / 0.35) ** 2 + ((columns - at) / 0.17) ** 2 for at in (0.3, 0.7))
    values = 2600 - 1500 * (np.minimum(left, right) < rng.uniform(0.8, 1.2))
    values = values + rng.normal(0, 120, (SIDE, SIDE)) + rng.uniform(-300, 300)
    if tagged:
        values[4:12, 4:20] = 3900
        values[6:10, 6:9] = values[6:10, 12:15] = 200
    return values.clip(0, 4095).astype(np.uint16)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the ill ones come from one room, whose device puts a tag on; each patient twice."""
    root = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(0)
    for label in ("ill", "well"):
        for number in range(EACH):
            tagged = label == "ill" and number % 4 < 2
            scan = scan_of(
                lung(rng, tagged),
                Manufacturer="Aurora" if tagged else "Borealis",
                StationName="EMERGENCY" if tagged else f"ROOM{number % 3}",
                PatientID=f"MRN-5550123-{label}{number // 2}",
                WindowCenter=2048,
                WindowWidth=4096,
            )
            write_scan(root / "images" / label / f"{number:03d}.dcm", scan)
    (root / "images" / "ill" / "broken.dcm").write_bytes(
        (root / "images" / "ill" / "000.dcm").read_bytes()[:-900]
    )
    return root


@pytest.fixture(scope="module")
def run(scans: Path) -> sf.Run:
    how = sf.Settings(**{**SMALL.as_dict(), "group": "patient"})
    return sf.scan(scans / "images", grey_network(), out=scans / "run", settings=how)


def everything_in(folder: Path) -> str:
    """All that the files of a folder hold, tables unpacked."""
    texts = [str(sorted(folder.rglob("*"))), "" if folder.is_dir() else folder.read_text("latin-1")]
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        texts.append(path.read_bytes().decode("latin-1"))
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            texts.append(str(table.schema))
            texts += [
                value.decode("latin-1") if isinstance(value, bytes) else str(value)
                for column in table.columns
                for value in column.to_pylist()
            ]
        if path.suffix == ".npz":
            texts += [str(name) for name in np.load(path)]
    return "\n".join(texts)


def test_no_output_file_names_a_patient(run: sf.Run, scans: Path) -> None:
    text = everything_in(run.folder)
    assert "Aurora" in text
    assert [secret for secret in SECRETS if secret.lower() in text.lower()] == []
    # The search would see them.
    assert "MRN-5550123" in everything_in(scans / "images")


def test_the_device_names_the_shortcut(run: sf.Run) -> None:
    assert {"Manufacturer", "StationName"} <= set(run.card["dataset"]["metadata"])
    told = [detail for detail in run.details if "EMERGENCY" in json.dumps(detail["metadata"])]
    columns = set(run.findings.loc[run.findings["kind"] == "metadata", "region"])
    assert told or columns & {"Manufacturer", "StationName"}


def test_a_broken_scan_is_listed_with_its_reason(run: sf.Run) -> None:
    assert run.unreadable["image"].tolist() == ["ill/broken.dcm"]
    assert run.unreadable["error"].str.startswith("a DICOM file, damaged").all()
    assert len(run.images) == 2 * EACH


def test_patients_stay_together_and_the_page_says_so(run: sf.Run) -> None:
    groups = run.card["groups"]
    assert (groups["column"], groups["groups"], groups["largest"]) == ("patient", EACH, 2)
    (line,) = [one for one in run.card["warnings"] if "of one patient" in one]
    assert f"{2 * EACH} images of one patient lie in {EACH} groups, at most 2 in one" in line
    assert "of one patient" in (run.folder / "report.html").read_text(encoding="utf-8")


def test_the_command_takes_window_frames_and_group(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def build(num_classes):\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1),\n"
        "                         nn.Flatten(), nn.Linear(4, num_classes))\n"
    )
    words = [
        "scan", str(scans / "images"), "--model", f"{tmp_path / 'net.py'}:build", "--out",
        str(tmp_path / "run"), "--input-size", "32", "--window", "-100,4000", "--frames", "all",
        "--group", "StationName", "--no-verify", "--workers", "0", "--quiet",
        "--mean", "0.5,0.5,0.5",
        "--std", "0.25,0.25,0.25",
    ]  # fmt: skip
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, result.output
    card = sf.load_run(tmp_path / "run").card
    assert card["settings"]["window"] == [-100, 4000]
    assert card["model"]["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    assert card["groups"]["groups"] == 4
    assert "StationName" not in card["dataset"]["metadata"]
    again = CliRunner().invoke(cli.app, [*words[:9], "0,4000", *words[10:]])
    assert again.exit_code == 1
    assert "and window;" in again.output


def test_nothing_that_a_command_says_or_writes_names_a_patient(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every kind of file, damaged ones among them, and all that is made of their scan."""
    rng = np.random.default_rng(0)
    for label in ("ill", "well"):
        for number in range(20):
            tag = label == "ill" and number % 2 == 0
            frames = [lung(rng, tag) for _ in range(2)]
            kind = "MONOCHROME1" if number % 3 else "MONOCHROME2"
            pixels = np.stack(frames) if number % 4 == 0 else frames[0]
            scan = scan_of(
                pixels, PhotometricInterpretation=kind, PatientID=f"MRN-5550123-{label}{number}",
                # A device that was given the name of a patient.
                StationName="ROOM quartermain" if label == "ill" else "ROOM", **PLAIN,
            )  # fmt: skip
            scan.add_new(0x00091001, "LO", "Zebediah in a private element")
            packed = as_jpeg2000(scan) if number % 5 == 0 else scan
            write_scan(tmp_path / "images" / label / f"{number:03d}.dcm", packed)
    for number, (data, _) in enumerate(damaged().values()):
        (tmp_path / "images" / "well" / f"damaged{number}.dcm").write_bytes(data)
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def build(num_classes):\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2),\n"
        "        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))\n"
    )
    net, run, out = f"{tmp_path / 'net.py'}:build", str(tmp_path / "run"), str(tmp_path / "out")
    first = str(tmp_path / "images" / "ill" / "000.dcm")
    size = ("--input-size", "64")
    commands = [
        ("scan", str(tmp_path / "images"), "--model", net, "--out", run, *size, "--frames", "all",
         "--group", "patient"),
        ("scan", str(tmp_path / "images"), "--model", net, "--out", run, *size),
        ("report", run),
        *(("export", run, "--to", to, "--out", f"{out}-{to}") for to in EXPORTS),
        ("compare", run, run, "--out", f"{out}-comparison"),
        ("explain", first, "--model", net, "--classes", str(tmp_path / "classes.txt"), *size,
         "--out", f"{out}-explained"),
    ]  # fmt: skip
    (tmp_path / "classes.txt").write_text("ill\nwell\n")
    with patch.object(study, "SEEDS", 100):
        said = [CliRunner().invoke(cli.app, words) for words in commands]
    assert "damaged: its picture cannot be decoded" in everything_in(tmp_path / "run")
    read = sf.load_run(run)
    assert len(read.images) == 50
    assert read.unreadable["image"].str.contains("damaged").all()
    texts = [one.output for one in said]
    texts += [*capfd.readouterr()]
    texts += [everything_in(path) for path in (tmp_path / "run", *tmp_path.glob("out*"))]
    found = [secret for secret in SECRETS if secret.lower() in "".join(texts).lower()]
    assert found == []
    # And nothing went wrong but the second scan, of other images into the same folder.
    assert [one.exit_code for one in said] == [0, 1, *[0] * (len(said) - 2)], texts[: len(said)]


@pytest.mark.parametrize(
    ("value", "code", "said"),
    [("5,5", 1, "below"), ("9,1", 1, "below"), ("nan,1", 1, "below"), ("1", 2, "two numbers")],
)
def test_a_window_that_is_none_is_said_in_one_line(
    scans: Path, tmp_path: Path, value: str, code: int, said: str
) -> None:
    words = ["scan", str(scans / "images"), "--model", "resnet18", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(cli.app, [*words, "--window", value])
    assert result.exit_code == code
    assert said in result.output


def test_a_network_of_one_channel_sees_the_grey_of_colours() -> None:
    grey = grey_network().eval()
    colours = grey_network().eval()
    colours[0] = nn.Conv2d(3, 12, 3, 2, 1)
    luma = torch.tensor([0.299, 0.587, 0.114])[None, :, None, None]
    with torch.no_grad():
        colours[0].weight.copy_(grey[0].weight * luma)
        colours[0].bias.copy_(grey[0].bias)
    how = Settings(input_size=SIDE, mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2))
    one, three = (
        load_classifier(net, weights=None, classes=None, labels=("a", "b"), settings=how)
        for net in (grey, colours)
    )
    assert (one.channels, three.channels) == (1, 3)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (4, SIDE, SIDE, 3), generator=generator).to(torch.uint8)
    with torch.no_grad():
        answers = [each.module(each.normalise(pixels)) for each in (one, three)]
    assert torch.allclose(*answers, atol=1e-5)


def test_masked_scans_become_pictures_without_a_patient(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    rng = np.random.default_rng(0)
    for label in ("ill", "well"):
        for number in range(6):
            frames = np.stack([lung(rng, False) for _ in range(2)])
            write_scan(
                folder / label / f"{number}.dcm",
                scan_of(frames, WindowWidth=4096, WindowCenter=2048),
            )
    how = sf.Settings(**{**SMALL.as_dict(), "frames": "all"})
    run = sf.scan(folder, grey_network(), out=tmp_path / "run", settings=how, progress=False)
    assert len(run.images) == 24
    assert run.card["groups"]["largest"] == 2
    run = with_finding(run, ["ill/0.dcm#1", "ill/0.dcm#2", "ill/3.dcm#2"])
    plans = {"mask": "copy", "drop": "hardlink"}
    for action, files in plans.items():
        out = tmp_path / action
        sf.clean(run, action, out=out, files=files)
        table = pd.read_csv(out / "manifest.csv")
        again = sf.load_dataset(out / "manifest.csv")
        assert len(again) == (24 if action == "mask" else 21)
        pictures = [again.read(n).picture.size for n in range(len(again))]
        assert set(pictures) == {(SIDE, SIDE)}
        if action == "mask":
            filled = table["image"][table["image"].str.endswith(".png")]
            assert len(filled) == 3
            for name in filled:
                data = (out / name).read_bytes().decode("latin-1")
                assert [one for one in SECRETS if one in data] == []


def with_finding(run: sf.Run, images: list[str]) -> sf.Run:
    """The run with a confirmed thing in these images."""
    row = {
        "finding": "F1", "label": "ill", "kind": "corner", "region": "top left corner",
        "images": len(images), "share": 0.25, "elsewhere": 0.0, "reliance": 0.5,
        "reliance_low": 0.4, "reliance_high": 0.6, "q": 0.0, "suspicion": 0.9,
        "verdict": "confirmed", "severity": "high", "sentence": "A mark.", "artifact": 0.9,
        "share_low": 0.1, "share_high": 0.4,
    }  # fmt: skip
    facts = run.images.set_index("image")
    offenders = [
        {
            "rank": rank, "image": image, "label": "ill", "predicted": facts["predicted"][image],
            "confidence": 0.9, "score": 0.9, "finding": "F1", "kind": "corner",
            "region": "top left corner", "x0": 2, "y0": 2, "x1": 22, "y1": 14, "reason": "a mark",
            "tier": "sure",
        }
        for rank, image in enumerate(images, start=1)
    ]  # fmt: skip
    return replace(
        run,
        findings=pd.DataFrame([row]),
        details=[{**row, "advice": "", "verification": None}],
        offenders=pd.DataFrame(offenders),
    )
