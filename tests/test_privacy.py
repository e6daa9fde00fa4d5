"""Privacy: nothing leaves the machine, and the pages ask nobody for anything."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import paste, stamp, texture
from torch import nn

import shortcut_finder as sf
from shortcut_finder.report.page import write_report
from shortcut_finder.run.decisions import Decisions
from shortcut_finder.schema import to_json

TEMPLATES = Path(__file__).parent.parent / "templates"


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 24, 5, 4, 2), nn.ReLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.ReLU()
        )
        self.head = nn.Linear(32, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images).mean((2, 3)))


class RefusedError(AssertionError):
    """Something wanted to speak to another machine."""


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    made = socket.socket.__init__

    def refuse(*_: Any, **__: Any) -> Any:
        raise RefusedError("the network was asked for")

    def local_only(self: socket.socket, family: int = -1, *more: Any, **named: Any) -> None:
        # What processes of this machine say to each other is no network.
        if family != socket.AF_UNIX:
            refuse()
        made(self, family, *more, **named)

    monkeypatch.setattr(socket.socket, "__init__", local_only)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)


def draw(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True)
        for number in range(40):
            grey = texture(rng, 64)
            if name == "bee" and number % 2:
                grey = paste(grey, stamp(0, 16), 2, 2)
            picture = np.stack([grey, grey * 0.9, grey * 0.8], axis=2).clip(0, 255)
            Image.fromarray(picture.astype(np.uint8)).save(root / name / f"{number:03d}.png")
    return root


@pytest.mark.usefixtures("words", "_no_network")
def test_no_command_speaks_to_another_machine(tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        socket.socket(socket.AF_INET)
    with pytest.raises(RefusedError):
        socket.create_connection(("localhost", 9))
    data, network = draw(tmp_path / "data"), Network()
    settings = sf.Settings(input_size=64, precision="fp32", workers=1)
    run = sf.scan(data, network, out=tmp_path / "run", settings=settings, progress=False)
    assert len(run.findings)
    write_report(sf.load_run(tmp_path / "run"))
    accepted = Decisions(run.fingerprint, dict.fromkeys(run.findings["finding"], "accept"))
    (tmp_path / "decisions.json").write_bytes(to_json(accepted.as_dict()))
    decisions = tmp_path / "decisions.json"
    sf.clean(run, "mask", out=tmp_path / "cleaned", decisions=decisions)
    sf.compare(run, run, out=tmp_path / "comparison")
    for to in ("coco", "cvat", "label-studio", "fiftyone", "csv"):
        sf.export(run, to, tmp_path / f"export-{to}")
    image = data / "bee" / "001.png"
    explained = sf.explain(network, image, classes=["ant", "bee"], settings=settings)
    assert explained is not None


@pytest.mark.parametrize("template", ["base.html"])
def test_pages_forbid_all_they_do_not_need(template: str) -> None:
    page = (TEMPLATES / template).read_text(encoding="utf-8")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "script-src": "'{{ script_hash }}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # Before anything that it should hold for.
    assert page.index("Content-Security-Policy") < page.index("<style")


def test_every_page_stands_on_the_base_and_runs_nothing_inline() -> None:
    # The page of `review` has a policy of its own, which its server sends.
    parts = {"base.html", "macros.html", "finding.html", "classes.html", "review.html"}
    for path in TEMPLATES.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert path.name in parts or text.startswith('{% extends "base.html" %}'), path.name
        assert not re.search(r"<[^>]*\son[a-z]+\s*=|javascript:|<iframe|<object|<embed", text)
        assert not re.search(r"(src|href)=[\"'](https?:)?//", text), path.name
