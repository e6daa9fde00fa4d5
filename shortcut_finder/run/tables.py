"""Tables: images and findings of a run, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.properties import PROPERTIES
from shortcut_finder.detect.finding import Finding
from shortcut_finder.schema import FINDING_COLUMNS
from shortcut_finder.settings import SURE
from shortcut_finder.sweep.records import Records

if TYPE_CHECKING:
    from shortcut_finder.model.classifier import Classifier


def table_of_images(
    records: Records,
    images: ImageDataset,
    classifier: Classifier,
    shares: Mapping[str, np.ndarray],
    findings: Sequence[Finding],
) -> pd.DataFrame:
    """One row an image, in the order of the records."""
    probabilities = records.probabilities
    number = np.arange(len(records.labels))
    top = records.shown[:, 1]
    names = np.array(classifier.classes, dtype=object)
    columns: dict[str, Any] = {
        "image": records.table["image"],
        "content": records.table["content"],
        "label": np.array(images.classes, dtype=object)[records.labels],
        "predicted": names[top],
        "confidence": probabilities.max(axis=1),
        "label_probability": probabilities[number, records.outputs],
    }
    order = np.argsort(-probabilities, axis=1, kind="stable")
    for place in range(min(3, len(names))):
        columns[f"top{place + 1}"] = names[order[:, place]]
        columns[f"top{place + 1}_probability"] = probabilities[number, order[:, place]]
    columns |= {name: records.table[name] for name in ("width", "height")}
    columns |= {f"share: {region}": values for region, values in shares.items()}
    columns |= {name: records.table[name] for name in PROPERTIES}
    columns["suspicion"] = np.max([f.score for f in findings] or [np.zeros(len(number))], axis=0)
    return pd.DataFrame(columns)


def _finding_row(finding: Finding, label_of: np.ndarray) -> dict[str, Any]:
    """A row of ``findings.csv``."""
    low_to_high = dict(
        zip(("reliance", "reliance_low", "reliance_high"), finding.reliance, strict=True)
    )
    return {
        "finding": finding.key,
        "label": finding.label,
        "kind": finding.kind,
        "region": finding.region,
        "images": int(finding.carries[label_of == finding.label].sum()),
        "share": finding.share,
        "elsewhere": finding.elsewhere,
        **low_to_high,
        "q": finding.q,
        "suspicion": finding.suspicion,
        "verdict": finding.verdict,
        "severity": finding.severity,
        "sentence": finding.sentence,
        "artifact": finding.artifact,
        **dict(zip(("share_low", "share_high"), finding.share_range, strict=True)),
    }


def finding_table(findings: Sequence[Finding], images: pd.DataFrame) -> pd.DataFrame:
    """``findings.csv``: one row a finding."""
    rows = [_finding_row(finding, images["label"].to_numpy()) for finding in findings]
    return pd.DataFrame(rows, columns=list(FINDING_COLUMNS))


def detail_of(
    finding: Finding, records: Records, images: pd.DataFrame, classifier: Classifier
) -> dict[str, Any]:
    """An entry of ``findings.json``: the row, and what the page shows beside it."""
    labels = images["label"].to_numpy()
    own = labels == finding.label
    sure_wrong, listed_wrong = finding.wrong
    return {
        **_finding_row(finding, labels),
        "sure_images": int((finding.tiers[own] == SURE).sum()),
        "sure_wrong": sure_wrong,
        "listed_wrong": listed_wrong,
        "advice": finding.advice,
        "verification": _experiments(finding),
        "numbers": dict(finding.numbers),
        "suspicion_parts": dict(finding.parts),
        "metadata": [
            {
                "column": one.column,
                "value": one.value,
                "share_members": one.share_members,
                "share_rest": one.share_rest,
                "rest": one.rest,
                "q": one.q,
                "sentence": one.sentence,
            }
            for one in finding.metadata
        ],
        "maps": {
            "members": _mean_map(records.maps, own & finding.carries),
            "others": _mean_map(records.maps, own & ~finding.carries),
        },
        "place": finding.place,
        "template": [
            {
                "image": images["image"].iloc[number],
                "box": list(
                    classifier.preprocessing.to_original(
                        finding.boxes(number),
                        int(images["width"].iloc[number]),
                        int(images["height"].iloc[number]),
                    )
                ),
            }
            for number in map(int, finding.typical[:12])
        ],
    }


def _experiments(finding: Finding) -> dict[str, Any] | None:
    """The experiments of a finding, for ``findings.json``."""
    found = finding.verification
    if found is None:
        return None
    return {
        "note": found.note,
        "experiments": [one.as_dict() for one in found.experiments],
        "surplus": None if found.surplus is None else vars(found.surplus),
    }


def shots_of(findings: Sequence[Finding], images: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The pictures of all experiments, with the finding and the image each belongs to."""
    for finding in findings:
        for shot in finding.verification.shots if finding.verification else ():
            yield {
                "finding": finding.key,
                "experiment": shot.experiment,
                "image": images["image"].iloc[shot.image],
                "arm": shot.arm,
                "label_probability": shot.probability,
                "pixels": shot.pixels,
            }


def _mean_map(maps: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return maps[chosen].mean(axis=0) if chosen.any() else np.zeros(maps.shape[1:])
