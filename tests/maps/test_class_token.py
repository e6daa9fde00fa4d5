import contextlib

import pytest
import torch
from networks import FAMILIES, classifier_of, random_pixels
from torch import Tensor, nn

from shortcut_finder.errors import ModelError
from shortcut_finder.maps.class_token import last_block
from shortcut_finder.maps.engine import MapEngine
from shortcut_finder.maps.probe import Layer, Layout
from shortcut_finder.settings import Settings

NORM = Layer("encoder.layers.encoder_layer_3.ln_1", 0, Layout("tokens", (4, 4), prefix=1))


def vit() -> nn.Module:
    return FAMILIES["small vit"].network()


def test_logits_stay_while_the_dense_layers_see_one_token() -> None:
    network, images = vit(), torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    seen: list[tuple[int, ...]] = []
    block = network.encoder.layers.encoder_layer_3
    block.mlp.register_forward_hook(lambda _module, args, _output: seen.append(args[0].shape))
    expected = network(images)
    last = last_block(network, NORM)
    last.attach()
    trimmed = network(images)
    last.remove()
    again = network(images)
    assert torch.allclose(trimmed, expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(again, expected)
    assert [shape[1] for shape in seen] == [17, 1, 17]


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "layercam", "gradcam++"])
def test_maps_are_those_of_the_whole_block(method: str) -> None:
    classifier, pixels = classifier_of(vit(), 64), random_pixels(3, 64)
    settings = Settings(precision="fp32", method=method)
    with MapEngine(classifier, settings) as engine:
        trimmed = engine.run(pixels, torch.tensor([0, 1, 5]))
        assert engine.plan.tier == "class token"
        engine.drawing.last.remove()
        whole = engine.run(pixels, torch.tensor([0, 1, 5]))
        engine.drawing.last.attach()
    gap = (trimmed.maps - whole.maps).flatten(1).abs().amax(1)
    assert (gap <= 1e-4 * whole.maps.flatten(1).abs().amax(1)).all()


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_left_as_found(fails: bool) -> None:
    network = vit()
    attention = network.encoder.layers.encoder_layer_3.self_attention
    with (
        contextlib.suppress(ModelError),
        MapEngine(classifier_of(network, 64), Settings(precision="fp32")) as engine,
    ):
        engine.run(random_pixels(2, 64), None)
        assert "forward" in vars(attention)
        if fails:
            engine.run(random_pixels(2, 48), None)
            raise AssertionError("a ViT takes one size only")
    assert "forward" not in vars(attention)
    assert not any(child._forward_pre_hooks for child in network.modules())


def test_a_network_that_needs_all_tokens_afterwards_is_not_trimmed() -> None:
    class MeanOfAll(nn.Module):
        """Reads the class token and, bent, the mean of all tokens."""

        def __init__(self) -> None:
            super().__init__()
            self.body = vit()

        def forward(self, x: Tensor) -> Tensor:
            x = self.body._process_input(x)
            x = self.body.encoder(torch.cat([self.body.class_token.expand(len(x), -1, -1), x], 1))
            return self.body.heads(x[:, 0] * x.mean(1).sigmoid())

    settings = Settings(precision="fp32", layer=f"body.{NORM.name}")
    with MapEngine(classifier_of(MeanOfAll(), 64), settings) as engine:
        engine.run(random_pixels(2, 64), None)
        assert engine.plan.tier == "generic"
        assert engine.drawing.last is None


def test_an_earlier_block_is_not_trimmed() -> None:
    settings = Settings(precision="fp32", layer="encoder.layers.encoder_layer_1.ln_1")
    with MapEngine(classifier_of(vit(), 64), settings) as engine:
        engine.run(random_pixels(2, 64), None)
        assert engine.plan.tier == "generic"


def test_an_attention_of_another_kind_is_left_alone() -> None:
    network = vit()
    block = network.encoder.layers.encoder_layer_3
    block.self_attention = nn.Linear(32, 32)
    assert last_block(network, NORM) is None
