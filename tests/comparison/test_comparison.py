"""Comparing: states of findings and images between two versions, on changes that were planted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import chromium, visiting
from handmade import handmade_run
from PIL import Image
from typer.testing import CliRunner
from versions import CLASSES, finding, picture, tagged_images, write_images, write_run

from shortcut_finder.cleaning.folder import clean
from shortcut_finder.cli import app as cli
from shortcut_finder.comparison.changes import COMPARISON_COLUMNS
from shortcut_finder.comparison.folder import FILES, compare
from shortcut_finder.comparison.shares import Part, share_difference
from shortcut_finder.data.dataset import load_dataset
from shortcut_finder.errors import RunError
from shortcut_finder.figures.pictures import write_thumbnails
from shortcut_finder.run.folder import Run

PER_CLASS, TAGGED = 30, 12


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("before")
    root = write_images(home / "v1", per_class=PER_CLASS, tagged=TAGGED)
    return scanned(home / "run", root, tagged_images(load_dataset(root).images, TAGGED))


def scanned(folder: Path, root: Path, carriers: list[str], **changes: Any) -> Run:
    """A run that lists these images under one finding, or has none where there are none."""
    findings = [finding("F1", **changes)] if carriers else []
    run = write_run(folder, root, findings, {"F1": carriers})
    dataset = load_dataset(root)
    index = {image: number for number, image in enumerate(dataset.images)}
    write_thumbnails(
        folder / "thumbnails.parquet",
        lambda name: dataset.read(index[name]).picture,
        carriers[:12],
    )
    return run


@pytest.fixture
def version(before: Run, tmp_path: Path) -> Path:
    """A copy of the first version, to be changed."""
    shutil.copytree(before.card["dataset"]["root"], tmp_path / "v2")
    return tmp_path / "v2"


def state(before: Run, after: Run) -> list[str]:
    return compare(before, after).findings["state"].tolist()


def images_of(before: Run, after: Run) -> dict[str, int]:
    return dict(compare(before, after).images["state"].value_counts())


# --- images ---------------------------------------------------------------------------------------


def test_what_happened_to_every_image_is_said(before: Run, version: Path, tmp_path: Path) -> None:
    cat, dog, cow = version / "cat", version / "dog", version / "cow"
    (dog / "000.jpg").unlink()
    picture(77).save(dog / "new.jpg")
    (dog / "001.jpg").rename(cow / "from dog.jpg")
    (dog / "002.jpg").rename(dog / "deep.jpg")
    (dog / "sub").mkdir()
    (dog / "003.jpg").rename(dog / "sub" / "003.jpg")
    with Image.open(dog / "004.jpg") as image:
        image.save(dog / "004.jpg", quality=80)
    with Image.open(dog / "005.jpg") as image:
        image.save(dog / "005.png")
    (dog / "005.jpg").unlink()
    picture(2005, tag=True).save(dog / "006.jpg", quality=90)
    after = scanned(tmp_path / "run", version, tagged_images(load_dataset(version).images, TAGGED))
    pairs = compare(before, after).images
    changed = pairs[pairs["state"] != "unchanged"]
    rows = {(a, b): state for a, b, _, _, state in changed.itertuples(index=False)}
    assert rows == {
        ("dog/000.jpg", ""): "removed",
        ("", "dog/new.jpg"): "added",
        ("dog/001.jpg", "cow/from dog.jpg"): "relabelled",
        ("dog/002.jpg", "dog/deep.jpg"): "moved",
        ("dog/003.jpg", "dog/sub/003.jpg"): "moved",
        ("dog/004.jpg", "dog/004.jpg"): "re-encoded",
        ("dog/005.jpg", "dog/005.png"): "re-encoded",
        ("dog/006.jpg", "dog/006.jpg"): "edited",
    }
    assert cat.is_dir()
    assert len(pairs) == 3 * PER_CLASS + 1


def test_copies_of_one_picture_pair_up_one_to_one(
    before: Run, version: Path, tmp_path: Path
) -> None:
    for number in range(3):
        shutil.copy(version / "dog" / "000.jpg", version / "dog" / f"copy {number}.jpg")
    after = scanned(tmp_path / "run", version, [])
    assert images_of(before, after) == {"unchanged": 3 * PER_CLASS, "added": 3}


def test_a_manifest_of_the_old_files_has_unchanged_images(before: Run, tmp_path: Path) -> None:
    clean(before, out=tmp_path / "cleaned")
    after = scanned(tmp_path / "run", tmp_path / "cleaned" / "manifest.csv", [])
    assert images_of(before, after) == {"unchanged": 3 * PER_CLASS - TAGGED, "removed": TAGGED}


# --- findings: changes that were planted ----------------------------------------------------------


def resave(path: Path, image: Image.Image) -> None:
    image.save(path, quality=90)


def test_the_same_data_scanned_again_changes_nothing(
    before: Run, version: Path, tmp_path: Path
) -> None:
    names = tagged_images(load_dataset(version).images, TAGGED)
    again = scanned(tmp_path / "run", version, names)
    found = compare(before, again).findings.iloc[0]
    assert found["state"] == "persists"
    assert (found["difference"], found["low"], found["high"]) == (0, 0, 0)


def test_a_tag_that_is_in_version_two_only_is_new(
    version: Path, tmp_path: Path, before: Run
) -> None:
    clean_root = write_images(tmp_path / "clean", per_class=PER_CLASS, tagged=0)
    first = scanned(tmp_path / "first", clean_root, [])
    after = scanned(tmp_path / "run", version, tagged_images(load_dataset(version).images, TAGGED))
    found = compare(first, after).findings.iloc[0]
    assert found["state"] == "new"
    assert found["gates"]
    assert found["low"] > 0.1
    assert "was not there before: 0% of the images before, 40% now" in found["sentence"]


def test_a_tag_that_only_added_images_carry_is_new(tmp_path: Path) -> None:
    root = write_images(tmp_path / "v", per_class=PER_CLASS, tagged=0)
    first = scanned(tmp_path / "a", root, [])
    for number in range(8):
        resave(root / "cat" / f"more {number}.jpg", picture(300 + number, tag=True))
    second = scanned(tmp_path / "b", root, [f"cat/more {number}.jpg" for number in range(8)])
    assert state(first, second) == ["new"]


@pytest.mark.parametrize("how", ["dropped", "masked"])
def test_a_tag_that_was_cleaned_is_resolved(before: Run, tmp_path: Path, how: str) -> None:
    clean(before, "drop" if how == "dropped" else "mask", out=tmp_path / "cleaned", files="copy")
    after = scanned(tmp_path / "run", tmp_path / "cleaned" / "images", [])
    found = compare(before, after).findings.iloc[0]
    assert found["state"] == "resolved"
    assert found["images_b"] == 0
    assert not found["gates"]


@pytest.mark.parametrize("listed", [True, False])
def test_a_tag_that_was_half_cleaned_is_better(
    before: Run, version: Path, tmp_path: Path, listed: bool
) -> None:
    names = tagged_images(load_dataset(version).images, TAGGED)
    for name in names[: TAGGED // 2]:
        (version / name).unlink()
    # Whether the second scan still lists the rest does not matter: the pictures are the same.
    after = scanned(tmp_path / "run", version, names[TAGGED // 2 :] if listed else [])
    found = compare(before, after).findings.iloc[0]
    assert (found["state"], found["images_b"]) == ("better", TAGGED // 2)


def test_a_tag_in_more_images_is_worse(before: Run, version: Path, tmp_path: Path) -> None:
    names = tagged_images(load_dataset(version).images, 2 * TAGGED)
    for name in names[TAGGED:]:
        resave(version / name, picture(int(Path(name).stem), tag=True))
    after = scanned(tmp_path / "run", version, names)
    found = compare(before, after).findings.iloc[0]
    assert (found["state"], found["gates"]) == ("worse", True)


def test_relabelling_the_carriers_moves_the_tag(before: Run, version: Path, tmp_path: Path) -> None:
    for name in tagged_images(load_dataset(version).images, TAGGED):
        (version / name).rename(version / "dog" / f"was {Path(name).name}")
    carriers = [name for name in load_dataset(version).images if "was" in name]
    after = scanned(tmp_path / "run", version, carriers, label="dog")
    states = compare(before, after).findings.set_index("label")["state"].to_dict()
    assert states == {"cat": "resolved", "dog": "new"}


def everything_moved(root: Path) -> None:
    for name in CLASSES:
        (root / name / "sub").mkdir()
        for number, path in enumerate(sorted((root / name).glob("*.jpg"))):
            path.rename(root / name / "sub" / f"renamed {number:03d}.jpg")


def everything_saved_again(root: Path) -> None:
    for path in root.rglob("*.jpg"):
        with Image.open(path) as image:
            image.load()
        image.save(path, quality=80)


@pytest.mark.parametrize("change", [everything_moved, everything_saved_again])
@pytest.mark.parametrize("listed", [TAGGED, TAGGED - 3, 0])
def test_moved_and_re_encoded_files_change_no_finding(
    before: Run, version: Path, tmp_path: Path, change: Callable[[Path], None], listed: int
) -> None:
    change(version)
    cats = sorted(name for name in load_dataset(version).images if name.startswith("cat"))
    after = scanned(tmp_path / "run", version, cats[:listed])
    assert state(before, after) == ["persists"]


def test_saving_only_the_tagged_files_anew_is_no_re_encoding(tmp_path: Path, before: Run) -> None:
    """A faint thing may hardly move the levels; but it is told by which files were touched."""
    root = write_images(tmp_path / "v", per_class=PER_CLASS, tagged=0)
    first = scanned(tmp_path / "a", root, [])
    names = tagged_images(load_dataset(root).images, TAGGED)
    for name in names:
        with Image.open(root / name) as image:
            faint = np.asarray(image).astype(int)
        faint[5:8, 5:8] += 9
        resave(root / name, Image.fromarray(faint.clip(0, 255).astype(np.uint8)))
    second = scanned(tmp_path / "b", root, names)
    assert images_of(first, second)["re-encoded"] > TAGGED / 2
    assert state(first, second) == ["new"]


# --- findings: nothing was changed ----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_two_scans_that_list_other_images_of_the_same_data_have_nothing_new(
    before: Run, version: Path, tmp_path: Path, seed: int
) -> None:
    cats = [name for name in load_dataset(version).images if name.startswith("cat")]
    listed = np.random.default_rng(seed).choice(cats, TAGGED, replace=False).tolist()
    after = scanned(tmp_path / "run", version, listed)
    assert set(state(before, after)) == {"persists"}


def halves(seed: int, root: Path, whole: Path) -> None:
    """A random half of every class."""
    rng = np.random.default_rng(seed)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        files = sorted((whole / name).iterdir())
        for index in rng.permutation(len(files))[: len(files) // 2]:
            shutil.copy(files[index], root / name)


def test_adding_a_random_half_brings_nothing_new_more_often_than_chance(tmp_path: Path) -> None:
    whole = write_images(tmp_path / "whole", per_class=2 * PER_CLASS, tagged=16)
    names = tagged_images(load_dataset(whole).images, 16)
    second = scanned(tmp_path / "b", whole, names)
    alarms = 0
    for seed in range(12):
        halves(seed, tmp_path / f"half {seed}", whole)
        # The scan of so few images had not seen it.
        first = scanned(tmp_path / f"a {seed}", tmp_path / f"half {seed}", [])
        alarms += compare(first, second).gating.shape[0]
        alarms += compare(second, first).gating.shape[0]
    assert alarms <= 1


@pytest.mark.parametrize(("testable", "expected"), [(0.1, "new"), (0.5, "unclear")])
def test_without_common_pictures_it_is_new_only_if_it_could_have_been_seen(
    tmp_path: Path, testable: float, expected: str
) -> None:
    one = write_images(tmp_path / "one", per_class=PER_CLASS, tagged=0)
    other = write_images(tmp_path / "other", per_class=PER_CLASS, tagged=TAGGED, first=100)
    first = write_run(tmp_path / "a", one, [], {}, testable=testable)
    names = tagged_images(load_dataset(other).images, TAGGED)
    comparison = compare(first, scanned(tmp_path / "b", other, names))
    assert comparison.findings["state"].tolist() == [expected]
    assert any("0 pictures in common" in note for note in comparison.notes)


def test_the_same_tag_in_other_pictures_is_recognised_by_its_looks(
    before: Run, tmp_path: Path
) -> None:
    other = write_images(tmp_path / "other", per_class=PER_CLASS, tagged=TAGGED, first=100)
    names = tagged_images(load_dataset(other).images, TAGGED)
    after = scanned(tmp_path / "b", other, names)
    found = compare(before, after).findings
    assert found[["finding_a", "finding_b", "state"]].values.tolist() == [["F1", "F1", "persists"]]
    # Another thing in the same corner is another finding.
    for name in names:
        image = picture(1)
        image.paste(picture(int(Path(name).stem)).crop((0, 24, 40, 64)), (0, 0))
        image.save(other / name)
    different = scanned(tmp_path / "c", other, names)
    assert sorted(compare(before, different).findings["state"]) == ["new", "resolved"]


# --- the gate, decisions, models ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "gates"),
    [
        ({}, True),
        ({"severity": "medium"}, True),
        ({"severity": "low"}, False),
        ({"verdict": "present"}, False),
        ({"verdict": "confirmed"}, True),
    ],
)
def test_what_trips_the_gate(
    before: Run, tmp_path: Path, changes: dict[str, Any], gates: bool
) -> None:
    root = Path(before.card["dataset"]["root"])
    clean_root = write_images(tmp_path / "clean", per_class=PER_CLASS, tagged=0)
    first = scanned(tmp_path / "a", clean_root, [])
    names = tagged_images(load_dataset(root).images, TAGGED)
    second = scanned(tmp_path / "b", root, names, **changes)
    command = ["compare", str(first.folder), str(second.folder), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(cli.app, command).exit_code == 0
    result = CliRunner().invoke(cli.app, [*command, "--fail-on-new"])
    assert result.exit_code == (3 if gates else 0)
    assert ("gate: 1 finding is new or worse" in result.output) == gates


def test_what_was_dismissed_stays_dismissed(before: Run, version: Path, tmp_path: Path) -> None:
    names = tagged_images(load_dataset(version).images, 2 * TAGGED)
    for name in names[TAGGED:]:
        resave(version / name, picture(int(Path(name).stem), tag=True))
    after = scanned(tmp_path / "run", version, names)
    for run in (before, after):
        path = tmp_path / "decisions.json"
        content = {"schema_version": 1, "run": run.fingerprint, "findings": {"F1": "dismiss"}}
        path.write_text(json.dumps(content))
        found = compare(before, after, decisions=path).findings.iloc[0]
        assert (found["state"], found["dismissed"], found["gates"]) == ("worse", True, False)
    path.write_text(json.dumps({**content, "run": "0" * 32}))
    with pytest.raises(RunError, match="made on the page of another run"):
        compare(before, after, decisions=path)


def test_with_another_model_it_says_what_cannot_be_compared(before: Run, tmp_path: Path) -> None:
    root = Path(before.card["dataset"]["root"])
    names = tagged_images(load_dataset(root).images, TAGGED)
    after = write_run(tmp_path / "b", root, [finding("F1")], {"F1": names}, model="m2")
    comparison = compare(before, after)
    assert any("The models differ" in note for note in comparison.notes)
    assert comparison.findings["state"].tolist() == ["persists"]
    assert not any("The models differ" in note for note in compare(before, before).notes)


@pytest.mark.parametrize(
    ("ends", "expected"), [((0.5, 0.7), "worse"), ((0.0, 0.1), "better"), ((0.1, 0.6), "persists")]
)
def test_as_common_as_before_but_relied_on_more_or_less(
    before: Run, tmp_path: Path, ends: tuple[float, float], expected: str
) -> None:
    root = Path(before.card["dataset"]["root"])
    names = tagged_images(load_dataset(root).images, TAGGED)

    def measured(low: float, high: float) -> dict[str, float]:
        return {"reliance": (low + high) / 2, "reliance_low": low, "reliance_high": high}

    first = scanned(tmp_path / "a", root, names, **measured(0.2, 0.4))
    second = scanned(tmp_path / "b", root, names, **measured(*ends))
    assert state(first, second) == [expected]


# --- the interval ---------------------------------------------------------------------------------


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        kept, removed, added = 60, int(rng.integers(0, 40)), int(rng.integers(5, 40))
        share = rng.uniform(0.05, 0.6)
        parts = [Part(int(rng.binomial(n, share)), n) for n in (kept, removed, added)]
        _, low, high = share_difference(*parts)
        inside += low <= 0 <= high
    assert inside / 2000 >= 0.94


def test_without_common_images_the_interval_is_newcombes() -> None:
    # The example of Newcombe (1998), method 10: 56/70 - 48/80.
    difference, low, high = share_difference(Part(0, 0), Part(48, 80), Part(56, 70))
    assert (round(difference, 4), round(low, 4), round(high, 4)) == (0.2, 0.0524, 0.3339)


# --- files and page -------------------------------------------------------------------------------


def test_the_folder_of_a_comparison(before: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    comparison = compare(before, before, out=out)
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    table = pd.read_csv(out / "comparison.csv")
    assert tuple(table.columns) == COMPARISON_COLUMNS
    card = json.loads((out / "comparison.json").read_text())
    assert card["states"]["persists"] == len(comparison.findings)
    assert card["images"]["unchanged"] == len(before.images)
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    compare(before, before, out=out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds 'thesis\.txt', which is no part of a comparison"):
        compare(before, before, out=out)


def test_the_page_shows_hostile_names_as_text(tmp_path: Path) -> None:
    one = handmade_run(tmp_path / "a", findings=3)
    two = handmade_run(tmp_path / "b", findings=2)
    compare(one, two, out=tmp_path / "out")
    with chromium() as browser, visiting(browser, tmp_path / "out" / "comparison.html") as visit:
        assert "compared with" in visit.page.title()
        for width in (1280, 360):
            visit.page.set_viewport_size({"width": width, "height": 900})
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
            assert visit.page.locator("article.finding").count() == 3
            assert visit.page.locator(".crops img").count() >= 12
        assert visit.requests == []
        assert visit.complaints == []
