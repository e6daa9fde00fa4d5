"""Networks that torch.export wrote: their layers are found again."""

from pathlib import Path

import pytest
import torch
from networks import FAMILIES, random_pixels, slow_maps

from shortcut_finder.errors import ModelError
from shortcut_finder.maps.engine import MapEngine
from shortcut_finder.model.classifier import Classifier, load_classifier
from shortcut_finder.settings import Settings

# Of PyTorch's own pickling while it exports.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def export(name: str, path: Path, *, any_batch: bool = True) -> torch.nn.Module:
    family = FAMILIES[name]
    network = family.network()
    images = torch.zeros(2, 3, family.size, family.size)
    batch = ({0: torch.export.Dim("batch")},) if any_batch else None
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=batch), path)
    return network


def load(path: Path) -> Classifier:
    return load_classifier(
        str(path), weights=None, classes=None, labels=tuple("abcdef"),
        settings=Settings(device="cpu"),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["small resnet", "small vgg", "small vit"])
def test_maps_are_those_of_the_network_that_was_exported(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    network = export(name, tmp_path / "network.pt2")
    classifier = load(tmp_path / "network.pt2")
    pixels = random_pixels(3, family.size)
    assert classifier.preprocessing.height == classifier.preprocessing.width == family.size
    with MapEngine(classifier, Settings(precision="fp32")) as engine:
        batch = engine.run(pixels, None)
        assert engine.plan.layer == family.layer
    images = classifier.normalise(pixels)
    expected = slow_maps(network, images, family.layer, batch.shown, family.arrange)
    gap = (batch.maps - expected).flatten(1).abs().amax(1)
    assert (gap <= 1e-4 * expected.flatten(1).abs().amax(1)).all()


def test_a_fixed_batch_is_told_with_the_remedy(tmp_path: Path) -> None:
    export("small resnet", tmp_path / "network.pt2", any_batch=False)
    with pytest.raises(ModelError, match="specify dynamic_shapes"):
        load(tmp_path / "network.pt2")


def test_torchscript_is_refused_in_one_line(tmp_path: Path) -> None:
    traced = torch.jit.trace(FAMILIES["small resnet"].network(), torch.zeros(1, 3, 64, 64))
    traced.save(tmp_path / "network.pt")
    with pytest.raises(ModelError, match=r"does not let its layers be seen.*\(\.pt2\)"):
        load(tmp_path / "network.pt")


@pytest.mark.parametrize(("name", "words"), [("a.pt2", "not a program"), ("a.pt", "for --weights")])
def test_other_files_are_refused(tmp_path: Path, name: str, words: str) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / name)
    with pytest.raises(ModelError, match=words):
        load(tmp_path / name)
