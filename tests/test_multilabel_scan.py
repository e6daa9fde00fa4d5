"""Several labels an image, from the manifest to findings, files, page, clean and compare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from multilabel import NAMES, SIDE, Cue, Drawn, draw_dataset, trained
from torch import nn

from shortcut_finder.cleaning.folder import clean
from shortcut_finder.comparison.folder import compare
from shortcut_finder.data.dataset import load_dataset
from shortcut_finder.data.membership import labelled
from shortcut_finder.detect import study
from shortcut_finder.errors import DatasetError, ModelError
from shortcut_finder.exporting.export import export
from shortcut_finder.exporting.marks import marked_images
from shortcut_finder.model.classifier import load_classifier
from shortcut_finder.run.folder import Run, load_run
from shortcut_finder.scanning import scan
from shortcut_finder.settings import EXPORTS, Settings

SETTINGS = Settings(input_size=SIDE, precision="fp32", workers=0)
# Cells that are tried: the pictures are small.
SEEDS = 400
CUE = Cue((1,), 0.5, (0, 0))


@dataclass(frozen=True, eq=False)
class World:
    """A dataset with a cue of birches, which cedars bring along, a network, and the scan."""

    drawn: Drawn
    network: nn.Module
    run: Run


def go(drawn: Drawn, network: nn.Module, out: Path, settings: Settings = SETTINGS) -> Run:
    with patch.object(study, "SEEDS", SEEDS):
        return scan(drawn.path, network, out=out, settings=settings, progress=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    home = tmp_path_factory.mktemp("several")
    drawn = draw_dataset(home / "data", [CUE], images=260, together={2: 1})
    network = trained(drawn, rounds=10)
    return World(drawn, network, go(drawn, network, home / "run"))


def carriers(world: World) -> set[str]:
    return set(
        world.drawn.table["image"][world.drawn.carriers[0] & (world.drawn.states[:, 1] == 1)]
    )


def test_the_cue_is_found_in_its_label_and_in_no_other(world: World) -> None:
    loud = world.run.findings[world.run.findings["severity"] != "low"]
    assert loud["label"].tolist() == ["birch"]
    assert loud["verdict"].tolist() == ["confirmed"]
    assert loud["region"].tolist() == ["top left corner"]
    rows = world.run.offenders[world.run.offenders["finding"] == loud["finding"].iloc[0]]
    own = set(rows["image"][rows["label"] == "birch"])
    assert len(own & carriers(world)) >= 0.9 * len(carriers(world))
    assert len(own - carriers(world)) <= 0.1 * len(own)
    sure = own & set(rows["image"][rows["tier"] == "sure"])
    assert len(sure - carriers(world)) <= 0.1 * len(sure)


def test_tables_say_which_labels_an_image_has_and_what_the_model_says_of_each(
    world: World,
) -> None:
    images = load_run(world.run.folder).images
    order = [world.drawn.table["image"].tolist().index(name) for name in images["image"]]
    states = world.drawn.states[order]
    with torch.no_grad():
        classifier = load_classifier(
            world.network, weights=None, classes=None, labels=NAMES, settings=SETTINGS, several=True
        )
        pixels = torch.from_numpy(world.drawn.pixels[order])
        said = world.network(classifier.normalise(pixels)).sigmoid().numpy()
    for number, name in enumerate(NAMES):
        assert (labelled(images, name) == (states[:, number] == 1)).all()
        assert [name in some for some in images["unknown"]] == (states[:, number] == -1).tolist()
        assert np.allclose(images[f"probability: {name}"], said[:, number], atol=5e-3)
    assert images["label"].tolist() == ["|".join(some) for some in images["labels"]]
    known = states != -1
    right = (said > 0.5) == (states == 1)
    assert world.run.card["accuracy"] == pytest.approx(right[known].mean())
    assert world.run.card["dataset"]["images"]["elm"] == (states[:, 3] == 1).sum()
    assert world.run.card["model"]["outputs"] == "sigmoid"


def test_every_label_of_an_image_has_its_map(world: World) -> None:
    weights = world.network.head.weight.detach().numpy()
    bias = world.network.head.bias.detach().numpy()
    images = world.run.images.set_index("image")
    for number, name in enumerate(NAMES):
        maps = world.run.maps_of(name)
        for image in images.index[labelled(world.run.images, name)][:20]:
            odds = images.loc[image, f"probability: {name}"]
            mean = maps[image].mean() + bias[number]
            assert 1 / (1 + np.exp(-mean)) == pytest.approx(odds, abs=2e-2)
    assert weights.shape == (4, 64)


def test_regions_hold_a_label_against_images_known_not_to_have_it(world: World) -> None:
    regions = world.run.regions
    assert set(regions["label"]) == set(NAMES)
    birch = regions[(regions["label"] == "birch") & (regions["region"] == "top left corner")].iloc[
        0
    ]
    assert birch["share"] > birch["elsewhere"]


def test_findings_in_json_have_their_colabels_and_the_page_shows_them(world: World) -> None:
    details = load_run(world.run.folder).details
    assert all("colabels" in detail for detail in details)
    page = (world.run.folder / "report.html").read_text(encoding="utf-8")
    assert ("Labels it goes with" in page) == any(detail["colabels"] for detail in details)
    assert ">birch<" in page
    # In the list of images each has its other labels, too.
    both = world.run.images["image"][world.run.images["label"] == "birch|cedar"]
    assert len(set(both) & set(world.run.offenders["image"]))
    assert "birch, also cedar" in page


def test_reasons_name_the_probability_of_the_findings_own_label(world: World) -> None:
    rows = world.run.offenders[world.run.offenders["reason"].str.contains("without it this image")]
    images = world.run.images.set_index("image")
    assert len(rows)
    for row in rows.head(20).itertuples():
        share = float(images.loc[row.image, f"probability: {row.label}"])
        said = float(row.reason.rpartition("with it ")[2].rstrip("%"))
        assert said == pytest.approx(100 * share, abs=1)


def test_dropping_leaves_a_manifest_that_keeps_what_is_unknown(
    world: World, tmp_path: Path
) -> None:
    plan = clean(world.run, "drop", out=tmp_path / "clean")
    table = pd.read_csv(tmp_path / "clean" / "manifest.csv")
    assert list(table) == ["image", *(f"label:{name}" for name in NAMES)]
    again = load_dataset(tmp_path / "clean" / "manifest.csv")
    assert again.classes == NAMES
    kept = {
        Path(name).name: row.tolist() for name, row in zip(again.images, again.labels, strict=True)
    }
    before = dict(zip(world.drawn.table["image"], world.drawn.states.tolist(), strict=True))
    assert kept == {name: before[name] for name in kept}
    gone = set(before) - set(kept)
    assert len(gone & carriers(world)) >= 0.9 * len(carriers(world))
    parquet = load_dataset(tmp_path / "clean" / "manifest.parquet")
    assert (parquet.labels == again.labels).all()
    counts = plan.counts.set_index("label")
    assert counts.loc["birch", "images"] == (world.drawn.states[:, 1] == 1).sum()
    described = pq.read_table(tmp_path / "clean" / "datasets.parquet")
    assert described.column_names == ["image", "labels"]


def test_reweighting_makes_the_cue_as_common_with_its_label_as_without(world: World) -> None:
    plan = clean(world.run, "reweight", tier="likely")
    images = plan.images
    finding = world.run.findings["finding"].iloc[0]
    carries = images["findings"].str.split().map(lambda keys: finding in keys).to_numpy()
    own, unknown = (
        labelled(images, "birch"),
        np.array(["birch" in some for some in images["unknown"]]),
    )
    weights = images["weight"].to_numpy()
    shares = [
        (weights * carries)[part].sum() / weights[part].sum() for part in (own, ~own & ~unknown)
    ]
    assert shares[0] == pytest.approx(shares[1], abs=1e-6)
    assert (weights[unknown] == 1).all()


def test_masking_fills_the_cue(world: World, tmp_path: Path) -> None:
    clean(world.run, "mask", out=tmp_path / "clean")
    assert "label:birch" in (tmp_path / "clean" / "manifest.csv").read_text()
    masked = pd.read_csv(tmp_path / "clean" / "masked.csv")
    assert len(set(masked["image"]) & carriers(world)) >= 0.8 * len(carriers(world))


@pytest.mark.parametrize("to", EXPORTS)
def test_it_is_exported_with_all_labels_of_an_image(world: World, tmp_path: Path, to: str) -> None:
    text = "".join(
        path.read_text(encoding="utf-8") for path in export(world.run, to, tmp_path / "out")
    )
    assert "F1 " in text or to == "csv"
    labels = dict(zip(world.run.images["image"], world.run.images["label"], strict=True))
    images = marked_images(world.run)
    assert {image.name: image.label for image in images}.items() <= labels.items()
    assert any("|" in image.label for image in images)
    boxes = {(image.name, mark.finding): box for image in images for mark, box in image.boxes}
    offenders = world.run.offenders.set_index(["image", "finding"])
    for key, box in boxes.items():
        assert box == tuple(offenders.loc[key, ["x0", "y0", "x1", "y1"]])
    assert boxes


def test_a_run_compared_with_itself_persists(world: World) -> None:
    table = compare(world.run, world.run).findings
    loud = table[table["severity"] != "low"]
    assert loud["state"].tolist() == ["persists"]
    assert loud["images_a"].tolist() == loud["images_b"].tolist()


def test_the_same_command_again_changes_nothing(world: World) -> None:
    before = (world.run.folder / "findings.csv").read_bytes()
    go(world.drawn, world.network, world.run.folder)
    assert (world.run.folder / "findings.csv").read_bytes() == before


def test_labels_that_the_model_does_not_tell_become_metadata(world: World, tmp_path: Path) -> None:
    table = pd.read_csv(world.drawn.path).assign(**{"label:site": 1}).head(80)
    path = world.drawn.path.with_name("site.csv")
    table.to_csv(path, index=False)
    small = replace(SETTINGS, verify=False)
    run = scan(path, world.network, out=tmp_path, classes=NAMES, settings=small, progress=False)
    assert run.card["dataset"]["classes"] == list(NAMES)
    assert "site" in run.card["dataset"]["metadata"]
    assert any("no output for site" in warning for warning in run.card["warnings"])
    with pytest.raises(ModelError, match="has 4 outputs but there are 5 class names"):
        scan(path, world.network, out=tmp_path / "b", settings=small, progress=False)


def test_one_label_and_one_logit_are_a_class_against_the_rest(world: World, tmp_path: Path) -> None:
    class Birch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = world.network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(images)[:, 1]

    settings = replace(SETTINGS, label_columns=("birch",), verify=False)
    run = go(world.drawn, Birch(), tmp_path, settings)
    assert run.card["maps"]["tier"] == "linear"
    assert run.card["model"]["outputs"] == "sigmoid"
    loud = run.findings[run.findings["severity"] != "low"]
    assert set(loud["label"]) == {"birch"}
    assert "top left corner" in loud["region"].tolist()


def test_adapt_takes_one_label_an_image(world: World, tmp_path: Path) -> None:
    from shortcut_finder.adapt import adapt

    with pytest.raises(DatasetError, match="images have several labels"):
        adapt(world.drawn.path, world.network, out=tmp_path / "x.pt", progress=False)
