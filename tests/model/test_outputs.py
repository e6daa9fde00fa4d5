"""Outputs: one logit for two classes, sigmoids at the end, and how they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from networks import random_pixels
from torch import Tensor, nn

from shortcut_finder.errors import ModelError, SettingsError
from shortcut_finder.maps.engine import MapEngine
from shortcut_finder.maps.plan import MapBatch, MapPlan
from shortcut_finder.model.classifier import Classifier, load_classifier
from shortcut_finder.settings import Settings

SIDE = 48
SETTINGS = Settings(input_size=SIDE, precision="fp32", device="cpu")
TWO = ("healthy", "ill")


class Network(nn.Module):
    """Convolutions, average pooling and what the test puts behind them."""

    def __init__(self, head: nn.Module, end: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 5, 4, 2), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU()
        )
        self.head = head
        self.end = end

    def forward(self, images: Tensor) -> Tensor:
        return self.end(self.head(self.features(images).mean((2, 3))))


def linear(outputs: int) -> nn.Linear:
    torch.manual_seed(7)
    return nn.Linear(24, outputs)


def split(one: nn.Linear) -> nn.Linear:
    """The softmax layer with the probabilities of a layer with one logit."""
    two = nn.Linear(24, 2)
    with torch.no_grad():
        two.weight.copy_(torch.cat([-one.weight, one.weight]) / 2)
        two.bias.copy_(torch.cat([-one.bias, one.bias]) / 2)
    return two


def load(
    module: nn.Module,
    labels: tuple[str, ...] = TWO,
    settings: Settings = SETTINGS,
    several: bool = False,
) -> Classifier:
    return load_classifier(
        module, weights=None, classes=None, labels=labels, settings=settings, several=several
    )


def run(classifier: Classifier, labels: list[int]) -> tuple[MapPlan, MapBatch]:
    with MapEngine(classifier, SETTINGS) as engine:
        batch = engine.run(random_pixels(len(labels), SIDE), torch.tensor(labels))
        return engine.plan, batch


@pytest.mark.parametrize("squeezed", [False, True], ids=["(image, 1)", "(image,)"])
def test_one_logit_gives_the_maps_and_answers_of_the_equal_softmax_network(squeezed: bool) -> None:
    one = linear(1)
    single = load(Network(one, (lambda x: x[:, 0]) if squeezed else (lambda x: x)))
    plan, batch = run(single, [0, 1, 1, 0])
    other_plan, expected = run(load(Network(split(one))), [0, 1, 1, 0])
    assert plan.tier == other_plan.tier == "linear"
    assert (batch.maps - expected.maps).abs().max() < 1e-5
    assert (batch.logits - expected.logits).abs().max() < 1e-5
    assert (batch.shown == expected.shown).all()
    assert single.outputs.positive == "ill"


def test_maps_of_the_two_classes_are_exactly_opposite_and_the_probability_is_the_sigmoid() -> None:
    network = Network(linear(1)).eval()
    single = load(network)
    _, batch = run(single, [0, 1, 0])
    first = batch.maps[torch.arange(3), (batch.shown == 0).int().argmax(1)]
    second = batch.maps[torch.arange(3), (batch.shown == 1).int().argmax(1)]
    assert torch.equal(first, -second)
    with torch.no_grad():
        logit = network(single.normalise(random_pixels(3, SIDE)))[:, 0]
    assert torch.equal(batch.logits[:, 1] - batch.logits[:, 0], logit)
    assert torch.allclose(single.outputs.probabilities(batch.logits)[:, 1], logit.sigmoid())


def test_one_logit_behind_dense_layers_has_opposite_maps_too() -> None:
    head = nn.Sequential(linear(8), nn.GELU(), nn.Linear(8, 1))
    plan, batch = run(load(Network(head)), [0, 1])
    assert plan.tier == "pooled"
    assert torch.equal(batch.maps[:, 1], -batch.maps[:, 2])


def test_the_positive_class_may_be_the_first() -> None:
    one = linear(1)
    _, second = run(load(Network(one)), [0, 0])
    first = load(Network(one), settings=replace(SETTINGS, positive="healthy"))
    assert first.outputs.positive == "healthy"
    _, turned = run(first, [0, 0])
    assert torch.equal(turned.logits, second.logits.flip(1))
    assert torch.equal(turned.maps[:, 0], -second.maps[:, 0])


def test_the_network_of_the_user_still_has_one_output() -> None:
    network = Network(linear(1)).eval()
    load(network)
    assert network(torch.zeros(2, 3, SIDE, SIDE)).shape == (2, 1)


@pytest.mark.parametrize(
    ("outputs", "labels", "several", "message"),
    [
        (1, TWO, False, "--positive sick: no such class; choose healthy or ill"),
        (2, TWO, False, "--positive sick: is for a network with one output and two classes"),
        (1, ("ill",), True, "--positive sick: is for a network with one output and two classes"),
    ],
)
def test_a_wrong_positive_class_is_told_in_one_line(
    outputs: int, labels: tuple[str, ...], several: bool, message: str
) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load(Network(linear(outputs)), labels, replace(SETTINGS, positive="sick"), several)
    assert "\n" not in str(caught.value)


def test_one_output_for_two_labels_that_do_not_exclude_each_other_is_refused() -> None:
    with pytest.raises(ModelError, match="has 1 outputs but there are 2 class names"):
        load(Network(linear(1)), several=True)


def test_a_sigmoid_at_the_end_is_left_out() -> None:
    head = linear(3)
    labels = ("a", "b", "c")
    bare = load(Network(head), labels, several=True)
    plan, batch = run(load(Network(nn.Sequential(head, nn.Sigmoid())), labels), [0, 1, 2])
    _, expected = run(bare, [0, 1, 2])
    assert plan.tier == "linear"
    assert torch.equal(batch.logits, expected.logits)
    assert torch.equal(batch.maps, expected.maps)
    assert bare.outputs.sigmoid
    assert load(Network(nn.Sequential(head, nn.Sigmoid())), labels).outputs.sigmoid


def test_a_sigmoid_after_a_single_logit_is_left_out() -> None:
    one = linear(1)
    _, expected = run(load(Network(one)), [0, 1])
    sigmoid = load(Network(nn.Sequential(one, nn.Sigmoid(), nn.Flatten(0))))
    _, batch = run(sigmoid, [0, 1])
    assert torch.equal(batch.logits, expected.logits)
    assert not sigmoid.outputs.sigmoid


def test_a_sigmoid_that_is_no_module_is_told_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"ends in torch\.sigmoid, so it returns prob"):
        load(Network(linear(2), torch.sigmoid))


def test_logits_that_happen_to_lie_between_0_and_1_are_logits() -> None:
    network = Network(linear(2), lambda x: x * 0 + 0.5)
    assert not load(network).outputs.sigmoid


@pytest.mark.parametrize(
    ("asked", "several", "sigmoid"),
    [("auto", False, False), ("auto", True, True), ("softmax", True, False), ("sigmoid", False, 1)],
)
def test_outputs_are_read_as_asked_or_by_the_labels(
    asked: str, several: bool, sigmoid: bool
) -> None:
    settings = replace(SETTINGS, outputs=asked)
    assert load(Network(linear(2)), TWO, settings, several).outputs.sigmoid == sigmoid
