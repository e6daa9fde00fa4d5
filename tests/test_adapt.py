from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from typer.testing import CliRunner

from shortcut_finder.adapt import Adaptation, _fit_head, adapt
from shortcut_finder.cli.app import app
from shortcut_finder.errors import DatasetError, ModelError
from shortcut_finder.maps.engine import MapEngine
from shortcut_finder.model import surgery
from shortcut_finder.model.classifier import Classifier, load_classifier
from shortcut_finder.model.surgery import Adapted, PooledHead, read_head, save_adapted
from shortcut_finder.settings import Settings

COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}
SETTINGS = Settings(input_size=32, precision="fp32", device="cpu", workers=0)

NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 12, 5, stride=2, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * 64, 20), nn.ReLU(), nn.Linear(20, 3),
    )

def linear():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 3),
    )
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty noisy pictures of each of three colours."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir()
        for number in range(30):
            pixels = random.normal(colour, 40, (40, 40, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    (root.parent / "network.py").write_text(NETWORK)
    return root


@pytest.fixture(scope="module")
def model(photos: Path) -> str:
    return f"{photos.parent / 'network.py'}:build"


@pytest.fixture(scope="module")
def done(photos: Path, model: str, tmp_path_factory: pytest.TempPathFactory) -> Adaptation:
    out = tmp_path_factory.mktemp("adapted") / "pooled.pt"
    return adapt(photos, model, out=out, settings=SETTINGS, progress=False)


def load(model: str, weights: Path | None) -> Classifier:
    return load_classifier(
        model, weights=weights, classes=None, labels=tuple(COLOURS), settings=SETTINGS
    )


def test_a_head_fitted_on_what_the_layer_shows_tells_the_classes_apart(done: Adaptation) -> None:
    assert (done.layer, done.fitted, done.held_out) == ("4", 72, 18)
    assert done.before < 0.8
    assert done.after == 1.0


def test_the_result_loads_as_weights_and_has_exact_maps(
    done: Adaptation, model: str, photos: Path
) -> None:
    classifier = load(model, done.path)
    pixels = torch.from_numpy(
        np.stack([
            classifier.preprocessing.pixels(Image.open(photos / name / "0.png"))
            for name in COLOURS
        ])
    )  # fmt: skip
    with MapEngine(classifier, Settings(precision="fp32", method="cam")) as engine:
        batch = engine.run(pixels, torch.tensor([0, 1, 2]))
        assert (engine.plan.tier, engine.plan.layer) == ("linear", "body.4")
    logits = batch.maps.mean((2, 3)) + classifier.module.head.bias.detach()[batch.shown]
    assert torch.allclose(logits, batch.logits.gather(1, batch.shown), atol=1e-4)
    assert batch.logits.argmax(1).tolist() == [0, 1, 2]


def test_the_networks_own_weights_are_not_changed(done: Adaptation, model: str) -> None:
    before, after = load(model, None).module, load(model, done.path).module
    assert isinstance(after, Adapted)
    for name, value in before.state_dict().items():
        assert torch.equal(value, after.body.state_dict()[name])


def test_the_same_seed_gives_the_same_head(
    done: Adaptation, photos: Path, model: str, tmp_path: Path
) -> None:
    adapt(photos, model, out=tmp_path / "again.pt", settings=SETTINGS, progress=False)
    first, second = read_head(done.path), read_head(tmp_path / "again.pt")
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_fit_is_the_regression_on_standardised_features(classes: int) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(200) % classes
    features = random.normal(0, 3, (200, 6)).astype(np.float32) + labels[:, None]
    features[:, 4] = 0
    weight, bias = _fit_head(features, labels, 0.1)
    spread = np.where(features.std(0) > 0, features.std(0), 1)
    scaled = (features - features.mean(0)) / spread
    regression = LogisticRegression(C=0.1, max_iter=200).fit(scaled, labels)
    logits = features @ weight.T + bias
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert weight.shape == (classes, 6)
    assert np.allclose(shares, regression.predict_proba(scaled), atol=1e-5)
    assert (weight[:, 4] == 0).all()


def test_a_head_that_is_linear_already_is_refused(photos: Path, tmp_path: Path) -> None:
    model = f"{photos.parent / 'network.py'}:linear"
    with pytest.raises(ModelError, match="its maps are exact; scan it as it is"):
        adapt(photos, model, out=tmp_path / "a.pt", settings=SETTINGS, progress=False)
    assert not (tmp_path / "a.pt").exists()


def test_a_class_of_one_image_cannot_be_fitted_and_measured(
    photos: Path, model: str, tmp_path: Path
) -> None:
    for name, count in (("blue", 5), ("green", 5), ("red", 1)):
        (tmp_path / "few" / name).mkdir(parents=True)
        for number in range(count):
            picture = photos / name / f"{number}.png"
            (tmp_path / "few" / name / picture.name).write_bytes(picture.read_bytes())
    with pytest.raises(DatasetError, match="class 'red' of the model has 1 readable images"):
        adapt(tmp_path / "few", model, out=tmp_path / "a.pt", settings=SETTINGS, progress=False)


def test_the_command_prints_accuracy_before_and_after(
    photos: Path, model: str, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "pooled.pt"
    arguments = ["adapt", str(photos), "--model", model, "--out", str(out), "--input-size", "32"]
    result = CliRunner().invoke(app, [*arguments, "--precision", "fp32", "--quiet"])
    assert result.exit_code == 0, result.output
    assert "on 18 images held out: " in result.stdout
    assert " before, 100% after; 72 fitted on" in result.stdout
    assert read_head(out) is not None


HEAD = PooledHead("0", 0, "channels first", 0, False, torch.ones(2, 8), torch.zeros(2))


@pytest.mark.parametrize(
    "change",
    [
        {"layer": 7}, {"call": -1}, {"axes": "rows"}, {"prefix": True}, {"rectified": 1},
        {"weight": [1.0]}, {"weight": torch.ones(3, 8)}, {"bias": torch.zeros(2, 2)},
        {"more": 1}, {"weight": torch.ones(2, 8, dtype=torch.int64)}, {"weight": torch.ones(2)},
    ],
)  # fmt: skip
def test_a_damaged_head_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    values = {**vars(HEAD), **change}
    torch.save({"state_dict": {}, surgery.KEY: values}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="is damaged; run it again"):
        read_head(tmp_path / "a.pt")


def test_a_head_for_another_network_is_refused(tmp_path: Path, model: str) -> None:
    state = load(model, None).module.state_dict()
    head = PooledHead("nowhere", 0, "channels first", 0, False, HEAD.weight, HEAD.bias)
    save_adapted(tmp_path / "a.pt", state, head)
    with pytest.raises(ModelError, match="adapted at layer nowhere, which this network lacks"):
        load(model, tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("axes", "prefix", "shape"),
    [("channels first", 0, (2, 8, 3, 4)), ("channels last", 0, (2, 3, 4, 8)),
     ("tokens", 1, (2, 13, 8))],
)  # fmt: skip
def test_pooling_averages_the_places_and_leaves_prefix_tokens_out(
    axes: str, prefix: int, shape: tuple[int, ...]
) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    head = PooledHead("0", 0, axes, prefix, True, HEAD.weight, HEAD.bias)
    places = {"channels first": (2, 3), "channels last": (1, 2), "tokens": (1,)}[axes]
    kept = values[:, 1:] if prefix else values
    assert torch.allclose(head.pooled(values), kept.clamp(min=0).mean(places))


def test_the_rest_of_the_network_is_not_run_and_no_hook_stays() -> None:
    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            self.shared(self.shared(x))
            raise AssertionError("not needed")

    head = PooledHead("shared", 1, "channels first", 0, False, torch.ones(2, 3), torch.zeros(2))
    network, images = Adapted(Body(), head), torch.randn(2, 3, 4, 4)
    expected = network.body.shared(network.body.shared(images)).mean((2, 3)).sum(1)
    assert torch.allclose(network(images)[:, 0], expected)
    assert not network.body.shared._forward_hooks
