"""Report: a run as one self-contained HTML page.

`report_page` gathers what to show as plain texts and pictures; the templates only lay it out.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from shortcut_finder.album import MOSTLY_VISIBLE, Album, Picture
from shortcut_finder.charts import charted_classes, region_chart
from shortcut_finder.pictures import (
    colour_bar,
    heat_scale,
    png_uri,
    sheet_images,
    template_crops,
)
from shortcut_finder.run import Run, load_run
from shortcut_finder.schema import write_whole
from shortcut_finder.texts import clipped, count, listed, number, percent, shown

HERE = Path(__file__).parent
# Beside the package in a checkout, inside it when installed from a wheel.
TEMPLATES = (HERE / "templates", HERE.parent / "templates")

SEVERITIES = ("high", "medium", "low")
VERDICTS = {
    "confirmed": "masking or pasting it changes what the model says, more than any control does",
    "suspect": "it looks like a shortcut; no intervention has settled it",
    "present": "it is in the data, but the model hardly reacts to it",
}
VERDICT_NOUNS = {
    "confirmed": ("confirmed shortcut", "confirmed shortcuts"),
    "suspect": ("suspected shortcut", "suspected shortcuts"),
    "present": ("artifact the model hardly uses", "artifacts the model hardly uses"),
}
TIERS = {
    "linear": "read off the linear head, exact",
    "pooled": "gradients through the pooled head, exact",
    "class token": "gradients through what the class token reads, exact",
    "generic": "gradients through the head",
}
WORST = 3
MAX_LABEL = 60
WORST_PICTURES = 3
MAX_UNREADABLE = 200
PLACE_SCALE = 0.1
# Below this number of cells a side, a small mark and its surroundings share one cell.
COARSE = 10


@dataclass(frozen=True)
class Bar:
    """A labelled value in [0, 1] as text and as a CSS width."""

    name: str
    value: str
    width: str
    tone: str = ""


@dataclass(frozen=True)
class FindingView:
    """One finding as the page shows it."""

    anchor: str
    finding: str
    label: str
    kind: str
    region: str
    severity: str
    verdict: str
    verdict_meaning: str
    sentence: str
    advice: str
    images: str
    shares: tuple[Bar, ...]
    suspicion: Bar
    parts: tuple[Bar, ...]
    reliance: str
    maps: tuple[Picture, ...]
    maps_scale: str
    place: Picture | None
    place_scale: str
    template: tuple[Picture, ...]
    sheet: tuple[Picture, ...]
    sheet_scale: str
    sheet_note: str
    numbers: tuple[tuple[str, str], ...]
    worst: tuple[Picture, ...]


@dataclass(frozen=True)
class ClassRow:
    """One class as the page shows it."""

    label: str
    images: str
    accuracy: Bar | None
    testable: str
    findings: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Page:
    """Everything on the page: texts, pictures and tables, nothing left to compute."""

    title: str
    headline: str
    named: str
    lead: str
    tone: str
    facts: tuple[tuple[str, str], ...]
    findings: tuple[FindingView, ...]
    worst: tuple[FindingView, ...]
    layer_colours: str
    map_colours: str
    chart: Markup
    chart_note: str
    classes: tuple[ClassRow, ...]
    unreadable: tuple[tuple[str, str], ...]
    unreadable_note: str
    warnings: tuple[str, ...]
    tables: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    notes: tuple[str, ...]
    verdicts: tuple[tuple[str, str], ...]


def write_report(run: Run) -> Path:
    """Write the page of a run.

    Args:
        run: what a scan found, saved in its folder.

    Returns:
        The path of ``report.html``, in the run's folder.

    Raises:
        RunError: the folder is no finished run.
    """
    path = run.folder / "report.html"
    # The folder keeps fewer digits than memory does; a page made later must be the same.
    write_whole(path, render("report.html", report_page(load_run(run.folder))))
    return path


def render(template: str, content: Any) -> bytes:
    """One self-contained HTML page, as bytes.

    Args:
        template: name of a file in ``templates/``.
        content: what the template calls ``page``.
    """
    loader = jinja2.FileSystemLoader([str(folder) for folder in TEMPLATES])
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = loader.get_source(environment, "report.js")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    text = environment.get_template(template).render(
        page=content,
        style=Markup(loader.get_source(environment, "style.css")[0]),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
    )
    return text.encode("utf-8")


def report_page(run: Run) -> Page:
    """What the report of a run shows, as plain values."""
    album = Album(run)
    findings = tuple(
        _finding(album, detail, position, run) for position, detail in enumerate(run.details)
    )
    card, counts = run.card, run.card["counts"]
    classes = [str(name) for name in card["dataset"]["classes"]]
    charted = charted_classes(run.regions, classes)
    unreadable = run.unreadable.head(MAX_UNREADABLE)
    return Page(
        title=shown(f"Shortcuts in {card['dataset']['name']}"),
        headline=_headline(run.details),
        named=_named(run.details),
        lead=_lead(run),
        tone=findings[0].severity if findings else "calm",
        facts=_facts(run),
        findings=findings,
        worst=findings[:WORST],
        layer_colours=png_uri(colour_bar(opaque=False)),
        map_colours=png_uri(colour_bar(opaque=True)),
        chart=_chart(run, charted),
        chart_note=""
        if len(charted) == len(classes)
        else f"The {len(charted)} of {len(classes)} classes with the strongest effects.",
        classes=tuple(_class_row(run, name, findings) for name in classes),
        unreadable=tuple(
            (shown(image), shown(error))
            for image, error in zip(unreadable["image"], unreadable["error"], strict=True)
        ),
        unreadable_note=""
        if len(unreadable) == len(run.unreadable)
        else f"The first {len(unreadable)} of {counts['unreadable']:,}; all are in unreadable.csv.",
        warnings=_warnings(run, album),
        tables=_tables(card),
        notes=tuple(shown(note) for note in card["maps"]["notes"]),
        verdicts=tuple(VERDICTS.items()),
    )


def _headline(details: Sequence[Mapping[str, Any]]) -> str:
    """How many findings of which verdict."""
    if not details:
        return "Nothing suspicious found"
    verdicts = Counter(str(detail["verdict"]) for detail in details)
    nouns = [count(verdicts[v], *nouns) for v, nouns in VERDICT_NOUNS.items() if verdicts[v]]
    high = sum(detail["severity"] == "high" for detail in details)
    return f"{listed(nouns)}, {high or 'none'} of high severity"


def _named(details: Sequence[Mapping[str, Any]]) -> str:
    """What is found in which class, the worst only."""
    names = [f"{shown(d['kind'])} in {clipped(shown(d['label']), 32)}" for d in details]
    names = list(dict.fromkeys(names))
    more = [f"{len(names) - WORST:,} more"] if names[WORST:] else []
    return listed(names[:WORST] + more)


def _lead(run: Run) -> str:
    """The second sentence: how far the first one reaches."""
    counts = run.card["counts"]
    seen = count(counts["scanned"], "image was looked at", "images were looked at")
    if not run.details:
        return (
            f"{seen}, and no class seems to be recognised by the wrong thing. That is no proof: a "
            "cue in fewer images than the testable share below, or one that the model's input "
            "cuts off, can hide from a scan."
        )
    carriers = run.offenders["image"].nunique()
    return (
        f"{seen}; {count(carriers, 'carries', 'carry')} at least one of the findings. "
        "All of them are listed in offenders.csv, worst first."
    )


def _facts(run: Run) -> tuple[tuple[str, str], ...]:
    card, counts = run.card, run.card["counts"]
    preprocessing, maps = run.preprocessing, card["maps"]
    tier = TIERS.get(maps["tier"], maps["tier"])
    images = f"{counts['scanned']:,} scanned"
    if counts["unreadable"]:
        images += f", {counts['unreadable']:,} unreadable"
    facts = (
        ("Dataset", card["dataset"]["name"]),
        ("Images", images),
        ("Classes", f"{len(card['dataset']['classes']):,}"),
        ("Model", card["model"]["name"]),
        ("Accuracy", f"{percent(card['accuracy'])} of the scanned images"),
        ("Input", f"{preprocessing.width} × {preprocessing.height} pixels, {preprocessing.resize}"),
        ("Class maps", f"{maps['method']}, {tier}; {_grid(maps['grid'])} cells"),
    )
    return tuple((name, shown(value)) for name, value in facts)


def _finding(album: Album, detail: Mapping[str, Any], position: int, run: Run) -> FindingView:
    severity = detail["severity"] if detail["severity"] in SEVERITIES else "low"
    label, region = shown(detail["label"]), str(detail["region"])
    maps, scale = _average_maps(album, detail)
    place, place_scale = _place_picture(album, detail)
    sheet, worst, sheet_scale = _sheet(album, detail, position, run.offenders)
    carriers = int((run.offenders["finding"] == detail["finding"]).sum())
    crops = (
        album.close_up(str(crop["image"]), crop["box"]) for crop in template_crops(detail, position)
    )
    return FindingView(
        anchor=f"finding-{position + 1}",
        finding=shown(detail["finding"]),
        label=label,
        kind=shown(detail["kind"]),
        region=shown(region),
        severity=severity,
        verdict=shown(detail["verdict"]),
        verdict_meaning=VERDICTS.get(detail["verdict"], ""),
        sentence=_sentence(detail),
        advice=shown(detail["advice"]),
        images=count(int(detail["images"]), "image", "images"),
        shares=(
            _bar(clipped(label, MAX_LABEL), detail["share"], percent(detail["share"]), "class"),
            _bar("all other classes", detail["elsewhere"], percent(detail["elsewhere"]), "rest"),
        ),
        suspicion=_bar("suspicion", detail["suspicion"], _two_digits(detail["suspicion"]), "sum"),
        parts=tuple(
            _bar(shown(name), value, _two_digits(value), "part")
            for name, value in _strongest_first(detail["suspicion_parts"])
        ),
        reliance=_reliance(detail),
        maps=maps,
        maps_scale=_logits(scale),
        place=place,
        place_scale=f"{percent(place_scale)} of the members",
        template=tuple(picture for picture in crops if picture),
        sheet=sheet,
        sheet_scale=_logits(sheet_scale),
        sheet_note=_sheet_note(len(sheet), carriers),
        numbers=_rows(detail["numbers"]),
        worst=worst,
    )


def _sentence(detail: Mapping[str, Any]) -> str:
    """The finding's sentence; a very long class name is cut, its full text stands elsewhere."""
    sentence, label = shown(detail["sentence"]), shown(detail["label"])
    return sentence.replace(label, clipped(label, MAX_LABEL))


def _average_maps(album: Album, detail: Mapping[str, Any]) -> tuple[tuple[Picture, ...], float]:
    """The mean class maps of the members and of the class's other images, on one scale."""
    captions = {"members": "images with it", "others": "the class's other images"}
    values = {who: np.asarray(detail["maps"].get(who) or [], dtype=float) for who in captions}
    present = {who: cells for who, cells in values.items() if cells.ndim == 2}
    scale = max((float(np.nanmax(cells)) for cells in present.values()), default=0.0)
    scale = scale if scale > 0 else 1.0
    region = str(detail["region"])
    pictures = (
        album.average(cells, scale, region, captions[who]) for who, cells in present.items()
    )
    return tuple(pictures), scale


def _place_picture(album: Album, detail: Mapping[str, Any]) -> tuple[Picture | None, float]:
    """Where the matching cell lies in the members, and the share drawn hottest."""
    cells = np.asarray(detail.get("place") or [], dtype=float)
    if cells.ndim != 2 or not np.nanmax(cells) > 0:
        return None, 0.0
    # A thing that lies all over the place must not look as if it lay in one.
    scale = max(float(np.nanmax(cells)), PLACE_SCALE)
    return album.average(cells, scale, str(detail["region"]), "where it lies"), scale


def _sheet(
    album: Album, detail: Mapping[str, Any], position: int, offenders: pd.DataFrame
) -> tuple[tuple[Picture, ...], tuple[Picture, ...], float]:
    """The worst images with their class maps, a few of them plain, and the common scale."""
    finding = detail["finding"]
    names = sheet_images(str(finding), position, offenders)
    scale = heat_scale(album.maps[name] for name in names if name in album.maps)
    rows = offenders[offenders["finding"] == finding].drop_duplicates("image").set_index("image")
    pictures, worst = [], []
    for name in names:
        row = rows.loc[name]
        sides = [float(row[side]) for side in ("x0", "y0", "x1", "y1")]
        box = sides if all(map(math.isfinite, sides)) else None
        note = f"score {_two_digits(row['score'])}"
        if row["predicted"] != row["label"]:
            note += f", seen as {clipped(shown(row['predicted']), 40)}"
        pictures.append(album.image(name, scale, box, note))
        worst.append(album.image(name, scale, box, note, heat=False))
    return tuple(pictures), tuple(worst[:WORST_PICTURES]), scale


def _sheet_note(on_page: int, carriers: int) -> str:
    if on_page == carriers:
        return "all of them, worst first"
    return f"the worst {on_page:,} of {count(carriers, 'image', 'images')}"


def _reliance(detail: Mapping[str, Any]) -> str:
    value, low, high = (detail[name] for name in ("reliance", "reliance_low", "reliance_high"))
    if value is None or not math.isfinite(value):
        return "not measured"
    if low is None or high is None or not math.isfinite(low) or not math.isfinite(high):
        return _two_digits(value)
    return f"{_two_digits(value)} ({_two_digits(low)} to {_two_digits(high)})"


def _chart(run: Run, classes: list[str]) -> Markup:
    """The region chart; its texts are escaped by the library that draws it."""
    if not len(run.regions):
        return Markup("")
    regions = run.regions.assign(label=run.regions["label"].map(shown))
    return Markup(region_chart(regions, [shown(name) for name in classes]))


def _class_row(run: Run, label: str, findings: tuple[FindingView, ...]) -> ClassRow:
    card = run.card
    accuracy = card["class_accuracy"].get(label)
    testable = card["testable"].get(label)
    return ClassRow(
        label=shown(label),
        images=f"{card['dataset']['images'].get(label, 0):,}",
        accuracy=None if accuracy is None else _bar("", accuracy, percent(accuracy), "rest"),
        testable="none" if testable is None else percent(testable),
        findings=tuple(
            (view.anchor, view.finding)
            for view, detail in zip(findings, run.details, strict=True)
            if detail["label"] == label
        ),
    )


def _warnings(run: Run, album: Album) -> tuple[str, ...]:
    card, grid = run.card, run.card["maps"]["grid"]
    warnings = [shown(warning) for warning in card["warnings"]]
    visible = card["visible"]
    if visible is not None and visible < MOSTLY_VISIBLE:
        warnings.append(
            f"The model sees {percent(visible)} of an image on average: its centre crop cuts off "
            "the border (the shaded part of the pictures), and a mark there cannot be found."
        )
    if min(grid) < COARSE:
        warnings.append(
            f"Class maps have {_grid(grid)} cells, so one cell covers {percent(1 / min(grid))} of "
            "the side and heat spreads around a small mark; --layer or --input-size makes it finer."
        )
    if run.details and not album.thumbnails:
        warnings.append("Pictures are missing: the run folder has no thumbnails.parquet.")
    if run.details and not album.maps:
        warnings.append("Class maps are missing: the run folder has no shards.")
    return tuple(warnings)


def _tables(card: Mapping[str, Any]) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """What the appendix lists: every setting, version and time."""
    dataset = {key: card["dataset"][key] for key in ("root", "fingerprint", "metadata")}
    model = {key: card["model"][key] for key in ("fingerprint",)}
    maps = {key: value for key, value in card["maps"].items() if key != "notes"}
    tables = {
        "Command": card["command"],
        "Settings": card["settings"],
        "Dataset": dataset,
        "Model": {**model, **card["model"]["preprocessing"]},
        "Class maps": maps,
        "Timings": card["timings"],
        "Versions": {"shortcut-finder": card["version"], **card["versions"]},
    }
    return tuple((name, _rows(values)) for name, values in tables.items())


def _rows(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Names and values by name, as texts."""
    return tuple((shown(name).replace("_", " "), number(values[name])) for name in sorted(values))


def _strongest_first(parts: Mapping[str, float | None]) -> list[tuple[str, float | None]]:
    """Parts by value; by name where values are equal or missing, so that the order is one."""
    return sorted(parts.items(), key=lambda part: (-(part[1] or 0.0), part[0]))


def _bar(name: str, value: float | None, text: str, tone: str) -> Bar:
    part = min(max(float(value), 0.0), 1.0) if value is not None and math.isfinite(value) else 0.0
    return Bar(name, text, f"width:{100 * part:.4g}%", tone)


def _two_digits(value: float | None) -> str:
    return "unknown" if value is None or not math.isfinite(value) else f"{value:.2f}"


def _logits(scale: float) -> str:
    return f"{scale:.3g} logit units"


def _grid(grid: Sequence[int]) -> str:
    return " × ".join(str(cells) for cells in grid)
