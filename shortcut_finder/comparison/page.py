"""Comparison page: what became of findings and images, as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from shortcut_finder.comparison.changes import Comparison
from shortcut_finder.comparison.pairing import PAIR_COLUMNS
from shortcut_finder.figures.charts import charted_classes, region_chart
from shortcut_finder.report.album import Album, Picture
from shortcut_finder.report.page import render
from shortcut_finder.texts import clipped, count, listed, percent, shown

CROPS = 6
MOST_IMAGES = 300
MAX_LABEL = 60
# Colours of the report: what needs work is loud, what is done is calm.
TONES = {
    "new": "high", "worse": "high", "persists": "medium", "better": "low", "resolved": "calm",
    "unclear": "low",
}  # fmt: skip
CHART_TITLE = "change of the effect against the other classes"


@dataclass(frozen=True)
class VersionView:
    """One finding in one of the two runs."""

    name: str
    finding: str
    share: str
    reliance: str
    crops: tuple[Picture, ...]


@dataclass(frozen=True)
class ChangeView:
    """One finding and what became of it."""

    anchor: str
    state: str
    tone: str
    label: str
    kind: str
    region: str
    severity: str
    verdict: str
    sentence: str
    difference: str
    gates: bool
    versions: tuple[VersionView, ...]


@dataclass(frozen=True)
class ComparisonPage:
    """Everything on the page: texts and pictures, nothing left to compute."""

    title: str
    headline: str
    tone: str
    lead: str
    facts: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]
    changes: tuple[ChangeView, ...]
    counts: tuple[tuple[str, str], ...]
    images: tuple[tuple[str, ...], ...]
    images_note: str
    chart: Markup


def comparison_page(comparison: Comparison) -> bytes:
    """The page as bytes."""
    return render("comparison.html", page_of(comparison))


def page_of(comparison: Comparison) -> ComparisonPage:
    """What the page shows, as plain values."""
    albums = Album(comparison.a), Album(comparison.b)
    rows = comparison.findings.to_dict("records")
    changes = tuple(_change(comparison, albums, row, n) for n, row in enumerate(rows, start=1))
    images = comparison.images[comparison.images["state"] != "unchanged"]
    states = comparison.images["state"].value_counts()
    names = [shown(run.card["dataset"]["name"]) for run in (comparison.a, comparison.b)]
    return ComparisonPage(
        title=f"{clipped(names[0], MAX_LABEL)} compared with {clipped(names[1], MAX_LABEL)}",
        headline=_headline(comparison.findings),
        tone=changes[0].tone if changes else "calm",
        lead=_lead(comparison),
        facts=_facts(comparison),
        notes=tuple(shown(note) for note in comparison.notes),
        changes=changes,
        counts=tuple((str(state), f"{amount:,}") for state, amount in states.items()),
        images=tuple(
            tuple(shown(row[name]) for name in ("state", *PAIR_COLUMNS[:4]))
            for row in images.head(MOST_IMAGES).to_dict("records")
        ),
        images_note=""
        if len(images) <= MOST_IMAGES
        else f"The first {MOST_IMAGES} of {len(images):,}; all are in images.csv.",
        chart=_chart(comparison),
    )


def _headline(findings: pd.DataFrame) -> str:
    """How many findings of which state, worst first."""
    if findings.empty:
        return "No findings in either run"
    tally = findings["state"].value_counts(sort=False)
    words = [f"{tally[state]} {state}" for state in TONES if state in tally.index]
    return f"{count(len(findings), 'finding', 'findings')}: {listed(words)}"


def _lead(comparison: Comparison) -> str:
    gating = len(comparison.gating)
    if gating:
        what = count(gating, "finding is", "findings are")
        return f"{what} new or worse, of high or medium severity: --fail-on-new would exit with 3."
    return "Nothing new or worse of high or medium severity."


def _facts(comparison: Comparison) -> tuple[tuple[str, str, str], ...]:
    cards = comparison.a.card, comparison.b.card
    rows = (
        ("Dataset", *(card["dataset"]["name"] for card in cards)),
        ("Images", *(f"{card['counts']['scanned']:,}" for card in cards)),
        ("Model", *(card["model"]["name"] for card in cards)),
        ("Model's fingerprint", *(card["model"]["fingerprint"][:12] for card in cards)),
        ("Accuracy on these images", *(percent(card["accuracy"]) for card in cards)),
        ("Findings", *(f"{card['counts']['findings']:,}" for card in cards)),
    )
    return tuple((name, shown(one), shown(other)) for name, one, other in rows)


def _change(
    comparison: Comparison, albums: tuple[Album, Album], row: Mapping[Any, Any], number: int
) -> ChangeView:
    versions = []
    for side, name, run, album in (
        ("a", "Before", comparison.a, albums[0]),
        ("b", "Now", comparison.b, albums[1]),
    ):
        key = row[f"finding_{side}"]
        detail = next((one for one in run.details if one["finding"] == key), None)
        crops = (
            album.close_up(str(entry["image"]), entry["box"])
            for entry in (detail["template"] if detail else [])[:CROPS]
        )
        reliance = row[f"reliance_{side}"]
        versions.append(
            VersionView(
                name=name,
                finding=shown(key) or "not listed",
                share=f"{percent(row[f'share_{side}'])} ({row[f'images_{side}']:,} images)",
                reliance="not measured" if pd.isna(reliance) else f"{reliance:.2f}",
                crops=tuple(crop for crop in crops if crop),
            )
        )
    return ChangeView(
        anchor=f"change-{number}",
        state=row["state"],
        tone=TONES[row["state"]],
        label=clipped(shown(row["label"]), MAX_LABEL),
        kind=shown(row["kind"]),
        region=shown(row["region"]),
        severity=shown(row["severity"]),
        verdict=shown(row["verdict"]),
        sentence=row["sentence"],
        difference=_difference(row),
        gates=bool(row["gates"]),
        versions=tuple(versions),
    )


def _difference(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["difference"]):
        return "unknown"
    low, middle, high = (100 * row[name] for name in ("low", "difference", "high"))
    return f"{middle:+.1f} points (95%: {low:+.1f} to {high:+.1f})"


def _chart(comparison: Comparison) -> Markup:
    regions = comparison.regions.dropna(subset=["difference"])
    if regions.empty:
        return Markup("")
    table = regions.assign(label=regions["label"].map(shown), effect=regions["difference"], q=1.0)
    classes = [shown(name) for name in comparison.b.card["dataset"]["classes"]]
    return Markup(region_chart(table, charted_classes(table, classes), CHART_TITLE))
