"""Examples: each runs as its own text says, on a tiny dataset."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import torchvision
from forked import Python
from typer.testing import CliRunner

from shortcut_finder.cli import app as cli
from shortcut_finder.demo.dataset import make_dataset
from shortcut_finder.demo.shapes import SHAPES
from shortcut_finder.run.decisions import Decisions
from shortcut_finder.run.folder import load_run

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PER_CLASS = 12
Example = Callable[..., str]


@pytest.fixture(scope="module")
def example(python: Python) -> Example:
    """Runs a script in a process of its own, and says what it printed."""

    def run(*arguments: object, cwd: Path) -> str:
        result = python(*arguments, cwd=cwd)
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout

    return run


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    make_dataset(folder, per_class=PER_CLASS, progress=False)
    (folder / "images" / "mug" / "broken.jpg").write_bytes(b"")
    return folder / "images"


def check_run(folder: Path) -> None:
    run = load_run(folder)
    assert len(run.images) == PER_CLASS * len(SHAPES)
    assert run.unreadable["image"].tolist() == ["mug/broken.jpg"]
    assert (folder / "report.html").stat().st_size > 1000


def test_every_example_is_run_by_a_test() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    names = [path.name for path in EXAMPLES.glob("*.py")]
    assert len(names) == 9
    assert [name for name in names if f'EXAMPLES / "{name}"' not in text] == []


def test_training_a_torchvision_network_then_the_quickstart_on_it(
    example: Example, photos: Path, tmp_path: Path
) -> None:
    script = EXAMPLES / "train_classifier.py"
    options = ("--network", "resnet18", "--epochs", 1, "--input-size", 64, "--out", "trained")
    printed = example(script, photos, *options, cwd=tmp_path)
    assert "left out: mug/broken.jpg" in printed
    names = (tmp_path / "trained/classes.txt").read_text(encoding="utf-8").split()
    assert names == sorted(SHAPES)
    quickstart = (EXAMPLES / "quickstart.py", photos, "--model", "resnet18", "--input-size", 64)
    printed = example(*quickstart, "--weights", "trained/weights.pt", "--out", "run", cwd=tmp_path)
    check_run(tmp_path / "run")
    assert "look at run/report.html" in printed


def test_the_command_that_training_prints_scans_the_folder(
    example: Example, photos: Path, tmp_path: Path
) -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="efficientnet-lite is not installed")
    script = EXAMPLES / "train_classifier.py"
    options = ("--epochs", 1, "--input-size", 64, "--out", tmp_path / "trained")
    printed = example(script, photos, *options, cwd=tmp_path)
    command = shlex.split(printed.splitlines()[-1])
    assert command[0] == "shortcut-finder"
    example("-m", "shortcut_finder", *command[1:], cwd=tmp_path)
    check_run(tmp_path / "trained" / "run")


def test_a_network_of_your_own(example: Example, photos: Path, tmp_path: Path) -> None:
    sys.path.insert(0, str(EXAMPLES))
    try:
        from own_model import build
    finally:
        sys.path.remove(str(EXAMPLES))
    # The outputs in another order than the folders have: the file of names says so.
    names = sorted(SHAPES, reverse=True)
    torch.save(build(len(names)).state_dict(), tmp_path / "weights.pt")
    (tmp_path / "classes.txt").write_text("\n".join(names), encoding="utf-8")
    script = EXAMPLES / "own_model.py"
    printed = example(script, photos, "weights.pt", "classes.txt", "run", cwd=tmp_path)
    check_run(tmp_path / "run")
    assert load_run(tmp_path / "run").card["model"]["classes"] == names
    assert "look at run/report.html" in printed


def test_a_channel_of_your_own_from_the_command(
    example: Example, photos: Path, tmp_path: Path
) -> None:
    network = torchvision.models.resnet18(num_classes=len(SHAPES))
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    channel = EXAMPLES / "corner_colours.py"
    options = ("--model", "resnet18", "--weights", "weights.pt", "--input-size", 64, "--no-verify")
    own = ("--channels", f"looks,{channel}:propose", "--out", "run")
    example("-m", "shortcut_finder", "scan", photos, *options, *own, cwd=tmp_path)
    check_run(tmp_path / "run")
    assert load_run(tmp_path / "run").card["settings"]["channels"] == [
        "looks",
        f"{channel}:propose",
    ]


def test_several_labels_an_image_and_the_command_in_its_text(
    example: Example, tmp_path: Path
) -> None:
    script = EXAMPLES / "multilabel.py"
    options = ("--images", 60, "--rounds", 1, "--out", "several")
    printed = example(script, *options, cwd=tmp_path)
    assert "look at several/run/report.html" in printed
    run = load_run(tmp_path / "several" / "run")
    assert run.card["dataset"]["classes"] == ["cross", "ring", "stripes", "triangle"]
    assert run.card["model"]["outputs"] == "sigmoid"
    text = script.read_text(encoding="utf-8")
    (command,) = re.findall(r"shortcut-finder (scan (?:.*\\\n)+.*)", text)
    words = shlex.split(command.replace("\\\n", " ").replace("examples/multilabel.py", str(script)))
    again = [*words[:-1], "again"]
    example("-m", "shortcut_finder", *again, cwd=tmp_path)
    assert (load_run(tmp_path / "again").findings == run.findings).all(axis=None)


def test_the_notebook_runs_from_top_to_bottom(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (EXAMPLES / "notebook_style.py").read_text(encoding="utf-8")
    smaller = text.replace("PER_CLASS = 60", "PER_CLASS = 12").replace("EPOCHS = 20", "EPOCHS = 1")
    assert smaller.count(" = 12\n") == 1
    assert smaller.count(" = 1\n") == 1
    (tmp_path / "notebook.py").write_text(smaller, encoding="utf-8")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    example("notebook.py", cwd=tmp_path)
    (folder,) = tmp_path.glob("shortcut-finder-*")
    assert (folder / "explanation.png").stat().st_size > 1000
    run = load_run(folder / "run")
    assert len(run.images) == PER_CLASS * len(SHAPES)
    assert isinstance(run.offenders, pd.DataFrame)


def test_the_loop_of_cleaning_ends_in_one_line_where_there_is_nothing_to_clean(
    example: Example, photos: Path, tmp_path: Path
) -> None:
    script = EXAMPLES / "clean_and_retrain.py"
    options = ("--network", "resnet18", "--epochs", 1, "--input-size", 64, "--out", "loop")
    # A network of one epoch relies on nothing yet; the demo's slow test goes all the way round.
    with pytest.raises(AssertionError, match=r"error: .*nothing to clean"):
        example(script, photos, "--test", photos, *options, cwd=tmp_path)
    before = tmp_path / "loop" / "before"
    check_run(before / "run")
    assert not (tmp_path / "loop" / "cleaned").exists()
    # What was reviewed is taken as it is: the decisions fit it, and nothing is trained first.
    decisions = Decisions(load_run(before / "run").fingerprint).as_dict()
    (tmp_path / "decisions.json").write_text(json.dumps(decisions), encoding="utf-8")
    options = (*options[:-1], "again", "--before", before, "--decisions", "decisions.json")
    with pytest.raises(AssertionError, match=r"error: .*nothing was accepted"):
        example(script, photos, "--test", photos, *options, cwd=tmp_path)
    assert not (tmp_path / "again").exists()


def test_scans_of_which_the_device_names_the_shortcut(example: Example, tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="pydicom is not installed")
    options = ("--out", "scans", "--each", 24, "--epochs", 1)
    printed = example(EXAMPLES / "dicom.py", *options, cwd=tmp_path)
    run = load_run(tmp_path / "scans" / "run")
    assert len(run.images) == 48
    assert run.card["groups"] == {
        "column": "patient", "groups": 24, "largest": 2, "near_duplicates": 0,
    }  # fmt: skip
    assert "look at scans/run/report.html" in printed
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"Somebody\^|ill-0\d\d", printed + page)


def test_a_watch_over_training_scans_when_it_is_its_turn(example: Example, tmp_path: Path) -> None:
    options = ("--out", "watch", "--per-class", 6, "--epochs", 2, "--every", 2)
    printed = example(EXAMPLES / "training_callback.py", *options, cwd=tmp_path)
    assert len(re.findall(r"loss \d", printed)) == 2
    assert re.findall(r"epoch (\d).*loud findings", printed) == ["2"]
    assert load_run(tmp_path / "watch" / "scans" / "epoch-2").card["counts"]["scanned"] == 36


def test_the_loop_of_cleaning_looks_at_the_test_images_before_it_trains(
    example: Example, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "fresh" / "zebra").mkdir(parents=True)
    shutil.copy(next((photos / "star").glob("*.jpg")), tmp_path / "fresh" / "zebra")
    with pytest.raises(AssertionError, match=r"error: .*'zebra' is no class of the train"):
        example(EXAMPLES / "clean_and_retrain.py", photos, "--test", "fresh", cwd=tmp_path)
    assert not (tmp_path / "loop").exists()


def test_the_example_of_a_gate_uses_options_that_exist() -> None:
    text = (EXAMPLES / "dataset-gate.yml").read_text(encoding="utf-8")
    commands = re.findall(r"shortcut-finder (\w+) ((?:[^\n]*\\\n)*[^\n]*)", text)
    assert [name for name, _ in commands] == ["scan", "compare"]
    for name, rest in commands:
        known = CliRunner().invoke(cli.app, [name, "--help"], env={"COLUMNS": "200"}).output
        assert [option for option in re.findall(r"--[a-z-]+", rest) if option not in known] == []
