"""Cleaning plan: what would be done to which image of a run, and what a user should know first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from shortcut_finder.cleaning.places import (
    Reader,
    boxes_of,
    frames_of,
    measured_frame,
    pictures_of,
    places_of,
)
from shortcut_finder.cleaning.recall import recalled
from shortcut_finder.cleaning.retouching import PixelBox
from shortcut_finder.cleaning.reweighting import independent_weights
from shortcut_finder.data.membership import label_lists, labelled
from shortcut_finder.detect.placing import resembling
from shortcut_finder.errors import RunError, SettingsError
from shortcut_finder.run.decisions import Decisions
from shortcut_finder.run.folder import Run
from shortcut_finder.settings import ACTIONS, LIKELY, SURE, TIERS
from shortcut_finder.texts import clipped, count, percent, shown

# Kinds of findings that have no place in the image which could be filled.
WHOLE = ("property", "background", "metadata", "region")
# A class that loses more than one in so many of its images is worth a warning.
LARGE_LOSS = 3
# A class of which this part carries the artifact is not to be cured by dropping.
NEARLY_ALL = 0.9
# What helps where nothing done to the images can.
MORE_IMAGES = "add images of the class without it, or images of the other classes with it"


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
    listed = _listed(run, decisions)
    carriers = listed if tier == LIKELY else listed[_sure(listed, decisions)]
    if expand:
        found = recalled(run, carriers, _refused(decisions))
        carriers = _resembling(run, carriers, found, read)
    details = {str(detail["finding"]): detail for detail in run.details}
    place_less = sorted(
        (key for key in set(carriers["finding"]) if details[key]["kind"] in WHOLE), key=_number
    )
    everywhere = _everywhere(run, carriers)
    # No place to fill, and nothing to compare with: only other images can help.
    hopeless = set(place_less) & {finding for finding, _, _ in everywhere}
    if action == "mask":
        carriers = carriers[~carriers["finding"].isin(place_less)]
    spared = _spared(carriers, everywhere) if action == "drop" and decisions is None else []
    carriers = carriers[~carriers["finding"].isin(spared)]
    if carriers.empty:
        likely = 0 if place_less or spared else len(listed)
        reason = _nothing(action, place_less, hopeless, decisions, likely)
        raise RunError(f"{run.folder}: {reason}")
    findings = tuple(sorted(set(carriers["finding"]), key=_number))
    framed = [key for key in findings if details[key]["kind"] == "frame"]
    widths = {key: measured_frame(run, carriers, key, read) for key in framed}
    images = _image_rows(run, carriers, action)
    counts = _counts(images, run.card["dataset"]["classes"])
    _check_classes_left(run, action, counts, hopeless)
    return CleaningPlan(
        action=action,
        tier=tier,
        findings=findings,
        images=images,
        carriers=carriers.reset_index(drop=True),
        left_alone=_left_alone(action, listed[listed["finding"].isin(findings)], carriers),
        boxes=places_of(run, carriers[~carriers["finding"].isin(framed)], read)
        if action == "mask"
        else {},
        frames=frames_of(carriers, widths) if action == "mask" else {},
        counts=counts,
        advice=_advice(details, widths),
        warnings=(
            *_unseen(run),
            *_losses(action, counts),
            *(
                _in_vain(action, *one, hopeless)
                for one in everywhere
                if one[0] in findings and action != "mask"
            ),
            *(_no_place(key, details[key], hopeless) for key in place_less if action == "mask"),
            *(_is_spared(key, details[key]) for key in spared),
        ),
    )


def cleaned_without_asking(details: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Findings that are cleaned where no person decided; see `plan_cleaning`."""
    verified = any(detail.get("verification") for detail in details)
    return tuple(
        str(detail["finding"])
        for detail in details
        if detail["severity"] != "low"
        and (
            detail["verdict"] == "confirmed"
            or (
                detail["verdict"] == "suspect"
                and (detail["severity"] == "high" or not verified)
                and not _tested_in_vain(detail)
            )
        )
    )


def _tested_in_vain(detail: Mapping[str, Any]) -> bool:
    """Whether interventions were made and the model may not rely on it at all."""
    low = detail["reliance_low"]
    return low is not None and float(low) <= 0


def _listed(run: Run, decisions: Decisions | None) -> pd.DataFrame:
    """The rows of the offenders that are to be cleaned, of both tiers."""
    offenders = run.offenders
    if decisions is None:
        return offenders[offenders["finding"].isin(cleaned_without_asking(run.details))]
    accepted = [answer == "accept" for answer in _answers(offenders, decisions)]
    # A plain list would choose columns where there are no rows.
    return offenders[np.array(accepted, dtype=bool)]


def _sure(listed: pd.DataFrame, decisions: Decisions | None) -> np.ndarray:
    """Which rows are sure, or were accepted one by one."""
    named = {} if decisions is None else decisions.images
    return np.array(
        [
            tier == SURE or named.get(image, {}).get(finding) == "accept"
            for image, finding, tier in zip(
                listed["image"], listed["finding"], listed["tier"], strict=True
            )
        ],
        dtype=bool,
    )


def _left_alone(action: str, listed: pd.DataFrame, carriers: pd.DataFrame) -> dict[str, int]:
    """Images that likely carry something that is cleaned and stay as they are, by finding."""
    cleaned = set(zip(carriers["finding"], carriers["image"], strict=True))
    dropped = set(carriers["image"]) if action == "drop" else set()
    left = {
        pair
        for pair in zip(listed["finding"], listed["image"], strict=True)
        if pair not in cleaned and pair[1] not in dropped
    }
    found = Counter(finding for finding, _ in left)
    return {finding: found[finding] for finding in sorted(found, key=_number)}


def _refused(decisions: Decisions | None) -> set[tuple[str, str]]:
    """Pairs of finding and image that a person did not accept though the finding lists them."""
    if decisions is None:
        return set()
    return {
        (finding, image)
        for image, marks in decisions.images.items()
        for finding, answer in marks.items()
        if answer != "accept"
    }


def _resembling(
    run: Run, accepted: pd.DataFrame, found: pd.DataFrame, read: Reader
) -> pd.DataFrame:
    """The accepted rows, and those found that hold against the accepted pictures."""
    kept = [accepted]
    for finding, rows in found.groupby("finding", sort=True):
        mine = accepted[accepted["finding"] == finding].sort_values("score", ascending=False)
        added = rows[~rows["image"].isin(set(mine["image"]))]
        boxes = boxes_of(run, rows)
        alike = resembling(
            pictures_of(mine["image"].tolist(), read),
            pictures_of(added["image"].tolist(), read),
            boxes,
        )
        kept.append(added[added["image"].isin(alike)])
    return pd.concat(kept, ignore_index=True)


def _answers(offenders: pd.DataFrame, decisions: Decisions) -> list[str]:
    """What was decided on each row; an answer for the image overrules that for the finding."""
    return [
        decisions.images.get(image, {}).get(finding) or decisions.findings.get(finding, "")
        for image, finding in zip(offenders["image"], offenders["finding"], strict=True)
    ]


def _nothing(
    action: str,
    place_less: Sequence[str],
    hopeless: Collection[str],
    decisions: Decisions | None,
    likely: int,
) -> str:
    if likely:
        images = count(likely, "image", "images")
        return f"no image surely carries what is cleaned; --tier likely takes {images}"
    if place_less and action == "mask":
        other = "use --action drop or reweight"
        return (
            f"{', '.join(place_less)} {'concerns' if len(place_less) == 1 else 'concern'} whole "
            "images, so there is no place to fill; "
            f"{MORE_IMAGES if set(hopeless) >= set(place_less) else other}"
        )
    if decisions is not None:
        return "nothing was accepted in the decisions; accept a finding on the page"
    return (
        "nothing to clean: no finding is confirmed or of high severity; look at the page and pass "
        "--decisions"
    )


def _number(finding: str) -> tuple[int, str]:
    return (int(finding[1:]) if finding[1:].isdecimal() else 0, finding)


def _image_rows(run: Run, carriers: pd.DataFrame, action: str) -> pd.DataFrame:
    """One row an image, in the order of the dataset: sorted by name."""
    several = [name for name in ("labels", "unknown") if "labels" in run.images]
    images = run.images[["image", "label", "content", *several]]
    images = images.sort_values("image", ignore_index=True)
    by_image = carriers.groupby("image", sort=False)
    listed = images["image"].isin(set(carriers["image"])).to_numpy()
    findings = by_image["finding"].agg(lambda keys: " ".join(sorted(set(keys), key=_number)))
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
    keys = sorted(set(carriers["finding"]), key=_number)
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


def _losses(action: str, counts: pd.DataFrame) -> list[str]:
    if action == "mask":
        return []
    rows = counts[["label", "images", "left"]].itertuples(index=False)
    return [
        f"{_name(label)}: loses {percent(1 - left / images)} of its images ({left:,} of "
        f"{images:,} are left)"
        for label, images, left in rows
        if LARGE_LOSS * (images - left) > images
    ]


def _everywhere(run: Run, carriers: pd.DataFrame) -> list[tuple[str, str, float]]:
    """Findings in (nearly) all images of a class, with the class and the share."""
    images = Counter(name for some in label_lists(run.images) for name in some)
    pairs = carriers[["finding", "label", "image"]].drop_duplicates()
    carrying = pairs.groupby(["finding", "label"], sort=False).size().reset_index(name="images")
    shares = [
        (str(finding), str(label), carried / images[label])
        for finding, label, carried in carrying.itertuples(index=False)
        if label in images
    ]
    return [one for one in shares if one[2] >= NEARLY_ALL]


def _in_vain(action: str, finding: str, label: str, share: float, hopeless: Collection[str]) -> str:
    """There is nothing to learn the class from without it."""
    cure = MORE_IMAGES if finding in hopeless else "use --action mask"
    return (
        f"{finding} is in {percent(share)} of {_name(label)}: to {action} cannot help, because the "
        f"class is hardly seen without it; {cure}"
    )


def _spared(carriers: pd.DataFrame, everywhere: Sequence[tuple[str, str, float]]) -> list[str]:
    """Findings in (nearly) all images of a class, where there are others that can be dropped.

    Their images go only where a person says so.
    """
    spared = {finding for finding, _, _ in everywhere}
    return sorted(spared, key=_number) if spared < set(carriers["finding"]) else []


def _is_spared(finding: str, detail: Mapping[str, Any]) -> str:
    return (
        f"{finding} ({shown(detail['kind'])}: {shown(detail['region'])}) is in nearly all images "
        f"of {_name(detail['label'])}, which were kept: nothing of the class would be left; "
        f"{MORE_IMAGES}"
    )


def _no_place(finding: str, detail: Mapping[str, Any], hopeless: Collection[str]) -> str:
    other = "bring all classes to the same, or use --action drop"
    return (
        f"{finding} ({shown(detail['region'])} of {_name(detail['label'])}) concerns whole images "
        f"and was left as it is; {MORE_IMAGES if finding in hopeless else other}"
    )


def _unseen(run: Run) -> list[str]:
    """Images of the dataset that the result cannot hold, because the scan did not see them."""
    counts = run.card["counts"]
    unreadable = int(counts["unreadable"])
    skipped = int(counts["images"]) - int(counts["scanned"]) - unreadable
    warnings = []
    if unreadable:
        warnings.append(
            f"{count(unreadable, 'unreadable image is', 'unreadable images are')} left out; "
            "see unreadable.csv"
        )
    if skipped > 0:
        warnings.append(
            f"{count(skipped, 'image was', 'images were')} not scanned (--limit) and "
            f"{'is' if skipped == 1 else 'are'} left out"
        )
    return warnings


def _advice(
    details: Mapping[str, Mapping[str, Any]], widths: Mapping[str, float]
) -> tuple[str, ...]:
    return tuple(
        f"{key}: a frame in {_name(details[key]['label'])}; crop {percent(width)} off each side of "
        "every image, of all classes, in training and in use"
        for key, width in widths.items()
    )


def _name(label: Any) -> str:
    return clipped(shown(label), 60)
