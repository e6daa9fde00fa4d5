"""The whole loop on your own folder: train, scan, clean, train again, scan again, compare.

    python examples/clean_and_retrain.py photos/ --test fresh/ --out loop/

``photos/`` and ``fresh/`` hold a folder for each class. The test images should not share the
training images' shortcuts, such as pictures from another source; else both networks look equally
good. Without ``--decisions`` only what is confirmed or of high severity is cleaned; look at
``loop/before/run/report.html``, save ``decisions.json`` from it, and run the script again with
``--before loop/before --decisions decisions.json --out loop2/`` to have the last word: the network
and the scan that you reviewed are then taken as they are.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from train_classifier import LITE0, SEED, accuracy, build, preprocessing, readable, train

import shortcut_finder as sf
from shortcut_finder.data.dataset import ImageDataset


def untrained(images: ImageDataset, options: argparse.Namespace) -> nn.Module:
    """A network with an output for each class."""
    network = build(options.network, len(images.classes), pretrained=options.pretrained)
    return network.to(memory_format=torch.channels_last)


def trained(
    images: ImageDataset,
    out: Path,
    options: argparse.Namespace,
    weights: Sequence[float] | None = None,
) -> nn.Module:
    """A network fine-tuned on the images; its state is kept in ``out``."""
    torch.manual_seed(SEED)
    network = untrained(images, options)
    how = preprocessing(options.network, options.input_size)
    train(network, images, how, options.epochs, weights)
    out.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), out / "weights.pt")
    return network


def reviewed(images: ImageDataset, out: Path, options: argparse.Namespace) -> nn.Module:
    """The network of an earlier loop."""
    network = untrained(images, options)
    network.load_state_dict(torch.load(out / "weights.pt", weights_only=True))
    return network.eval()


def scanned(data: Path, network: nn.Module, out: Path, options: argparse.Namespace) -> sf.Run:
    """A scan of the images with the network that was trained on them."""
    how = preprocessing(options.network, options.input_size)
    settings = sf.Settings(
        input_size=how.height, resize=how.resize, mean=how.mean, std=how.std, seed=SEED
    )
    return sf.scan(data, network, out=out / "run", settings=settings)


def tests_of(folder: Path, classes: Sequence[str]) -> ImageDataset:
    """The test images, numbered by the classes of the training images; some may be missing."""
    test = readable(sf.load_dataset(folder))
    strange = sorted(set(test.classes) - set(classes))
    if strange:
        raise sf.DatasetError(f"{folder}: {strange[0]!r} is no class of the training images")
    number = np.array([list(classes).index(name) for name in test.classes])
    return dataclasses.replace(test, classes=tuple(classes), labels=number[test.labels])


def main() -> None:
    """Train, scan, clean, train, scan, compare, and say what it was worth."""
    parser = argparse.ArgumentParser(description="Clean a dataset, train again, compare.")
    parser.add_argument("data", type=Path, help="folder of class folders, or a manifest")
    parser.add_argument("--test", type=Path, required=True, help="test images of the same classes")
    parser.add_argument("--out", type=Path, default=Path("loop"), help="folder for everything")
    parser.add_argument("--action", choices=("drop", "mask", "reweight"), default="mask")
    parser.add_argument("--decisions", type=Path, help="decisions.json from the page")
    parser.add_argument("--before", type=Path, help="the folder `before` of an earlier loop")
    parser.add_argument("--network", default=LITE0, help=f"{LITE0} or a torchvision name")
    parser.add_argument("--pretrained", action="store_true", help="download torchvision weights")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the images")
    parser.add_argument("--input-size", type=int, default=224, help="side of the input, in pixels")
    options = parser.parse_args()

    images = readable(sf.load_dataset(options.data))
    test = tests_of(options.test, images.classes)
    home = options.before or options.out / "before"
    before = (reviewed if options.before else trained)(images, home, options)
    run = scanned(options.data, before, home, options)
    cleaned = options.out / "cleaned"
    plan = sf.clean(run, options.action, out=cleaned, decisions=options.decisions)
    changed = int(plan.counts["changed"].sum())
    print(f"{options.action}: {', '.join(plan.findings)}, {changed} images")
    for warning in (*plan.warnings, *plan.advice):
        print(f"note: {warning}")

    images = readable(sf.load_dataset(cleaned / "manifest.csv"))
    weights = images.metadata["weight"].tolist() if options.action == "reweight" else None
    after = trained(images, options.out / "after", options, weights)
    again = scanned(cleaned / "manifest.csv", after, options.out / "after", options)
    comparison = sf.compare(run, again, out=options.out / "comparison")
    for sentence in comparison.findings["sentence"]:
        print(sentence)

    how = preprocessing(options.network, options.input_size)
    scores = [accuracy(network, test, how) for network in (before, after)]
    print(f"right on {options.test}: {scores[0]:.1%} before, {scores[1]:.1%} after")
    print(f"look at {options.out / 'comparison' / 'comparison.html'}")


# Worker processes import this file; only the one you started may train.
if __name__ == "__main__":
    try:
        main()
    except sf.ShortcutFinderError as error:
        raise SystemExit(f"error: {error}") from error
