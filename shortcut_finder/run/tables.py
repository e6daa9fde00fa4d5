"""Tables: images and findings of a run, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from shortcut_finder.data.dataset import ImageDataset
from shortcut_finder.data.membership import HAS, LACKS, UNKNOWN, labelled, names_of
from shortcut_finder.data.properties import PROPERTIES
from shortcut_finder.detect.finding import Finding
from shortcut_finder.schema import FINDING_COLUMNS
from shortcut_finder.settings import SURE
from shortcut_finder.sweep.records import TOP, Records

if TYPE_CHECKING:
    from shortcut_finder.model.classifier import Classifier

# Images whose probabilities are in memory together: 33 MB of a thousand outputs.
AT_ONCE = 4096


def table_of_images(
    records: Records,
    images: ImageDataset,
    classifier: Classifier,
    shares: Mapping[str, np.ndarray],
    findings: Sequence[Finding],
) -> pd.DataFrame:
    """One row an image, in the order of the records."""
    number = np.arange(len(records.labels))
    told = _told(records)
    top = records.shown[:, 1]
    names = np.array(classifier.classes, dtype=object)
    columns: dict[str, Any] = {
        "image": records.table["image"],
        "content": records.table["content"],
        **_labels(records, images),
        "predicted": names[top],
        "confidence": told["confidence"],
        "label_probability": told["own"],
    }
    if images.several:
        columns |= _several(records, images, classifier)
    for place in range(min(TOP, len(names))):
        columns[f"top{place + 1}"] = names[told["order"][:, place]]
        columns[f"top{place + 1}_probability"] = told["top"][:, place]
    columns |= {name: records.table[name] for name in ("width", "height")}
    columns |= {f"share: {region}": values for region, values in shares.items()}
    columns |= {name: records.table[name] for name in PROPERTIES}
    columns["suspicion"] = np.max(
        [f.carriers.score for f in findings] or [np.zeros(len(number))], axis=0
    )
    return pd.DataFrame(columns)


def _told(records: Records) -> dict[str, np.ndarray]:
    """What the model says of each image, worked out for some images at a time.

    Returns:
        ``confidence`` and ``own``, the probabilities of the likeliest output and of the label's;
        ``order`` and ``top``, the likeliest outputs and their probabilities, (image, at most 3).
    """
    parts: dict[str, list[np.ndarray]] = {"confidence": [], "own": [], "order": [], "top": []}
    for start in range(0, len(records.labels), AT_ONCE):
        found = records.probabilities(slice(start, start + AT_ONCE))
        rows = np.arange(len(found))
        order = np.argsort(-found, axis=1, kind="stable")[:, :TOP]
        parts["confidence"].append(found.max(axis=1))
        parts["own"].append(found[rows, records.outputs[start : start + AT_ONCE]])
        parts["order"].append(order)
        parts["top"].append(np.take_along_axis(found, order, axis=1))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _labels(records: Records, images: ImageDataset) -> dict[str, Any]:
    """The label of each image as a name; of several as a list, and as text."""
    if not images.several:
        return {"label": np.array(images.classes, dtype=object)[records.labels]}
    lists = names_of(records.labels, images.classes)
    unknown = names_of(np.where(records.labels == UNKNOWN, HAS, LACKS), images.classes)
    return {"label": ["|".join(one) for one in lists], "labels": lists, "unknown": unknown}


def _several(
    records: Records, images: ImageDataset, classifier: Classifier
) -> dict[str, np.ndarray]:
    """The probability of each label, and that of the least likely label an image has.

    Where it has none, the latter is that of having none of them, as far as the likeliest says.
    """
    outputs = classifier.class_index(images.classes)
    found = np.concatenate(
        [
            records.probabilities(slice(start, start + AT_ONCE))[:, outputs]
            for start in range(0, len(records.labels), AT_ONCE)
        ]
    )
    own = np.where(records.labels == HAS, found, np.inf).min(axis=1)
    own = np.where(np.isfinite(own), own, 1 - found.max(axis=1))
    of_each = {f"probability: {name}": found[:, n] for n, name in enumerate(images.classes)}
    return {"label_probability": own, **of_each}


def _finding_row(finding: Finding, own: np.ndarray) -> dict[str, Any]:
    """A row of ``findings.csv``; ``own`` are the images of its class, (image,) of bool."""
    low_to_high = dict(
        zip(("reliance", "reliance_low", "reliance_high"), finding.decided.reliance, strict=True)
    )
    return {
        "finding": finding.key,
        "label": finding.label,
        "kind": finding.place.kind,
        "region": finding.place.region,
        "images": int(finding.carriers.listed[own].sum()),
        "share": finding.measured.share,
        "elsewhere": finding.measured.elsewhere,
        **low_to_high,
        "q": finding.measured.q,
        "suspicion": finding.measured.artifact,
        "verdict": finding.decided.verdict,
        "severity": finding.decided.severity,
        "sentence": finding.sentence,
        "artifact": finding.measured.artifact,
        **dict(zip(("share_low", "share_high"), finding.measured.share_range, strict=True)),
    }


def finding_table(findings: Sequence[Finding], images: pd.DataFrame) -> pd.DataFrame:
    """``findings.csv``: one row a finding."""
    rows = [_finding_row(finding, labelled(images, finding.label)) for finding in findings]
    return pd.DataFrame(rows, columns=list(FINDING_COLUMNS))


def detail_of(
    finding: Finding, records: Records, images: pd.DataFrame, classifier: Classifier
) -> dict[str, Any]:
    """An entry of ``findings.json``: the row, and what the page shows beside it."""
    own, maps = labelled(images, finding.label), records.maps_of(finding.number)
    sure_wrong, listed_wrong = finding.measured.wrong
    return {
        **_finding_row(finding, own),
        "sure_images": int((finding.carriers.tiers[own] == SURE).sum()),
        "sure_wrong": sure_wrong,
        "listed_wrong": listed_wrong,
        "sentences": list(finding.said),
        "advice": finding.advice,
        "verification": _experiments(finding),
        "numbers": dict(finding.measured.numbers),
        "suspicion_parts": dict(finding.measured.parts),
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
            for one in finding.companions
        ],
        **({} if records.labels.ndim == 1 else {"colabels": [*map(vars, finding.colabels)]}),
        "maps": {
            "members": _mean_map(maps, own & finding.carriers.listed),
            "others": _mean_map(maps, own & ~finding.carriers.listed),
        },
        "place": finding.place.counts,
        "template": [
            {
                "image": images["image"].iloc[number],
                "box": list(
                    classifier.preprocessing.to_original(
                        finding.place.boxes(number),
                        int(images["width"].iloc[number]),
                        int(images["height"].iloc[number]),
                    )
                ),
            }
            for number in map(int, finding.carriers.typical[:12])
        ],
    }


def _experiments(finding: Finding) -> dict[str, Any] | None:
    """The experiments of a finding, for ``findings.json``."""
    found = finding.decided.verification
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
        for shot in finding.decided.verification.shots if finding.decided.verification else ():
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
