"""Claim: whose shards a folder holds, and whether a scan may go on with them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.properties import PROPERTIES
from shortcut_finder.errors import RunError
from shortcut_finder.model.classifier import Classifier
from shortcut_finder.schema import to_json, version_of, write_whole
from shortcut_finder.settings import Settings
from shortcut_finder.sweep.mending import difference
from shortcut_finder.sweep.shards import plan_of


def claim(
    folder: Path, dataset: ImageDataset, classifier: Classifier, settings: Settings
) -> Settings:
    """Make the folder this scan's, or say that it belongs to another.

    Returns:
        The settings, with the precision that earlier shards were made in.
    """
    mine = {
        "dataset": dataset.fingerprint,
        "model": classifier.fingerprint,
        "preprocessing": classifier.preprocessing.as_dict(),
        "classes": list(classifier.classes),
        "method": settings.method,
        "layer": settings.layer,
        "precision": settings.precision,
        "limit": settings.limit,
        "seed": settings.seed,
        "window": settings.window,
        # Shards of an earlier version may lack some.
        "list of properties": list(PROPERTIES),
        "version": version_of(),
    }
    if classifier.outputs.positive is not None:
        mine["positive"] = classifier.outputs.positive
    kept = plan_of(folder)
    if kept is not None:
        plain = {key: kept.get(key) for key in mine}
        if to_json(plain) != to_json(mine):
            images = difference(folder, dataset, kept.get("images"))
            changed = [
                _changed(key, plain[key], mine[key], images)
                for key in mine
                if to_json(plain[key]) != to_json(mine[key])
            ]
            raise RunError(
                f"{folder.parent}: holds a scan with another {' and '.join(changed)}; "
                "choose another --out, or --fresh to replace it"
            )
        precision = kept.get("maps", {}).get("precision", settings.precision)
        return dataclasses.replace(settings, precision=precision)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "plan.json", to_json({**mine, "images": len(dataset)}))
    return settings


def _changed(key: str, before: Any, now: Any, images: str) -> str:
    """What differs, with its values where these say something to people."""
    if key == "dataset":
        return f"dataset ({images})"
    if isinstance(now, (int, str)) and key != "model":
        return f"{key} ({before}, now {now})"
    return key
