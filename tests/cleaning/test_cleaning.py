"""Cleaning: what is left, what is changed, that the source is not, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from forked import Python
from hostile import nasty_names
from PIL import Image
from torch.utils.data import WeightedRandomSampler
from versions import CLASSES, TAG, finding, picture, tagged_images, write_images, write_run

from shortcut_finder.cleaning import folder as cleaning
from shortcut_finder.cleaning.choice import cleaned_without_asking
from shortcut_finder.cleaning.folder import clean, destination
from shortcut_finder.cleaning.plan import CleaningPlan
from shortcut_finder.data.dataset import load_dataset
from shortcut_finder.errors import DatasetError, RunError, SettingsError
from shortcut_finder.run.folder import Run
from shortcut_finder.run.lock import held
from shortcut_finder.settings import ACTIONS

TAGGED = 4


def digests(root: Path) -> dict[str, tuple[str, int]]:
    """Hash and inode of every file below a folder."""
    return {
        path.relative_to(root).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("photos") / "images", tagged=TAGGED)


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    names = load_dataset(photos).images
    low = finding("F2", "dog", severity="low")
    carriers = {"F1": tagged_images(names, TAGGED), "F2": tagged_images(names, 3, "dog")}
    return write_run(
        tmp_path_factory.mktemp("runs") / "run", photos, [finding("F1"), low], carriers
    )


@pytest.fixture
def tagged(run: Run) -> set[str]:
    return set(run.offenders.loc[run.offenders["finding"] == "F1", "image"])


def decided(path: Path, run: Run, **content: Any) -> Path:
    whole = {"schema_version": 1, "run": run.fingerprint, "findings": {}, "images": {}}
    path.write_text(json.dumps(whole | content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tiered(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of four tagged cats two are sure; a dog is likely, and so is all that F2 lists."""
    names = load_dataset(photos).images
    cats, dogs = tagged_images(names, TAGGED), tagged_images(names, 3, "dog")
    return write_run(
        tmp_path_factory.mktemp("runs") / "tiered",
        photos,
        [finding("F1"), finding("F2", "dog")],
        {"F1": [*cats, dogs[0]], "F2": dogs[1:]},
        likely={"F1": [*cats[2:], dogs[0]], "F2": dogs[1:]},
    )


def changed(plan: CleaningPlan) -> set[str]:
    rows = plan.images
    return set(rows.loc[(rows["change"] != "keep") | (rows["weight"] != 1), "image"])


# --- what is cleaned ------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["drop", "mask"])
def test_only_sure_images_are_taken_unless_likely_ones_are_asked_for(
    tiered: Run, action: str
) -> None:
    sure = clean(tiered, action)
    assert changed(sure) == {"cat/000.jpg", "cat/001.jpg"}
    assert (sure.tier, sure.findings, sure.left_alone) == ("sure", ("F1",), {"F1": 3})
    both = clean(tiered, action, tier="likely")
    assert changed(both) == set(tiered.offenders["image"])
    assert (both.tier, both.findings, both.left_alone) == ("likely", ("F1", "F2"), {})


def test_likely_images_weigh_what_clean_ones_do(tiered: Run) -> None:
    plan = clean(tiered, "reweight")
    weights = plan.images.set_index("image")["weight"]
    cats = weights[weights.index.str.startswith("cat/")]
    assert (cats[["cat/000.jpg", "cat/001.jpg"]] == 0).all()
    assert cats.drop(["cat/000.jpg", "cat/001.jpg"]).nunique() == 1
    assert plan.left_alone == {"F1": 3}


def test_an_image_that_was_accepted_itself_is_taken_whatever_its_tier(
    tiered: Run, tmp_path: Path
) -> None:
    path = decided(
        tmp_path / "decisions.json",
        tiered,
        findings={"F1": "accept"},
        images={"cat/003.jpg": {"F1": "accept"}, "cat/000.jpg": {"F1": "dismiss"}},
    )
    plan = clean(tiered, decisions=path)
    assert changed(plan) == {"cat/001.jpg", "cat/003.jpg"}
    assert plan.left_alone == {"F1": 2}
    assert changed(clean(tiered, decisions=path, tier="likely")) == {
        "cat/001.jpg", "cat/002.jpg", "cat/003.jpg", "dog/000.jpg",
    }  # fmt: skip


def test_where_all_are_likely_the_way_out_is_named(tiered: Run, tmp_path: Path) -> None:
    path = decided(tmp_path / "decisions.json", tiered, findings={"F2": "accept"})
    with pytest.raises(RunError, match=r"no image surely carries .*; --tier likely takes 2 images"):
        clean(tiered, decisions=path)
    assert changed(clean(tiered, decisions=path, tier="likely")) == {"dog/001.jpg", "dog/002.jpg"}


def test_the_plan_that_is_written_names_the_tier(tiered: Run, tmp_path: Path) -> None:
    clean(tiered, out=tmp_path / "new")
    card = json.loads((tmp_path / "new" / "plan.json").read_text(encoding="utf-8"))
    assert (card["tier"], card["left_alone"]) == ("sure", {"F1": 3})


@pytest.mark.parametrize(
    ("verdict", "severity", "verified", "cleaned"),
    [
        ("confirmed", "high", True, True),
        ("confirmed", "medium", True, True),
        ("confirmed", "low", True, False),
        ("suspect", "high", True, True),
        ("suspect", "medium", True, False),
        ("suspect", "medium", False, True),
        ("suspect", "low", False, False),
        ("present", "high", True, False),
    ],
)
def test_what_is_cleaned_without_decisions(
    verdict: str, severity: str, verified: bool, cleaned: bool
) -> None:
    detail = {"finding": "F1", "verdict": verdict, "severity": severity, "reliance_low": np.nan}
    detail["verification"] = {"experiments": [1]} if verified else None
    assert cleaned_without_asking([detail]) == (("F1",) if cleaned else ())


@pytest.mark.parametrize(
    ("verdict", "low", "cleaned"),
    [
        ("suspect", None, True),
        ("suspect", 0.04, True),
        ("suspect", -0.07, False),
        ("confirmed", -0.07, True),
    ],
)
def test_what_was_tested_in_vain_is_left_to_a_person(
    verdict: str, low: float | None, cleaned: bool
) -> None:
    detail = {"finding": "F1", "verdict": verdict, "severity": "high", "reliance_low": low}
    assert cleaned_without_asking([detail]) == (("F1",) if cleaned else ())


def test_an_answer_for_an_image_overrules_that_for_its_finding(
    run: Run, tagged: set[str], tmp_path: Path
) -> None:
    spared = min(tagged)
    images = {
        spared: {"F1": "unsure"},
        min(tagged_images(run.images["image"], 3, "dog")): {"F2": "accept"},
    }
    path = decided(tmp_path / "decisions.json", run, findings={"F1": "accept"}, images=images)
    plan = clean(run, decisions=path)
    dropped = set(plan.images.loc[plan.images["change"] == "drop", "image"])
    assert dropped == tagged - {spared} | {"dog/000.jpg"}


def test_without_out_nothing_is_written(run: Run, tmp_path: Path) -> None:
    before = digests(run.folder)
    plan = clean(run)
    assert plan.counts.set_index("label")["left"].to_dict() == {"cat": 8, "cow": 12, "dog": 12}
    assert digests(run.folder) == before
    assert list(tmp_path.iterdir()) == []


def test_a_class_that_loses_more_than_a_third_is_warned_of(photos: Path, tmp_path: Path) -> None:
    names = load_dataset(photos).images
    for carried, warned in ((4, False), (5, True)):
        listed = {"F1": tagged_images(names, carried)}
        run = write_run(tmp_path / str(carried), photos, [finding("F1")], listed)
        assert any("cat: loses" in warning for warning in clean(run).warnings) == warned


def test_a_class_of_carriers_is_not_dropped_but_can_be_masked(photos: Path, tmp_path: Path) -> None:
    names = load_dataset(photos).images
    run = write_run(tmp_path / "r", photos, [finding("F1")], {"F1": tagged_images(names, 12)})
    with pytest.raises(RunError, match="all images of 'cat' would be dropped"):
        clean(run)
    assert clean(run, "mask").warnings == ()
    warnings = clean(run, "reweight").warnings
    assert any("F1 is in 100% of cat: to reweight cannot help" in text for text in warnings)


def dogs_beside_tags(
    photos: Path, tmp_path: Path, of_dogs: dict[str, Any], carriers: int
) -> tuple[Run, Path]:
    """A run with a finding of so many of the twelve dogs and tagged cats; both accepted."""
    names = load_dataset(photos).images
    listed = {"F1": tagged_images(names, carriers, "dog"), "F2": tagged_images(names, TAGGED)}
    run = write_run(tmp_path / "run", photos, [of_dogs, finding("F2")], listed)
    return run, decided(tmp_path / "d.json", run, findings={"F1": "accept", "F2": "accept"})


def test_what_all_of_a_class_carry_does_not_keep_the_rest_from_being_dropped(
    photos: Path, tmp_path: Path
) -> None:
    source = finding("F1", "dog", kind="metadata", region="source")
    run, accepted = dogs_beside_tags(photos, tmp_path, source, 12)
    plan = clean(run)
    assert plan.findings == ("F2",)
    assert plan.counts.set_index("label")["left"].to_dict() == {"cat": 8, "cow": 12, "dog": 12}
    assert any(
        "F1 (metadata: source) is in 100% of dog, which were kept" in w for w in plan.warnings
    )
    with pytest.raises(RunError, match="'dog' would be dropped, so no class would be left; add im"):
        clean(run, decisions=accepted)


@pytest.mark.parametrize("carriers", [8, 11])
def test_a_class_is_not_cut_to_the_few_images_without_a_background(
    photos: Path, tmp_path: Path, carriers: int
) -> None:
    """Eight or eleven of twelve dogs are on grass: the others are the odd ones, or no class."""
    grass = finding("F1", "dog", kind="background", region="surroundings")
    run, accepted = dogs_beside_tags(photos, tmp_path, grass, carriers)
    plan = clean(run)
    assert plan.findings == ("F2",)
    assert plan.counts.set_index("label")["left"]["dog"] == 12
    left = clean(run, decisions=accepted).counts.set_index("label")["left"]
    assert left["dog"] == 12 - carriers


def test_half_of_a_class_may_go_for_its_background(photos: Path, tmp_path: Path) -> None:
    grass = finding("F1", "dog", kind="background", region="surroundings")
    run, _ = dogs_beside_tags(photos, tmp_path, grass, 6)
    assert clean(run).counts.set_index("label")["left"]["dog"] == 6


def test_a_background_alone_is_not_dropped_without_asking(photos: Path, tmp_path: Path) -> None:
    grass = finding("F1", "dog", kind="background", region="surroundings")
    listed = {"F1": tagged_images(load_dataset(photos).images, 8, "dog")}
    run = write_run(tmp_path / "run", photos, [grass], listed)
    with pytest.raises(RunError, match=r"F1 .* is in 67% of dog, which were kept: .* reweight"):
        clean(run)
    assert clean(run, "reweight").findings == ("F1",)


def test_where_the_label_is_the_source_no_action_sends_to_another(
    photos: Path, tmp_path: Path
) -> None:
    source = finding("F1", "dog", kind="metadata", region="source")
    listed = {"F1": tagged_images(load_dataset(photos).images, 12, "dog")}
    run = write_run(tmp_path / "run", photos, [source], listed)
    more = "add images of the class without it, or images of the other classes with it"
    with pytest.raises(
        RunError, match=f"'dog' would be dropped, so no class would be left; {more}"
    ):
        clean(run)
    with pytest.raises(RunError, match=f"F1 concerns whole images, so .* fill; {more}"):
        clean(run, "mask")
    plan = clean(run, "reweight")
    assert plan.warnings == (
        "F1 is in 100% of dog: to reweight cannot help, because the class is hardly seen without "
        f"it; {more}",
    )


def test_nothing_to_clean_is_said(photos: Path, run: Run, tmp_path: Path) -> None:
    quiet = write_run(tmp_path / "r", photos, [finding("F1", severity="low")], {"F1": []})
    with pytest.raises(RunError, match="nothing to clean: no finding is confirmed"):
        clean(quiet)
    path = decided(tmp_path / "decisions.json", run, findings={"F1": "dismiss"})
    with pytest.raises(RunError, match="nothing was accepted"):
        clean(run, decisions=path)
    nothing = write_run(tmp_path / "none", photos, [], {})
    path = decided(tmp_path / "none.json", nothing)
    with pytest.raises(RunError, match="nothing was accepted"):
        clean(nothing, decisions=path)


# --- drop -----------------------------------------------------------------------------------------


def test_drop_lists_what_is_left_and_what_is_not(
    run: Run, tagged: set[str], photos: Path, tmp_path: Path
) -> None:
    clean(run, out=tmp_path / "out")
    left = load_dataset(tmp_path / "out" / "manifest.csv")
    names = {Path(image).relative_to(photos).as_posix() for image in left.images}
    assert names == set(run.images["image"]) - tagged
    assert left.classes == CLASSES
    assert left.read(0).width == 96
    removed = pd.read_csv(tmp_path / "out" / "removed.csv")
    assert set(removed["image"]) == tagged
    assert removed["findings"].unique().tolist() == ["F1"]
    card = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert card["findings"] == ["F1"]
    assert card["run_fingerprint"] == run.fingerprint


@pytest.mark.parametrize("files", ["hardlink", "symlink", "copy"])
def test_a_new_folder_holds_the_same_bytes(
    run: Run, tagged: set[str], photos: Path, tmp_path: Path, files: str
) -> None:
    before = digests(photos)
    clean(run, out=tmp_path / "out", files=files)
    images = tmp_path / "out" / "images"
    assert load_dataset(images).images == tuple(sorted(set(run.images["image"]) - tagged))
    for name in load_dataset(images).images:
        assert (images / name).read_bytes() == (photos / name).read_bytes()
        assert (images / name).is_symlink() == (files == "symlink")
        assert (images / name).samefile(photos / name) == (files != "copy")
    assert load_dataset(tmp_path / "out" / "manifest.csv").classes == CLASSES
    assert digests(photos) == before


def test_other_tools_can_read_what_is_left(
    run: Run, tagged: set[str], photos: Path, tmp_path: Path
) -> None:
    clean(run, out=tmp_path / "out")
    out = tmp_path / "out"
    table = pq.read_table(out / "datasets.parquet")
    described = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert described["image"] == {"_type": "Image"}
    assert described["label"]["names"] == list(CLASSES)
    assert all(Path(cell["path"]).is_file() for cell in table["image"].to_pylist())
    lines = [json.loads(line) for line in (out / "tags.jsonl").read_text().splitlines()]
    assert {line["filepath"] for line in lines} == {str(photos / name) for name in tagged}
    assert lines[0]["tags"] == ["drop", "F1"]
    assert lines[0]["findings"][0]["box"] == list(TAG)
    indices = np.load(out / "indices.npy")
    names = load_dataset(photos).images
    assert {names[index] for index in indices} == set(names) - tagged


def test_a_python_dataset_is_cleaned_by_index(tmp_path: Path) -> None:
    class Items(torch.utils.data.Dataset):
        targets = (0, 1) * 10
        classes = ("cat", "dog")

        def __len__(self) -> int:
            return len(self.targets)

        def __getitem__(self, index: int) -> tuple[Image.Image, int]:
            return picture(index), self.targets[index]

    listed = {"F1": ["item/0000002", "item/0000008"]}
    run = write_run(tmp_path / "run", Items(), [finding("F1")], listed)
    clean(run, out=tmp_path / "drop")
    kept = np.load(tmp_path / "drop" / "indices.npy").tolist()
    assert kept == [index for index in range(20) if index not in (2, 8)]
    clean(run, "reweight", out=tmp_path / "reweight")
    weights = np.load(tmp_path / "reweight" / "weights.npy")
    assert np.flatnonzero(weights == 0).tolist() == [2, 8]
    with pytest.raises(DatasetError, match="a Python dataset, an archive or a URL"):
        clean(run, "mask", out=tmp_path / "mask")


# --- mask -----------------------------------------------------------------------------------------


def test_mask_fills_the_tag_and_leaves_everything_else(
    run: Run, tagged: set[str], photos: Path, tmp_path: Path
) -> None:
    before = digests(photos)
    clean(run, "mask", out=tmp_path / "out")
    images = tmp_path / "out" / "images"
    assert load_dataset(images).images == load_dataset(photos).images
    for name in run.images["image"]:
        same = (images / name).read_bytes() == (photos / name).read_bytes()
        assert same == (name not in tagged)
    x0, y0, x1, y1 = TAG
    for name in tagged:
        number = int(Path(name).stem)
        with Image.open(images / name) as opened:
            filled = np.asarray(opened, dtype=float)
        clean_picture = np.asarray(picture(number), dtype=float)
        tagged_picture = np.asarray(picture(number, tag=True), dtype=float)
        there = (slice(y0, y1 + 1), slice(x0, x1 + 1))
        left = np.abs(filled - clean_picture)[there].mean()
        assert left < 0.5 * np.abs(tagged_picture - clean_picture)[there].mean()
        assert np.abs(filled - clean_picture)[40:, 48:].mean() < 6
    masked = pd.read_csv(tmp_path / "out" / "masked.csv")
    assert set(masked["image"]) == tagged
    assert digests(photos) == before


def test_mask_can_leave_the_other_images_where_they_are(
    run: Run, tagged: set[str], tmp_path: Path
) -> None:
    clean(run, "mask", out=tmp_path / "out", files="none")
    written = [path for path in (tmp_path / "out" / "images").rglob("*") if path.is_file()]
    assert len(written) == len(tagged)
    assert len(load_dataset(tmp_path / "out" / "manifest.csv")) == len(run.images)


def test_an_image_that_cannot_be_filled_is_left_out_and_listed(tmp_path: Path) -> None:
    root = write_images(tmp_path / "images", tagged=TAGGED)
    frames = [picture(seed, tag=True) for seed in range(3)]
    frames[0].save(root / "cat" / "a.gif", save_all=True, append_images=frames[1:])
    listed = {"F1": [*tagged_images(load_dataset(root).images, TAGGED), "cat/a.gif"]}
    run = write_run(tmp_path / "run", root, [finding("F1")], listed)
    clean(run, "mask", out=tmp_path / "out")
    assert pd.read_csv(tmp_path / "out" / "removed.csv")["image"].tolist() == ["cat/a.gif"]
    assert not (tmp_path / "out" / "images" / "cat" / "a.gif").exists()
    assert "a.gif" not in (tmp_path / "out" / "manifest.csv").read_text()


def test_a_finding_without_a_place_is_not_masked(photos: Path, tmp_path: Path) -> None:
    names = load_dataset(photos).images
    blur = finding("F2", "dog", kind="property", region="sharpness")
    listed = {"F1": tagged_images(names, TAGGED), "F2": tagged_images(names, 3, "dog")}
    run = write_run(tmp_path / "both", photos, [finding("F1"), blur], listed)
    plan = clean(run, "mask")
    assert plan.findings == ("F1",)
    assert any("F2 (sharpness of dog) concerns whole images" in text for text in plan.warnings)
    alone = write_run(tmp_path / "alone", photos, [blur], {"F2": listed["F2"]})
    with pytest.raises(RunError, match="F2 concerns whole images, so there is no place"):
        clean(alone, "mask")
    assert clean(alone).findings == ("F2",)


# --- reweight -------------------------------------------------------------------------------------


def test_under_the_weights_the_artifact_tells_nothing(tmp_path: Path) -> None:
    root = write_images(tmp_path / "images", tagged=TAGGED)
    names = load_dataset(root).images
    listed = [
        *tagged_images(names, 8),
        *tagged_images(names, 3, "dog"),
        *tagged_images(names, 1, "cow"),
    ]
    run = write_run(tmp_path / "run", root, [finding("F1")], {"F1": listed})
    clean(run, "reweight", out=tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "manifest.csv")
    table["image"] = [Path(path).relative_to(root).as_posix() for path in table["image"]]
    table["carries"] = table["image"].isin(listed)
    weight = table.groupby(["label", "carries"])["weight"].sum().unstack()
    shares = weight[True] / weight.sum(axis=1)
    assert np.allclose(shares, shares.iloc[0])
    assert 0 < shares.iloc[0] < 1
    assert np.allclose(weight.sum(axis=1), 12)
    weights = np.load(tmp_path / "out" / "weights.npy")
    assert np.allclose(weights, table["weight"], rtol=1e-5)
    drawn = list(
        WeightedRandomSampler(torch.from_numpy(weights), 6000, generator=torch.manual_seed(0))
    )
    drawn_shares = table.iloc[drawn].groupby("label")["carries"].mean()
    assert np.ptp(drawn_shares) < 0.05
    assert np.ptp(table.groupby("label")["carries"].mean()) > 0.5


# --- never half, never the source -----------------------------------------------------------------


@pytest.mark.parametrize("action", ["drop", "mask", "reweight"])
def test_an_error_on_the_way_leaves_nothing(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    before = digests(photos)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "disk")

    monkeypatch.setattr(cleaning, "write_numbers", full)
    with pytest.raises(OSError, match="No space"):
        clean(run, action, out=tmp_path / "deep" / "out", files="copy")
    assert [path for path in tmp_path.rglob("*") if path.name != "deep"] == []
    assert digests(photos) == before


# Kills itself before a file is written, or just before or after the folder gets its name.
KILLED = """
import os, sys
from pathlib import Path
from shortcut_finder.cleaning import folder as cleaning

write, rename, written = Path.write_bytes, Path.rename, []
run, action, out, moment = sys.argv[1:]

def killing_write(path, data):
    written.append(path)
    if moment == str(len(written)):
        os.kill(os.getpid(), 9)
    return write(path, data)

def killing_rename(path, target):
    if moment == "before":
        os.kill(os.getpid(), 9)
    rename(path, target)
    os.kill(os.getpid(), 9)

Path.write_bytes, Path.rename = killing_write, killing_rename
cleaning.clean(run, action, out=out, files="copy")
"""


@pytest.fixture(scope="module")
def unbroken(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each action, with what a cleaning that was not killed leaves."""
    home = tmp_path_factory.mktemp("unbroken")
    for action in ACTIONS:
        clean(run, action, out=home / action, files="copy")
    return home


@pytest.mark.parametrize(
    ("action", "moment"),
    [
        ("drop", "20"), ("drop", "before"), ("reweight", "38"), ("mask", "1"), ("mask", "2"),
        ("mask", "38"), ("mask", "after"),
    ],
)  # fmt: skip
def test_a_killed_process_leaves_nothing_or_all_and_the_same_command_then_works(
    python: Python,
    run: Run,
    photos: Path,
    unbroken: Path,
    tmp_path: Path,
    action: str,
    moment: str,
) -> None:
    before = digests(photos)
    command = ("-c", KILLED, run.folder, action, tmp_path / "out", moment)
    assert python(*command).returncode == -signal.SIGKILL
    assert (tmp_path / "out").exists() == (moment == "after")
    finished = pytest.raises(RunError, match="is not empty") if moment == "after" else nullcontext()
    with finished:
        clean(run, action, out=tmp_path / "out", files="copy")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    left = [
        {name: content for name, (content, _) in digests(folder).items()}
        for folder in (tmp_path / "out", unbroken / action)
    ]
    # The one file that holds the folder's own name.
    for each in left:
        assert each.pop("datasets.parquet")
    assert left[0] == left[1]
    assert digests(photos) == before


def test_a_folder_with_something_in_it_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("mine")
    with pytest.raises(RunError, match=r"mine: is not empty; choose a new folder for --out"):
        clean(run, out=tmp_path / "mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(RunError, match="is a file or a link"):
        clean(run, out=tmp_path / "link")
    (tmp_path / "new.part").mkdir()
    (tmp_path / "new.part" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match=r"new\.part: is in the way"):
        clean(run, out=tmp_path / "new")
    assert (tmp_path / "new.part" / "thesis.txt").exists()
    (tmp_path / "empty").mkdir()
    clean(run, out=tmp_path / "empty")
    assert (tmp_path / "empty" / "manifest.csv").exists()


def test_two_processes_do_not_write_one_folder(run: Run, tmp_path: Path) -> None:
    with (
        held(tmp_path, "new.lock"),
        pytest.raises(RunError, match=rf"new: process {os.getpid()} .* is at work there"),
    ):
        clean(run, out=tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
    clean(run, out=tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_folder_inside_the_source_or_the_run_is_refused(run: Run, photos: Path) -> None:
    for home, what in ((photos, "the images"), (run.folder, "the run")):
        with pytest.raises(RunError, match=f"lies inside {what}"):
            clean(run, out=home / "cat" / "cleaned")
        assert not (home / "cat" / "cleaned").exists()


# --- hostile input --------------------------------------------------------------------------------


def test_nasty_names_survive(tmp_path: Path) -> None:
    root = write_images(tmp_path / "images", tagged=TAGGED)
    for number, name in enumerate(nasty_names()):
        picture(500 + number, tag=True).save(root / "cat" / name, "JPEG")
    dataset = load_dataset(root)
    odd = [name for name in dataset.images if not name[4:].removesuffix(".jpg").isdigit()]
    run = write_run(tmp_path / "run", root, [finding("F1")], {"F1": odd[::2]})
    clean(run, "mask", out=tmp_path / "out")
    cleaned = load_dataset(tmp_path / "out" / "manifest.csv")
    assert len(cleaned) == len(dataset)
    assert all(cleaned.read(index).width == 96 for index in range(len(cleaned)))
    if os.name == "posix":
        with pytest.raises(DatasetError, match="no UTF-8, which a manifest must be; use --files"):
            clean(run, out=tmp_path / "manifest")


@pytest.mark.parametrize(
    "image", ["../../etc/x.jpg", "/etc/x.jpg", "..", "/", "a/../../b.jpg", "\n/../x", ""]
)
def test_no_name_leads_out_of_the_new_folder(image: str, tmp_path: Path) -> None:
    place = (tmp_path / destination(image)).resolve()
    assert place.is_relative_to(tmp_path / "images")
    assert place != tmp_path / "images"


def test_images_from_elsewhere_get_a_place_of_their_own(tmp_path: Path) -> None:
    root = write_images(tmp_path / "images", tagged=TAGGED)
    (tmp_path / "lists").mkdir()
    rows = [f"../images/{name},{name[:3]}" for name in load_dataset(root).images]
    manifest = tmp_path / "lists" / "train.csv"
    manifest.write_text("\n".join(["image,label", *rows]))
    names = load_dataset(manifest).images
    run = write_run(tmp_path / "run", manifest, [finding("F1")], {"F1": list(names[:3])})
    clean(run, out=tmp_path / "out", files="copy")
    cleaned = load_dataset(tmp_path / "out" / "manifest.csv")
    assert len(cleaned) == len(names) - 3
    assert all(cleaned.read(index).width == 96 for index in range(len(cleaned)))
    inside = {path.resolve() for path in (tmp_path / "out").rglob("*.jpg")}
    assert all(path.is_relative_to(tmp_path / "out") for path in inside)


@pytest.mark.parametrize("change", ["other bytes", "gone"])
def test_an_image_that_is_not_what_was_scanned_is_refused(tmp_path: Path, change: str) -> None:
    root = write_images(tmp_path / "images", tagged=TAGGED)
    names = load_dataset(root).images
    run = write_run(tmp_path / "run", root, [finding("F1")], {"F1": tagged_images(names, TAGGED)})
    victim = root / "dog" / "003.jpg"
    message = "has changed since the scan; scan again"
    if change == "gone":
        victim.unlink()
        message = "'dog/003.jpg' of .* is not there any more"
    else:
        picture(999).save(victim)
    with pytest.raises(DatasetError, match=message) as caught:
        clean(run, out=tmp_path / "out", files="copy")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_choices_are_checked(run: Run) -> None:
    with pytest.raises(SettingsError, match="--action burn: choose one of drop, mask, reweight"):
        clean(run, "burn")
    with pytest.raises(SettingsError, match="--files moved: choose one of"):
        clean(run, files="moved")
    with pytest.raises(SettingsError, match="--tier certain: choose one of sure, likely"):
        clean(run, tier="certain")
