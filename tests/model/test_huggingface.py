"""Image classifiers of transformers, built from small random configurations; nothing is fetched."""

import json
from pathlib import Path

import pytest
import torch
from networks import random_pixels
from torch import Tensor, nn

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.errors import ModelError
from shortcut_finder.maps.engine import MapEngine
from shortcut_finder.maps.probe import tensor_of
from shortcut_finder.model.classifier import Classifier, load_classifier
from shortcut_finder.model.outputs import logits_of
from shortcut_finder.settings import Settings

transformers = pytest.importorskip("transformers", reason="the extra `hf` is not installed")

SIZE = 64
TOKENS = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64,
    "image_size": SIZE, "patch_size": 16,
}  # fmt: skip
STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}
WINDOWS = {
    "image_size": SIZE, "embed_dim": 16, "depths": [1, 2, 2], "num_heads": [1, 2, 4],
    "window_size": 4,
}  # fmt: skip
PYRAMID = {
    "hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2],
}  # fmt: skip
LEVIT = {
    "image_size": SIZE, "hidden_sizes": [16, 32, 48], "num_attention_heads": [1, 2, 3],
    "depths": [1, 1, 1], "key_dim": [8, 8, 8],
}  # fmt: skip

# Class prefix, options of its configuration, tier, map layer.
FEW = [
    ("ViT", TOKENS, "class token", "vit.layers.2.layernorm_before"),
    ("DeiT", TOKENS, "class token", "deit.layers.2.layernorm_before"),
    ("Beit", TOKENS | {"use_relative_position_bias": True}, "pooled", "beit.layernorm"),
    ("Dinov2", TOKENS, "generic", "dinov2.encoder.layer.2.norm1"),
    ("Swin", WINDOWS, "linear", "swin.layernorm"),
    ("ConvNext", STAGES, "pooled", "convnext.encoder.stages.3"),
    ("ResNet", STAGES | {"embedding_size": 8}, "linear", "resnet.encoder.stages.3"),
    ("MobileNetV2", {"depth_multiplier": 0.35}, "linear", "mobilenet_v2.conv_1x1"),
    ("FocalNet", {"image_size": SIZE, "embed_dim": 16, "depths": [1, 1, 2, 1]}, "linear",
     "focalnet.layernorm"),
]  # fmt: skip
MANY = [
    ("Data2VecVision", TOKENS, "pooled", "data2vec_vision.layernorm"),
    ("Dinov2WithRegisters", TOKENS, "generic", "dinov2_with_registers.encoder.layer.2.norm1"),
    ("ViTMSN", TOKENS, "class token", "vit.layers.2.layernorm_before"),
    ("IJepa", TOKENS, "linear", "ijepa.layernorm"),
    ("Siglip", {"vision_config": TOKENS}, "linear", "vision_model.post_layernorm"),
    ("CLIP", {"vision_config": TOKENS}, "linear", "vision_model.encoder.layers.2"),
    ("Swinv2", WINDOWS, "linear", "swinv2.layernorm"),
    ("DonutSwin", WINDOWS, "linear", "donut.encoder.layers.2"),
    ("ConvNextV2", STAGES, "pooled", "convnextv2.encoder.stages.3"),
    ("RegNet", STAGES | {"embedding_size": 8, "groups_width": 8}, "linear",
     "regnet.encoder.stages.3"),
    ("Bit", {"embedding_size": 32, "hidden_sizes": [64, 64, 96, 128], "depths": [1, 1, 1, 1],
             "num_groups": 4}, "linear", "bit.norm"),
    ("MobileNetV1", {"depth_multiplier": 0.25}, "linear", "mobilenet_v1.layer.25"),
    ("MobileViTV2", {"image_size": SIZE, "width_multiplier": 0.5}, "linear",
     "mobilevitv2.encoder.layer.4"),
    ("HGNetV2", {"embedding_size": 8}, "linear", "encoder.stages.3"),
    ("Hiera", {"image_size": [SIZE, SIZE], "embed_dim": 16, "depths": [1, 1, 2, 1],
               "num_heads": [1, 2, 4, 8]}, "pooled", "hiera.encoder.stages.3"),
    ("Levit", LEVIT, "pooled", "levit.encoder.stages.1.layers.1"),
    ("PoolFormer", STAGES, "linear", "norm"),
    ("Pvt", PYRAMID | {"image_size": SIZE}, "generic", "pvt.encoder.block.3.0.layer_norm_1"),
    ("PvtV2", PYRAMID | {"image_size": SIZE}, "linear", "pvt_v2.encoder.layers.3.layer_norm"),
    ("Segformer", PYRAMID, "linear", "segformer.stages.3"),
    ("SwiftFormer", {"embed_dims": [16, 16, 32, 32], "depths": [1, 1, 2, 1]}, "linear", "norm"),
    ("TextNet", {}, "linear", "textnet.encoder.stages.3"),
]  # fmt: skip


def build(kind: str, options: dict[str, object], head: str = "ForImageClassification") -> nn.Module:
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**options)
    config.num_labels = 6
    return getattr(transformers, kind + head)(config).eval()


def alive(network: nn.Module) -> nn.Module:
    """Weights as far from zero as a trained network's, and batch norms that have seen data."""
    generator = torch.Generator().manual_seed(1)
    for name, value in network.named_parameters():
        if "lambda" in name or "layer_scale" in name:
            nn.init.ones_(value)
        elif value.dim() > 1:
            value.data.mul_(4)
        elif not value.any():
            nn.init.normal_(value, std=0.02, generator=generator)
    for child in network.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(4, 3, SIZE, SIZE, generator=generator))
    return network.eval()


def classifier_of(network: nn.Module) -> Classifier:
    names = tuple("abcdef")
    return Classifier(network, "network", names, Preprocessing(SIZE, SIZE), torch.device("cpu"), "")


def slow_maps(network: nn.Module, images: Tensor, engine: MapEngine, shown: Tensor) -> Tensor:
    """Grad-CAM from a whole backward pass for every class."""
    layer, maps = engine.layer, []
    for column in shown.T:
        kept: list[Tensor] = []
        handle = network.get_submodule(layer.name).register_forward_hook(
            lambda _module, _args, output, kept=kept: kept.append(tensor_of(output))
        )
        logits = logits_of(network(images.clone().requires_grad_()))
        handle.remove()
        (gradient,) = torch.autograd.grad(logits.gather(1, column[:, None]).sum(), kept[-1])
        gradient, activations = (layer.layout.features(t.detach()) for t in (gradient, kept[-1]))
        maps.append((gradient.sum((2, 3), keepdim=True) * activations).sum(1))
    return torch.stack(maps, 1)


def check(kind: str, options: dict[str, object], tier: str, layer: str) -> None:
    network = alive(build(kind, options))
    classifier, pixels = classifier_of(network), random_pixels(2, SIZE)
    with MapEngine(classifier, Settings(precision="fp32")) as engine:
        batch = engine.run(pixels, torch.tensor([0, 5]))
        plan, target = engine.plan, engine.layer
        if engine.drawing.last is not None:
            engine.drawing.last.remove()
            engine.drawing.last = None
        expected = slow_maps(network, classifier.normalise(pixels), engine, batch.shown)
    gap = (batch.maps - expected).flatten(1).abs().amax(1)
    assert (plan.tier, plan.layer, target.layout.rectified) == (tier, layer, False)
    assert (gap <= 1e-4 * expected.flatten(1).abs().amax(1)).all()
    assert plan.grid in ((2, 2), (4, 4))


@pytest.mark.parametrize(("kind", "options", "tier", "layer"), FEW, ids=[row[0] for row in FEW])
def test_fast_maps_equal_plain_autograd_maps(
    kind: str, options: dict[str, object], tier: str, layer: str
) -> None:
    check(kind, options, tier, layer)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "options", "tier", "layer"), MANY, ids=[row[0] for row in MANY])
def test_many_architectures(kind: str, options: dict[str, object], tier: str, layer: str) -> None:
    check(kind, options, tier, layer)


def test_latents_that_are_no_places_are_refused_by_name() -> None:
    options = {
        "image_size": SIZE, "num_latents": 16, "d_latents": 32, "num_blocks": 1,
        "num_self_attends_per_block": 1, "num_self_attention_heads": 2,
        "num_cross_attention_heads": 1,
    }  # fmt: skip
    network = build("Perceiver", options, "ForImageClassificationLearned")
    with (
        pytest.raises(ModelError, match=r"Perceiver.* has tokens that are no places of the image"),
        MapEngine(classifier_of(network), Settings(precision="fp32")) as engine,
    ):
        engine.prepare(random_pixels(2, SIZE))


def saved(folder: Path, **names: str) -> nn.Module:
    network = build("ViT", TOKENS)
    network.config.id2label = names or {index: f"kind {index}" for index in range(6)}
    network.save_pretrained(folder)
    return network


def load(model: str, weights: Path | None = None) -> Classifier:
    return load_classifier(
        model, weights=weights, classes=None, labels=tuple("uvwxyz"),
        settings=Settings(device="cpu"),
    )  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "hf:"])
def test_a_saved_folder_is_loaded_with_classes_and_preprocessing(
    tmp_path: Path, prefix: str
) -> None:
    network = saved(tmp_path)
    transformers.ViTImageProcessor(
        size={"height": SIZE, "width": SIZE}, resample=3, image_mean=[0.1, 0.2, 0.3]
    ).save_pretrained(tmp_path)
    classifier = load(f"{prefix}{tmp_path}")
    images = torch.randn(2, 3, SIZE, SIZE)
    assert classifier.classes == tuple(f"kind {index}" for index in range(6))
    assert classifier.preprocessing == Preprocessing(
        SIZE, SIZE, "squash", SIZE, (0.1, 0.2, 0.3), (0.5, 0.5, 0.5), "bicubic"
    )
    assert torch.allclose(classifier.module(images).logits, network(images).logits, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("ConvNext", {"size": {"shortest_edge": 224}},
         Preprocessing(224, 224, "crop", 256, (0.5,) * 3, (0.5,) * 3, "bicubic")),
        ("Bit", {}, Preprocessing(224, 224, "crop", 224, (0.48145466, 0.4578275, 0.40821073),
                                  (0.26862954, 0.26130258, 0.27577711), "bicubic")),
        ("EfficientNet", {"size": {"height": 64, "width": 96}, "rescale_factor": 1 / 127.5,
                          "rescale_offset": True, "do_normalize": False, "resample": 2},
         Preprocessing(64, 96, "squash", 96, (0.5,) * 3, (0.5,) * 3, "bilinear")),
    ],
)  # fmt: skip
def test_what_an_image_processor_does_becomes_our_preprocessing(
    tmp_path: Path, kind: str, options: dict[str, object], expected: Preprocessing
) -> None:
    from shortcut_finder.model.huggingface import _preprocessing

    getattr(transformers, f"{kind}ImageProcessor")(**options).save_pretrained(tmp_path)
    found = _preprocessing(None, str(tmp_path), "model", {"local_files_only": True})
    assert found.mean == pytest.approx(expected.mean)
    assert found.std == pytest.approx(expected.std)
    assert (found.height, found.width) == (expected.height, expected.width)
    assert (found.resize, found.interpolation) == (expected.resize, expected.interpolation)
    if found.resize == "crop":
        assert found.resize_to == expected.resize_to


def test_without_an_image_processor_the_configured_size_is_taken(tmp_path: Path) -> None:
    saved(tmp_path)
    assert load(str(tmp_path)).preprocessing == Preprocessing(SIZE, SIZE)


def test_a_state_dict_replaces_the_weights(tmp_path: Path) -> None:
    network = saved(tmp_path)
    nn.init.zeros_(network.classifier.weight)
    torch.save(network.state_dict(), tmp_path / "other.pt")
    classifier = load(f"hf:{tmp_path}", tmp_path / "other.pt")
    assert not classifier.module.classifier.weight.any()


def test_channels_in_another_order_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    transformers.MobileViTImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="expects blue, green, red"):
        load(str(tmp_path))


def test_a_backbone_without_a_head_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    transformers.ViTModel(transformers.ViTConfig(**TOKENS)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"its weights lack classifier\.bias .*fine-tuned"):
        load(str(tmp_path))


def test_what_is_no_image_classifier_is_refused_by_name(tmp_path: Path) -> None:
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="a bert is no image classifier of transformers"):
        load(str(tmp_path))


def test_code_that_comes_with_a_model_is_never_run(tmp_path: Path) -> None:
    saved(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["model_type"] = "strange"
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.M"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nConfig = M = object")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_a_pickle_in_place_of_weights_is_not_opened(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (open, (str(tmp_path / "ran"), "w"))

    saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"classifier.bias": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_an_empty_folder_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded") as error:
        load(f"hf:{tmp_path}")
    assert "\n" not in str(error.value)


def test_a_network_that_keeps_tensors_between_passes_can_be_mapped(tmp_path: Path) -> None:
    # BEiT keeps an index of positions from its first pass, which loading makes.
    network = alive(build("Beit", TOKENS | {"use_relative_position_bias": True}))
    network.save_pretrained(tmp_path)
    with MapEngine(load(str(tmp_path)), Settings(precision="fp32")) as engine:
        batch = engine.run(random_pixels(2, SIZE), None)
    assert batch.maps.abs().amax() > 0
