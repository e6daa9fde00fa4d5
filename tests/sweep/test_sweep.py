"""Sweep: every image once, the same bytes however it was stopped or spread, and nobody else's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from networks import classifier_of
from PIL import Image
from synthetic import texture
from torch import nn

from shortcut_finder.data.dataset import ImageDataset, load_dataset
from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.data.properties import PROPERTIES, measure
from shortcut_finder.errors import ModelError, RunError, UnreadableImage
from shortcut_finder.maps.engine import MapEngine
from shortcut_finder.model.classifier import Classifier
from shortcut_finder.settings import Settings
from shortcut_finder.sweep import batches as sweep_module
from shortcut_finder.sweep import decoding
from shortcut_finder.sweep.batches import Sweep, sweep
from shortcut_finder.sweep.decoding import batch_size
from shortcut_finder.sweep.descriptors import read_descriptors
from shortcut_finder.sweep.shards import read_label_maps, read_shards

SIDE = 48
SETTINGS = Settings(precision="fp32", workers=0, batch_size=8)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "SHARD", 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir()
        for number in range(20):
            grey = texture(rng, 56)
            colours = np.stack([grey, grey * 0.8, rng.permutation(grey)], axis=2)
            Image.fromarray(colours.astype(np.uint8)).save(root / name / f"{number:02d}.png")
    return root


@pytest.fixture
def dataset(folder: Path) -> ImageDataset:
    return load_dataset(str(folder))


def classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(12, 16, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2),
    )  # fmt: skip
    made = classifier_of(module, SIDE)
    return replace(made, classes=("a", "b"), fingerprint=f"weights {seed}")


def go(
    dataset: ImageDataset,
    folder: Path,
    settings: Settings = SETTINGS,
    model: Classifier | None = None,
) -> Sweep:
    return sweep(dataset, model or classifier(), settings, folder / "shards", progress=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}


def table_of(folder: Path) -> pd.DataFrame:
    return pd.concat([shard.table for shard in read_shards(folder / "shards")], ignore_index=True)


def test_every_image_is_looked_at_once(dataset: ImageDataset, tmp_path: Path) -> None:
    swept = go(dataset, tmp_path)
    table = table_of(tmp_path)
    assert swept.swept == 40
    assert sorted(table["image"]) == sorted(dataset.images)
    assert [dataset.images[index] for index in table["index"]] == table["image"].tolist()
    assert [len(shard.table) for shard in read_shards(tmp_path / "shards")] == [16, 16, 8]
    assert len(swept.unreadable) == 0
    assert swept.seconds > 0


def test_a_shard_holds_what_the_model_and_the_image_say(
    dataset: ImageDataset, tmp_path: Path
) -> None:
    model = classifier()
    go(dataset, tmp_path, model=model)
    (shard, *_) = read_shards(tmp_path / "shards", ["maps", "shown", "logits", "cells"])
    for row in (0, 7, 15):
        index = int(shard.table["index"][row])
        image = dataset.read(index)
        pixels = model.preprocessing.pixels(image.picture)
        with MapEngine(model, SETTINGS) as engine:
            batch = engine.run(torch.tensor(pixels)[None], torch.tensor([dataset.labels[index]]))
        for name in ("maps", "shown", "logits"):
            expected = getattr(batch, name)[0].numpy()
            np.testing.assert_allclose(shard.arrays[name][row], expected, rtol=2e-3, atol=2e-3)
        properties = measure(image, pixels)
        assert shard.table["content"][row] == image.content
        for name in PROPERTIES:
            assert shard.table[name][row] == pytest.approx(properties[name])


class Stopped(Exception):  # noqa: N818 - a noun a reader recognises
    """What pulling the plug looks like from inside."""


def stop_after(looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sweep_module.Looker.look
    seen = iter(range(looks))

    def look(self: sweep_module.Looker, batch: list[object]) -> object:
        if next(seen, None) is None:
            raise Stopped
        return whole(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(sweep_module.Looker, "look", look)


@pytest.mark.parametrize(
    ("side", "asked", "size"), [(224, None, 32), (96, None, 32), (448, None, 8), (9999, None, 1),
                                (448, 20, 20)],
)  # fmt: skip
def test_larger_images_are_fewer_in_a_batch(side: int, asked: int | None, size: int) -> None:
    model = replace(classifier(), preprocessing=Preprocessing(height=side, width=side))
    assert batch_size(model, Settings(batch_size=asked)) == size


@pytest.mark.parametrize("looks", [0, 1, 2, 3, 4])
def test_a_sweep_that_was_stopped_goes_on_to_the_same_bytes(
    dataset: ImageDataset, tmp_path: Path, looks: int
) -> None:
    go(dataset, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(looks, patch)
        with pytest.raises(Stopped):
            go(dataset, tmp_path / "stopped")
    done = 16 * (looks // 2)
    before = contents(tmp_path / "stopped")
    again = go(dataset, tmp_path / "stopped")
    assert again.swept == 40 - done
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    for name, content in before.items():
        if name.startswith("shard"):
            assert contents(tmp_path / "stopped")[name] == content
    assert go(dataset, tmp_path / "stopped").swept == 0


def test_stopping_between_whitening_and_first_shard_loses_nothing(
    dataset: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = go(dataset, tmp_path / "whole")
    write = sweep_module.write_shard

    def fail(*_: object) -> None:
        raise Stopped

    monkeypatch.setattr(sweep_module, "write_shard", fail)
    with pytest.raises(Stopped):
        go(dataset, tmp_path / "stopped")
    assert "whitening.npz" in contents(tmp_path / "stopped")
    monkeypatch.setattr(sweep_module, "write_shard", write)
    assert go(dataset, tmp_path / "stopped").plan == whole.plan
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_decode_processes_settle_their_memory(
    dataset: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "settle_memory", (tmp_path / "settled").touch)
    go(dataset, tmp_path / "shards", replace(SETTINGS, workers=1))
    assert (tmp_path / "settled").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_no_byte(dataset: ImageDataset, tmp_path: Path, workers: int) -> None:
    go(dataset, tmp_path / "none")
    go(dataset, tmp_path / "some", replace(SETTINGS, workers=workers))
    assert contents(tmp_path / "none") == contents(tmp_path / "some")


def test_another_process_may_note_the_plan_at_the_same_moment(
    dataset: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = sweep_module.write_whole

    def beaten(path: Path, content: bytes) -> None:
        plain(path, content)
        if b"cell_layer" in content:
            raise FileNotFoundError(path.with_name("plan.json.part"))

    monkeypatch.setattr(sweep_module, "write_whole", beaten)
    go(dataset, tmp_path)
    assert json.loads((tmp_path / "shards" / "plan.json").read_text())["maps"]["cell_layer"]


@pytest.mark.parametrize(
    ("what", "changed"),
    [
        ("dataset", lambda d, m, s: (d.subset(range(30)), m, s)),
        ("model", lambda d, m, s: (d, replace(m, fingerprint="other"), s)),
        ("preprocessing", lambda d, m, s: (d, replace(m, preprocessing=_cropped(m)), s)),
        ("limit", lambda d, m, s: (d, m, replace(s, limit=20))),
        ("seed", lambda d, m, s: (d, m, replace(s, seed=1))),
        ("method", lambda d, m, s: (d, m, replace(s, method="gradcam"))),
        ("layer", lambda d, m, s: (d, m, replace(s, layer="3"))),
        ("precision", lambda d, m, s: (d, m, replace(s, precision="auto"))),
    ],
)
def test_another_scan_into_the_same_folder_is_refused(
    dataset: ImageDataset, tmp_path: Path, what: str, changed: object
) -> None:
    go(dataset, tmp_path)
    before = contents(tmp_path)
    other, model, settings = changed(dataset, classifier(), SETTINGS)  # type: ignore[operator]
    with pytest.raises(
        RunError, match=rf"holds a scan with another {what}( \(.*\))?; choose another --out"
    ):
        go(other, tmp_path, settings, model)
    assert contents(tmp_path) == before


def _cropped(model: Classifier) -> object:
    return replace(model.preprocessing, resize="crop")


@pytest.mark.parametrize("changed", [{"workers": 1}, {"batch_size": 4}, {"verify": False}])
def test_settings_that_change_no_map_may_change(
    dataset: ImageDataset, tmp_path: Path, changed: dict[str, object]
) -> None:
    go(dataset, tmp_path)
    assert go(dataset, tmp_path, replace(SETTINGS, **changed)).swept == 0  # type: ignore[arg-type]


class Broken:
    """A source that cannot read some of its images."""

    def __init__(self, dataset: ImageDataset, names: set[str]) -> None:
        self.inner = dataset.source
        self.names = names

    def read(self, image: str) -> object:
        if image in self.names:
            raise UnreadableImage(f"{image}: cut off")
        return self.inner.read(image)


def broken(dataset: ImageDataset, names: set[str]) -> ImageDataset:
    return replace(dataset, source=Broken(dataset, names))  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_images_are_listed_and_the_sweep_goes_on(
    dataset: ImageDataset, tmp_path: Path, workers: int
) -> None:
    names = {"a/03.png", "b/11.png", "a/19.png"}
    settings = replace(SETTINGS, workers=workers)
    swept = go(broken(dataset, names), tmp_path, settings)
    assert swept.unreadable["image"].tolist() == sorted(names)
    assert all("cut off" in error for error in swept.unreadable["error"])
    assert set(table_of(tmp_path)["image"]) == set(dataset.images) - names
    again = go(broken(dataset, names), tmp_path, settings)
    assert again.swept == 0
    pd.testing.assert_frame_equal(again.unreadable, swept.unreadable)


def test_a_readable_image_has_the_same_maps_whatever_is_unreadable(
    dataset: ImageDataset, tmp_path: Path
) -> None:
    go(dataset, tmp_path / "whole")
    go(broken(dataset, {"a/03.png", "b/11.png"}), tmp_path / "part")
    whole, part = (read_label_maps(tmp_path / name / "shards") for name in ("whole", "part"))
    for image, values in part.items():
        np.testing.assert_allclose(values, whole[image], atol=2e-3)


def test_shards_without_a_readable_image_are_tried_again(
    dataset: ImageDataset, tmp_path: Path
) -> None:
    order = sweep_module.sweep_order(dataset, SETTINGS)
    names = {dataset.images[index] for index in order[:16]}
    swept = go(broken(dataset, names), tmp_path)
    assert len(swept.unreadable) == 16
    assert len(table_of(tmp_path)) == 24
    # A drive that was not there may be there now.
    again = go(dataset, tmp_path)
    assert again.swept == 16
    assert len(again.unreadable) == 0
    assert len(table_of(tmp_path)) == 40


def test_not_one_readable_image_leaves_a_list(dataset: ImageDataset, tmp_path: Path) -> None:
    swept = go(broken(dataset, set(dataset.images)), tmp_path)
    assert swept.unreadable["image"].tolist() == sorted(dataset.images)
    assert list(read_shards(tmp_path / "shards")) == []


@pytest.mark.parametrize("limit", [1, 17, 40, 99])
def test_a_limit_is_a_fair_draw_of_that_many(
    dataset: ImageDataset, tmp_path: Path, limit: int
) -> None:
    settings = replace(SETTINGS, limit=limit)
    assert go(dataset, tmp_path, settings).swept == min(limit, 40)
    table = table_of(tmp_path)
    assert table["image"].nunique() == len(table) == min(limit, 40)
    if limit == 17:
        assert {name[0] for name in table["image"]} == {"a", "b"}


def state(model: Classifier) -> tuple[object, ...]:
    module = model.module
    parameters = [
        (name, p.clone(), p.grad, p.requires_grad) for name, p in module.named_parameters()
    ]
    hooks = [len(child._forward_hooks) + len(child._backward_hooks) for child in module.modules()]
    return parameters, hooks, [child.training for child in module.modules()]


def assert_same_state(one: tuple[object, ...], two: tuple[object, ...]) -> None:
    assert one[1:] == two[1:]
    for (name, a, grad_a, needs_a), (_, b, grad_b, needs_b) in zip(one[0], two[0], strict=True):  # type: ignore[call-overload]
        assert torch.equal(a, b), name
        assert grad_a is None
        assert grad_b is None
        assert needs_a == needs_b


@pytest.mark.parametrize("stopped", [False, True])
def test_the_model_is_left_as_found(
    dataset: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    model = classifier()
    before = state(model)
    if stopped:
        stop_after(2, monkeypatch)
        with pytest.raises(Stopped):
            go(dataset, tmp_path, model=model)
    else:
        go(dataset, tmp_path, model=model)
    assert_same_state(before, state(model))


def test_a_class_that_the_model_lacks_is_refused_before_anything_is_written(
    dataset: ImageDataset, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="has no class 'b'"):
        go(dataset, tmp_path, model=replace(classifier(), classes=("a", "c")))
    assert not (tmp_path / "shards").exists()


def test_outputs_may_be_in_another_order_than_the_classes(
    dataset: ImageDataset, tmp_path: Path
) -> None:
    go(dataset, tmp_path, model=replace(classifier(), classes=("b", "a")))
    for shard in read_shards(tmp_path / "shards", ["shown"]):
        is_a = [name.startswith("a/") for name in shard.table["image"]]
        assert shard.arrays["shown"][:, 0].tolist() == [int(a) for a in is_a]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("plan.json", b"{", r"plan\.json: cannot be read .*--fresh"),
        ("plan.json", b"{}", r"holds a scan with another dataset"),
    ],
)
def test_a_damaged_plan_is_one_clear_line(
    dataset: ImageDataset, tmp_path: Path, file: str, content: bytes, message: str
) -> None:
    go(dataset, tmp_path)
    (tmp_path / "shards" / "shard-000001.parquet").unlink()
    (tmp_path / "shards" / file).write_bytes(content)
    with pytest.raises(RunError, match=message):
        go(dataset, tmp_path)


def test_logits_beyond_half_precision_stay_numbers(dataset: ImageDataset, tmp_path: Path) -> None:
    model = classifier()
    with torch.no_grad():
        model.module[-1].weight.mul_(1e9)  # type: ignore[index, operator, union-attr]
    go(dataset, tmp_path, model=model)
    for shard in read_shards(tmp_path / "shards", ["maps", "logits"]):
        assert all(np.isfinite(values).all() for values in shard.arrays.values())


def test_the_plan_says_how_maps_were_drawn(dataset: ImageDataset, tmp_path: Path) -> None:
    plan = go(dataset, tmp_path).plan
    assert set(plan) >= {
        "method", "tier", "layer", "grid", "precision", "cell_layer", "cell_grid", "fine_layer",
        "fine_channels", "notes",
    }  # fmt: skip
    kept = json.loads((tmp_path / "shards" / "plan.json").read_text())
    assert kept["maps"] == plan
    (shard, *_) = read_shards(tmp_path / "shards", ["maps", "cells", "fine"])
    assert list(shard.arrays["maps"].shape[2:]) == plan["grid"]
    assert list(shard.arrays["cells"].shape[1:3]) == plan["cell_grid"]
    assert (plan["cell_layer"], plan["fine_layer"], plan["fine_channels"]) == ("3", "1", 8)
    twice = [2 * length for length in plan["cell_grid"]]
    assert list(shard.arrays["fine"].shape[1:]) == [*twice, plan["fine_channels"]]
    assert np.abs(shard.arrays["fine"]).max() > 30


def test_a_network_without_a_finer_layer_is_swept_without_fine_cells(
    dataset: ImageDataset, tmp_path: Path
) -> None:
    coarse = nn.Sequential(
        nn.Conv2d(3, 16, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2)
    )
    model = replace(classifier(), module=coarse.eval())
    with pytest.MonkeyPatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(Stopped):
            go(dataset, tmp_path, model=model)
    assert go(dataset, tmp_path, model=model).plan["fine_layer"] is None
    found = read_descriptors(tmp_path / "shards", np.arange(40))
    assert found.fine.shape == (40, 36, 4, 0)
    assert found.of(np.array([0, 39])).shape == (2, 36, 16)


def test_the_bar_counts_from_what_is_done(
    dataset: ImageDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(Stopped):
            go(dataset, tmp_path)
    sweep(dataset, classifier(), SETTINGS, tmp_path / "shards", progress=True)
    printed = capsys.readouterr()
    assert "40/40" in printed.err
    assert "16/40" in printed.err
    assert printed.out == ""
