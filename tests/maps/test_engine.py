import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networks
import pytest
import torch
from networks import FAMILIES, Family, alive, classifier_of, random_pixels, slow_maps
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

from shortcut_finder.errors import ModelError
from shortcut_finder.maps import layers, methods
from shortcut_finder.maps.choosing import draw_as
from shortcut_finder.maps.engine import MapEngine
from shortcut_finder.maps.plan import MapBatch, MapPlan
from shortcut_finder.maps.taps import averaged
from shortcut_finder.maps.transfer import pack, unpack
from shortcut_finder.model.classifier import Classifier
from shortcut_finder.settings import METHODS, Settings

FP32 = Settings(precision="fp32")


def assert_same(values: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """Equal relative to the largest expected value of each image."""
    gap = (values - expected).flatten(1).abs().amax(1)
    largest = expected.flatten(1).abs().amax(1)
    assert (gap <= tolerance * largest).all(), (gap / largest).tolist()


def run(
    classifier: Classifier, pixels: Tensor, labels: Tensor | None, settings: Settings = FP32
) -> tuple[MapPlan, MapBatch]:
    with MapEngine(classifier, settings) as engine:
        batch = engine.run(pixels, labels)
        return engine.plan, batch


class SmallNet(nn.Module):
    """Five convolutions with ReLUs that are no modules, as people write them."""

    def __init__(self, pools: int = 2, outputs: int = 5) -> None:
        super().__init__()
        widths = [3, 8, 12, 16, 24, 24]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths)
        )
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(24, outputs)
        self.pools = pools

    def features(self, x: Tensor) -> Tensor:
        for i, conv in enumerate(self.convs):
            x = self.pool(F.relu(conv(x))) if i < self.pools else F.relu(conv(x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))


class DenseNet(SmallNet):
    """The same with two dense layers in place of global average pooling."""

    def __init__(self) -> None:
        super().__init__(pools=3)
        self.fc = nn.Sequential(
            nn.Flatten(), nn.Linear(24 * 36, 32), nn.ReLU(inplace=True), nn.Linear(32, 5)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x))


def small(kind: type[SmallNet] = SmallNet, **options: int) -> nn.Module:
    torch.manual_seed(3)
    return kind(**options).eval()


# Exactness


@pytest.mark.parametrize("name", FAMILIES)
def test_fast_maps_equal_plain_autograd_maps(name: str) -> None:
    family = FAMILIES[name]
    network = family.network()
    classifier = classifier_of(network, family.size)
    pixels = random_pixels(3, family.size)
    plan, batch = run(classifier, pixels, torch.tensor([0, 1, 5]))
    assert (plan.tier, plan.layer) == (family.tier, family.layer)
    images = classifier.normalise(pixels)
    expected = slow_maps(network, images, family.layer, batch.shown, family.arrange)
    assert_same(batch.maps, expected)
    assert_same(batch.logits, network(images).detach())
    assert (batch.maps[:, 1].abs().amax((1, 2)) > 0).all()
    assert batch.maps.shape[2:] == plan.grid
    assert batch.shown[:, 0].tolist() == [0, 1, 5]
    assert batch.shown[:, 1:].tolist() == batch.logits.topk(3).indices.tolist()
    if plan.tier == "linear":
        assert_mean_and_bias_make_the_logit(network, batch)


def assert_mean_and_bias_make_the_logit(network: nn.Module, batch: MapBatch) -> None:
    linears = [child for child in network.modules() if isinstance(child, nn.Linear)]
    bias = linears[-1].bias.detach() if linears else torch.zeros(networks.CLASSES)
    logits = batch.maps.mean((2, 3)) + bias[batch.shown]
    assert_same(logits, batch.logits.gather(1, batch.shown))


@pytest.mark.parametrize(
    "method", [name for name in METHODS if name not in ("auto", "cam", "ablationcam")]
)
@pytest.mark.parametrize("name", ["small resnet", "mobilenet_v3_small", "small densenet"])
def test_closed_forms_equal_the_generic_formulas(name: str, method: str) -> None:
    family = FAMILIES[name]
    classifier = classifier_of(family.network(), family.size)
    pixels, labels = random_pixels(2, family.size), torch.tensor([0, 1])
    settings = Settings(precision="fp32", method=method)
    with MapEngine(classifier, settings) as engine:
        fast = engine.run(pixels, labels)
        with torch.enable_grad():
            done = engine.drawing.forward(pixels, graph=True)
        slow = draw_as(engine.drawing, done, "generic", method)
    assert_same(fast.maps[:, 1:], slow[:, 1:])


def test_gradcam_plus_plus_is_the_published_formula() -> None:
    torch.manual_seed(0)
    activations, gradient = torch.rand(2, 5, 4, 4), torch.randn(2, 5, 4, 4)
    total = activations.sum((2, 3), keepdim=True)
    alpha = gradient**2 / (2 * gradient**2 + total * gradient**3)
    weights = (alpha * gradient.relu()).sum((2, 3), keepdim=True)
    maps = methods.draw(methods.METHODS["gradcam++"], activations, gradient[:, None])[:, 0]
    assert_same(maps, (weights * activations).sum(1))


def test_xgradcam_is_the_published_formula() -> None:
    torch.manual_seed(0)
    activations, gradient = torch.rand(2, 5, 4, 4), torch.randn(2, 5, 4, 4)
    activations[0, 3] = 0
    share = activations / activations.sum((2, 3), keepdim=True).clamp(min=1e-12)
    weights = (share * gradient).sum((2, 3), keepdim=True)
    maps = methods.draw(methods.METHODS["xgradcam"], activations, gradient[:, None])[:, 0]
    assert_same(maps, 16 * (weights * activations).sum(1))


@pytest.mark.parametrize("name", ["small resnet", "small vgg", "small densenet", "small vit"])
def test_ablationcam_weighs_what_the_absence_of_a_channel_takes_away(name: str) -> None:
    family = FAMILIES[name]
    network = family.network()
    classifier, pixels = classifier_of(network, family.size), random_pixels(2, family.size)
    settings = Settings(precision="fp32", method="ablationcam")
    with MapEngine(classifier, settings) as engine:
        batch = engine.run(pixels, torch.tensor([0, 5]))
        layer, shares = engine.layer, engine.drawing.shares_body
    assert shares

    def without(channel: int, kept: list[Tensor]):
        def hook(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
            kept.append(layer.layout.features(output).detach().clone())
            output = output.clone()
            layer.layout.arranged(output)[:, channel] = 0
            return output

        return hook

    weights, activations = [], None
    for channel in range(0, 24):
        kept: list[Tensor] = []
        handle = network.get_submodule(layer.name).register_forward_hook(without(channel, kept))
        logits = network(classifier.normalise(pixels)).detach()
        handle.remove()
        activations = kept[-1]
        weights.append((batch.logits - logits).gather(1, batch.shown))
    # The first 24 channels, of hundreds: their part of the map is worked out by both.
    with MapEngine(classifier, settings) as engine:
        engine.prepare(pixels)
        for image in range(2):
            drops = batch.logits[image] - engine.drawing.logits_without(
                classifier.normalise(pixels[image : image + 1]), torch.arange(24)
            )
            expected = torch.stack([weight[image] for weight in weights])
            assert torch.allclose(drops[:, batch.shown[image]], expected, atol=1e-4)
    assert batch.maps.shape[2:] == activations.shape[2:]


def test_ablationcam_of_a_linear_head_is_weight_times_mean_times_activation() -> None:
    network = small()
    classifier, pixels = classifier_of(network, 48), random_pixels(2, 48)
    _, batch = run(classifier, pixels, None, Settings(precision="fp32", method="ablationcam"))
    features = network.features(classifier.normalise(pixels)).detach()
    weights = network.fc.weight.detach()[batch.shown] * features.mean((2, 3))[:, None]
    assert_same(batch.maps, torch.einsum("bkc,bchw->bkhw", weights, features))


def test_ablationcam_runs_whole_images_where_the_body_cannot_be_shared() -> None:
    class Counting(SmallNet):
        """Asks how many images it was given."""

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.features(x).mean((2, 3))).reshape(len(x), -1)

    torch.manual_seed(3)
    plain, counting = small(), Counting().eval()
    counting.load_state_dict(plain.state_dict())
    pixels, settings = random_pixels(2, 48), Settings(precision="fp32", method="ablationcam")
    _, expected = run(classifier_of(plain, 48), pixels, None, settings)
    with MapEngine(classifier_of(counting, 48), settings) as engine:
        assert_same(engine.run(pixels, None).maps, expected.maps)
        assert not engine.drawing.shares_body


@pytest.mark.parametrize("channels", [3, 40])
def test_eigencam_is_the_first_principal_component(channels: int) -> None:
    torch.manual_seed(0)
    activations = torch.rand(2, channels, 4, 5) - 0.2
    maps = methods.eigencam(activations)
    left, values, _ = torch.linalg.svd(activations.flatten(2).transpose(1, 2))
    expected = (left[:, :, 0] * values[:, :1]).reshape(2, 4, 5)
    expected *= expected.sum((1, 2), keepdim=True).sign()
    assert_same(maps, expected, 1e-3)


def test_layercam_and_hirescam_weigh_each_place_of_a_dense_head() -> None:
    network = FAMILIES["small vgg"].network()
    classifier = classifier_of(network, 64)
    pixels = random_pixels(2, 64)
    images = classifier.normalise(pixels)
    activations = network.features(images).detach().requires_grad_()
    logits = network.classifier(network.avgpool(activations).flatten(1))
    top = logits.max(1).values
    (gradient,) = torch.autograd.grad(top.sum(), activations)
    for method, weights in (("hirescam", gradient), ("layercam", gradient.relu())):
        _, batch = run(classifier, pixels, None, Settings(precision="fp32", method=method))
        assert_same(batch.maps[:, 1], (weights * activations).detach().sum(1) * 4)


def test_top_3_at_once_equal_one_class_at_a_time() -> None:
    for network, size in ((small(DenseNet), 48), (small(), 48)):
        classifier, pixels = classifier_of(network, size), random_pixels(4, size)
        with MapEngine(classifier, FP32) as engine:
            together = engine.run(pixels, None)
            for rank in range(1, 4):
                alone = engine.run(pixels, together.shown[:, rank])
                assert_same(alone.maps[:, 0], together.maps[:, rank])


class _Doubled(torch.autograd.Function):
    """An operation that looks at its gradient, which it cannot at several at once."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return 2 * values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        assert gradient.abs().max().item() < 10
        return 2 * gradient


class StubbornVGG(networks.SmallVGG):
    def forward(self, x: Tensor) -> Tensor:
        return _Doubled.apply(super().forward(x))


@pytest.mark.parametrize(
    ("build", "passes"), [(networks.SmallVGG, 1), (StubbornVGG, 3), (networks.small_vit, 3)]
)
def test_classes_of_a_dense_head_share_one_backward_pass_where_they_can(
    build: Callable[[], nn.Module], passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = alive(build(), 64)
    pixels = random_pixels(3, 64)
    grad, calls = torch.autograd.grad, []
    with MapEngine(classifier_of(network, 64), FP32) as engine:
        engine.prepare(pixels)
        monkeypatch.setattr(
            torch.autograd,
            "grad",
            lambda *args, **options: calls.append(1) or grad(*args, **options),
        )
        engine.run(pixels, None)
    assert len(calls) == passes


def test_label_outside_the_top_3_has_its_own_map() -> None:
    network = small(DenseNet)
    classifier, pixels = classifier_of(network, 48), random_pixels(4, 48)
    with MapEngine(classifier, FP32) as engine:
        last = engine.run(pixels, None).logits.argmin(1)
        batch = engine.run(pixels, last)
    expected = slow_maps(
        network, classifier.normalise(pixels), "convs.4", last[:, None], lambda values: values
    )
    assert (batch.shown[:, 0] == last).all()
    assert_same(batch.maps[:, :1], expected)


@pytest.mark.parametrize("name", ["small resnet", "small vgg", "small convnext", "small vit"])
def test_an_image_alone_has_the_map_it_has_in_a_batch(name: str) -> None:
    family = FAMILIES[name]
    classifier = classifier_of(family.network(), family.size)
    pixels, labels = random_pixels(5, family.size), torch.tensor([0, 1, 2, 3, 4])
    with MapEngine(classifier, FP32) as engine:
        together = engine.run(pixels, labels)
        alone = [engine.run(pixels[i : i + 1], labels[i : i + 1]) for i in range(5)]
    assert_same(torch.cat([batch.maps for batch in alone]), together.maps)
    assert_same(torch.cat([batch.cells for batch in alone]), together.cells)


def test_flipping_the_image_flips_the_map_of_a_symmetric_network() -> None:
    network = small(pools=2)
    for conv in network.convs:
        conv.weight.data = (conv.weight.data + conv.weight.data.flip(3)) / 2
    classifier, pixels = classifier_of(network, 64), random_pixels(3, 64)
    with MapEngine(classifier, FP32) as engine:
        straight, flipped = engine.run(pixels, None), engine.run(pixels.flip(2), None)
    assert_same(flipped.maps, straight.maps.flip(3))
    assert_same(flipped.cells, straight.cells.flip(3))
    assert not torch.allclose(straight.maps, straight.maps.flip(3), rtol=0.01)


def test_permuting_the_classifiers_rows_permutes_the_maps() -> None:
    network = small()
    order = torch.tensor([3, 0, 4, 1, 2])
    pixels = random_pixels(3, 48)
    _, before = run(classifier_of(network, 48), pixels, torch.tensor([3, 0, 4]))
    network.fc.weight.data = network.fc.weight.data[order]
    network.fc.bias.data = network.fc.bias.data[order]
    _, after = run(classifier_of(network, 48), pixels, torch.tensor([0, 1, 2]))
    assert_same(after.maps, before.maps)
    assert (order[after.shown] == before.shown).all()


def test_a_constant_map_stays_constant_and_is_not_emptied() -> None:
    network = small()
    for conv in network.convs:
        nn.init.zeros_(conv.weight)
        nn.init.ones_(conv.bias)
    network.convs[4].weight.data[:, :, 1, 1] = 0.1
    # Gradients must reach the image's content through the last convolution alone.
    plan, batch = run(classifier_of(network, 48), random_pixels(2, 48), torch.tensor([0, 1]))
    assert plan.tier == "linear"
    spread = batch.maps.amax((2, 3)) - batch.maps.amin((2, 3))
    assert (spread < 1e-5).all()
    assert (batch.maps.mean((2, 3)).abs() > 0.01).all()


def test_a_planted_patch_is_found_in_its_cell() -> None:
    network = small(pools=3)
    for conv in network.convs:
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
        conv.weight.data[0, 0, 1, 1] = 1.0
    nn.init.zeros_(network.fc.weight)
    network.fc.weight.data[2, 0] = 1.0
    pixels = torch.zeros(1, 48, 48, 3, dtype=torch.uint8)
    pixels[0, 32:40, 8:16, 0] = 255
    _, batch = run(classifier_of(network, 48), pixels, torch.tensor([2]))
    assert batch.maps[0, 0].argmax() == 4 * 6 + 1
    assert (batch.maps[0, 0] > 0).sum() == 1


# Layers


def test_a_relu_that_is_no_module_is_part_of_the_map() -> None:
    network = small()
    classifier, pixels = classifier_of(network, 48), random_pixels(3, 48)
    plan, batch = run(classifier, pixels, None)
    features = network.features(classifier.normalise(pixels))
    weights = network.fc.weight.detach()[batch.shown]
    assert (plan.tier, plan.layer) == ("linear", "convs.4")
    assert_same(batch.maps, torch.einsum("bkc,bchw->bkhw", weights, features).detach())
    assert_same(batch.features, features.mean((2, 3)).detach())


def test_an_in_place_relu_after_the_layer_is_part_of_the_map() -> None:
    network = FAMILIES["small densenet"].network()
    classifier, pixels = classifier_of(network, 64), random_pixels(2, 64)
    _, batch = run(classifier, pixels, None)
    features = network.features(classifier.normalise(pixels)).relu()
    assert_same(batch.features, features.mean((2, 3)).detach())


def test_cls_token_network_is_mapped_before_its_last_attention() -> None:
    network = FAMILIES["small vit"].network()
    plan, batch = run(classifier_of(network, 64), random_pixels(4, 64), None)
    assert plan.layer.endswith("layer_3.ln_1")
    assert (batch.maps.abs().amax((2, 3)) > 0).all()


def test_cls_token_network_is_never_asked_for_a_layer_without_patch_gradients() -> None:
    classifier = classifier_of(FAMILIES["small vit"].network(), 64)
    settings = Settings(precision="fp32", layer="encoder.ln")
    with pytest.raises(ModelError, match=r"encoder\.ln: the outputs do not depend on its patches"):
        run(classifier, random_pixels(2, 64), None, settings)


def test_convolutions_after_the_pool_are_not_taken_for_a_map() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 16, 1), nn.Hardswish(), nn.Conv2d(16, 4, 1),
        nn.Flatten(),
    )  # fmt: skip
    plan, _ = run(classifier_of(network, 64), random_pixels(2, 64), None)
    assert (plan.layer, plan.tier, plan.grid) == ("3", "pooled", (7, 7))


def test_a_1x1_convolution_head_gives_the_maps_of_the_equal_linear_head() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())
    conv = nn.Conv2d(8, 4, 1)
    linear = nn.Linear(8, 4)
    linear.weight.data, linear.bias.data = conv.weight.data[:, :, 0, 0], conv.bias.data
    after = nn.Sequential(body, conv, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    before = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    pixels = random_pixels(2, 64)
    one, first = run(classifier_of(after, 64), pixels, None)
    two, second = run(classifier_of(before, 64), pixels, None)
    assert (one.tier, two.tier) == ("linear", "linear")
    # The convolution's map contains the bias of its class; the linear head adds it afterwards.
    bias = conv.bias.detach()[first.shown][..., None, None]
    assert_same(first.maps - bias, second.maps)


def test_an_adaptive_pool_does_not_fix_the_grid() -> None:
    network = FAMILIES["small vgg"].network()
    for size, grid in ((64, (2, 2)), (128, (4, 4))):
        plan, batch = run(classifier_of(network, size), random_pixels(1, size), None)
        assert plan.grid == grid == batch.maps.shape[2:]


def test_swin_rows_and_columns_are_not_mixed_up() -> None:
    network = FAMILIES["small swin"].network()
    settings = Settings(precision="fp32", layer="norm")
    plan, last = run(classifier_of(network, 64, 128), random_pixels(2, 64, 128), None, settings)
    _, first = run(classifier_of(network, 64, 128), random_pixels(2, 64, 128), None)
    assert plan.grid == (4, 8)
    assert_same(last.maps, first.maps)


@pytest.mark.parametrize("name", ["small resnet", "small vgg", "efficientnet_b0", "small convnext"])
def test_images_need_not_be_square(name: str) -> None:
    family = FAMILIES[name]
    network = family.network()
    classifier, pixels = classifier_of(network, 64, 96), random_pixels(2, 64, 96)
    plan, batch = run(classifier, pixels, None)
    images = classifier.normalise(pixels)
    assert plan.grid == (2, 3)
    assert_same(batch.maps, slow_maps(network, images, family.layer, batch.shown, family.arrange))


@pytest.mark.parametrize(
    ("name", "layer"), [("small resnet", "layer3"), ("small convnext", "features.5")]
)
def test_a_finer_layer_gives_a_finer_gradcam(name: str, layer: str) -> None:
    family = FAMILIES[name]
    network = family.network()
    classifier, pixels = classifier_of(network, family.size), random_pixels(2, family.size)
    settings = Settings(precision="fp32", layer=layer)
    plan, batch = run(classifier, pixels, torch.tensor([0, 1]), settings)
    coarse, _ = run(classifier, pixels, None)
    images = classifier.normalise(pixels)
    assert plan.grid == (2 * coarse.grid[0], 2 * coarse.grid[1])
    assert plan.tier == "generic"
    assert_same(batch.maps, slow_maps(network, images, layer, batch.shown, family.arrange))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("layer9", "no such layer; try layer"),
        ("fc", "has no spatial grid"),
        ("avgpool", "has no spatial grid"),
    ],
)
def test_a_layer_without_a_map_is_refused(layer: str, message: str) -> None:
    classifier = classifier_of(FAMILIES["small resnet"].network(), 96)
    with pytest.raises(ModelError, match=message):
        run(classifier, random_pixels(1, 96), None, Settings(precision="fp32", layer=layer))


def test_a_network_whose_outputs_ignore_the_image_is_refused() -> None:
    network = small()
    nn.init.zeros_(network.fc.weight)
    with pytest.raises(ModelError, match="no layer has a spatial grid whose gradient reaches"):
        run(classifier_of(network, 48), random_pixels(2, 48), None)


def test_cam_is_refused_where_the_head_is_not_linear() -> None:
    settings = Settings(precision="fp32", method="cam")
    with pytest.raises(ModelError, match="use --method gradcam"):
        run(classifier_of(small(DenseNet), 48), random_pixels(2, 48), None, settings)
    plan, _ = run(classifier_of(small(), 48), random_pixels(2, 48), None, settings)
    assert plan.method == "cam"


@pytest.mark.parametrize(
    ("wrap", "key"),
    [(lambda logits: {"logits": logits}, "dict"), (lambda logits: (logits, None), "tuple")],
)
def test_logits_are_found_in_what_a_network_returns(wrap, key) -> None:
    class Wrapped(SmallNet):
        def forward(self, x: Tensor):
            return wrap(super().forward(x))

    plain, pixels = small(), random_pixels(2, 48)
    wrapped = Wrapped()
    wrapped.load_state_dict(plain.state_dict())
    classifier = classifier_of(plain, 48)
    other = Classifier(
        wrapped.eval(), key, classifier.classes, classifier.preprocessing, classifier.device, ""
    )
    assert_same(run(other, pixels, None)[1].maps, run(classifier, pixels, None)[1].maps)


def test_two_classes_repeat_the_last_one() -> None:
    network = small(outputs=2)
    _, batch = run(classifier_of(network, 48), random_pixels(3, 48), torch.tensor([0, 1, 0]))
    assert batch.shown.shape == (3, 4)
    assert (batch.shown[:, 2] == batch.shown[:, 3]).all()
    assert_same(batch.maps[:, 3], batch.maps[:, 2])


class Patches(nn.Module):
    """Patches as tokens, averaged; in rows or, as no network should, in columns."""

    def __init__(self, transposed: bool) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 8, stride=8)
        self.norm = nn.LayerNorm(16)
        self.fc = nn.Linear(16, 5)
        self.transposed = transposed

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = (x.transpose(2, 3) if self.transposed else x).flatten(2).transpose(1, 2)
        return self.fc(self.norm(x).mean(1))


def test_tokens_that_lie_elsewhere_than_they_seem_are_refused() -> None:
    torch.manual_seed(0)
    pixels = random_pixels(2, 64)
    plan, _ = run(classifier_of(Patches(transposed=False), 64), pixels, None)
    assert (plan.layer, plan.tier, plan.grid) == ("norm", "linear", (8, 8))
    with pytest.raises(ModelError, match="cells do not lie where the parts of the image are"):
        run(classifier_of(Patches(transposed=True), 64), pixels, None)


def test_attention_that_carries_a_mark_everywhere_is_no_reason_to_refuse() -> None:
    # Changes of each quarter of the image (rows) in each quarter of the cells, of a vision
    # transformer that reads a mark in the first quarter.
    mixed = torch.tensor(
        [
            [9.8, 11.6, 10.5, 10.0],
            [11.2, 8.3, 11.2, 9.1],
            [10.2, 11.3, 7.4, 8.6],
            [10.8, 11.9, 10.8, 7.3],
        ]
    )
    assert not layers.is_swapped(mixed[None])
    # Its second and third quarters exchanged, as where rows are taken for columns.
    apart = torch.eye(4) * 5 + 1
    assert not layers.is_swapped(apart[None])
    assert layers.is_swapped(apart[None, [0, 2, 1, 3]])
    assert layers.is_swapped(torch.stack([mixed, apart])[:, [0, 2, 1, 3]])


def test_a_head_on_class_token_and_mean_of_patches_is_mapped_where_both_are_seen() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = networks.small_vit()
            self.fc = nn.Linear(64, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.body._process_input(x)
            x = self.body.encoder(torch.cat([self.body.class_token.expand(len(x), -1, -1), x], 1))
            return self.fc(torch.cat([x[:, 0], x[:, 1:].mean(1)], 1))

    torch.manual_seed(0)
    plan, _ = run(classifier_of(Both(), 64), random_pixels(2, 64), None)
    assert plan.layer == "body.encoder.layers.encoder_layer_3.ln_1"


def test_a_network_of_several_token_streams_is_refused_by_name() -> None:
    class CrossVit(SmallNet):
        pass

    with pytest.raises(ModelError, match="CrossVit reads its classes from several token streams"):
        run(classifier_of(CrossVit(), 48), random_pixels(2, 48), None)


def test_a_model_with_dropout_left_on_is_reported() -> None:
    class Noisy(SmallNet):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(F.dropout(self.features(x).mean((2, 3)), 0.5, training=True))

    torch.manual_seed(0)
    plan, _ = run(classifier_of(Noisy(), 48), random_pixels(2, 48), None)
    assert any("is dropout left on" in note for note in plan.notes)


# Cells


@pytest.mark.parametrize(
    ("name", "size", "layer", "grid", "fine"),
    [
        ("small resnet", 224, "layer3", (14, 14), "layer2"),
        ("small resnet", 160, "layer3", (10, 10), "layer2"),
        ("small densenet", 224, "features.denseblock3", (14, 14), "features.denseblock2"),
        ("mobilenet_v3_small", 224, "features.8", (14, 14), "features.3"),
        ("efficientnet_b0", 224, "features.5", (14, 14), "features.3"),
        ("squeezenet1_1", 224, "features.11", (13, 13), "features.7"),
        ("efficientnet-lite0", 224, "_blocks.10", (14, 14), "_blocks.4"),
        ("small resnet", 448, "layer3", (14, 14), "layer2"),
        ("small resnet", 64, "layer2", (8, 8), "layer1"),
    ],
)
def test_cells_come_from_a_middle_block_and_fine_ones_from_one_before(
    name: str, size: int, layer: str, grid: tuple[int, int], fine: str
) -> None:
    plan, batch = run(classifier_of(FAMILIES[name].network(), size), random_pixels(1, size), None)
    assert (plan.cell_layer, plan.cell_grid) == (layer, grid)
    assert batch.cells.shape == (1, plan.cell_channels, *grid)
    assert plan.fine_layer == fine
    assert batch.fine.shape == (1, plan.fine_channels, 2 * grid[0], 2 * grid[1])
    assert plan.fine_channels > 0


@pytest.mark.parametrize(
    ("pools", "size", "layer", "grid"),
    [
        (2, 48, "convs.3", 12),
        (3, 48, "convs.2", 12),
        (2, 64, "convs.3", 16),
        (3, 64, "convs.2", 16),
    ],
)
def test_small_networks_have_cells_too(pools: int, size: int, layer: str, grid: int) -> None:
    plan, batch = run(classifier_of(small(pools=pools), size), random_pixels(2, size), None)
    assert (plan.cell_layer, plan.cell_grid) == (layer, (grid, grid))
    assert torch.isfinite(batch.cells).all()


def test_cells_of_a_token_network_leave_the_class_token_out() -> None:
    network = FAMILIES["small vit"].network()
    classifier, pixels = classifier_of(network, 64), random_pixels(2, 64)
    plan, batch = run(classifier, pixels, None)
    kept: list[Tensor] = []
    layer = network.get_submodule(plan.cell_layer)
    handle = layer.register_forward_hook(lambda _m, _a, output: kept.append(output))
    network(classifier.normalise(pixels))
    handle.remove()
    assert plan.cell_layer == "encoder.layers.encoder_layer_2"
    assert plan.cell_grid == (4, 4)
    assert_same(batch.cells, kept[0][:, 1:].detach().permute(0, 2, 1).reshape(2, 32, 4, 4))


class Steps(nn.Module):
    """Sums over ever larger squares that do not overlap, of the given sides."""

    def __init__(self, *strides: int) -> None:
        super().__init__()
        widths = (3, *(8 for _ in strides))
        self.steps = nn.ModuleList(
            nn.Conv2d(a, b, s, s)
            for (a, b), s in zip(itertools.pairwise(widths), strides, strict=True)
        )
        for step in self.steps:
            nn.init.ones_(step.weight)
            nn.init.zeros_(step.bias)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = F.relu(step(x))
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("quarter", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("cell", [(0, 0), (5, 11), (7, 3), (11, 11)])
def test_a_square_in_a_quarter_of_a_cell_lies_in_that_fine_cell(
    cell: tuple[int, int], quarter: tuple[int, int]
) -> None:
    classifier = classifier_of(Steps(2, 2, 2), 48)
    pixels = torch.zeros(1, 48, 48, 3, dtype=torch.uint8)
    row, column = (2 * c + q for c, q in zip(cell, quarter, strict=True))
    pixels[0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 255
    plan, batch = run(classifier, pixels, None)
    assert (plan.cell_layer, plan.fine_layer) == ("steps.1", "steps.0")
    for values, at in ((batch.cells, cell), (batch.fine, (row, column))):
        heat = values[0].sum(0) - values[0].sum(0).min()
        assert heat.nonzero().tolist() == [list(at)]


def test_fine_cells_of_another_grid_are_brought_to_twice_the_cells() -> None:
    # 21 places become 10 cells, so 20 fine cells are read off the 21.
    plan, batch = run(classifier_of(Steps(4, 2, 2), 84), random_pixels(2, 84), None)
    assert (plan.cell_layer, plan.cell_grid, plan.fine_layer) == ("steps.1", (10, 10), "steps.0")
    assert batch.fine.shape == (2, 8, 20, 20)


@pytest.mark.parametrize(("strides", "cells"), [((8,), 6), ((8, 1), 6), ((4, 2), 12)])
def test_a_network_without_a_finer_layer_has_no_fine_cells(
    strides: tuple[int, ...], cells: int
) -> None:
    plan, batch = run(classifier_of(Steps(*strides), 48), random_pixels(2, 48), None)
    assert (plan.cell_grid, plan.fine_layer, plan.fine_channels) == ((cells, cells), None, 0)
    assert batch.fine.shape == (2, 0, 2 * cells, 2 * cells)


def test_cells_on_a_grid_too_fine_are_averaged_without_losing_the_border() -> None:
    cells = torch.arange(2 * 3 * 43 * 50, dtype=torch.float32).reshape(2, 3, 43, 50)
    few = averaged(cells)
    assert few.shape == (2, 3, 15, 17)
    assert few[0, 0, -1, -1] > cells[0, 0, 40, 47]
    assert averaged(few) is few


# Precision and tiers


@pytest.mark.parametrize(
    "name", ["small resnet", "mobilenet_v3_small", "small densenet", "small vit"]
)
def test_bf16_maps_correlate_with_fp32(name: str) -> None:
    family = FAMILIES[name]
    classifier = classifier_of(family.network(), family.size)
    pixels, labels = random_pixels(2, family.size), torch.tensor([0, 1])
    plan, low = run(classifier, pixels, labels, Settings(precision="bf16"))
    _, exact = run(classifier, pixels, labels)
    assert plan.precision == "bf16"
    assert low.maps.dtype == low.cells.dtype == low.logits.dtype == torch.float32
    for image, shown in itertools.product(range(2), range(2)):
        pair = torch.stack([low.maps[image, shown].flatten(), exact.maps[image, shown].flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.99


def test_bf16_is_dropped_where_it_changes_the_top_class() -> None:
    network = small()
    network.fc.weight.data = network.fc.weight.data[:1].repeat(5, 1)
    network.fc.weight.data += 1e-5 * torch.randn(5, 24, generator=torch.Generator().manual_seed(0))
    nn.init.zeros_(network.fc.bias)
    plan, _ = run(
        classifier_of(network, 48), random_pixels(8, 48), None, Settings(precision="bf16")
    )
    assert plan.precision == "fp32"
    assert any("the top class changes" in note for note in plan.notes)


def test_bf16_is_kept_where_only_the_order_below_the_top_class_changes() -> None:
    network, pixels = small(), random_pixels(1, 48)
    classifier = classifier_of(network, 48)
    with torch.no_grad():
        features = network.features(classifier.normalise(pixels)).mean((2, 3))[0]
        first = features / features.norm()
        others = torch.randn(4, 24, generator=torch.Generator().manual_seed(0))
        others -= (others @ first)[:, None] * first
        # All but the top class have the same logit, and maps of their own.
        network.fc.weight.copy_(torch.cat([2 * first[None], first + others]))
        network.fc.bias.zero_()
    plan, _ = run(classifier, pixels, None, Settings(precision="bf16"))
    assert plan.precision == "bf16", plan.notes


@pytest.mark.parametrize(("amx", "precision"), [(True, "bf16"), (False, "fp32")])
def test_automatic_precision_on_a_cpu_depends_on_the_processor_alone(
    amx: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    for _ in range(5):
        # The first bf16 pass sets things up and is the slower for it: no time may decide.
        plan, _ = run(classifier_of(small(), 48), random_pixels(4, 48), None, Settings())
        assert plan.precision == precision, plan.notes


def test_a_head_found_not_to_be_linear_later_leaves_the_linear_tier() -> None:
    class Bent(nn.Module):
        """Linear for bright images, but a ReLU cuts dark ones off."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 4, stride=4, bias=False)
            self.fc = nn.Linear(4, 3)
            nn.init.uniform_(self.conv.weight, 0.1, 0.2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(F.relu(self.conv(x).mean((2, 3)) + 2.0))

    torch.manual_seed(0)
    classifier = classifier_of(Bent(), 32)
    bright = random_pixels(2, 32) // 2 + 128
    dark = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    dark[:, :, :8] = 250
    with MapEngine(classifier, FP32) as engine:
        engine.run(bright, None)
        assert engine.plan.tier == "linear"
        batch = engine.run(dark, None)
        assert engine.plan.tier == "pooled"
        assert any("not linear" in note for note in engine.plan.notes)
    images = classifier.normalise(dark)
    expected = slow_maps(classifier.module, images, "conv", batch.shown, lambda values: values)
    assert torch.allclose(batch.maps, expected, atol=1e-6)


def test_predicting_gives_the_logits_of_the_maps() -> None:
    classifier, pixels = classifier_of(small(), 48), random_pixels(3, 48)
    with MapEngine(classifier, FP32) as engine:
        before = engine.predict(pixels)
        batch = engine.run(pixels, None)
        after = engine.predict(pixels)
    assert_same(batch.logits, before)
    assert torch.equal(before, after)


# Leaving the model as found


def snapshot(module: nn.Module) -> list[object]:
    return [
        [(name, child.training, len(child._forward_hooks), len(child._forward_pre_hooks))
         for name, child in module.named_modules()],
        [(name, value.requires_grad, value.grad is None or value.grad.sum().item())
         for name, value in module.named_parameters()],
        [(name, value.double().sum().item()) for name, value in module.state_dict().items()],
    ]  # fmt: skip


def mixed_modes(network: nn.Module) -> nn.Module:
    """Half in training mode, one layer frozen, one gradient there already."""
    network.train()
    network.layer1.eval()
    network.conv1.weight.requires_grad_(False)
    network.fc.weight.grad = torch.ones_like(network.fc.weight)
    return network


@pytest.mark.parametrize("method", ["gradcam", "eigencam", "ablationcam"])
@pytest.mark.parametrize("layer", [None, "layer3"])
def test_the_model_is_left_as_found(method: str, layer: str | None) -> None:
    network = FAMILIES["small resnet"].network()
    classifier = classifier_of(network, 96)
    found = snapshot(mixed_modes(network))
    settings = Settings(precision="fp32", method=method, layer=layer)
    with MapEngine(classifier, settings) as engine:
        engine.run(random_pixels(2, 96), None)
        assert not any(child.training for child in network.modules())
    assert snapshot(network) == found


@pytest.mark.parametrize("stage", ["inside", "prepare", "run", "layer"])
def test_the_model_is_left_as_found_after_an_error(stage: str) -> None:
    network = FAMILIES["small resnet"].network()
    classifier = classifier_of(network, 96)
    found = snapshot(mixed_modes(network))
    layer = "nowhere" if stage == "layer" else "layer3"
    with (
        contextlib.suppress(ZeroDivisionError, ModelError),
        MapEngine(classifier, Settings(precision="fp32", layer=layer)) as engine,
    ):
        if stage == "prepare":
            network.fc.forward = lambda x: x @ torch.ones(1, 99)
        engine.run(random_pixels(2, 96), None)
        if stage == "run":
            network.fc.forward = lambda x: x @ torch.ones(1, 99)
            engine.run(random_pixels(2, 96), None)
        raise ZeroDivisionError
    network.fc.__dict__.pop("forward", None)
    assert snapshot(network) == found


def test_hooks_and_graphs_do_not_pile_up() -> None:
    network = small(DenseNet)
    classifier, pixels = classifier_of(network, 48), random_pixels(2, 48)
    with MapEngine(classifier, FP32) as engine:
        engine.run(pixels, None)
        counts = [len(child._forward_hooks) for child in network.modules()]
        for _ in range(20):
            batch = engine.run(pixels, None)
        assert [len(child._forward_hooks) for child in network.modules()] == counts
        assert not any(value.requires_grad for value in vars(batch).values())
        assert engine.drawing.target.empty
        assert engine.drawing.cells.empty


def resident() -> int:
    """Bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("tier", ["linear", "generic", "class token"])
def test_memory_does_not_grow_over_1000_batches(tier: str) -> None:
    networks_of = {"linear": small, "generic": lambda: small(DenseNet), "class token":
                   FAMILIES["small vit"].network}  # fmt: skip
    size = 64 if tier == "class token" else 48
    classifier, pixels = classifier_of(networks_of[tier](), size), random_pixels(8, size)
    with MapEngine(classifier, FP32) as engine:
        for _ in range(100):
            engine.run(pixels, None)
        assert engine.plan.tier == tier
        before = resident()
        for _ in range(1000):
            engine.run(pixels, None)
        # One map layer of one batch kept each time would be 100 MB and more.
        assert resident() - before < 8e6


def test_a_batch_too_large_for_the_memory_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, pixels = classifier_of(small(), 48), random_pixels(5, 48)
    labels = torch.tensor([0, 1, 2, 3, 4])
    with MapEngine(classifier, FP32) as engine:
        expected = engine.run(pixels, labels)
        whole = MapEngine.whole

        def short_of_memory(self: MapEngine, some: Tensor, *others: Any) -> MapBatch:
            if len(some) > most:
                failed.append(len(some))
                raise torch.OutOfMemoryError
            return whole(self, some, *others)

        monkeypatch.setattr(MapEngine, "whole", short_of_memory)
        most, failed = 2, []
        batch = engine.run(pixels, labels)
        for field, values in vars(expected).items():
            assert_same(getattr(batch, field).float(), values.float())
        assert failed == [5, 3]
        engine.run(pixels, labels)
        assert failed == [5, 3], "later batches are not tried whole again"
        most = 0
        with pytest.raises(ModelError, match="one image is too much for the memory"):
            engine.run(pixels, labels)


def test_cells_are_made_less_before_they_leave_the_device() -> None:
    classifier, pixels = classifier_of(small(), 48), random_pixels(5, 48)
    with MapEngine(classifier, FP32) as engine:
        raw = engine.run(pixels, None)
        less = engine.run(pixels, None, lambda *both: tuple((x > 0).to(torch.int8) for x in both))
    for name in ("cells", "fine"):
        values = getattr(less, name)
        assert values.dtype == torch.int8
        assert torch.equal(values, (getattr(raw, name) > 0).to(torch.int8))
    assert_same(less.maps, raw.maps)


def test_what_is_packed_for_one_copy_comes_out_again() -> None:
    tensors = [torch.rand(3, 5), torch.arange(12).reshape(3, 4), torch.rand(3, 4, 2, 2)[:, :, ::2]]
    packed = pack(tensors)
    assert packed.dtype == torch.uint8
    for tensor, again in zip(tensors, unpack(packed, tensors), strict=True):
        assert again.dtype == tensor.dtype
        assert torch.equal(again, tensor)


def test_the_pixels_are_not_changed() -> None:
    pixels = random_pixels(2, 48)
    before = pixels.clone()
    run(classifier_of(small(), 48), pixels, None)
    assert torch.equal(pixels, before)


def test_every_method_of_the_settings_is_known() -> None:
    assert set(methods.METHODS) | set(methods.GRADIENT_FREE) | {"auto"} == set(METHODS)


# Real sizes


REAL = [
    name
    for name in models.list_models(module=models)
    if name in (
        "alexnet", "convnext_tiny", "densenet121", "densenet201", "efficientnet_b0",
        "efficientnet_v2_s", "googlenet", "inception_v3", "maxvit_t", "mnasnet1_0", "mobilenet_v2",
        "mobilenet_v3_large", "regnet_x_400mf", "regnet_y_400mf", "resnet50", "resnext50_32x4d",
        "shufflenet_v2_x1_0", "squeezenet1_0", "swin_t", "swin_v2_t", "vgg11", "vgg16_bn",
        "vit_b_16", "vit_b_32", "wide_resnet50_2",
    )
]  # fmt: skip
CHANNELS_FIRST = Family(nn.Identity, 224, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_torchvision_networks(name: str) -> None:
    torch.manual_seed(0)
    options = networks.INCEPTION if name in ("googlenet", "inception_v3") else {}
    size = {"inception_v3": 299, "swin_v2_t": 256}.get(name, 224)
    network = alive(models.get_model(name, weights=None, num_classes=6, **options), size)
    classifier, pixels = classifier_of(network, size), random_pixels(2, size)
    plan, batch = run(classifier, pixels, None)
    arrange = networks.patches if name.startswith("vit") else CHANNELS_FIRST.arrange
    expected = slow_maps(network, classifier.normalise(pixels), plan.layer, batch.shown, arrange)
    assert_same(batch.maps, expected)
    assert min(plan.grid) >= 6
    assert min(plan.cell_grid) >= (10 if name != "vit_b_32" else 7)


@pytest.mark.parametrize("kind", [SmallNet, DenseNet])
@pytest.mark.parametrize("labels", [[[0, 3], [4, -1], [-1, -1]], [[2], [1], [0]]])
def test_maps_of_several_labels_are_those_of_one_after_the_other(
    kind: type[SmallNet], labels: list[list[int]]
) -> None:
    network = small(kind)
    classifier, pixels = classifier_of(network, 48), random_pixels(3, 48)
    _, batch = run(classifier, pixels, torch.tensor(labels))
    count = len(labels[0])
    assert batch.maps.shape[:2] == batch.shown.shape == (3, count + 3)
    top = batch.logits.topk(3).indices
    assert (batch.shown[:, count:] == top).all()
    for place in range(count):
        column = torch.tensor([row[place] for row in labels])
        wanted = torch.where(column < 0, top[:, 0], column)
        _, one = run(classifier, pixels, wanted)
        assert (batch.shown[:, place] == wanted).all()
        assert_same(batch.maps[:, place], one.maps[:, 0], 1e-6)
        assert_same(batch.maps[:, count:], one.maps[:, 1:], 1e-6)


@pytest.mark.parametrize("kind", [SmallNet, DenseNet])
def test_maps_of_more_outputs_than_three_are_each_its_own(kind: type[SmallNet]) -> None:
    classifier, pixels = classifier_of(small(kind), 48), random_pixels(2, 48)
    with MapEngine(classifier, FP32) as engine:
        together = engine.maps(pixels, torch.arange(5))
        for output in range(5):
            alone = engine.maps(pixels, torch.tensor([output]))
            assert_same(together[:, output], alone[:, 0], 1e-6)
