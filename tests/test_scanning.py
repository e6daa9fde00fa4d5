"""Analysis: a scan from images to page; every file of the contract, and nothing lost on the way."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from synthetic import paste, stamp, texture
from torch import nn
from unbroken import masked, whole

from shortcut_finder.data import sources
from shortcut_finder.data.properties import PROPERTIES
from shortcut_finder.data.reading import ReadImage, read_file
from shortcut_finder.data.regions import BOXES
from shortcut_finder.errors import (
    DatasetError,
    ModelError,
    RunError,
    SettingsError,
    ShortcutFinderError,
)
from shortcut_finder.run.folder import Run, load_run
from shortcut_finder.scanning import scan
from shortcut_finder.settings import Settings
from shortcut_finder.stats.experiments import EARLY_PAIRS

SIDE = 64
SETTINGS = Settings(input_size=SIDE, precision="fp32", workers=0)
CONTRACT = {
    "regions.csv": "label,region,images,share,elsewhere,lift,effect,p,q",
    "findings.csv": "finding,label,kind,region,images,share,elsewhere,reliance,reliance_low,"
    "reliance_high,q,suspicion,verdict,severity,sentence,artifact,share_low,share_high",
    "offenders.csv": "rank,image,label,predicted,confidence,score,finding,kind,region,"
    "x0,y0,x1,y1,reason,tier",
    "confusions.csv": "label,rival,images,overlap,region",
    "unreadable.csv": "image,error",
}
KINDS = {
    "corner", "edge", "frame", "patch", "overlay", "background", "property", "metadata", "region"
}  # fmt: skip


class TinyNet(nn.Module):
    """Fixed random filters on two scales: what it sees is in its cells, whatever it makes of it."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 24, 5, 4, 2), nn.ReLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(32, 32, 1), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(32, outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images).mean((2, 3)))


def make_images(
    root: Path, counts: dict[str, int], stamped: Sequence[str] = (), seed: int = 0
) -> set[str]:
    """Textures in class folders; a stamp in the top left corner of 40% of some classes."""
    rng = np.random.default_rng(seed)
    carriers = set()
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            width, height = ((SIDE, SIDE), (96, 72))[number % 2]
            grey = texture(rng, max(width, height))[:height, :width]
            if name in stamped and number % 5 < 2:
                side = round(min(width, height) / 4)
                grey = paste(grey, stamp(0, 16), side // 8, side // 8)
                carriers.add(f"{name}/{number:03d}.png")
            colours = np.stack([grey, grey * 0.9, grey * 0.8], axis=2)
            Image.fromarray(colours.clip(0, 255).astype(np.uint8)).save(
                root / name / f"{number:03d}.png"
            )
    return carriers


@pytest.fixture(scope="module")
def stamped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    root = tmp_path_factory.mktemp("data") / "animals"
    return root, make_images(root, {"ant": 50, "bee": 50, "cat": 50}, ["bee"])


@pytest.fixture(scope="module")
def scanned(stamped: tuple[Path, set[str]], tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("out") / "run"
    return scan(stamped[0], TinyNet(3), out=out, settings=SETTINGS, progress=False)


def go(root: Path, out: Path, classes: int, settings: Settings = SETTINGS, **more: object) -> Run:
    options = {"out": out, "settings": settings, "progress": False, **more}
    return scan(root, TinyNet(classes), **options)  # type: ignore[arg-type]


def test_every_file_of_the_contract_is_there_with_its_columns(scanned: Run) -> None:
    for name, columns in CONTRACT.items():
        lines = (scanned.folder / name).read_text(encoding="utf-8").split("\n")
        assert lines[0] == columns
    files = {path.name for path in scanned.folder.iterdir()}
    assert files == {
        *CONTRACT, "run.json", "images.parquet", "findings.json", "report.html",
        "thumbnails.parquet", "experiments.parquet", "shards", "run.log",
    }  # fmt: skip
    assert list((scanned.folder / "shards").glob("*.parquet"))
    images = pd.read_parquet(scanned.folder / "images.parquet")
    expected = [
        "image", "content", "label", "predicted", "confidence", "label_probability", "top1",
        "top1_probability", "top2", "top2_probability", "top3", "top3_probability", "width",
        "height", *(f"share: {region}" for region in BOXES),
        *(name for name in PROPERTIES if name not in ("width", "height")), "suspicion",
    ]  # fmt: skip
    assert list(images.columns) == expected
    page = (scanned.folder / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")


def test_the_card_says_what_was_done(scanned: Run) -> None:
    card = json.loads((scanned.folder / "run.json").read_text(encoding="utf-8"))
    assert card["schema_version"] == 1
    assert card["dataset"]["classes"] == ["ant", "bee", "cat"]
    assert card["dataset"]["images"] == {"ant": 50, "bee": 50, "cat": 50}
    assert card["settings"] == json.loads(json.dumps(SETTINGS.as_dict()))
    counts = card["counts"]
    assert (counts["images"], counts["scanned"], counts["unreadable"]) == (150, 150, 0)
    assert counts["findings"] == len(scanned.findings)
    assert counts["offenders"] == len(scanned.offenders)
    right = scanned.images["label"] == scanned.images["predicted"]
    assert card["accuracy"] == pytest.approx(right.mean(), rel=1e-5)
    for key in ("model", "maps", "timings", "versions", "warnings", "visible", "testable"):
        assert key in card


def test_the_card_says_what_each_stage_took(
    stamped: tuple[Path, set[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against every image through the network and every file read, counted here."""
    monkeypatch.setattr("shortcut_finder.sweep.batches.SHARD", 64)
    network, passed, read = TinyNet(3), 0, 0

    def count_pass(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal passed
        passed += len(inputs[0])

    def count_file(path: Path, window: tuple[float, float] | None = None) -> ReadImage:
        nonlocal read
        read += 1
        return read_file(path, window)

    network.register_forward_pre_hook(count_pass)
    monkeypatch.setattr(sources, "read_file", count_file)
    started = time.perf_counter()
    run = scan(stamped[0], network, out=tmp_path / "run", settings=SETTINGS, progress=False)
    clock = time.perf_counter() - started
    stages = run.card["stages"]
    kept = load_run(run.folder).card["stages"]
    assert {name: stage.pop("seconds") for name, stage in kept.items()} == pytest.approx(
        {name: stage["seconds"] for name, stage in stages.items()}, rel=1e-4
    )
    assert all(stage.items() <= stages[name].items() for name, stage in kept.items())
    assert list(stages) == ["start", "sweep", "analysis", "experiments", "page"]
    # The blank image that says how many outputs there are goes before any stage.
    assert sum(stage["forward_passes"] for stage in stages.values()) == passed - 1
    assert sum(stage["decoded_files"] for stage in stages.values()) == read
    assert sum(stage["seconds"] for stage in stages.values()) == pytest.approx(clock, rel=0.05)
    assert all(stage["seconds"] > 0 for stage in stages.values())
    # What the layers are found on goes through twice or more.
    assert 150 < stages["sweep"]["forward_passes"] < 250
    assert stages["sweep"]["decoded_files"] == 150
    assert stages["start"]["decoded_files"] == stages["page"]["forward_passes"] == 0
    # What the page shows was read before, as was most of what experiments were made of.
    assert stages["page"]["decoded_files"] <= len(run.thumbnails)
    assert sum(stage["decoded_files"] for stage in stages.values()) <= 2 * 150
    assert stages["experiments"]["forward_passes"] > 0
    assert len(network._forward_pre_hooks) == 1


def test_nothing_is_swept_twice_in_the_account_of_stages(
    stamped: tuple[Path, set[str]], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, limit=40, verify=False)
    first = go(stamped[0], tmp_path / "run", 3, settings).card["stages"]
    again = go(stamped[0], tmp_path / "run", 3, settings).card["stages"]
    assert list(first) == ["start", "sweep", "analysis", "page"]
    assert (first["sweep"]["decoded_files"], again["sweep"]["decoded_files"]) == (40, 0)
    assert again["sweep"]["forward_passes"] == 0
    assert first["analysis"]["decoded_files"] == again["analysis"]["decoded_files"] > 0


def test_images_table_agrees_with_itself(scanned: Run, stamped: tuple[Path, set[str]]) -> None:
    images = scanned.images
    files = {path.relative_to(stamped[0]).as_posix() for path in stamped[0].rglob("*.png")}
    assert set(images["image"]) == files
    assert (images["label"] == images["image"].str.split("/").str[0]).all()
    assert (images["predicted"] == images["top1"]).all()
    assert (images["confidence"] == images["top1_probability"]).all()
    assert (images["top1_probability"] >= images["top2_probability"]).all()
    total = images[["top1_probability", "top2_probability", "top3_probability"]].sum(axis=1)
    np.testing.assert_allclose(total, 1)
    assert images["suspicion"].between(0, 1).all()
    best = scanned.offenders.groupby("image")["score"].max()
    held = images.set_index("image")["suspicion"]
    np.testing.assert_allclose(held[best.index], best)
    assert (held.drop(best.index) == 0).all()


def test_the_stamp_is_the_top_finding_and_its_images_come_first(
    scanned: Run, stamped: tuple[Path, set[str]]
) -> None:
    top = scanned.findings.iloc[0]
    assert (top["finding"], top["label"], top["region"]) == ("F1", "bee", "top left corner")
    assert top["suspicion"] >= 0.5
    assert top["severity"] != "low"
    rows = scanned.offenders[scanned.offenders["finding"] == "F1"]
    listed = set(rows["image"]) & stamped[1]
    assert len(listed) >= 0.8 * len(stamped[1])  # the weakest matches may fall below the limit
    assert set(rows["image"].head(10)) <= stamped[1]
    loud = scanned.findings[scanned.findings["severity"] != "low"]
    assert set(loud["label"]) == {"bee"}
    assert set(loud["region"]) == {"top left corner"}


def test_findings_are_of_the_contract(scanned: Run) -> None:
    findings = scanned.findings
    assert set(findings["kind"]) <= KINDS
    assert set(findings["verdict"]) <= {"confirmed", "present", "suspect"}
    order = ["high", "medium", "low"]
    assert findings["severity"].map(order.index).is_monotonic_increasing
    assert findings["finding"].tolist() == [f"F{n + 1}" for n in range(len(findings))]
    details = json.loads((scanned.folder / "findings.json").read_text())["findings"]
    rows, columns = json.loads((scanned.folder / "run.json").read_text())["maps"]["grid"]
    for row, detail in zip(findings.to_dict("records"), details, strict=True):
        for name in ("finding", "label", "kind", "region", "images", "sentence"):
            assert detail[name] == row[name]
        assert np.shape(detail["maps"]["members"]) == (rows, columns)
        assert np.shape(detail["maps"]["others"]) == (rows, columns)
        assert np.shape(detail["place"])
        assert all(0 <= part <= 1 for part in detail["suspicion_parts"].values())
        assert 0 < len(detail["template"]) <= 12
        assert detail["advice"]


def test_the_top_finding_was_experimented_with(scanned: Run) -> None:
    verification = scanned.details[0]["verification"]
    (paste,) = verification["experiments"]
    assert paste["name"] == "paste"
    # The network was never trained, which a few images show.
    assert paste["pairs"] == EARLY_PAIRS
    assert "no power to mask" in verification["note"]
    assert {"name", "role", "after", "flips", "effect", "low", "high", "p"} <= set(paste["arms"][0])
    row = scanned.findings.iloc[0]
    assert row["reliance_low"] <= row["reliance"] <= row["reliance_high"]
    assert row["reliance"] == pytest.approx(paste["effect"], rel=1e-4)
    shots = pd.read_parquet(scanned.folder / "experiments.parquet")
    shots = shots[shots["finding"] == row["finding"]]
    assert shots["arm"].tolist()[:2] == ["before", "after"]
    assert set(shots["image"]) <= set(scanned.images["image"])
    assert Image.open(io.BytesIO(shots["jpeg"].iloc[0])).size == (SIDE, SIDE)


def test_without_verification_everything_is_a_suspect(
    scanned: Run, stamped: tuple[Path, set[str]], tmp_path: Path
) -> None:
    shutil.copytree(scanned.folder, tmp_path / "run")
    run = go(stamped[0], tmp_path / "run", 3, replace(SETTINGS, verify=False))
    assert set(run.findings["verdict"]) == {"suspect"}
    assert run.findings["reliance"].isna().all()
    assert all(detail["verification"] is None for detail in run.details)
    assert not (tmp_path / "run" / "experiments.parquet").exists()


def test_metadata_says_what_the_stamp_goes_with_and_what_tells_the_label(
    stamped: tuple[Path, set[str]], tmp_path: Path
) -> None:
    root, carriers = stamped
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*.png"))
    facts = pd.DataFrame(
        {
            "path": names,
            "scanner": ["A" if name in carriers else "B" for name in names],
            "site": ["north" if name.startswith("cat") else "south" for name in names],
        }
    )
    facts.to_csv(tmp_path / "facts.csv", index=False)
    quick = replace(SETTINGS, verify=False)
    run = go(root, tmp_path / "run", 3, quick, metadata=tmp_path / "facts.csv")
    details = {detail["finding"]: detail for detail in run.details}
    row = run.findings[run.findings["kind"] == "metadata"].iloc[0]
    assert (row["label"], row["region"], row["severity"]) == ("cat", "site", "high")
    assert details[row["finding"]]["metadata"] == []
    stamps = run.findings[(run.findings["label"] == "bee") & (run.findings["severity"] == "high")]
    (beside,) = [
        said
        for said in details[stamps["finding"].iloc[0]]["metadata"]
        if said["column"] == "scanner"
    ]
    assert set(beside) == {
        "column",
        "value",
        "share_members",
        "share_rest",
        "rest",
        "q",
        "sentence",
    }
    assert beside["value"] == "A"
    assert beside["share_members"] > 0.7 > 0.3 > beside["share_rest"]
    assert beside["sentence"] in stamps["sentence"].iloc[0]
    reasons = run.offenders[run.offenders["finding"] == row["finding"]]["reason"]
    assert set(reasons) == {"column site tells cat from the other classes"}


def test_offenders_are_ranked_and_list_every_member_inside_its_image(scanned: Run) -> None:
    table = scanned.offenders
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    assert table["score"].between(0, 1).all()
    assert table["score"].is_monotonic_decreasing
    assert not table.duplicated(["image", "finding"]).any()
    sizes = table.merge(scanned.images[["image", "width", "height"]], on="image")
    assert ((sizes["x0"] >= 0) & (sizes["x0"] < sizes["x1"])).all()
    assert ((sizes["y0"] >= 0) & (sizes["y0"] < sizes["y1"])).all()
    assert ((sizes["x1"] <= sizes["width"]) & (sizes["y1"] <= sizes["height"])).all()
    own = table.merge(scanned.findings[["finding", "label"]], on=["finding", "label"])
    members = own.groupby("finding").size()
    for row in scanned.findings.itertuples():
        assert members[row.finding] == row.images


def test_what_is_returned_is_what_was_written(scanned: Run) -> None:
    again = load_run(scanned.folder)
    for name in ("images", "regions", "findings", "offenders", "confusions", "unreadable"):
        one, two = getattr(scanned, name), getattr(again, name)
        pd.testing.assert_frame_equal(one, two, check_dtype=False, rtol=1e-5)


def test_same_seed_twice_gives_the_same_bytes(
    scanned: Run, stamped: tuple[Path, set[str]], tmp_path: Path
) -> None:
    go(stamped[0], tmp_path / scanned.folder.name, 3)
    one, two = masked(scanned.folder), masked(tmp_path / scanned.folder.name)
    assert set(one) == set(two)
    assert [name for name in one if one[name] != two[name]] == []


def test_the_same_command_again_sweeps_nothing_and_changes_nothing(
    stamped: tuple[Path, set[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(stamped[0], tmp_path / "run", 3, Settings(**{**SETTINGS.as_dict(), "limit": 40}))
    before = masked(tmp_path / "run")

    def never(*_: object) -> None:
        raise AssertionError("looked at an image again")

    monkeypatch.setattr("shortcut_finder.sweep.batches.Looker.look", never)
    go(stamped[0], tmp_path / "run", 3, Settings(**{**SETTINGS.as_dict(), "limit": 40}))
    after = masked(tmp_path / "run")
    assert [name for name in before if before[name] != after[name]] == []


def test_another_scan_needs_fresh(stamped: tuple[Path, set[str]], tmp_path: Path) -> None:
    few = {**SETTINGS.as_dict(), "limit": 30, "verify": False}
    go(stamped[0], tmp_path / "run", 3, Settings(**few))
    before = whole(tmp_path / "run")
    with pytest.raises(
        RunError, match=r"holds a scan with another seed \(0, now 1\); .*or --fresh to replace it"
    ):
        go(stamped[0], tmp_path / "run", 3, Settings(**{**few, "seed": 1}))
    after = whole(tmp_path / "run")
    assert b"holds a scan with another seed" in after.pop("run.log").splitlines()[-1]
    assert after == {name: content for name, content in before.items() if name != "run.log"}
    run = go(stamped[0], tmp_path / "run", 3, Settings(**{**few, "seed": 1}), fresh=True)
    assert run.card["settings"]["seed"] == 1
    assert len(run.images) == 30


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_with_a_strangers_file_is_refused_and_left_alone(
    stamped: tuple[Path, set[str]], tmp_path: Path, fresh: bool
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "run.json").write_text("{}")
    before = whole(tmp_path)
    with pytest.raises(RunError, match=r"holds 'thesis\.txt', which is no part of a run"):
        go(stamped[0], tmp_path, 3, fresh=fresh)
    assert whole(tmp_path) == before


def test_fresh_deletes_no_folder_that_a_scan_did_not_make(
    stamped: tuple[Path, set[str]], tmp_path: Path
) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "train-000.tar").write_text("someone's data set")
    with pytest.raises(RunError, match=r"train-000\.tar"):
        go(stamped[0], tmp_path, 3, fresh=True)
    assert (tmp_path / "shards" / "train-000.tar").exists()


def test_fresh_with_a_mistake_in_the_input_loses_nothing(
    stamped: tuple[Path, set[str]], tmp_path: Path
) -> None:
    go(stamped[0], tmp_path / "run", 3, replace(SETTINGS, limit=30, verify=False))
    before = whole(tmp_path / "run")
    with pytest.raises(DatasetError):
        go(tmp_path / "nowhere", tmp_path / "run", 3, fresh=True)
    assert whole(tmp_path / "run") == before
    with pytest.raises(ModelError, match="4 outputs but there are 3 class names"):
        go(stamped[0], tmp_path / "run", 4, fresh=True)
    assert whole(tmp_path / "run") == before


def test_a_file_for_a_folder_and_another_engine_are_refused(
    stamped: tuple[Path, set[str]], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="is a file; choose a folder for --out"):
        go(stamped[0], tmp_path / "file", 3)
    with pytest.raises(SettingsError, match="--actors: is for --engine ray"):
        go(stamped[0], tmp_path / "run", 3, Settings(actors=2))
    assert not (tmp_path / "run").exists()


def test_run_json_is_not_there_before_the_page_is(
    stamped: tuple[Path, set[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with run.json is a whole run."""

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("shortcut_finder.figures.pictures.write_thumbnails", fail)
    with pytest.raises(OSError, match="no space"):
        go(stamped[0], tmp_path / "run", 3, Settings(**{**SETTINGS.as_dict(), "limit": 20}))
    with pytest.raises(RunError, match="no finished run here"):
        load_run(tmp_path / "run")


@pytest.mark.parametrize(
    "counts",
    [
        {"ant": 30, "bee": 1},
        {"ant": 40, "bee": 2, "cat": 9},
        {"ant": 12, "bee": 12},
        {"ant": 9},
        {"ant": 1},
        {"ant": 1, "bee": 1},
    ],
    ids=str,
)
def test_small_and_uneven_datasets_scan_to_the_end(tmp_path: Path, counts: dict[str, int]) -> None:
    make_images(tmp_path / "data", counts)
    run = go(tmp_path / "data", tmp_path / "run", len(counts))
    assert len(run.images) == sum(counts.values())
    assert not (run.findings["severity"] == "high").any()
    assert len(load_run(tmp_path / "run").regions) == (len(counts) > 1) * len(counts) * len(BOXES)


def test_a_limit_below_the_number_of_classes_scans_to_the_end(tmp_path: Path) -> None:
    make_images(tmp_path / "data", dict.fromkeys("abcdef", 4))
    run = go(tmp_path / "data", tmp_path / "run", 6, Settings(**{**SETTINGS.as_dict(), "limit": 2}))
    assert len(run.images) == 2
    assert run.card["counts"] == {
        "images": 24, "scanned": 2, "unreadable": 0, "findings": 0, "offenders": 0
    }  # fmt: skip


def test_not_one_readable_image_is_one_clear_line(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "data" / name / f"{number}.png").write_bytes(b"")
    with pytest.raises(ShortcutFinderError, match="not one image could be read") as caught:
        go(tmp_path / "data", tmp_path / "run", 2)
    assert "\n" not in str(caught.value)


def test_unreadable_images_are_listed_with_the_reason(tmp_path: Path) -> None:
    make_images(tmp_path / "data", {"ant": 8, "bee": 8})
    for name in ("ant/zero.png", "bee/text, with comma.jpg"):
        (tmp_path / "data" / name).write_bytes(b"" if "zero" in name else b"not an image")
    run = go(tmp_path / "data", tmp_path / "run", 2)
    assert run.unreadable["image"].tolist() == ["ant/zero.png", "bee/text, with comma.jpg"]
    assert (run.unreadable["error"].str.len() > 5).all()
    assert len(run.images) == 16
    assert (
        load_run(tmp_path / "run").unreadable["image"].tolist() == run.unreadable["image"].tolist()
    )


def test_a_class_that_was_not_scanned_is_not_called_testable(tmp_path: Path) -> None:
    make_images(tmp_path / "data", {"ant": 40, "bee": 40})
    settings = Settings(**{**SETTINGS.as_dict(), "limit": 10})
    run = go(tmp_path / "data", tmp_path / "run", 2, settings)
    assert all(share > 0.5 for share in run.card["testable"].values())


class Redness(nn.Module):
    """Evidence for either class is how red a cell is."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.AvgPool2d(8), nn.Conv2d(3, 1, 1, bias=False), nn.ReLU())
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.features[1].weight[:] = torch.tensor([1.0, -0.5, -0.5])[None, :, None, None]
            self.head.weight[:] = torch.tensor([[1.0], [1.1]])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images).mean((2, 3)))


def test_boxes_of_objects_go_from_the_manifest_to_table_finding_and_page(tmp_path: Path) -> None:
    """Bees are red outside of their box, ants inside; one ant has no box and one bee a bad one."""
    rng = np.random.default_rng(0)
    rows = []
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for number in range(40):
            picture = np.repeat(texture(rng, SIDE)[:, :, None], 3, axis=2) * 0.5 + 60
            x, y = (int(value) for value in rng.integers(0, 3, 2) * 8)
            inside, outside = (250, 60) if name == "ant" else (60, 250)
            for shift, red in ((0, inside), (32, outside)):
                shade = red - int(rng.integers(20)), 20, 20
                picture[y + shift + 4 : y + shift + 12, x + 4 : x + 12] = shade
            Image.fromarray(picture.astype(np.uint8)).save(tmp_path / name / f"{number:02d}.png")
            rows.append((f"{name}/{number:02d}.png", name, x, y, x + 16, y + 16))
    table = pd.DataFrame(rows, columns=["image", "label", "x0", "y0", "x1", "y1"]).astype(object)
    table.loc[3, ["x0", "y0", "x1", "y1"]] = ""
    table.loc[45, "x1"] = -4
    table.to_csv(tmp_path / "all.csv", index=False)
    settings = Settings(
        **{**SETTINGS.as_dict(), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    )
    run = scan(tmp_path / "all.csv", Redness(), out=tmp_path / "run", settings=settings,
               progress=False)  # fmt: skip
    images = run.images.set_index("image")
    outside = images["share: outside object"]
    assert outside.isna().sum() == 2
    assert outside.isna()[["ant/03.png", "bee/05.png"]].all()
    np.testing.assert_allclose(
        outside + images["share: object"], np.where(outside.isna(), np.nan, 1)
    )
    assert outside[images["label"] == "ant"].max() < 0.2
    assert outside[images["label"] == "bee"].min() > 0.8
    row = run.regions.set_index(["label", "region"]).loc[("bee", "outside object")]
    assert row["share"] == pytest.approx(outside[images["label"] == "bee"].mean(), rel=1e-5)
    assert row["elsewhere"] == pytest.approx(outside[images["label"] == "ant"].mean(), rel=1e-5)
    assert row["effect"] > 3
    assert row["q"] < 1e-6
    found = run.findings[(run.findings["kind"] == "region") & (run.findings["label"] == "bee")]
    assert found[["label", "region"]].values.tolist() == [["bee", "outside object"]]
    assert (found["severity"] != "high").all()
    listed = run.offenders[run.offenders["finding"] == found["finding"].iloc[0]]
    assert len(listed) == found["images"].iloc[0] >= 35
    assert listed["reason"].str.contains("more evidence in the region outside object").all()
    warnings = run.card["warnings"]
    assert any("1 object box cannot be used, such as bee/05.png" in line for line in warnings)
    assert any("2 of 80 images have no usable object box" in line for line in warnings)
    # Where an object lies is no fact about where its picture comes from.
    assert run.card["dataset"]["metadata"] == []
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "<th>Outside the object</th>" in page
    assert "more of the evidence lies outside the object" in page


def test_boxes_in_one_class_only_are_compared_with_nothing_and_that_is_said(tmp_path: Path) -> None:
    make_images(tmp_path, {"ant": 8, "bee": 8})
    names = [f"{label}/{number:03d}.png" for label in ("ant", "bee") for number in range(8)]
    table = pd.DataFrame({"image": names, "label": [name[:3] for name in names]})
    table["box_xywh"] = ["8 8 30 30"] * 8 + [""] * 8
    table.to_csv(tmp_path / "all.csv", index=False)
    run = go(tmp_path / "all.csv", tmp_path / "run", 2)
    assert any(
        line.startswith("Only ant images have object boxes") for line in run.card["warnings"]
    )
    assert not run.regions["region"].str.contains("object").any()
    known = run.images["share: outside object"].notna()
    assert (known == (run.images["label"] == "ant")).all()


class Warm(nn.Module):
    """A network whose zero padding lights up the border of one class's maps."""

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv2d(3, 2, 3, padding=1)
        with torch.no_grad():
            conv.weight.zero_()
            # The first channel sees the light at a place, the second the lack of it around.
            conv.weight[0, :, 1, 1] = 1.0
            conv.weight[1] = -0.2
            conv.bias[:] = torch.tensor([0.0, 2.7])
        self.features = nn.Sequential(nn.AvgPool2d(8), conv, nn.ReLU())
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.head.weight[:] = torch.tensor([[1.0, 0.0], [0.2, 1.0]])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images).mean((2, 3)))


def test_padding_heat_is_no_evidence_for_the_frame(tmp_path: Path) -> None:
    make_images(tmp_path / "data", {"ant": 40, "bee": 40})
    settings = Settings(**{**SETTINGS.as_dict(), "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)})
    run = scan(tmp_path / "data", Warm(), out=tmp_path / "run", settings=settings, progress=False)
    maps = np.stack([run.label_maps[name] for name in run.images["image"]]).clip(0)
    bees = (run.images["label"] == "bee").to_numpy()
    ring = np.ones(maps.shape[1:], dtype=bool)
    ring[1:-1, 1:-1] = False
    raw = maps[:, ring].sum(axis=1) / maps.sum(axis=(1, 2))
    assert raw[bees].mean() > raw[~bees].mean() + 0.1
    shares = run.images["share: frame"].to_numpy()
    assert abs(shares[bees].mean() - shares[~bees].mean()) < 0.4 * (
        raw[bees].mean() - raw[~bees].mean()
    )
    assert any(line.startswith("bee: ") and "blank" in line for line in run.card["warnings"])
    assert not (run.findings["kind"] == "region").any()


class OneLogit(TinyNet):
    """A network with one logit, or with two, each a part of it."""

    def __init__(self, part: float | None = None) -> None:
        super().__init__(1)
        if part is not None:
            one, self.head = self.head, nn.Linear(32, 2)
            with torch.no_grad():
                self.head.weight.copy_(torch.cat([-one.weight, one.weight]) * part)
                self.head.bias.copy_(torch.cat([-one.bias, one.bias]) * part)


def test_one_logit_finds_what_the_equal_softmax_and_sigmoid_networks_find(tmp_path: Path) -> None:
    make_images(tmp_path / "data", {"ant": 50, "bee": 50}, ["bee"])

    def run(name: str, network: nn.Module, **options: str) -> Run:
        settings = replace(SETTINGS, **options)  # type: ignore[arg-type]
        out = tmp_path / name
        return scan(tmp_path / "data", network, out=out, settings=settings, progress=False)

    one = run("one", OneLogit())
    assert one.card["model"]["positive"] == "bee"
    assert one.card["maps"]["tier"] == "linear"
    assert len(one.findings)
    # A softmax takes the difference of two logits, a sigmoid each of them.
    softmax = run("softmax", OneLogit(0.5))
    for other in (softmax, run("sigmoid", OneLogit(1.0), outputs="sigmoid")):
        pd.testing.assert_frame_equal(one.findings, other.findings, rtol=1e-3, atol=1e-4)
        pd.testing.assert_frame_equal(one.offenders, other.offenders, rtol=1e-3, atol=1e-4)
    for image, heat in one.label_maps.items():
        assert np.abs(heat - softmax.label_maps[image]).max() < 1e-5
    with pytest.raises(RunError, match="another positive"):
        run("one", OneLogit(), positive="ant")
