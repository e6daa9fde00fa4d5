"""Verification views: how the page tells what experiments say of a finding."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from shortcut_finder.figures.charts import Interval, interval_chart
from shortcut_finder.report.album import Album, Picture
from shortcut_finder.report.bars import Bar, known, percent_bar
from shortcut_finder.texts import clipped, count, percent, shown

BEFORE, AFTER = "before", "after"
# Images shown for an experiment, each as it is, treated, and with the strongest control.
SHOWN_IMAGES = 2
# Charts with more rows than this are no help.
MAX_CONTROLS = 8
MAX_NAME = 48


@dataclass(frozen=True)
class Words:
    """How an experiment is told.

    Attributes:
        title: what was done.
        told: what it did; with the number of images, the label and two probabilities.
        without: name of the untreated images.
        treated: name of the treated ones.
        control: name of a control, with the name of its arm.
        raises: whether reliance raises the probability of the label.
    """

    title: str
    told: str
    without: str
    treated: str
    control: str
    raises: bool


EXPERIMENTS = {
    "paste": Words(
        "Pasted onto images of other classes",
        "Pasted onto {images} of other classes, it takes the mean probability of {label} from "
        "{before} to {after}",
        "as they are", "with it", "{arm}", True,
    ),
    # A property has no place that it could be pasted at.
    "give": Words(
        "Given to images of other classes",
        "Given to {images} of other classes, it takes the mean probability of {label} from "
        "{before} to {after}",
        "as they are", "with it", "{arm}", True,
    ),
    "mask": Words(
        "Hidden in images that carry it",
        "Hidden in {images} that carry it, the mean probability of {label} goes from {before} to "
        "{after}",
        "with it", "hidden", "another part hidden, by {arm}", False,
    ),
    "neutralise": Words(
        "Evened out in images that carry it",
        "Evened out in {images} that carry it, the mean probability of {label} goes from {before} "
        "to {after}",
        "with it", "evened out", "{arm}", False,
    ),
    "": Words(
        "", "{images}: the mean probability of {label} goes from {before} to {after}",
        "before", "after", "{arm}", True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class ExperimentView:
    """One experiment as the page shows it.

    Attributes:
        title: what was done.
        sentence: what came out.
        holds: whether it beats every control.
        bars: mean probability of the label without, with, and with each control.
        chart: the effect beyond each control, as SVG.
        rows: some of the images: as they are, treated, and with the strongest control.
    """

    title: str
    sentence: str
    holds: bool
    bars: tuple[Bar, ...]
    chart: Markup
    rows: tuple[tuple[Picture, ...], ...]


@dataclass(frozen=True)
class VerificationView:
    """Everything that experiments say of one finding.

    Attributes:
        sentence: the outcome, or why there is none.
        experiments: those that were made, those that hold first.
    """

    sentence: str
    experiments: tuple[ExperimentView, ...]


def verification_view(
    detail: Mapping[str, Any], pictures: pd.DataFrame, album: Album
) -> VerificationView:
    """What the experiments of a finding say.

    Args:
        detail: the finding, as in ``findings.json``.
        pictures: what `read_shots` gave.
        album: turns bytes into pictures.
    """
    entry = detail.get("verification") or {}
    label = clipped(shown(detail["label"]), MAX_NAME)
    pictures = pictures[pictures["finding"] == detail["finding"]]
    views = [
        _view(experiment, label, pictures, album, f"{detail['finding']} {number}")
        for number, experiment in enumerate(entry.get("experiments") or ())
    ]
    return VerificationView(
        sentence=_outcome(detail, str(entry.get("note") or ""), any(v.holds for v in views)),
        experiments=tuple(sorted(views, key=lambda view: not view.holds)),
    )


def _outcome(detail: Mapping[str, Any], note: str, holds: bool) -> str:
    """The outcome of all experiments in one sentence, and what stood in the way."""
    value, low, high = (detail.get(f"reliance{end}") for end in ("", "_low", "_high"))
    said = f"{shown(note)}." if note else ""
    if not known(value):
        return f"Not tested: {said}" if said else "Not tested: the scan made no experiment."
    points = f"{_points(value)} point{'' if abs(round(100 * value)) == 1 else 's'}"
    if known(low) and known(high):
        points += f" (95% interval {_points(low)} to {_points(high)})"
    moved = (
        f"In an image that could go either way it is worth {points} of the class's probability, "
        "beyond the strongest control."
    )
    # What looks natural stays a suspect, however much the model uses it.
    unsettled = "Yes, but it may be a true part of the class." if holds else "Not settled."
    start = {"confirmed": "Yes.", "present": "Hardly."}.get(str(detail["verdict"]), unsettled)
    return f"{start} {moved} {said}".strip()


def _view(
    experiment: Mapping[str, Any], label: str, pictures: pd.DataFrame, album: Album, key: str
) -> ExperimentView:
    name, place = str(experiment.get("name") or ""), str(experiment.get("place") or "")
    words = EXPERIMENTS.get("give" if name == "paste" and not place else name)
    words = words or dataclasses.replace(EXPERIMENTS[""], title=shown(name))
    title = f"{words.title}, {shown(place)}" if name == "paste" and place else words.title
    arms = [arm for arm in experiment.get("arms") or () if known(arm.get("effect"))]
    controls = sorted(arms, key=lambda arm: (float(arm["effect"]), str(arm.get("name"))))
    holds = bool(experiment.get("holds"))
    told = words.told.format(
        images=count(int(experiment.get("pairs") or 0), "image", "images"),
        label=label,
        before=percent(experiment.get("before")),
        after=percent(experiment.get("after")),
    )
    own = pictures[pictures["experiment"] == f"{name} {place}".strip()]
    return ExperimentView(
        title=title,
        sentence=" ".join(
            part
            for part in (
                f"{told}; {_against(words, controls, holds)}",
                _flips(experiment, words, label),
            )
            if part
        ),
        holds=holds,
        bars=_bars(experiment, words, controls),
        chart=_chart(experiment, words, controls, key),
        rows=_rows(own, words, controls, album),
    )


def _control(words: Words, arm: Mapping[str, Any]) -> str:
    """What a control is called."""
    return words.control.replace("{arm}", shown(arm.get("name")))


def _against(words: Words, controls: Sequence[Mapping[str, Any]], holds: bool) -> str:
    """How the strongest control compares."""
    if not controls:
        return "that is more than any control does." if holds else "the controls do as much."
    strongest = _control(words, controls[0])
    after = percent(controls[0].get("after"))
    verb = "only to" if holds else "to"
    return f"the strongest control ({strongest}) {verb} {after}."


def _flips(experiment: Mapping[str, Any], words: Words, label: str) -> str:
    flips = experiment.get("flips")
    if not known(flips):
        return ""
    change = "become" if words.raises else "are no longer seen as"
    return f"{percent(flips)} of them {change} {label}."


def _bars(
    experiment: Mapping[str, Any], words: Words, controls: Sequence[Mapping[str, Any]]
) -> tuple[Bar, ...]:
    bars = [
        percent_bar(words.without, experiment.get("before"), "rest"),
        percent_bar(words.treated, experiment.get("after"), "class"),
    ]
    bars += [
        percent_bar(f"control: {_control(words, arm)}", arm.get("after"), "rest")
        for arm in controls[:1]
    ]
    return tuple(bars)


def _chart(
    experiment: Mapping[str, Any], words: Words, controls: Sequence[Mapping[str, Any]], key: str
) -> Markup:
    """The effect beyond each control; its texts are escaped by the library that draws it."""
    if not known(experiment.get("effect")):
        return Markup("")
    intervals = [_interval(experiment, "beyond the strongest control", strong=True)]
    intervals += [_interval(arm, _control(words, arm)) for arm in controls[:MAX_CONTROLS]]
    own = experiment.get("own") or {}
    if known(own.get("effect")):
        intervals.append(_interval(own, f"(no control) {shown(own.get('name'))}"))
    told = (
        f"{each.name}: {_points(each.effect)} points ({_points(each.low)} to {_points(each.high)})"
        for each in intervals
    )
    return Markup(interval_chart(intervals, f"{shown(key)}: {'; '.join(told)}"))


def _interval(row: Mapping[str, Any], name: str, strong: bool = False) -> Interval:
    low, high = (row.get(end) for end in ("low", "high"))
    return Interval(
        name,
        float(row["effect"]),
        float(low) if low is not None else float("nan"),
        float(high) if high is not None else float("nan"),
        strong,
    )


def _rows(
    pictures: pd.DataFrame, words: Words, controls: Sequence[Mapping[str, Any]], album: Album
) -> tuple[tuple[Picture, ...], ...]:
    """A row an image: as it is, treated, and with the control that comes nearest."""
    strongest = [str(arm.get("name")) for arm in controls]
    rows = []
    for image, arms in pictures.groupby("image", sort=False):
        by_arm = {str(arm["arm"]): arm for arm in arms.to_dict("records")}
        others = [name for name in strongest if name in by_arm]
        others += [name for name in by_arm if name not in (BEFORE, AFTER, *strongest)]
        captions = {BEFORE: words.without, AFTER: words.treated}
        captions |= {name: f"control: {_control(words, {'name': name})}" for name in others[:1]}
        row = [
            album.stored(
                by_arm[name]["jpeg"],
                caption,
                percent(by_arm[name]["label_probability"]),
                f"{shown(image)}, {caption}",
            )
            for name, caption in captions.items()
            if name in by_arm
        ]
        rows.append(tuple(picture for picture in row if picture))
    return tuple(row for row in rows if row)[:SHOWN_IMAGES]


def _points(value: float | None) -> str:
    if not known(value):
        return "unknown"
    return f"{100 * value:.0f}".replace("-", "\N{MINUS SIGN}")
