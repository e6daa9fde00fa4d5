"""The map engine on timm's architectures, with random weights."""

import pytest
import torch
from networks import alive, classifier_of, random_pixels, slow_maps
from torch import Tensor

from shortcut_finder.errors import ModelError
from shortcut_finder.maps.engine import MapEngine
from shortcut_finder.model.classifier import load_classifier
from shortcut_finder.settings import Settings

timm = pytest.importorskip("timm", reason="the extra `timm` is not installed")

# Architecture, tier, how the map layer's output lies: NCHW, NHWC or the number of prefix tokens.
FEW = [
    ("test_resnet", "linear", "NCHW"),
    ("test_efficientnet", "linear", "NCHW"),
    ("test_convnext", "pooled", "NCHW"),
    ("test_mambaout", "pooled", "NHWC"),
    ("test_vit", "class token", 1),
    ("test_vit2", "pooled", 1),
    ("test_vit3", "generic", 1),
]
MANY = [
    ("test_byobnet", "linear", "NCHW"),
    ("test_coatnet", "linear", "NCHW"),
    ("test_convnext2", "pooled", "NCHW"),
    ("test_convnext3", "pooled", "NCHW"),
    ("test_efficientnet_evos", "linear", "NCHW"),
    ("test_efficientnet_gn", "linear", "NCHW"),
    ("test_efficientnet_ln", "linear", "NCHW"),
    ("test_maxvit", "linear", "NCHW"),
    ("test_nfnet", "linear", "NCHW"),
    ("test_vit4", "pooled", 1),
    ("test_vit_relpos", "pooled", 0),
    ("resnet18", "linear", "NCHW"),
    ("resnetv2_50", "linear", "NCHW"),
    ("seresnet18", "linear", "NCHW"),
    ("resnest14d", "linear", "NCHW"),
    ("ecaresnet26t", "linear", "NCHW"),
    ("skresnet18", "linear", "NCHW"),
    ("res2net50_26w_4s", "linear", "NCHW"),
    ("resnext26ts", "linear", "NCHW"),
    ("densenet121", "linear", "NCHW"),
    ("dpn48b", "linear", "NCHW"),
    ("xception41", "linear", "NCHW"),
    ("inception_v3", "linear", "NCHW"),
    ("efficientnet_lite0", "linear", "NCHW"),
    ("efficientnetv2_rw_t", "linear", "NCHW"),
    ("mobilenetv2_050", "linear", "NCHW"),
    ("mnasnet_small", "linear", "NCHW"),
    ("mobilenetv3_small_050", "pooled", "NCHW"),
    ("mobilenetv4_conv_small", "pooled", "NCHW"),
    ("ghostnet_050", "pooled", "NCHW"),
    ("lcnet_050", "pooled", "NCHW"),
    ("hgnetv2_b0", "pooled", "NCHW"),
    ("hrnet_w18_small", "linear", "NCHW"),
    ("dla34", "linear", "NCHW"),
    ("cspresnet50", "linear", "NCHW"),
    ("darknet17", "linear", "NCHW"),
    ("ese_vovnet19b_slim", "linear", "NCHW"),
    ("rexnetr_100", "linear", "NCHW"),
    ("selecsls42", "linear", "NCHW"),
    ("tresnet_m", "linear", "NCHW"),
    ("regnetx_002", "linear", "NCHW"),
    ("regnety_002", "linear", "NCHW"),
    ("repvgg_a0", "linear", "NCHW"),
    ("mobileone_s0", "linear", "NCHW"),
    ("starnet_s1", "linear", "NCHW"),
    ("mobilevit_xxs", "linear", "NCHW"),
    ("repvit_m0_9", "linear", "NCHW"),
    ("efficientvit_m0", "linear", "NCHW"),
    ("efficientvit_b0", "pooled", "NCHW"),
    ("fastvit_t8", "linear", "NCHW"),
    ("pvt_v2_b0", "linear", "NCHW"),
    ("poolformer_s12", "pooled", "NCHW"),
    ("inception_next_atto", "pooled", "NCHW"),
    ("edgenext_xx_small", "pooled", "NCHW"),
    ("rdnet_tiny", "pooled", "NCHW"),
    ("tiny_vit_5m_224", "pooled", "NCHW"),
    ("vgg11", "generic", "NCHW"),
    ("swin_tiny_patch4_window7_224", "linear", "NHWC"),
    ("swinv2_tiny_window8_256", "linear", "NHWC"),
    ("mixer_s32_224", "linear", 0),
    ("resmlp_12_224", "linear", 0),
    ("gmixer_12_224", "linear", 0),
    ("mvitv2_tiny", "linear", 0),
    ("twins_svt_small", "linear", 0),
    ("efficientformer_l1", "linear", 0),
    ("hiera_tiny_224", "pooled", 0),
    ("vit_tiny_patch16_224", "class token", 1),
    ("deit_tiny_distilled_patch16_224", "class token", 2),
    ("convit_tiny", "class token", 1),
    ("cait_xxs24_224", "generic", 1),
    ("xcit_nano_12_p16_224", "generic", 1),
    ("pit_ti_224", "generic", 1),
    ("eva02_tiny_patch14_224", "pooled", 1),
]


def arranged(values: Tensor, kind: str | int) -> Tensor:
    if kind == "NCHW":
        return values
    if kind == "NHWC":
        return values.permute(0, 3, 1, 2)
    patches = values[:, int(kind) :]
    side = round(patches.shape[1] ** 0.5)
    return patches.reshape(len(values), side, side, -1).permute(0, 3, 1, 2)


def check(name: str, tier: str, kind: str | int) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=6)
    size = network.pretrained_cfg["input_size"][-1]
    network = alive(network, size)
    classifier, pixels = classifier_of(network, size), random_pixels(2, size)
    with MapEngine(classifier, Settings(precision="fp32")) as engine:
        batch = engine.run(pixels, torch.tensor([0, 5]))
        plan = engine.plan
    images = classifier.normalise(pixels)
    expected = slow_maps(
        network, images, plan.layer, batch.shown, lambda values: arranged(values, kind)
    )
    gap = (batch.maps - expected).flatten(1).abs().amax(1) / expected.flatten(1).abs().amax(1)
    assert plan.tier == tier
    assert gap.max() < 1e-4
    assert (batch.maps[:, 1].abs().amax((1, 2)) > 0).all()
    assert min(plan.grid) > 1
    assert batch.cells.shape[2:] == plan.cell_grid
    assert max(plan.cell_grid) <= 20


@pytest.mark.parametrize(("name", "tier", "kind"), FEW, ids=[name for name, *_ in FEW])
def test_fast_maps_equal_plain_autograd_maps(name: str, tier: str, kind: str | int) -> None:
    check(name, tier, kind)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tier", "kind"), MANY, ids=[name for name, *_ in MANY])
def test_many_architectures(name: str, tier: str, kind: str | int) -> None:
    check(name, tier, kind)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["volo_d1_224", "crossvit_tiny_240"])
def test_networks_of_several_token_streams_are_refused(name: str) -> None:
    network = timm.create_model(name, num_classes=6)
    size = network.pretrained_cfg["input_size"][-1]
    with (
        pytest.raises(ModelError, match="several token streams"),
        MapEngine(classifier_of(network, size), Settings(precision="fp32")) as engine,
    ):
        engine.prepare(random_pixels(2, size))


def test_a_timm_name_with_a_state_dict(tmp_path) -> None:
    network = timm.create_model("test_resnet", num_classes=3)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    classifier = load_classifier(
        "timm:test_resnet", weights=tmp_path / "weights.pt", classes=None,
        labels=("a", "b", "c"), settings=Settings(device="cpu"),
    )  # fmt: skip
    assert (classifier.preprocessing.height, classifier.preprocessing.resize) == (160, "squash")
    assert classifier.preprocessing.mean == tuple(network.pretrained_cfg["mean"])


def test_an_unknown_timm_name_is_told_in_one_line(tmp_path) -> None:
    with pytest.raises(ModelError, match="no timm model of that name; did you mean"):
        load_classifier(
            "timm:resnet5000", weights=tmp_path / "weights.pt", classes=None, labels=("a",),
            settings=Settings(device="cpu"),
        )  # fmt: skip
