"""Card: ``run.json``, what was scanned with what, and what came of it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.membership import HAS, UNKNOWN, having, lacking
from shortcut_finder.detect.finding import Judged
from shortcut_finder.detect.policy import POLICY
from shortcut_finder.run.folder import Run
from shortcut_finder.schema import PRODUCT, SCHEMA_VERSION, version_of
from shortcut_finder.settings import Settings
from shortcut_finder.stats.evidence import association_p

if TYPE_CHECKING:
    from shortcut_finder.model.classifier import Classifier
    from shortcut_finder.sweep.batches import Sweep

# Packages whose versions decide what a scan says.
PACKAGES = ("torch", "torchvision", "numpy", "pandas", "scikit-learn")


def card_of(
    run: Run,
    images: ImageDataset,
    classifier: Classifier,
    settings: Settings,
    swept: Sweep,
    judged: Judged,
    counted: np.ndarray,
    seconds: float,
) -> Mapping[str, Any]:
    """``run.json``; ``counted`` are the images that count in tests, (image,) of bool."""
    table = run.images
    number = {image: place for place, image in enumerate(images.images)}
    labels = images.labels[[number[image] for image in table["image"]]]
    accuracy, by_class = _accuracy(table, labels, images.classes)
    sizes = zip(table["width"], table["height"], strict=True)
    visible = np.mean([classifier.preprocessing.visible(*size) for size in sizes])
    return {
        "schema_version": SCHEMA_VERSION,
        "version": version_of(),
        "settings": settings.as_dict(),
        "dataset": _dataset_card(images),
        "model": _model_card(classifier),
        "maps": dict(swept.plan),
        "counts": {
            "images": len(images.images),
            "scanned": len(table),
            "unreadable": len(run.unreadable),
            "findings": len(run.findings),
            "offenders": len(run.offenders),
        },
        "accuracy": accuracy,
        "class_accuracy": by_class,
        "visible": float(visible),
        "testable": {
            name: testable_share(
                int((having(labels, n) & counted).sum()),
                int((lacking(labels, n) & counted).sum()),
                judged.tested,
            )
            for n, name in enumerate(images.classes)
        },
        "timings": {
            "sweep_seconds": swept.seconds,
            "images_per_second": swept.swept / max(swept.seconds, 1e-9),
            "analysis_seconds": seconds,
        },
        "versions": {name: found for name, found in versions().items() if name != PRODUCT},
        "warnings": [*images.notes, *judged.notes],
    }


def _dataset_card(images: ImageDataset) -> dict[str, Any]:
    counts = {name: int(having(images.labels, n).sum()) for n, name in enumerate(images.classes)}
    return {
        "name": images.name,
        "root": None if images.root is None else str(images.root),
        "classes": list(images.classes),
        "images": counts,
        "fingerprint": images.fingerprint,
        "metadata": list(images.metadata.columns),
    }


def _model_card(classifier: Classifier) -> dict[str, Any]:
    return {
        "name": classifier.name,
        "classes": list(classifier.classes),
        "fingerprint": classifier.fingerprint,
        "outputs": "sigmoid" if classifier.outputs.sigmoid else "softmax",
        "positive": classifier.outputs.positive,
        "preprocessing": classifier.preprocessing.as_dict(),
    }


def versions() -> dict[str, str]:
    """Versions of the product and of what its numbers come from."""
    packages = (PRODUCT, *PACKAGES)
    return {"python": platform.python_version(), **{name: version_of(name) for name in packages}}


def _accuracy(
    table: pd.DataFrame, labels: np.ndarray, classes: tuple[str, ...]
) -> tuple[float, dict[str, float]]:
    """How often the model is right, over all and class by class.

    With several labels an image: how often it says rightly whether an image has a label, of those
    that are known.

    Args:
        table: ``images.parquet``.
        labels: of its images: class of each, (image,), or membership, (image, class).
        classes: names.
    """
    if labels.ndim == 1:
        right = table["predicted"] == table["label"]
        by_class = right.groupby(table["label"]).mean()
        return float(right.mean()), {str(name): float(share) for name, share in by_class.items()}
    said = table[[f"probability: {name}" for name in classes]].to_numpy() > 0.5
    known, agree = labels != UNKNOWN, said == (labels == HAS)
    return float(agree[known].mean()), {
        name: float(agree[known[:, n], n].mean())
        for n, name in enumerate(classes)
        if known[:, n].any()
    }


def testable_share(images: int, others: int, tested: int) -> float:
    """Smallest share of a class that could have been found, in [0, 1].

    Args:
        images: of the class.
        others: images of all other classes.
        tested: how many candidates the false discovery rate is controlled over.

    Returns:
        The share that gives, on the tested half and with no such image elsewhere, an exact p
        small enough for the strictest step of Benjamini and Hochberg; 1 where there is none.

    Example:
        >>> testable_share(200, 1800, 100)
        0.04
    """
    half, rest = images // 2, others // 2
    for members in range(2, half + 1):
        if association_p(members, half, 0, rest) <= POLICY.q / max(tested, 1):
            return members / half
    return 1.0
