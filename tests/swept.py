"""Swept: folders of images after a sweep with an untrained network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn

from shortcut_finder.data.dataset import load_dataset
from shortcut_finder.model.classifier import load_classifier
from shortcut_finder.settings import Settings
from shortcut_finder.sweep.batches import sweep
from shortcut_finder.sweep.records import read_records
from shortcut_finder.sweep.scene import Scene

SMALL = Settings(input_size=96, workers=0)


def swept(root: Path, out: Path, network: nn.Module | None = None) -> tuple[Path, Scene]:
    """The shards in ``out``, and what the sweep kept; with random weights unless said otherwise."""
    dataset = load_dataset(root)
    if network is None:
        torch.manual_seed(0)
        network = torchvision.models.resnet18(num_classes=len(dataset.classes))
    classifier = load_classifier(
        network, weights=None, classes=None, labels=dataset.classes, settings=SMALL
    )
    done = sweep(dataset, classifier, SMALL, out / "shards", progress=False)
    grid = tuple(done.plan["cell_grid"])
    records = read_records(done.folder, dataset.labels, grid)
    index = records.table["index"].to_numpy()
    scene = Scene(
        records, lambda number: dataset.read(int(index[number])).picture, classifier.preprocessing
    )
    return done.folder, scene


def originals(names: np.ndarray) -> list[str]:
    """Names of the pictures that files named PICTURE~VERSION are made of."""
    return [name.rpartition(".")[0].partition("~")[0] for name in names]
