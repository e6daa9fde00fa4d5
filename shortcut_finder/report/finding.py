"""Finding views: one finding as the page shows it, nothing left to compute."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from shortcut_finder.figures.pictures import heat_scale
from shortcut_finder.report.album import Album, Picture
from shortcut_finder.report.bars import Bar, bar, known, percent_bar, two_digits
from shortcut_finder.report.experiments import VerificationView, verification_view
from shortcut_finder.report.overview import MAX_LABEL, VERDICTS, FindingRow, finding_row
from shortcut_finder.report.selection import sheet_images, template_crops
from shortcut_finder.settings import LIKELY
from shortcut_finder.texts import clipped, count, named_numbers, percent, shown, whole_percent

LIKENESS = "likeness to an artifact"
WORST_PICTURES = 3
PLACE_SCALE = 0.1


@dataclass(frozen=True)
class MetadataView:
    """What a column of the user's metadata says about the members."""

    sentence: str
    bars: tuple[Bar, ...]
    q: str


@dataclass(frozen=True)
class FindingView(FindingRow):
    """One finding as the page shows it, with its pictures.

    Attributes:
        verdict_meaning: the verdict in plain words.
        sentence: the first sentence, which says what was found.
        more: the others.
        facts: names and values that come first: how many images for sure and likely, which share of
            the class, reliance and likeness to an artifact; nothing where a run has no tiers.
        parts: what the suspicion is made of.
        colabels: other labels that it goes with.
        maps: mean class maps of the members and of the class's other images.
        place: where the matching cell lies in the members.
        template: close-ups of what repeats.
        sheet: the worst images with their class maps.
        worst: a few of them, plain.
    """

    verdict_meaning: str
    sentence: str
    more: str
    advice: str
    images: str
    facts: tuple[tuple[str, str], ...]
    suspicion: Bar
    parts: tuple[Bar, ...]
    verification: VerificationView
    metadata: tuple[MetadataView, ...]
    colabels: tuple[MetadataView, ...]
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


def finding_view(
    album: Album,
    detail: Mapping[str, Any],
    position: int,
    offenders: pd.DataFrame,
    experiments: pd.DataFrame,
) -> FindingView:
    """One finding as the page shows it, with its pictures.

    Args:
        album: the pictures of the run.
        detail: the finding, as in ``findings.json``.
        position: its place in the list of findings, from 0.
        offenders: the table of ``offenders.csv``.
        experiments: the pictures of the experiments.
    """
    first, more = _sentences(detail)
    maps, scale = _average_maps(album, detail)
    place, place_scale = _place_picture(album, detail)
    sheet, worst, sheet_scale = _sheet(album, detail, position, offenders)
    carriers = int((offenders["finding"] == detail["finding"]).sum())
    crops = (
        album.close_up(str(crop["image"]), crop["box"]) for crop in template_crops(detail, position)
    )
    return FindingView(
        **vars(finding_row(detail, position, pictured=True)),
        verdict_meaning=VERDICTS.get(detail["verdict"], ""),
        sentence=first,
        more=more,
        advice=shown(detail["advice"]),
        images=count(int(detail["images"]), "image", "images"),
        facts=_facts(detail),
        suspicion=_likeness_bar(detail),
        parts=tuple(
            _two_digit_bar(shown(name).replace("_", " "), value, "part")
            for name, value in _strongest_first(detail["suspicion_parts"])
        ),
        verification=verification_view(detail, experiments, album),
        metadata=tuple(_metadata(entry) for entry in detail.get("metadata") or ()),
        colabels=tuple(_colabel(entry) for entry in detail.get("colabels") or ()),
        maps=maps,
        maps_scale=logits(scale),
        place=place,
        place_scale=f"{percent(place_scale)} of them",
        template=tuple(picture for picture in crops if picture),
        sheet=sheet,
        sheet_scale=logits(sheet_scale),
        sheet_note=_sheet_note(len(sheet), sum(bool(tile.mark) for tile in sheet), carriers),
        numbers=named_numbers(detail["numbers"]),
        worst=worst,
    )


def _likeness_bar(detail: Mapping[str, Any]) -> Bar:
    if known(detail.get("artifact")):
        return _two_digit_bar(LIKENESS, detail["artifact"], "sum")
    return _two_digit_bar("suspicion", detail["suspicion"], "sum")


def logits(scale: float) -> str:
    """The hottest value of a scale as text."""
    return f"{scale:.3g} logit units"


def _sentences(detail: Mapping[str, Any]) -> tuple[str, str]:
    """The first sentence and the others; a very long class name is cut in both."""
    said = detail.get("sentences")
    if not isinstance(said, list) or not said:
        # Of a run by an earlier version: where a sentence ends, no one can tell.
        said = [detail["sentence"]]
    label = shown(detail["label"])
    first, *more = (shown(one).replace(label, clipped(label, MAX_LABEL)) for one in said)
    return first, " ".join(more)


def _facts(detail: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What a reader should see first; nothing where the run is too old to say."""
    if not known(detail.get("artifact")):
        return ()
    low, high = detail.get("share_low"), detail.get("share_high")
    share = f"{whole_percent(detail['share'])} of the class"
    if known(low) and known(high):
        share += f", {whole_percent(low).removesuffix('%')} to {whole_percent(high)}"
    reliance = "not measured"
    if known(detail["reliance"]):
        ends = (two_digits(detail[f"reliance_{end}"]) for end in ("low", "high"))
        reliance = f"{two_digits(detail['reliance'])} ({' to '.join(ends)})"
    return (
        ("images", tiers_text(detail)),
        ("share", share),
        ("reliance", reliance),
        (LIKENESS, two_digits(detail["artifact"])),
    )


def tiers_text(detail: Mapping[str, Any]) -> str:
    """How many images of the class carry it for sure and likely, and how many wrongly, in words.

    Example:
        >>> tiers_text({"images": 103, "sure_images": 83, "sure_wrong": 0.04})
        '83 sure (about 4% wrong), 20 more likely'
    """
    images = int(detail["images"])
    sure = int(detail.get("sure_images", images))
    wrong, listed_wrong = detail.get("sure_wrong"), detail.get("listed_wrong")
    if sure == images and not known(wrong):
        return count(images, "image", "images")
    if not sure:
        text = f"none sure, {images:,} likely"
        return f"{text} ({_about(listed_wrong)} wrong)" if known(listed_wrong) else text
    text = f"{sure:,} sure" + (f" ({_about(wrong)} wrong)" if known(wrong) else "")
    if sure == images:
        return text
    text += f", {images - sure:,} more likely"
    return f"{text} (together {_about(listed_wrong)} wrong)" if known(listed_wrong) else text


def _about(share: float) -> str:
    return "under 1%" if share < 0.01 else f"about {share:.0%}"


def _metadata(entry: Mapping[str, Any]) -> MetadataView:
    return MetadataView(
        sentence=shown(entry.get("sentence") or ""),
        bars=(
            percent_bar("images with it", entry.get("share_members"), "class"),
            percent_bar(shown(entry.get("rest") or "the others"), entry.get("share_rest"), "rest"),
        ),
        q=f"q = {entry['q']:.2g}" if known(entry.get("q")) else "",
    )


def _colabel(entry: Mapping[str, Any]) -> MetadataView:
    """Another label that a finding goes with."""
    explains = " It explains the finding." if entry["explains"] else ""
    left = (
        f" The share differs from that of the others by {percent(entry['difference'])}, and by "
        f"{percent(entry['adjusted'])} among images alike in this label."
        if known(entry.get("adjusted"))
        else ""
    )
    return MetadataView(
        sentence=f"{shown(entry['label'])}.{left}{explains}",
        bars=(
            percent_bar("images with it", entry["with_it"], "class"),
            percent_bar("the class's other images", entry["without_it"], "rest"),
        ),
        q=f"q = {entry['q']:.2g}" if known(entry.get("q")) else "",
    )


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
    maps = album.maps_of(str(detail["label"]))
    scale = heat_scale(maps[name] for name in names if name in maps)
    rows = offenders[offenders["finding"] == finding].drop_duplicates("image").set_index("image")
    pictures, worst = [], []
    for name in names:
        row = rows.loc[name]
        sides = [float(row[side]) for side in ("x0", "y0", "x1", "y1")]
        box = sides if all(map(math.isfinite, sides)) else None
        note = f"score {two_digits(row['score'])}"
        # With several labels an image the likeliest may well be another of its own.
        if row["predicted"] != row["label"] and "colabels" not in detail:
            note += f", seen as {clipped(shown(row['predicted']), 40)}"
        likely = row["tier"] == LIKELY
        picture = album.image(
            name,
            class_map=maps.get(name),
            scale=scale,
            box=box,
            note=f"{LIKELY}, {note}" if likely else note,
            side=album.sheet_side,
        )
        picture = dataclasses.replace(picture, mark=LIKELY if likely else "")
        pictures.append(picture)
        worst.append(dataclasses.replace(picture, layer="", seen="", mark=""))
    return tuple(pictures), tuple(worst[:WORST_PICTURES]), scale


def _sheet_note(on_page: int, likely: int, carriers: int) -> str:
    if on_page == carriers:
        return "all of them, worst first" + (", sure ones before likely ones" if likely else "")
    worst = f"the worst {on_page:,} of {count(carriers, 'image', 'images')}"
    return f"{worst}, {likely:,} of them likely" if likely else worst


def _strongest_first(parts: Mapping[str, float | None]) -> list[tuple[str, float | None]]:
    """Parts by value; by name where values are equal or missing, so that the order is one."""
    return sorted(parts.items(), key=lambda part: (-(part[1] or 0.0), part[0]))


def _two_digit_bar(name: str, value: float | None, tone: str) -> Bar:
    return bar(name, value, two_digits(value), tone)
