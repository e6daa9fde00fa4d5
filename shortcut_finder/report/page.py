"""Report: a run as one self-contained HTML page.

`report_page` gathers what to show as plain texts and pictures; the templates only lay it out.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from shortcut_finder.figures.charts import charted_classes, region_chart
from shortcut_finder.figures.pictures import colour_bar, png_uri, read_shots
from shortcut_finder.report import summary
from shortcut_finder.report.album import MOSTLY_VISIBLE, Album
from shortcut_finder.report.classes import ClassRow, Gallery, PairView, class_row, galleries, pairs
from shortcut_finder.report.finding import FindingView, finding_view
from shortcut_finder.report.overview import VERDICTS, FindingRow, finding_row
from shortcut_finder.report.script import page_data
from shortcut_finder.report.selection import PICTURED_FINDINGS, listed_classes
from shortcut_finder.run.decisions import Decisions
from shortcut_finder.run.folder import Run, load_run
from shortcut_finder.schema import write_whole
from shortcut_finder.settings import LIKELY
from shortcut_finder.texts import shown

HERE = Path(__file__).parents[1]
# Beside the package in a checkout, inside it when installed from a wheel.
TEMPLATES = (HERE / "templates", HERE.parent / "templates")

SCRIPTS = ("print.js", "report.js")

# What a page may take: it can be mailed, and a browser opens it in two seconds.
PAGE_BYTES = 15_000_000
WORST = 3
MAX_FINDINGS = 2000
MAX_UNREADABLE = 200
REVIEW = "shortcut-finder review"


@dataclass(frozen=True)
class Page:
    """Everything on the page: texts, pictures and tables, nothing left to compute.

    Attributes:
        headline: the start of the verdict.
        named: what the verdict is about.
        lead: the second sentence.
        tone: CSS class of the verdict.
        facts: dataset, model and the like.
        findings: those that stand there with their pictures, the strongest.
        findings_note: where the others are.
        rows: of the table of findings.
        worst: the first few findings, shown at the top.
        choices: what the findings can be filtered by: values by name of the filter.
        layer_colours: the colours of a map laid over an image.
        map_colours: the colours of a mean map.
        chart: the effect of each class and region, as SVG.
        tiered: whether some offenders are sure and some only likely.
        offenders_note: how many of the offenders the table has.
        data: what the script works on.
    """

    title: str
    headline: str
    named: str
    lead: str
    tone: str
    facts: tuple[tuple[str, str], ...]
    findings: tuple[FindingView, ...]
    findings_note: str
    rows: tuple[FindingRow, ...]
    worst: tuple[FindingView, ...]
    choices: Mapping[str, tuple[str, ...]]
    layer_colours: str
    map_colours: str
    chart: Markup
    chart_note: str
    classes: tuple[ClassRow, ...]
    classes_note: str
    galleries: tuple[Gallery, ...]
    galleries_note: str
    pairs: tuple[PairView, ...]
    pairs_note: str
    tiered: bool
    offenders_note: str
    unreadable: tuple[tuple[str, str], ...]
    unreadable_note: str
    warnings: tuple[str, ...]
    tables: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    notes: tuple[str, ...]
    verdicts: tuple[tuple[str, str], ...]
    data: Mapping[str, Any]


def write_report(run: Run, decisions: Decisions | None = None) -> Path:
    """Write the page of a run.

    Args:
        run: what a scan found, saved in its folder.
        decisions: what a reviewer decided before, shown on the page.

    Returns:
        The path of ``report.html``, in the run's folder.

    Raises:
        RunError: the folder is no finished run.
    """
    path = run.folder / "report.html"
    # The folder keeps fewer digits than memory does; a page made later must be the same.
    page = report_page(load_run(run.folder), decisions)
    write_whole(path, render("report.html", page, SCRIPTS))
    return path


def render(template: str, content: Any, scripts: Sequence[str] = ("print.js",)) -> bytes:
    """One self-contained HTML page, as bytes.

    Args:
        template: name of a file in ``templates/``.
        content: what the template calls ``page``.
        scripts: names of files in ``templates/``, run in this order.
    """
    environment = _environment()
    script = "\n".join(_source(name) for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    text = environment.get_template(template).render(
        page=content,
        style=Markup(_source("style.css")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
    )
    return text.encode("utf-8")


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(folder) for folder in TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _source(name: str) -> str:
    """The text of a file in ``templates/``."""
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def report_page(run: Run, decisions: Decisions | None = None) -> Page:
    """What the report of a run shows, as plain values."""
    album = Album(run)
    first = run.details[:PICTURED_FINDINGS]
    experiments = read_shots(
        run.folder / "experiments.parquet", [str(detail["finding"]) for detail in first]
    )
    findings = (
        finding_view(album, detail, position, run.offenders, experiments)
        for position, detail in enumerate(first)
    )
    worst = tuple(itertools.islice(findings, WORST))
    card = run.card
    classes = [str(name) for name in card["dataset"]["classes"]]
    charted = charted_classes(run.regions, classes)
    start, named = summary.headline(run.details)
    shown_pairs, shown_classes = pairs(run, album), galleries(run, album)
    data = page_data(run, album, decisions)
    page = Page(
        title=shown(f"Shortcuts in {card['dataset']['name']}"),
        headline=start,
        named=named,
        lead=summary.lead(run),
        tone=summary.tone(run.details),
        facts=summary.facts(run),
        findings=worst,
        **_listing(run, len(first)),
        worst=worst,
        layer_colours=png_uri(colour_bar(opaque=False)),
        map_colours=png_uri(colour_bar(opaque=True)),
        chart=_chart(run, charted),
        chart_note=""
        if len(charted) == len(classes)
        else f"The {len(charted)} of {len(classes):,} classes with the strongest effects; all are "
        "in regions.csv.",
        galleries=shown_classes,
        galleries_note=""
        if len(shown_classes) == len(classes)
        else f"{len(shown_classes)} of {len(classes):,} classes, those with findings first.",
        pairs=shown_pairs,
        pairs_note=_rest(len(shown_pairs), len(run.confusions), "confusions.csv"),
        tiered=bool((run.offenders["tier"] == LIKELY).any()),
        offenders_note=_rest(
            len(data["rows"]), len(run.offenders), f"offenders.csv, and {REVIEW} searches them"
        ),
        **_unreadable(run),
        warnings=summary.warnings(
            run,
            cropped=card["visible"] is not None and card["visible"] < MOSTLY_VISIBLE,
            thumbnails=bool(album.thumbnails),
            maps=bool(album.maps),
        ),
        tables=summary.tables(card),
        notes=tuple(shown(note) for note in card["maps"]["notes"]),
        verdicts=tuple(VERDICTS.items()),
        data=data,
    )
    return _filled(page, run, findings)


def _unreadable(run: Run) -> dict[str, Any]:
    """What could not be read, by name of the attribute of `Page`."""
    listed = run.unreadable.head(MAX_UNREADABLE)
    rows = zip(listed["image"], listed["error"], strict=True)
    count = run.card["counts"]["unreadable"]
    return {
        "unreadable": tuple((shown(image), shown(error)) for image, error in rows),
        "unreadable_note": _rest(len(listed), count, "unreadable.csv"),
    }


def _listing(run: Run, pictured: int) -> dict[str, Any]:
    """The tables of findings and of classes, by name of the attribute of `Page`.

    Args:
        run: the run.
        pictured: how many findings stand on the page with their pictures.
    """
    details = run.details[:MAX_FINDINGS]
    rows = tuple(
        finding_row(detail, position, pictured=position < pictured)
        for position, detail in enumerate(details)
    )
    by_class: dict[str, list[FindingRow]] = {}
    for row, detail in zip(rows, details, strict=True):
        by_class.setdefault(str(detail["label"]), []).append(row)
    classes, count = listed_classes(run), len(run.card["dataset"]["classes"])
    return {
        "rows": rows,
        "findings_note": _findings_note(pictured, len(rows), len(run.details)),
        "choices": _choices(rows),
        "classes": tuple(class_row(run, name, by_class.get(name, ())) for name in classes),
        "classes_note": ""
        if len(classes) == count
        else f"{len(classes):,} of {count:,} classes, those with findings before others; all are "
        "in run.json.",
    }


def _findings_note(pictured: int, rows: int, in_all: int) -> str:
    """Where the findings are that the page leaves out."""
    if pictured == in_all:
        return ""
    table = "the table has all" if rows == in_all else f"the table has the strongest {rows:,}"
    return (
        f"The strongest {pictured:,} of {in_all:,} findings stand here with their pictures; "
        f"{table}. findings.csv and findings.json have every finding with its numbers, and "
        f"{REVIEW} shows the images of each."
    )


def _filled(page: Page, run: Run, more: Iterable[FindingView]) -> Page:
    """The page with as many findings as fit into `PAGE_BYTES`, the strongest first.

    Args:
        page: with what it has in any case.
        run: the run.
        more: the findings that follow, each made when it is asked for.
    """
    noted = replace(page, findings_note=_findings_note(0, len(page.rows), len(run.details)))
    room = PAGE_BYTES - len(render("report.html", noted, SCRIPTS))
    template = _environment().get_template("finding.html")
    findings = [*page.findings]
    for finding in more:
        room -= len(template.render(item=finding, page=page).encode())
        if room < 0:
            break
        findings.append(finding)
    return replace(page, findings=tuple(findings), **_listing(run, len(findings)))


def _choices(findings: Sequence[FindingRow]) -> dict[str, tuple[str, ...]]:
    """What there is to filter by: each value once, in the order of the findings."""
    names = {"label": "Class", "kind": "What", "severity": "Severity", "verdict": "Verdict"}
    return {
        title: tuple(dict.fromkeys(str(getattr(row, name)) for row in findings))
        for name, title in names.items()
    }


def _chart(run: Run, charted: list[str]) -> Markup:
    """The region chart; its texts are escaped by the library that draws it."""
    if not len(run.regions):
        return Markup("")
    regions = run.regions.assign(label=run.regions["label"].map(shown))
    return Markup(region_chart(regions, [shown(name) for name in charted]))


def _rest(on_page: int, in_all: int, file: str) -> str:
    """Where the rows are that the page leaves out."""
    return "" if on_page == in_all else f"The first {on_page:,} of {in_all:,}; all are in {file}."
