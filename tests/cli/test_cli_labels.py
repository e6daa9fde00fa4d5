"""Labels and outputs on the command line: what is wrong is one line, and exit code 1."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from shortcut_finder.cli import app as cli

NETWORK = """
import numpy as np
from torch import nn

def one():
    pooled = (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*pooled, nn.Linear(8, 1))

def halves():
    return Grey([[0.5, 1.0]] * 3)

def nothing_known():
    return Grey([None] * 3)

class Grey:
    def __init__(self, targets):
        self.targets = targets

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return np.full((40, 40, 3), 90, np.uint8), self.targets[index]
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "network.py").write_text(NETWORK, encoding="utf-8")
    for label in ("ill", "well"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (40, 40), (60 * number, 90, 120)).save(
                tmp_path / "photos" / label / f"{number}.png"
            )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scan(*arguments: str) -> tuple[int, list[str]]:
    options = ("--model", "network.py:one", "--input-size", "40", "--out", "run", "--quiet")
    result = CliRunner().invoke(cli.app, ["scan", *arguments, *options])
    return result.exit_code, result.stderr.strip().splitlines()


def test_one_logit_is_scanned_with_its_class_by_name(home: Path) -> None:
    assert scan("photos", "--positive", "ill", "--no-verify") == (0, [])


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("", ("photos", "--positive", "sick"), "--positive sick: no such class"),
        ("image,a,b\n0.png,1,0.5\n", ("list.csv", "--label-columns", "a, b"), "row 1 has '0.5'"),
        ("image,a\n0.png,1\n", ("list.csv", "--label-columns", "a,c"), "no column c"),
        ("image,label:a\n0.png,-1\n", ("list.csv",), "all labels of all images are unknown"),
        ('image,labels\n0.png,"a,b"\n1.png,b\n', ("list.csv",), "look separated by ','"),
        ('image,labels\n0.png,"a,b"\n1.png,"b,c"\n', ("list.csv",), "look separated by ','"),
        ("image,labels\n0.png,a/b\n1.png,b\n", ("list.csv",), "look separated by '/'"),
        ("image,labels\n0.png,a b\n1.png,b\n2.png,a\n", ("list.csv",), "look separated by ' '"),
        ("image,labels\n0.png,\n1.png,\n", ("list.csv",), "all labels of all images are unknown"),
        ("image,label:a\n0.png,0.5\n", ("list.csv",), "row 1 has '0.5' in column label:a"),
        ("image,a\n0.png,1\n", ("photos", "--label-columns", "a"), "photos is no manifest"),
        ("", ("network.py:halves",), "item 0 has '0.5' in its labels"),
        ("", ("network.py:nothing_known",), "all labels of all images are unknown"),
        ("image,labels\n0.png,a|b\n1.png,b\n", ("list.csv",), "has 1 outputs but there are 2"),
    ],
)
def test_labels_that_cannot_be_used_end_in_one_line(
    home: Path, table: str, options: tuple[str, ...], message: str
) -> None:
    for number in range(2):
        (home / f"{number}.png").write_bytes((home / "photos/ill/0.png").read_bytes())
    (home / "list.csv").write_text(table, encoding="utf-8")
    code, lines = scan(*options)
    assert code == 1
    assert len(lines) == 1
    assert message in lines[0]
