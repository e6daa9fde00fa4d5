import json
import os
import pickle
import urllib.error
from pathlib import Path

import pytest
import torch
from networks import small_vit
from torch import Tensor, nn
from torchvision import models

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.errors import ModelError
from shortcut_finder.model.classifier import Classifier, load_classifier
from shortcut_finder.model.outputs import logits_of
from shortcut_finder.settings import Settings

LABELS = ("cat", "dog", "owl")


def load(model: str | nn.Module, weights: object = None, **options: object) -> Classifier:
    given = {"classes": None, "labels": LABELS, "settings": Settings(device="cpu"), **options}
    return load_classifier(model, weights=weights, **given)


def tiny(outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=8), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, outputs),
    )  # fmt: skip


BUILDER = """
from torch import nn
import torch

def build(num_classes=7):
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=8), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(4, num_classes))

def fixed():
    return build(3)

def number():
    return 5

def failing():
    raise RuntimeError("no\\nway")
"""


@pytest.fixture
def builder(tmp_path: Path) -> Path:
    path = tmp_path / f"builder_{tmp_path.name}.py"
    path.write_text(BUILDER, encoding="utf-8")
    return path


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def assert_one_line(caught: pytest.ExceptionInfo[ModelError]) -> None:
    assert "\n" not in str(caught.value)


# Where models come from


def test_torchvision_name_with_a_state_dict(tmp_path: Path) -> None:
    network = models.mobilenet_v3_small(num_classes=3).eval()
    path = saved(network.state_dict(), tmp_path / "weights.pt")
    classifier = load("mobilenet_v3_small", path)
    pixels = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    images = classifier.normalise(pixels)
    assert classifier.classes == LABELS
    assert classifier.preprocessing == Preprocessing(224, 224, "squash")
    assert not classifier.module.training
    assert torch.allclose(classifier.module(images), network(images), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("squeezenet1_1", {}),
        ("googlenet", {"init_weights": False}),
        ("googlenet", {"init_weights": False, "aux_logits": False}),
    ],
)
def test_number_of_classes_is_read_from_the_weights(
    name: str, options: dict[str, bool], tmp_path: Path
) -> None:
    network = models.get_model(name, weights=None, num_classes=3, **options)
    path = saved(network.state_dict(), tmp_path / "weights.pt")
    assert load(name, path).classes == LABELS


@pytest.mark.slow
def test_size_of_a_vision_transformer_is_read_from_the_weights(tmp_path: Path) -> None:
    network = models.vit_b_32(image_size=96, num_classes=3)
    path = saved(network.state_dict(), tmp_path / "weights.pt")
    classifier = load("vit_b_32", path)
    assert classifier.preprocessing.height == classifier.preprocessing.width == 96


def test_function_of_a_file_is_told_the_number_of_classes(builder: Path, tmp_path: Path) -> None:
    network = tiny()
    path = saved(network.state_dict(), tmp_path / "weights.pt")
    classifier = load(f"{builder}:build", path)
    assert torch.equal(classifier.module[4].weight, network[4].weight)
    assert load(f"{builder}:fixed").classes == LABELS


def test_module_is_copied_and_left_as_found() -> None:
    network = tiny().train()
    network[0].weight.requires_grad_(False)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    classifier = load(network)
    assert classifier.module is not network
    assert all(child.training for child in network.modules())
    assert not any(child.training for child in classifier.module.modules())
    assert [value.requires_grad for value in network.parameters()] == [False] + [True] * 5
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_module_inside_data_parallel_is_found() -> None:
    assert isinstance(load(nn.DataParallel(tiny())).module, nn.Sequential)


def test_published_weights_bring_classes_and_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def fetch(url: str, **options: object) -> dict[str, Tensor]:
        seen.update(options, url=url)
        return models.shufflenet_v2_x0_5().state_dict()

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    for weights in ("DEFAULT", "IMAGENET1K_V1", "ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1"):
        classifier = load("shufflenet_v2_x0_5", weights, labels=("tench", "goldfish"))
    assert classifier.classes[:2] == ("tench", "goldfish")
    assert classifier.preprocessing == Preprocessing(224, 224, "crop", 256)
    assert classifier.class_index(["goldfish", "tench"]).tolist() == [1, 0]
    assert seen["weights_only"] is True
    assert seen["check_hash"] is True


def test_published_weights_without_a_network_are_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fetch(url: str, **options: object) -> None:
        raise urllib.error.URLError("no\nnetwork")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    message = r"resnet18: its weights cannot be downloaded .*pass --weights FILE"
    with pytest.raises(ModelError, match=message) as caught:
        load("resnet18", "DEFAULT")
    assert_one_line(caught)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("resnet81", "no torchvision classifier of that name; did you mean resnet18"),
        ("fcn_resnet50", "no torchvision classifier of that name"),
        ("resnet18", "has no weights; pass --weights FILE or --weights DEFAULT"),
        ("nowhere.py:build", r"nowhere\.py: no such file"),
        ("os.path:sep", "sep is not a function"),
        ("{builder}:missing", "missing is missing"),
        ("{builder}:number", "returned a int; expected an nn.Module"),
        ("{builder}:failing", "failed with RuntimeError: no way"),
    ],
)
def test_a_model_that_cannot_be_built_is_told_in_one_line(
    model: str, message: str, builder: Path
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load(model.format(builder=builder))
    assert_one_line(caught)


# State dicts


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}},
        lambda state: {"epoch": 3, "model_state_dict": state, "best": 0.5},
        lambda state: {"model": {f"module.model.{key}": value for key, value in state.items()}},
        lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
        lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
    ],
)
def test_wrapped_and_nested_state_dicts_load(wrap, tmp_path: Path) -> None:
    network = tiny()
    nn.init.normal_(network[4].weight)
    path = saved(wrap(network.state_dict()), tmp_path / "weights.pt")
    torch.manual_seed(9)
    assert torch.equal(load(tiny(), path).module[4].weight, network[4].weight)


def test_a_network_that_really_has_a_part_called_model_keeps_it(tmp_path: Path) -> None:
    network = nn.Sequential()
    network.add_module("model", tiny())
    path = saved(network.state_dict(), tmp_path / "weights.pt")
    assert load(network, path).classes == LABELS


def test_a_mismatch_names_the_keys(tmp_path: Path) -> None:
    state = tiny(5).state_dict()
    state["extra.weight"] = torch.ones(1)
    del state["0.weight"], state["0.bias"], state["1.weight"], state["1.bias"]
    path = saved(state, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="does not fit the model") as caught:
        load(tiny(), path)
    text = str(caught.value)
    assert str(path) in text
    assert "missing 0.weight, 0.bias, 1.weight and 1 more" in text
    assert "unexpected extra.weight" in text
    assert "4.weight is (5, 4), the model has (3, 4)" in text
    assert_one_line(caught)


class Payload:
    """Writes a file when unpickled, as hostile checkpoints do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["torch", "pickle", "nested", "module"])
def test_a_file_that_holds_code_is_refused_and_nothing_runs(kind: str, tmp_path: Path) -> None:
    path, trap = tmp_path / "weights.pt", tmp_path / "trap"
    if kind == "torch":
        torch.save(Payload(trap), path)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Payload(trap)))
    elif kind == "nested":
        torch.save({**tiny().state_dict(), "extra": Payload(trap)}, path)
    else:
        torch.save(tiny(), path)
    message = "not a PyTorch state dict" if kind == "pickle" else "holds Python objects"
    with pytest.raises(ModelError, match=message) as caught:
        load(tiny(), path)
    assert not trap.exists()
    assert_one_line(caught)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_and_exported_programs_are_refused(tmp_path: Path) -> None:
    script, exported = tmp_path / "script.pt", tmp_path / "program.pt2"
    torch.jit.trace(tiny().eval(), torch.zeros(1, 3, 64, 64)).save(str(script))
    torch.export.save(torch.export.export(tiny().eval(), (torch.zeros(1, 3, 64, 64),)), exported)
    for path in (script, exported):
        with pytest.raises(ModelError, match=r"holds a whole program .*, which is code"):
            load(tiny(), path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a PyTorch state dict, or damaged"),
        (b"just text\n", "not a PyTorch state dict, or damaged"),
        (b"PK\x03\x04 broken zip", "not a PyTorch state dict, or damaged"),
        ({"epoch": 3}, "holds no state dict"),
        ([1, 2], "holds a list"),
        ({1: torch.ones(1)}, "holds no state dict"),
    ],
)
def test_a_file_without_weights_is_told_in_one_line(
    content: object, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(ModelError, match=message) as caught:
        load(tiny(), path)
    assert_one_line(caught)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = saved(tiny().state_dict(), tmp_path / "weights.pt")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match="not a PyTorch state dict, or damaged"):
        load(tiny(), path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing\.pt: no such file"):
        load("resnet18", tmp_path / "nothing.pt")


# Classes


@pytest.mark.parametrize(
    "text",
    [
        "owl\ncat\n\ndog\n",
        '["owl", "cat", "dog"]',
        '{"1": "cat", "0": "owl", "2": "dog"}',
        "\ufeffowl\r\ncat\r\ndog",
    ],
)
def test_class_names_from_a_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(text.encode())
    classifier = load(tiny(), classes=path)
    assert classifier.classes == ("owl", "cat", "dog")
    assert classifier.class_index(LABELS).tolist() == [1, 2, 0]


def test_class_names_from_a_sequence() -> None:
    assert load(tiny(), classes=["a", "b", "c"]).classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected one class name for each output"),
        ("[1, 2, 3]", "expected one class name for each output"),
        ("[" * 100_000, "neither a JSON list"),
        ('{"0": "a", "2": "b"}', "the indices must run from 0 to 1"),
        ('{"a": "b"}', "neither a JSON list"),
        ("a\nb", "the model has 3 outputs but there are 2 class names"),
    ],
)
def test_useless_class_names_are_told_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=message) as caught:
        load(tiny(), classes=path)
    assert_one_line(caught)


def test_unreadable_class_names_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "classes.txt", tmp_path / "missing.txt", tmp_path):
        with pytest.raises(ModelError, match="class names cannot be read"):
            load(tiny(), classes=path)


def test_a_wrong_number_of_classes_names_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the model has 5 outputs but there are 3 class names"):
        load(tiny(5))
    path = saved(models.squeezenet1_1(num_classes=4).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="the model has 4 outputs but there are 3 class names"):
        load("squeezenet1_1", path)


def test_a_dataset_class_the_model_lacks_is_named() -> None:
    with pytest.raises(ModelError, match=r"has no class 'emu' \(1 of 2 dataset classes"):
        load(tiny()).class_index(["cat", "emu"])


# Preprocessing and device


def test_options_win_over_the_preset() -> None:
    settings = Settings(
        device="cpu", input_size=96, resize="crop", mean=(0.0, 0.1, 0.2), std=(1.0, 1.0, 2.0)
    )
    preprocessing = load(tiny(), settings=settings).preprocessing
    assert preprocessing == Preprocessing(96, 96, "crop", 110, (0.0, 0.1, 0.2), (1.0, 1.0, 2.0))


def test_normalising_is_that_of_the_mean_and_std() -> None:
    classifier = load(tiny(), settings=Settings(device="cpu", input_size=32))
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    mean, std = torch.tensor(Preprocessing().mean), torch.tensor(Preprocessing().std)
    expected = ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)
    images = classifier.normalise(pixels)
    assert torch.allclose(images, expected, atol=1e-6)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_an_input_size_the_model_cannot_take_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"fails on a 32x32 RGB image .*--input-size") as caught:
        load(small_vit(), settings=Settings(device="cpu", input_size=32))
    assert_one_line(caught)


def test_an_output_that_is_no_logits_is_refused() -> None:
    with pytest.raises(ModelError, match=r"returns \(1, 4, 28, 28\) for one image"):
        load(tiny()[:2])


def test_an_unknown_device_is_refused() -> None:
    for device in ("cuda:99", "toaster"):
        with pytest.raises(ModelError, match=f"--device {device}: cannot be used"):
            load(tiny(), settings=Settings(device=device))


def test_logits_are_found_in_what_networks_return() -> None:
    logits, other = torch.zeros(2, 3), torch.zeros(2, 3, 4)

    class Output:
        pass

    output = Output()
    output.logits = logits
    for value in (logits, (logits, logits + 1), [None, logits], {"logits": logits, "aux": 1},
                  {"out": logits}, output, (other, {"logits": logits})):  # fmt: skip
        assert logits_of(value) is logits
    for value in (other, None, {}, "text", (other,)):
        assert logits_of(value) is None


# Fingerprint


def test_fingerprint_depends_on_the_weights_alone(tmp_path: Path) -> None:
    network = tiny()
    first = load(network)
    path = saved({"state_dict": network.state_dict()}, tmp_path / "weights.pt")
    assert load(tiny(), path, classes=["x", "y", "z"]).fingerprint == first.fingerprint
    with torch.no_grad():
        network[1].running_mean[0] += 1e-3
    assert load(network).fingerprint != first.fingerprint
    assert json.dumps(first.fingerprint)
