"""Adapt: average pooling and one linear layer in place of a network's dense head, refitted.

After Zhou et al. 2016: maps become exact where dense layers had hidden which place a class was read
from. Only the last weights are fitted, on features that one sweep collects; the network's own
weights stay.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from torch import nn
from tqdm import tqdm

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.loading import open_dataset
from shortcut_finder.errors import DatasetError, ModelError
from shortcut_finder.maps.engine import MapEngine
from shortcut_finder.model.classifier import Classifier, load_classifier
from shortcut_finder.model.surgery import PooledHead, save_adapted
from shortcut_finder.settings import Settings
from shortcut_finder.sweep.batches import sweep_order
from shortcut_finder.sweep.decoding import decoded_batches

# Part of each class that is held out to choose the penalty and to measure.
HELD_OUT = 0.2
# Inverse strengths of the penalty that are tried, on standardised features.
STRENGTHS = (0.001, 0.01, 0.1, 1.0)
# Of the solver; what has not settled by then is as good as what has.
ITERATIONS = 200


@dataclass(frozen=True)
class Adaptation:
    """What the surgery cost.

    Attributes:
        path: the file.
        layer: dotted path of the layer whose channels are averaged.
        before: accuracy of the network as it was, on the images held out.
        after: accuracy with the new head, on the same images.
        fitted: images that the head was fitted on.
        held_out: images held out, from which only the strength of the penalty was chosen.
    """

    path: Path
    layer: str
    before: float
    after: float
    fitted: int
    held_out: int


def adapt(
    dataset: Any,
    model: str | nn.Module,
    *,
    out: Path | str,
    weights: Path | str | None = None,
    classes: Path | str | None = None,
    settings: Settings | None = None,
    progress: bool = True,
) -> Adaptation:
    """Replace a network's dense head by average pooling and a linear layer.

    Args:
        dataset: as for `scan`; every class of the model needs images.
        model: as for `scan`.
        out: the file to write. Load it as the ``weights`` of the same ``model``.
        weights: as for `scan`.
        classes: as for `scan`.
        settings: as for `scan`; ``layer`` says which layer is averaged.
        progress: show a bar on stderr.

    Raises:
        DatasetError: a class has too few images.
        ModelError: the head is linear already, or the model cannot be used.
    """
    settings = settings or Settings()
    data = open_dataset(dataset, window=settings.window)
    if data.several:
        raise DatasetError(
            f"{data.name}: images have several labels, and adapt fits one class an image; "
            "give it a manifest with a column label"
        )
    classifier = load_classifier(
        model, weights=weights, classes=classes, labels=data.classes, settings=settings
    )
    with MapEngine(classifier, settings) as engine:
        features, predicted, labels = _collect(data, classifier, engine, settings, progress)
        layer = engine.layer
    fit, held = _split(labels, classifier.classes, settings.seed)
    weight, bias = _best_head(features, labels, fit, held)
    head = PooledHead(
        layer=layer.name,
        call=layer.call,
        axes=layer.layout.axes,
        prefix=layer.layout.prefix,
        rectified=layer.layout.rectified,
        weight=torch.from_numpy(weight.astype(np.float32)),
        bias=torch.from_numpy(bias.astype(np.float32)),
    )
    save_adapted(Path(out), classifier.module.state_dict(), head)
    adapted = (features[held] @ weight.T + bias).argmax(1)
    return Adaptation(
        path=Path(out),
        layer=layer.name,
        before=float((predicted[held] == labels[held]).mean()),
        after=float((adapted == labels[held]).mean()),
        fitted=len(fit),
        held_out=len(held),
    )


def _collect(
    dataset: ImageDataset,
    classifier: Classifier,
    engine: MapEngine,
    settings: Settings,
    progress: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pooled features, predicted outputs and labelled outputs of all readable images."""
    outputs = classifier.class_index(dataset.classes)[dataset.labels]
    order = sweep_order(dataset, settings)
    features, predicted, indices = [], [], []
    with tqdm(total=len(order), unit=" images", desc="adapt", disable=not progress) as bar:
        for batch in decoded_batches(dataset, classifier, [order], settings):
            readable = [item for item in batch if item.pixels is not None]
            if readable:
                pixels = np.stack([item.pixels for item in batch if item.pixels is not None])
                looked = engine.run(torch.from_numpy(pixels), None)
                if engine.plan.tier == "linear":
                    raise ModelError(
                        f"{classifier.name}: its head is linear after average pooling already, so "
                        "its maps are exact; scan it as it is"
                    )
                features.append(looked.features.numpy())
                predicted.append(looked.logits.argmax(1).numpy())
                indices += [item.index for item in readable]
            bar.update(len(batch))
    if not indices:
        raise DatasetError(f"{dataset.name}: none of its images can be read")
    return np.concatenate(features), np.concatenate(predicted), outputs[indices]


def _split(labels: np.ndarray, classes: tuple[str, ...], seed: int) -> tuple[np.ndarray, ...]:
    """Positions to fit on and to hold out, a fifth of each class."""
    counts = np.bincount(labels, minlength=len(classes))
    few = [name for name, count in zip(classes, counts, strict=True) if count < 2]
    held_out = max(len(classes), round(HELD_OUT * len(labels)))
    if few or len(labels) - held_out < len(classes):
        name = few[0] if few else classes[int(counts.argmin())]
        raise DatasetError(
            f"class {name!r} of the model has {counts[classes.index(name)]} readable images; "
            "every class needs some to fit on and some to hold out"
        )
    fit, held = train_test_split(
        np.arange(len(labels)), test_size=held_out, stratify=labels, random_state=seed
    )
    return np.sort(fit), np.sort(held)


def _best_head(
    features: np.ndarray, labels: np.ndarray, fit: np.ndarray, held: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of the penalty that does best on what is held out."""
    heads = [_fit_head(features[fit], labels[fit], strength) for strength in STRENGTHS]
    return min(heads, key=lambda head: _loss(features[held], labels[held], *head))


def _fit_head(
    features: np.ndarray, labels: np.ndarray, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Multinomial logistic regression: weight (class, channel) and bias (class,)."""
    mean, spread = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    # Channels that never fire have no spread, and no weight either.
    spread = np.where(spread > 0, spread, 1.0)
    regression = LogisticRegression(C=strength, max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit((features - mean) / spread, labels)
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:
        # For two classes only the difference of their rows is fitted.
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight / spread, bias - weight @ (mean / spread)


def _loss(features: np.ndarray, labels: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> float:
    logits = features @ weight.T + bias
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return float(log_loss(labels, shares / shares.sum(1, keepdims=True), labels=range(len(bias))))
