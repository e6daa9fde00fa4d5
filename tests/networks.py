"""Small networks with random weights that behave like trained ones, and a slow oracle for maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.maxvit import MaxVit
from torchvision.models.resnet import BasicBlock
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vgg import cfgs, make_layers
from torchvision.models.vision_transformer import VisionTransformer

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.model.classifier import Classifier

CLASSES = 6


def random_pixels(count: int, height: int, width: int | None = None, seed: int = 0) -> Tensor:
    """Smooth random pictures, uint8 (image, row, column, channel)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    images = F.interpolate(coarse, (height, width or height), mode="bilinear")
    return (images * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def alive(module: nn.Module, size: int) -> nn.Module:
    """Give an untrained network the statistics of a trained one.

    Freshly built, many networks fade to nothing: batch norms have not seen data, last layers start
    at zero, layer scales at 1e-6. A map of nothing tests nothing.
    """
    generator = torch.Generator().manual_seed(1)
    for child in module.modules():
        scale = getattr(child, "layer_scale", None)
        if isinstance(scale, nn.Parameter):
            nn.init.ones_(scale)
        if isinstance(child, nn.Linear) and not child.weight.any():
            nn.init.normal_(child.weight, std=0.1, generator=generator)
        if isinstance(child, nn.BatchNorm2d):
            child.momentum = 1.0
        if isinstance(child, nn.Dropout):
            child.p = 0.0
    if any(isinstance(child, nn.BatchNorm2d) for child in module.modules()):
        with torch.no_grad():
            module.train()(torch.randn(4, 3, size, size, generator=generator))
    return module.eval()


def classifier_of(module: nn.Module, height: int, width: int | None = None) -> Classifier:
    """A classifier around a module, for input of that size."""
    with torch.inference_mode():
        outputs = module.eval()(torch.zeros(1, 3, height, width or height))
    outputs = outputs if isinstance(outputs, Tensor) else next(iter(outputs.values()))
    names = tuple(f"class {i}" for i in range(outputs.shape[1]))
    preprocessing = Preprocessing(height, width or height)
    return Classifier(module, "network", names, preprocessing, torch.device("cpu"), "fingerprint")


@dataclass(frozen=True)
class Family:
    """A kind of network: how to build a small one, and what is known about its maps."""

    build: Callable[[], nn.Module]
    size: int
    tier: str
    layer: str
    arrange: Callable[[Tensor], Tensor] = lambda values: values

    def network(self) -> nn.Module:
        torch.manual_seed(0)
        return alive(self.build(), self.size)


def _named(name: str, **options: object) -> Callable[[], nn.Module]:
    return lambda: models.get_model(name, weights=None, num_classes=CLASSES, **options)


def patches(values: Tensor) -> Tensor:
    side = round((values.shape[1] - 1) ** 0.5)
    return values[:, 1:].reshape(len(values), side, side, -1).permute(0, 3, 1, 2)


def small_vit() -> nn.Module:
    return VisionTransformer(
        image_size=64, patch_size=16, num_layers=4, num_heads=2, hidden_dim=32, mlp_dim=64,
        num_classes=CLASSES,
    )  # fmt: skip


class SmallVGG(nn.Module):
    """VGG-11 of an eighth of its width, with narrow dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = make_layers([w if w == "M" else w // 8 for w in cfgs["A"]])
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(64 * 7 * 7, 64), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(64, CLASSES)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class SmallResNet(models.ResNet):
    """ResNet-18 whose layers are an eighth of its width."""

    def __init__(self) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.fc = nn.Linear(64, CLASSES)

    def _make_layer(
        self, block: type[BasicBlock], planes: int, *how: int, **more: object
    ) -> nn.Sequential:
        return super()._make_layer(block, planes // 8, *how, **more)


def _small_densenet() -> nn.Module:
    return models.DenseNet(12, (3, 4, 6, 4), num_init_features=24, num_classes=CLASSES)


def _small_convnext() -> nn.Module:
    widths = [(12, 24, 2), (24, 48, 2), (48, 96, 4), (96, None, 2)]
    return models.ConvNeXt([CNBlockConfig(*one) for one in widths], num_classes=CLASSES)


def _small_swin() -> nn.Module:
    return SwinTransformer(
        patch_size=[4, 4], embed_dim=24, depths=[2, 2, 2], num_heads=[2, 2, 2], window_size=[4, 4],
        num_classes=CLASSES,
    )  # fmt: skip


def _small_maxvit() -> nn.Module:
    return MaxVit(
        input_size=(64, 64), stem_channels=16, partition_size=4, block_channels=[16, 32],
        block_layers=[1, 1], head_dim=8, stochastic_depth_prob=0.0, num_classes=CLASSES,
    )  # fmt: skip


def _lite() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0", num_classes=CLASSES)


INCEPTION = {"init_weights": False, "aux_logits": False}

FAMILIES = {
    "small resnet": Family(SmallResNet, 96, "linear", "layer4"),
    "efficientnet_b0": Family(_named("efficientnet_b0"), 96, "linear", "features"),
    "mobilenet_v2": Family(_named("mobilenet_v2"), 96, "linear", "features"),
    "mobilenet_v3_small": Family(_named("mobilenet_v3_small"), 96, "pooled", "features"),
    "small convnext": Family(_small_convnext, 64, "pooled", "features"),
    "small densenet": Family(_small_densenet, 64, "linear", "features"),
    "small vgg": Family(SmallVGG, 64, "generic", "features"),
    "small vit": Family(
        small_vit, 64, "class token", "encoder.layers.encoder_layer_3.ln_1", patches
    ),
    "small swin": Family(_small_swin, 64, "linear", "permute"),
    "squeezenet1_1": Family(_named("squeezenet1_1"), 96, "linear", "classifier.2"),
    "regnet_y_400mf": Family(_named("regnet_y_400mf"), 96, "linear", "trunk_output"),
    "shufflenet_v2_x0_5": Family(_named("shufflenet_v2_x0_5"), 96, "linear", "conv5"),
    "googlenet": Family(_named("googlenet", **INCEPTION), 96, "linear", "inception5b"),
    "inception_v3": Family(_named("inception_v3", **INCEPTION), 107, "linear", "Mixed_7c"),
    "mnasnet0_5": Family(_named("mnasnet0_5"), 96, "linear", "layers"),
    "small maxvit": Family(_small_maxvit, 64, "pooled", "blocks.1"),
    "efficientnet-lite0": Family(_lite, 96, "linear", "_swish"),
}


def slow_maps(
    module: nn.Module,
    images: Tensor,
    layer: str,
    classes: Tensor,
    arrange: Callable[[Tensor], Tensor],
) -> Tensor:
    """Grad-CAM by the book: a forward pass and a whole backward pass for every class.

    Args:
        module: the network.
        images: its input.
        layer: dotted path of the map layer; its last call counts.
        classes: (image, shown).
        arrange: makes the layer's output (image, channel, row, column).

    Returns:
        (image, shown, row, column), scaled by the number of places.
    """
    maps = []
    for column in classes.T:
        kept: list[Tensor] = []
        handle = module.get_submodule(layer).register_forward_hook(
            lambda _module, _args, output, kept=kept: kept.append(output)
        )
        logits = module(images.clone().requires_grad_())
        handle.remove()
        score = sum(logits[image, one] for image, one in enumerate(column.tolist()))
        (gradient,) = torch.autograd.grad(score, kept[-1])
        activations, gradient = arrange(kept[-1].detach()), arrange(gradient)
        total = gradient.sum((2, 3))
        maps.append((total[:, :, None, None] * activations).sum(1))
    return torch.stack(maps, 1)
