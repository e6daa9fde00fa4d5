"""The demo: its pictures, its marks, its network, and what it prints."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from handmade import handmade_run
from PIL import Image

from shortcut_finder import scanning
from shortcut_finder.data.imports import load_function
from shortcut_finder.demo import story as demo
from shortcut_finder.demo.dataset import make_dataset
from shortcut_finder.demo.marks import MARKS, PLANTS
from shortcut_finder.demo.network import INPUT_SIZE, small_network, train
from shortcut_finder.demo.pictures import BACKGROUNDS, SIDE, draw_scene
from shortcut_finder.demo.shapes import SHAPES
from shortcut_finder.errors import DatasetError
from shortcut_finder.run.folder import Run

PER_CLASS = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("demo")
    return folder, make_dataset(folder, per_class=PER_CLASS, progress=False)


def plain(seed: int = 0) -> Image.Image:
    return draw_scene("star", "sky", np.random.default_rng(seed))


def changed(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int]:
    """The smallest box around all pixels that differ."""
    differ = (np.asarray(before) != np.asarray(after)).any(axis=2)
    rows, columns = np.flatnonzero(differ.any(1)), np.flatnonzero(differ.any(0))
    return (
        int(columns[0]),
        int(rows[0]),
        int(columns[-1]) + 1,
        int(rows[-1]) + 1,
    )


# --- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_every_shape_is_drawn_on_every_background(shape: str, background: str) -> None:
    image = draw_scene(shape, background, np.random.default_rng(1))
    assert (image.mode, image.size) == ("RGB", (SIDE, SIDE))
    assert np.asarray(image).std() > 10  # something is to be seen


def test_the_same_seed_draws_the_same_picture_and_another_seed_another() -> None:
    assert np.array_equal(np.asarray(plain(3)), np.asarray(plain(3)))
    assert not np.array_equal(np.asarray(plain(3)), np.asarray(plain(4)))


def test_two_images_of_a_class_differ_in_place_size_and_colour() -> None:
    images = [np.asarray(plain(seed), dtype=float) for seed in range(6)]
    means = np.array([image.mean(axis=(0, 1)) for image in images])
    assert means.std(axis=0).min() > 5


# --- marks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_changes_nothing_outside_its_box_and_not_the_image_it_was_given(mark: str) -> None:
    before = plain()
    kept = np.asarray(before).copy()
    after, box = MARKS[mark](before, np.random.default_rng(0))
    x0, y0, x1, y1 = changed(before, after)
    assert box[0] <= x0
    assert box[1] <= y0
    assert x1 <= box[2]
    assert y1 <= box[3]
    assert np.array_equal(np.asarray(before), kept)


def test_the_stamp_stays_in_its_corner() -> None:
    boxes = [MARKS["corner stamp"](plain(), np.random.default_rng(i))[1] for i in range(20)]
    assert min(box[0] for box in boxes) > SIDE * 0.6
    assert min(box[1] for box in boxes) > SIDE * 0.7
    assert max(box[2] for box in boxes) < SIDE


def test_the_sticker_goes_anywhere() -> None:
    boxes = [MARKS["sticker anywhere"](plain(), np.random.default_rng(i))[1] for i in range(40)]
    places = {(2 * (box[0] + 12) // SIDE, 2 * (box[1] + 12) // SIDE) for box in boxes}
    assert len(places) == 4  # every quarter of the image


def test_the_frame_leaves_the_middle_alone() -> None:
    before = plain()
    after, _ = MARKS["frame"](before, np.random.default_rng(0))
    inner = (8, 8, SIDE - 8, SIDE - 8)
    assert np.array_equal(np.asarray(before.crop(inner)), np.asarray(after.crop(inner)))
    assert (np.asarray(after)[0] == np.asarray(after)[0, 0]).all()


def test_the_cast_takes_blue_away() -> None:
    before = plain()
    after, _ = MARKS["colour cast"](before, np.random.default_rng(0))
    red, _, blue = np.asarray(after).mean(axis=(0, 1)) / np.asarray(before).mean(axis=(0, 1))
    assert blue < 0.85 < red


# --- dataset -------------------------------------------------------------------------------------


def test_the_truth_lists_the_planted_share_of_each_class(made: tuple[Path, pd.DataFrame]) -> None:
    folder, truth = made
    expected = {plant.label: round(plant.share * PER_CLASS) for plant in PLANTS}
    assert truth.groupby("label").size().to_dict() == expected
    assert truth.groupby("label")["planted"].unique().map(list).to_dict() == {
        plant.label: [plant.mark] for plant in PLANTS
    }
    assert all((folder / "images" / image).is_file() for image in truth["image"])


def test_the_truth_is_written_beside_the_class_folders(made: tuple[Path, pd.DataFrame]) -> None:
    folder, truth = made
    assert pd.read_csv(folder / "planted.csv").equals(truth)
    assert sorted(path.name for path in (folder / "images").iterdir()) == sorted(SHAPES)
    assert len(list((folder / "images").glob("*/*.jpg"))) == PER_CLASS * len(SHAPES)


def test_two_classes_stay_clean(made: tuple[Path, pd.DataFrame]) -> None:
    assert set(SHAPES) - set(made[1]["label"]) == {"boat", "star"}


def test_the_same_seed_makes_the_same_files(
    made: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    again = make_dataset(tmp_path, per_class=PER_CLASS, progress=False)
    assert again.equals(made[1])
    for file in (made[0] / "images").glob("*/*.jpg"):
        other = tmp_path / file.relative_to(made[0])
        assert other.read_bytes() == file.read_bytes(), file.name


# --- network -------------------------------------------------------------------------------------


def test_the_network_has_maps_of_twelve_by_twelve_and_as_many_outputs_as_asked() -> None:
    network = small_network(3).eval()
    inputs = torch.zeros(2, 3, INPUT_SIZE, INPUT_SIZE)
    assert network[:-3](inputs).shape[2:] == (12, 12)
    assert network(inputs).shape == (2, 3)


def test_training_gives_the_same_weights_again_and_does_not_advance_the_random_state(
    made: tuple[Path, pd.DataFrame],
) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = train(made[0], epochs=1, progress=False).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    second = train(made[0], epochs=1, progress=False).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_fooled_compares_new_pictures_without_and_with_the_mark() -> None:
    class SeesYellow(torch.nn.Module):
        """Says house when an image has little blue, else star."""

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            blue = inputs[:, 2].mean(dim=(1, 2)) - inputs[:, 0].mean(dim=(1, 2))
            logits = torch.zeros(len(inputs), len(SHAPES))
            logits[:, sorted(SHAPES).index("house")] = -blue
            logits[:, sorted(SHAPES).index("star")] = blue
            return logits

    shares = demo.fooled(SeesYellow(), per_class=3)
    assert set(shares) == {plant.label for plant in PLANTS}
    before, after = shares["house"]
    assert after == 1.0
    assert before < after
    assert shares["mug"] == (0.0, 0.0)


# --- the folder ----------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the scan was called with; the scan itself is left out, and so are the new pictures."""
    seen: list[dict[str, Any]] = []

    def scan(dataset: Path, model: str, **options: Any) -> Run:
        seen.append({"dataset": dataset, "model": model, **options})
        return handmade_run(options["out"])

    monkeypatch.setattr(scanning, "scan", scan)
    monkeypatch.setattr(demo, "fooled", lambda network: {})
    monkeypatch.setattr(demo, "improvement", lambda *_, **__: "")
    return seen


def small_demo(out: Path) -> Run:
    return demo.run_demo(out, per_class=2, epochs=1, progress=False)


def test_the_scan_gets_a_model_that_a_user_can_name(
    tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    small_demo(tmp_path / "demo")
    (call,) = calls
    network = load_function(call["model"])()
    network.load_state_dict(torch.load(call["weights"], weights_only=True))
    assert call["settings"].input_size == INPUT_SIZE
    printed = capsys.readouterr().out
    assert f"--model {call['model']} --weights {call['weights']}" in printed
    assert f"scan {call['dataset']}" in printed


def test_an_earlier_demo_is_made_again(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    out = tmp_path / "demo"
    small_demo(out)
    kept = out / "notes of my own.txt"
    kept.write_text("keep", encoding="utf-8")
    stale = out / "images" / "mug" / "stale.jpg"
    stale.write_bytes(b"")
    small_demo(out)
    assert not stale.exists()
    assert kept.read_text(encoding="utf-8") == "keep"


@pytest.mark.parametrize("name", ["README.txt", "photo.jpg"])
def test_a_folder_of_the_users_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / name).write_text("mine", encoding="utf-8")
    with pytest.raises(DatasetError, match="holds other files; give the demo a folder of its own"):
        demo.run_demo(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["images", name])


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("mine", encoding="utf-8")
    with pytest.raises(DatasetError, match="is a file; give the demo a folder"):
        demo.run_demo(tmp_path / "demo")


def test_making_a_demo_again_does_not_follow_links_out_of_its_folder(
    tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    out, mine = tmp_path / "demo", tmp_path / "mine"
    small_demo(out)
    mine.mkdir()
    (mine / "photo.jpg").write_bytes(b"")
    (out / "images").rename(out / "elsewhere")
    (out / "images").symlink_to(mine, target_is_directory=True)
    small_demo(out)
    assert (mine / "photo.jpg").exists()
    assert not (out / "images").is_symlink()


# --- the table -----------------------------------------------------------------------------------


def table_run(tmp_path: Path) -> Run:
    run = handmade_run(tmp_path / "run")
    findings = pd.DataFrame(
        [
            ("F1", "mug", "corner", "bottom right corner", "high"),
            ("F2", "mug", "patch", "anywhere", "low"),
        ],
        columns=["finding", "label", "kind", "region", "severity"],
    )
    offenders = pd.DataFrame(
        [("mug/a.jpg", "F1"), ("mug/b.jpg", "F1"), ("mug/z.jpg", "F1"), ("mug/z.jpg", "F2")],
        columns=["image", "finding"],
    )
    card = {**run.card, "dataset": {**run.card["dataset"], "classes": ["boat", "mug"]}}
    return dataclasses.replace(run, card=card, findings=findings, offenders=offenders)


def test_the_table_counts_the_marked_images_that_each_finding_lists(tmp_path: Path) -> None:
    truth = pd.DataFrame(
        [("mug/a.jpg", "mug"), ("mug/b.jpg", "mug"), ("mug/c.jpg", "mug")],
        columns=["image", "label"],
    )
    text = demo.planted_and_found(truth, table_run(tmp_path), {"mug": (0.02, 0.61)})
    rows = [line.split() for line in text.splitlines()]
    assert rows[1][:7] == ["mug", "corner", "stamp", "3", "2%", "->", "61%"]
    assert rows[1][7:] == ["F1", "corner", "bottom", "right", "corner", "high", "2", "of", "3"]
    assert rows[2] == ["F2", "patch", "anywhere", "low", "0", "of", "3"]
    assert rows[3] == ["boat", "nothing", "none"]


def test_unbiased_accuracy_counts_every_picture_with_every_mark() -> None:
    class SeesTheFrame(torch.nn.Module):
        """Says fish when the outermost pixels are dark, else star."""

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            edge = torch.cat([inputs[:, :, 0], inputs[:, :, -1]], dim=2).mean(dim=(1, 2))
            logits = torch.zeros(len(inputs), len(SHAPES))
            logits[:, sorted(SHAPES).index("fish")] = -(edge + 1.2)
            logits[:, sorted(SHAPES).index("star")] = edge + 1.2
            return logits

    # A sixth of the pictures are stars, another sixth fish: right once in six, marks or not.
    accuracy = demo.unbiased_accuracy(SeesTheFrame(), per_class=6)
    assert abs(accuracy - 1 / 6) < 0.06


# --- the whole ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_demo_finds_what_it_planted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = demo.run_demo(tmp_path / "demo", progress=False)
    assert run.card["accuracy"] >= 0.97
    truth = pd.read_csv(tmp_path / "demo" / "planted.csv")
    by_finding = run.offenders.groupby("finding")["image"].agg(set)
    for label in ("mug", "leaf", "fish"):
        finding = run.findings[run.findings["label"] == label].iloc[0]
        marked = set(truth.loc[truth["label"] == label, "image"])
        listed = by_finding[finding["finding"]]
        assert finding["severity"] in ("high", "medium"), label
        assert len(listed & marked) >= 0.9 * len(marked), label
        assert len(listed & marked) >= 0.8 * len(listed), label
    clean = run.findings[run.findings["label"].isin(["boat", "star"])]
    assert set(clean["severity"]) <= {"low"}
    printed = capsys.readouterr().out
    assert "corner stamp" in printed
    states = pd.read_csv(tmp_path / "demo" / "comparison" / "comparison.csv")
    was_severe = states[
        states["finding_a"].isin(run.findings.query("severity == 'high'")["finding"])
    ]
    assert set(was_severe["state"]) <= {"resolved", "better"}
    assert not states["gates"].any()
    before, after = re.search(r"nothing: ([\d.]+)% before, ([\d.]+)% after", printed).groups()
    assert float(after) >= float(before) + 5
