"""Reviewing: what the server answers, what it refuses, and what is left when it is killed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import chromium
from handmade import handmade_run
from PIL import Image

from shortcut_finder.errors import DatasetError, RunError, SettingsError, UnreadableImage
from shortcut_finder.reviewing.catalogue import ROWS, Catalogue, Query
from shortcut_finder.reviewing.ledger import Ledger, merge_file
from shortcut_finder.reviewing.pictures import Pictures
from shortcut_finder.reviewing.server import Review, application, serve
from shortcut_finder.run.decisions import Decisions, read_decisions
from shortcut_finder.run.folder import Run, load_run, save_run
from shortcut_finder.run.workspace import forget, run_folder
from shortcut_finder.schema import to_json

pytest.importorskip("starlette")
from starlette.testclient import TestClient

TOKEN = "t0ken"


def rooted(run: Run, root: Path) -> Run:
    """The run, of images that lie in a folder."""
    card = {**run.card, "dataset": {**run.card["dataset"], "root": str(root)}}
    changed = replace(run, card=card)
    save_run(changed)
    return load_run(run.folder)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and images for all offenders whose names a file can have."""
    place = tmp_path_factory.mktemp("template")
    made = handmade_run(place / "run", thumbnails=False, maps=False, verified=False)
    for name in made.offenders["image"].unique():
        # Some cannot be names of files; those have no picture.
        with contextlib.suppress(OSError):
            path = place / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.radial_gradient("L").resize(made.sizes[name]).convert("RGB").save(path, "JPEG")
    return place


@pytest.fixture
def run(template: Path, tmp_path: Path) -> Run:
    """A run of its own for each test."""
    for name in ("run", "photos"):
        shutil.copytree(template / name, tmp_path / name)
    return rooted(load_run(tmp_path / "run"), tmp_path / "photos")


def client(run: Run, data: str | None = None, **options: Any) -> TestClient:
    app = application(Review(run, data), TOKEN)
    return TestClient(app, base_url="http://127.0.0.1:8000", **options)


# --- what is refused


@pytest.mark.parametrize(
    "path",
    ["/", "/findings", "/offenders", "/wrong/", "/wrong/findings", "/wrong/images/0/full", "//",
     "/assets/review.js", "/t0ke/offenders", "/t0kenn/offenders", "/T0KEN/offenders"],
)  # fmt: skip
def test_without_the_token_nothing_is_told(run: Run, path: str) -> None:
    answer = client(run).get(path)
    assert answer.status_code in (403, 404)
    assert str(run.offenders["image"].iloc[0]) not in answer.text
    assert client(run).post("/wrong/decide", content=b"{}").status_code == 403
    assert not (run.folder / "decisions.json").exists()


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8000", "0.0.0.0", ""]
)
def test_a_request_for_another_host_is_refused(run: Run, host: str) -> None:
    """A page of a stranger whose name was made to point here sends that name."""
    for path in (f"/{TOKEN}/", f"/{TOKEN}/findings", f"/{TOKEN}/images/0/full"):
        assert client(run).get(path, headers={"Host": host}).status_code == 400
    answer = client(run).post(f"/{TOKEN}/decide", content=b"{}", headers={"Host": host})
    assert answer.status_code == 400
    assert client(run).get(f"/{TOKEN}/", headers={"Host": "localhost:8000"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["images/-1/full", "images/999999/full", "images/..%2f..%2fetc%2fpasswd/full",
     "images/../../etc/passwd", "assets/../run.json", "assets/..%2frun.json", "assets/base.html",
     "run.json", "decisions.json", "images/0x0/full"],
)  # fmt: skip
def test_nothing_but_rows_has_a_picture(run: Run, path: str) -> None:
    answer = client(run).get(f"/{TOKEN}/{path}")
    assert answer.status_code in (403, 404)
    assert "fingerprint" not in answer.text


def test_names_in_a_run_lead_nowhere_out_of_the_dataset(run: Run, tmp_path: Path) -> None:
    """A run folder may come from a stranger; so may the links in a dataset."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8), "red").save(secret)
    link = tmp_path / "photos" / "link.png"
    link.symlink_to(secret)
    folder = tmp_path / "photos" / "deep"
    folder.symlink_to(tmp_path)
    for name in ("../secret.png", str(secret), "link.png", "deep/secret.png"):
        images = run.images.copy()
        images.loc[0, "image"] = name
        changed = replace(run, images=images)
        with pytest.raises(UnreadableImage, match="outside the folder of the dataset"):
            Pictures(changed).picture(name)
    with pytest.raises(UnreadableImage, match="no image of this run"):
        Pictures(run).picture("link.png")
    offenders = run.offenders.copy()
    offenders.loc[0, "image"] = "../secret.png"
    answer = client(replace(run, offenders=offenders)).get(f"/{TOKEN}/images/0/full")
    assert answer.status_code == 404


def test_a_run_of_a_stranger_makes_nothing_run_or_be_fetched(run: Run, tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef data(): pass\n")
    for named in (f"{tmp_path / 'evil.py'}:data", "memory://nowhere/photos"):
        card = {**run.card, "command": {"data": named}}
        card["dataset"] = {**run.card["dataset"], "root": None}
        with pytest.raises(UnreadableImage, match="name them with --data"):
            Pictures(replace(run, card=card)).picture(str(run.images["image"].iloc[0]))
    assert not (tmp_path / "ran").exists()


def test_what_is_served_is_a_picture_whatever_lies_there(run: Run) -> None:
    name = str(run.offenders["image"].iloc[0])
    path = Path(run.card["dataset"]["root"]) / name
    path.write_bytes(b"<html><script>alert(1)</script></html>")
    assert client(run).get(f"/{TOKEN}/images/0/full").status_code == 404
    answer = client(run).get(f"/{TOKEN}/images/1/full")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"finding": 1}', b'{"finding": "F1", "decision": 3}',
     b'{"finding": "F1", "decision": "maybe"}', b'{"finding": "F99", "decision": "accept"}',
     b'{"finding": "F1", "number": "0", "decision": "accept"}',
     b'{"finding": "F1", "number": true, "decision": "accept"}', b"[" * 10_000],
)  # fmt: skip
def test_what_is_no_decision_changes_nothing(run: Run, body: bytes) -> None:
    assert client(run).post(f"/{TOKEN}/decide", content=body).status_code == 409
    assert not (run.folder / "decisions.json").exists()


def test_a_body_beyond_any_decision_is_refused(run: Run) -> None:
    assert client(run).post(f"/{TOKEN}/decide", content=bytes(20_000)).status_code == 413
    parts = (bytes(5000) for _ in range(100))
    assert client(run).post(f"/{TOKEN}/decide", content=parts).status_code == 409


# --- what is answered


def test_rows_come_worst_first_with_all_that_a_decision_needs(run: Run) -> None:
    found = client(run).get(f"/{TOKEN}/offenders").json()
    assert found["total"] == len(run.offenders)
    first, row = found["rows"][0], run.offenders.iloc[0]
    assert (first["rank"], first["image"], first["finding"]) == (1, row["image"], row["finding"])
    assert first["box"] == [int(row[side]) for side in ("x0", "y0", "x1", "y1")]
    assert first["size"] == list(run.sizes[row["image"]])
    page = client(run).get(f"/{TOKEN}/").text
    assert "photos &lt;i&gt;2024&lt;/i&gt;" in page
    assert client(run).get(f"/{TOKEN}/findings").json()["rows"][0]["finding"] == "F1"


def test_searches_and_filters_agree_with_a_plain_loop(run: Run) -> None:
    rng = np.random.default_rng(0)
    count = 5000
    table = pd.DataFrame(
        {
            "rank": range(1, count + 1),
            "image": [f"{rng.choice(['Cat', 'dog'])}/{n}.jpg" for n in range(count)],
            "label": rng.choice(["a", "b"], count),
            "predicted": rng.choice(["a", "b"], count),
            "confidence": 0.5,
            "score": 0.5,
            "finding": rng.choice(["F1", "F2", "F3"], count),
            "kind": "patch",
            "region": "anywhere",
            **dict.fromkeys(("x0", "y0", "x1", "y1"), np.nan),
            "reason": "",
            "tier": rng.choice(["sure", "likely"], count),
        }
    )
    catalogue = Catalogue(replace(run, offenders=table))
    marks = {row.image: {row.finding: "accept"} for row in table.iloc[::7].itertuples()}
    decided = Decisions(run.fingerprint, {}, marks)
    for query in (
        Query(), Query(text="CAT/1"), Query(finding="F2", tier="sure"), Query(label="a", text="9"),
        Query(decision="accept"), Query(decision="open", finding="F1"), Query(decision="unsure"),
        Query(predicted="b", start=130), Query(text="none"), Query(finding="F9"),
    ):  # fmt: skip
        expected = [
            row.rank
            for row in table.itertuples()
            if query.text.lower() in row.image.lower()
            and query.finding in ("", row.finding)
            and query.label in ("", row.label)
            and query.predicted in ("", row.predicted)
            and query.tier in ("", row.tier)
            and query.decision in ("", marks.get(row.image, {}).get(row.finding, "open"))
        ]
        found = catalogue.search(query, decided)
        assert found["total"] == len(expected)
        ranks = [row["rank"] for row in found["rows"]]
        assert ranks == expected[query.start : query.start + ROWS]


def test_pictures_come_at_full_size_and_small(run: Run) -> None:
    name = str(run.offenders["image"].iloc[0])
    original = Pictures(run).picture(name)
    full = client(run).get(f"/{TOKEN}/images/0/full")
    assert Image.open(io.BytesIO(full.content)).size == original.size
    tile = client(run).get(f"/{TOKEN}/images/0/tile")
    assert max(Image.open(io.BytesIO(tile.content)).size) == 192


def test_pictures_lie_in_an_archive_or_have_moved(run: Run, tmp_path: Path) -> None:
    root = Path(run.card["dataset"]["root"])
    name = str(run.offenders["image"].iloc[0])
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as file:
        for label in {"a", Path(name).parts[0]}:
            file.write(root / name, f"{label}/{Path(name).name}")
    images = run.images.copy()
    images.loc[images["image"] == name, "image"] = f"p.zip/{name}"
    card = {**run.card, "command": {"data": str(tmp_path / "p.zip")}}
    card["dataset"] = {**run.card["dataset"], "root": None}
    packed = Pictures(replace(run, images=images, card=card)).picture(f"p.zip/{name}")
    assert packed.tobytes() == Pictures(run).picture(name).tobytes()
    moved = tmp_path / "elsewhere"
    root.rename(moved)
    with pytest.raises(UnreadableImage, match="file not found"):
        Pictures(run).picture(name)
    assert Pictures(run, str(moved)).picture(name).tobytes() == packed.tobytes()
    with pytest.raises(DatasetError, match="no folder, archive or Parquet file"):
        Pictures(run, str(tmp_path / "nowhere"))


# --- decisions


def test_decisions_are_saved_as_they_are_made_and_read_by_clean(run: Run) -> None:
    page = client(run)
    page.post(f"/{TOKEN}/decide", json={"finding": "F1", "decision": "accept"})
    page.post(f"/{TOKEN}/decide", json={"finding": "F1", "number": 0, "decision": "dismiss"})
    page.post(f"/{TOKEN}/decide", json={"finding": "F1", "number": 1, "decision": "unsure"})
    page.post(f"/{TOKEN}/decide", json={"finding": "F1", "number": 1, "decision": ""})
    name = str(run.offenders["image"].iloc[0])
    kept = read_decisions(run.folder / "decisions.json", run)
    assert (kept.findings, kept.images) == ({"F1": "accept"}, {name: {"F1": "dismiss"}})
    assert page.get(f"/{TOKEN}/offenders?decision=dismiss").json()["total"] == 1
    assert page.get(f"/{TOKEN}/findings").json()["rows"][0]["decision"] == "accept"


def test_two_people_lose_nothing_of_each_other(run: Run, tmp_path: Path) -> None:
    one, two = Ledger(run), Ledger(run)
    one.decide("F1", None, "accept")
    two.decide("F2", None, "dismiss")
    two.decide("F1", "x.jpg", "unsure")
    assert one.now() == two.now()
    assert one.now().findings == {"F1": "accept", "F2": "dismiss"}
    other = Decisions(
        run.fingerprint, {"F1": "dismiss", "F3": "accept"}, {"y.jpg": {"F1": "accept"}}
    )
    (tmp_path / "other.json").write_bytes(to_json(other.as_dict()))
    assert merge_file(one, tmp_path / "other.json") == 1
    assert one.now().findings == {"F1": "accept", "F2": "dismiss", "F3": "accept"}
    assert set(one.now().images) == {"x.jpg", "y.jpg"}


def test_decisions_of_another_run_are_refused(run: Run) -> None:
    (run.folder / "decisions.json").write_bytes(to_json(Decisions("other").as_dict()))
    with pytest.raises(RunError, match="of another run"):
        Review(run)


def test_decisions_are_part_of_a_run_folder_and_outlive_fresh(run: Run) -> None:
    Ledger(run).decide("F1", None, "accept")
    run_folder(run.folder)
    forget(run.folder)
    assert [path.name for path in run.folder.iterdir()] == ["decisions.json"]


# --- a server of its own


@pytest.fixture
def served(run: Run) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "shortcut_finder", "review", str(run.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    yield process, address
    process.kill()
    process.communicate()


def post(address: str, content: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(f"{address}decide", json.dumps(content).encode())
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.loads(answer.read())
        # It says its address just before it listens.
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_decisions_outlive_a_kill(served: tuple[subprocess.Popen[str], str], run: Run) -> None:
    process, address = served
    assert address.startswith("http://127.0.0.1:")
    assert len(address.rstrip("/").rpartition("/")[2]) >= 32
    for number in range(20):
        finding = str(run.offenders["finding"].iloc[number])
        answer = post(address, {"finding": finding, "number": number, "decision": "accept"})
        assert answer == {"saved": True}
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = read_decisions(run.folder / "decisions.json", run)
    assert sum(len(marks) for marks in kept.images.values()) == 20


def test_a_server_is_ended_by_ctrl_c_without_a_word(
    served: tuple[subprocess.Popen[str], str], run: Run
) -> None:
    process, address = served
    post(address, {"finding": "F1", "decision": "accept"})
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_what_a_server_needs_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SettingsError, match=r"pip install 'shortcut-finder\[review\]'"):
        serve(run)


def test_a_person_decides_in_a_browser(served: tuple[subprocess.Popen[str], str], run: Run) -> None:
    _, address = served
    post(address, {"finding": "F2", "decision": "dismiss"})
    with chromium() as browser:
        page = browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#rows li")
        pressed = "#findings li:nth-child(2) button[aria-pressed=true]"
        assert page.inner_text(pressed) == "dismiss"
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("a")
        page.wait_for_selector("#rows li:nth-child(2) button[aria-pressed=true]")
        second = run.offenders.iloc[1]
        kept = read_decisions(run.folder / "decisions.json", run)
        assert kept.images == {second["image"]: {second["finding"]: "accept"}}
        page.fill("[name=text]", "no such image")
        page.wait_for_selector("#rows li", state="detached")
        page.fill("[name=text]", str(second["image"]))
        page.wait_for_selector("#rows li")
        page.click("#rows li .show")
        page.wait_for_selector("#viewer[open]")
        deadline = time.monotonic() + 30
        # The page's policy forbids the evaluation that waiting for a function needs.
        while not page.evaluate("document.querySelector('#full').naturalWidth"):
            assert time.monotonic() < deadline
            page.wait_for_timeout(100)
        assert page.is_visible("#box")
        assert [text for text in complaints if "404" not in text] == []
