"""Cleaning plan: what would be done to which image of a run, and what a user should know first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from shortcut_finder.cleaning.advice import (
    MORE_IMAGES,
    crop_advice,
    in_vain,
    is_spared,
    losses,
    no_place,
    nothing_to_do,
    unseen,
)
from shortcut_finder.cleaning.choice import (
    NEARLY_ALL,
    expanded,
    finding_number,
    left_alone,
    listed_rows,
    shares_of_class,
    spared_findings,
    sure_rows,
)
from shortcut_finder.cleaning.places import (
    Reader,
    frames_of,
    measured_frame,
    places_of,
)
from shortcut_finder.cleaning.retouching import PixelBox
from shortcut_finder.cleaning.reweighting import independent_weights
from shortcut_finder.data.membership import label_lists, labelled
from shortcut_finder.errors import RunError, SettingsError
from shortcut_finder.run.decisions import Decisions
from shortcut_finder.run.folder import Run
from shortcut_finder.settings import ACTIONS, LIKELY, SURE, TIERS
from shortcut_finder.texts import shown

# Kinds of findings that have no place in the image which could be filled.
WHOLE = ("property", "background", "metadata", "region")


@dataclass(frozen=True, eq=False)
class CleaningPlan:
    """What `clean` does.

    Attributes:
        action: ``drop``, ``mask`` or ``reweight``.
        tier: ``sure``, or ``likely`` where images that only likely carry it are taken, too.
        findings: what is cleaned.
        images: one row an image of the run in the order of the dataset: ``image, label, content,
            change, weight, findings, score, reason``. ``change`` is ``keep``, ``drop`` or
            ``mask``; the rest is empty or 1 where nothing is done.
        carriers: the rows of ``offenders.csv`` that the plan rests on.
        left_alone: how many images were left as they are though they likely carry it, by finding.
        boxes: places to fill, by image, in pixels of the upright picture.
        frames: border to fill, by image, as a part of each side.
        counts: one row a class: ``label, images, changed, left``.
        advice: what would help beside or instead of this.
        warnings: what a user should know before doing it.
    """

    action: str
    tier: str
    findings: tuple[str, ...]
    images: pd.DataFrame
    carriers: pd.DataFrame
    left_alone: Mapping[str, int]
    boxes: Mapping[str, tuple[PixelBox, ...]]
    frames: Mapping[str, float]
    counts: pd.DataFrame
    advice: tuple[str, ...]
    warnings: tuple[str, ...]


def plan_cleaning(
    run: Run,
    action: str,
    *,
    decisions: Decisions | None = None,
    expand: bool = False,
    tier: str = SURE,
    read: Reader,
) -> CleaningPlan:
    """Decide what happens to every image.

    Without decisions, findings are cleaned that are confirmed, or suspect and of high severity,
    unless they were tested and the interval of their reliance reaches 0; where nothing was
    verified, suspect ones of medium severity too. Never what the model does not react to
    (``present``) nor anything of low severity. With decisions, what was accepted.

    Args:
        run: a scan.
        action: one of `ACTIONS`.
        decisions: what a person said about the findings.
        expand: look again for accepted things in the whole dataset; see `recall`.
        tier: ``sure`` leaves images alone that only likely carry it, unless the decisions name
            them; ``likely`` takes both.
        read: the picture of an image, to measure how wide a frame is.

    Raises:
        SettingsError: there is no such action or tier.
        RunError: nothing is to be done, or a class would be left without images.
    """
    if action not in ACTIONS:
        raise SettingsError(f"--action {action}: choose one of {', '.join(ACTIONS)}")
    if tier not in TIERS:
        raise SettingsError(f"--tier {tier}: choose one of {', '.join(TIERS)}")
    listed = listed_rows(run, decisions)
    wanted = listed if tier == LIKELY else listed[sure_rows(listed, decisions)]
    if expand:
        wanted = expanded(run, wanted, decisions, read)
    chosen = _chosen(run, action, wanted, sparing=decisions is None)
    carriers, details = chosen.carriers, chosen.details
    if carriers.empty:
        likely = 0 if chosen.place_less else len(listed)
        nothing = nothing_to_do(action, chosen.place_less, chosen.hopeless, decisions, likely)
        raise RunError(f"{run.folder}: {'; '.join(chosen.spared) or nothing}")
    findings = tuple(sorted(set(carriers["finding"]), key=finding_number))
    framed = [key for key in findings if details[key]["kind"] == "frame"]
    widths = {key: measured_frame(run, carriers, key, read) for key in framed}
    images = _image_rows(run, carriers, action)
    counts = _counts(images, run.card["dataset"]["classes"])
    _check_classes_left(run, action, counts, chosen.hopeless)
    masked = action == "mask"
    return CleaningPlan(
        action=action,
        tier=tier,
        findings=findings,
        images=images,
        carriers=carriers.reset_index(drop=True),
        left_alone=left_alone(action, listed[listed["finding"].isin(findings)], carriers),
        boxes=places_of(run, carriers[~carriers["finding"].isin(framed)], read) if masked else {},
        frames=frames_of(carriers, widths) if masked else {},
        counts=counts,
        advice=crop_advice(details, widths),
        warnings=(
            *unseen(run),
            *([] if masked else losses(action, counts)),
            *_findings_that_stay(action, findings, chosen),
            *chosen.spared,
        ),
    )


@dataclass(frozen=True, eq=False)
class _Chosen:
    """What is cleaned, and what is not, and why.

    Attributes:
        carriers: rows of the offenders that are cleaned.
        details: of the findings, by key.
        place_less: findings without a place that could be filled.
        everywhere: findings and classes that nearly all carry it, with the share.
        hopeless: findings of both kinds: no place to fill, and nothing to compare with, so only
            other images can help.
        spared: why findings are left to a person, a sentence each.
    """

    carriers: pd.DataFrame
    details: Mapping[str, Mapping[str, Any]]
    place_less: Sequence[str]
    everywhere: Sequence[tuple[str, str, float]]
    hopeless: Collection[str]
    spared: Sequence[str]


def _chosen(run: Run, action: str, wanted: pd.DataFrame, *, sparing: bool) -> _Chosen:
    """What of the wanted rows an action can and should clean.

    Args:
        run: a scan.
        action: one of `ACTIONS`.
        wanted: rows of the offenders.
        sparing: leave findings to a person whose images are most of a class.
    """
    details = {str(detail["finding"]): detail for detail in run.details}
    place_less = sorted(
        (key for key in set(wanted["finding"]) if details[key]["kind"] in WHOLE),
        key=finding_number,
    )
    shares = shares_of_class(run, wanted)
    everywhere = [one for one in shares if one[2] >= NEARLY_ALL]
    hopeless = set(place_less) & {finding for finding, _, _ in everywhere}
    carriers = wanted
    if action == "mask":
        carriers = carriers[~carriers["finding"].isin(place_less)]
    spares = sparing and action == "drop"
    spared = spared_findings(carriers, shares, place_less) if spares else []
    return _Chosen(
        carriers[~carriers["finding"].isin(spared)],
        details,
        place_less,
        everywhere,
        hopeless,
        [is_spared(key, details[key], shares, hopeless=key in hopeless) for key in spared],
    )


def _findings_that_stay(action: str, findings: Sequence[str], chosen: _Chosen) -> list[str]:
    """Where the action does not help, a sentence each."""
    if action == "mask":
        return [no_place(key, chosen.details[key], chosen.hopeless) for key in chosen.place_less]
    return [
        in_vain(action, *one, chosen.hopeless) for one in chosen.everywhere if one[0] in findings
    ]


def _image_rows(run: Run, carriers: pd.DataFrame, action: str) -> pd.DataFrame:
    """One row an image, in the order of the dataset: sorted by name."""
    several = [name for name in ("labels", "unknown") if "labels" in run.images]
    images = run.images[["image", "label", "content", *several]]
    images = images.sort_values("image", ignore_index=True)
    by_image = carriers.groupby("image", sort=False)
    listed = images["image"].isin(set(carriers["image"])).to_numpy()
    findings = by_image["finding"].agg(lambda keys: " ".join(sorted(set(keys), key=finding_number)))
    strongest = carriers.sort_values("score", ascending=False).drop_duplicates("image")
    reasons = strongest.set_index("image")["reason"]
    change = {"drop": "drop", "mask": "mask", "reweight": "keep"}[action]
    return images.assign(
        change=np.where(listed, change, "keep"),
        weight=_weights(images, carriers) if action == "reweight" else 1.0,
        findings=images["image"].map(findings).fillna(""),
        score=images["image"].map(by_image["score"].max()),
        reason=images["image"].map(reasons).fillna(""),
    )


def _weights(images: pd.DataFrame, carriers: pd.DataFrame) -> np.ndarray:
    keys = sorted(set(carriers["finding"]), key=finding_number)
    carries = np.stack(
        [
            images["image"].isin(set(carriers.loc[carriers["finding"] == key, "image"])).to_numpy()
            for key in keys
        ],
        axis=1,
    )
    if "labels" not in images:
        return independent_weights(pd.factorize(images["label"])[0], carries)
    # The label of a finding against the others; what may have it is left as it is.
    homes = [str(carriers.loc[carriers["finding"] == key, "label"].mode().iloc[0]) for key in keys]
    unknown = [[home in names for names in images["unknown"]] for home in homes]
    own = np.stack([labelled(images, home) for home in homes], axis=1).astype(np.int64)
    return independent_weights(np.where(np.array(unknown).T, -1, own), carries)


def _counts(images: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    changed = (images["change"] != "keep") | (images["weight"] != 1.0)
    left = (images["change"] != "drop") & (images["weight"] > 0)
    by_class = pd.DataFrame(
        {"label": label_lists(images), "images": 1, "changed": changed * 1, "left": left * 1}
    ).explode("label")
    table = by_class.groupby("label", sort=False).sum()
    present = [name for name in classes if name in table.index]
    return table.loc[present].reset_index()


def _check_classes_left(
    run: Run, action: str, counts: pd.DataFrame, hopeless: Collection[str]
) -> None:
    empty = counts.loc[counts["left"] == 0, "label"]
    if action == "drop" and len(empty):
        cure = MORE_IMAGES if hopeless else "use --action mask, or decide image by image"
        raise RunError(
            f"{run.folder}: all images of {shown(empty.iloc[0])!r} would be dropped, so no class "
            f"would be left; {cure}"
        )
